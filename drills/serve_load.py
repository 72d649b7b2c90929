"""The service under 1, 4 and 20 times what it can do, with slow clients and a killed worker: none lost, none crossed.

    python -m drills.serve_load [--seconds 15] [--record]

A tiny model serves, whose answer to each article is known beforehand, so every answer is checked to be the article's
own. Requests arrive at random (Poisson) whether or not earlier ones were answered, as they do from people; a load tool
with a number of users would slow down with the service and hide the wait. Hence aiohttp, and not one of those.

Lost: no answer at all. Crossed: another article's summary. Ends with an error where there is one of either, where a
status was neither 200 nor a refusal that the API promises, or where the service did not end up idle and sound.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.record import write_record
from model.summarizer import Summarizer, SummaryRequest
from tests.serve.running import Service
from tests.serve.tiny_model import article, write_model

OPTIONS = {"num_beams": 8}
LAYERS = 24  # slow enough for one client to send twenty times as much
ARTICLES = 64
CLIENTS_TO_MEASURE = 16
SLOW_CLIENTS = 40
DEADLINE_S = 30.0
QUEUE = 64
PROMISED = {200, 503, 504}


@dataclass
class Tally:
    """What became of the requests of one phase."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    lost: int = 0
    crossed: int = 0
    retry_after: int = 0  # refusals that say when to come back
    seconds: float = 0.0

    @property
    def sent(self) -> int:
        return sum(self.statuses.values()) + self.lost

    def percentile_s(self, share: float) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def main() -> None:
    """Prints a line for each phase; with --record writes benchmarks/results/serve_load.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each phase")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/serve_load.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mglm-load-") as folder:
        model = write_model(Path(folder) / "tiny", layers=LAYERS)
        known = right_answers(model)
        service = Service(model, device="cpu", max_queue=QUEUE, deadline_s=DEADLINE_S, receive_timeout_s=3.0).ready()
        try:
            capacity, phases, slow = asyncio.run(drill(service, known, arguments.seconds))
            wrong = judge(service, phases, slow)
        finally:
            ended = service.stop()
    if ended:
        wrong.append(f"the service ended with status {ended}")
    if arguments.record:
        record(capacity, phases, slow)
    if wrong:
        sys.exit("error: " + "; ".join(wrong))


def right_answers(model: Path) -> dict[str, str]:
    """The summary of each article, all different, by the Summarizer itself and one at a time."""
    summarizer = Summarizer.from_pretrained(model, device="cpu")
    texts = [article(number) for number in range(ARTICLES)]
    known = {text: summarizer.summarize_batch([SummaryRequest(text, "en", OPTIONS)])[0].text for text in texts}
    assert len(set(known.values())) == ARTICLES, "two articles have the same summary"
    return known


async def drill(
    service: Service, known: dict[str, str], seconds: float
) -> tuple[float, dict[str, Tally], Counter[str]]:
    """Texts per second that the service can do, the tally of each phase, and what became of the slow clients."""
    asking = Asking(service.url, known)
    closed = await asking.as_fast_as_answered(seconds / 2)
    capacity = closed.statuses[200] / closed.seconds
    print(f"capacity: {capacity:.1f} texts/s with {CLIENTS_TO_MEASURE} clients", flush=True)
    phases = {"as many as it answers": closed}
    slow: Counter[str] = Counter()

    async def slow_clients() -> None:
        slow.update(await asyncio.gather(*(slow_client(service.url) for _ in range(SLOW_CLIENTS))))

    async def kill() -> None:
        await asyncio.sleep(seconds / 3)
        os.kill(service.worker_pid, signal.SIGKILL)

    for times, name, meanwhile in (
        (1, "1 ×", None),
        (4, f"4 ×, {SLOW_CLIENTS} slow clients", slow_clients),
        (20, "20 ×, worker killed", kill),
    ):
        phases[name] = await asking.at_rate(times * capacity, seconds, meanwhile)
        print(f"{name}: {shown(phases[name])}", flush=True)
    return capacity, phases, slow


class Asking:
    """A client that knows the right answers."""

    def __init__(self, url: str, known: dict[str, str]) -> None:
        self.url, self.known = url, known
        self.articles = list(known)
        self.random = random.Random(0)

    def client(self) -> aiohttp.ClientSession:
        # Connections idle for longer than this are not used again: the service closes them after 5 s.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)
        return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(DEADLINE_S + 60))

    async def ask(self, client: aiohttp.ClientSession, tally: Tally) -> None:
        text = self.random.choice(self.articles)
        started = time.perf_counter()
        try:
            async with client.post(self.url + "/v1/summaries", json={"text": text, "options": OPTIONS}) as response:
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError):
            tally.lost += 1
            return
        tally.statuses[response.status] += 1
        if response.status == 200:
            tally.latencies_s.append(time.perf_counter() - started)
            tally.crossed += answer["summaries"][0]["summary"] != self.known[text]
        elif response.status == 503:
            tally.retry_after += int(response.headers.get("retry-after", 0)) > 0

    async def as_fast_as_answered(self, seconds: float) -> Tally:
        tally, end = Tally(), time.perf_counter() + seconds
        started = time.perf_counter()

        async def one(client: aiohttp.ClientSession) -> None:
            while time.perf_counter() < end:
                await self.ask(client, tally)

        async with self.client() as client:
            await asyncio.gather(*(one(client) for _ in range(CLIENTS_TO_MEASURE)))
        tally.seconds = time.perf_counter() - started
        return tally

    async def at_rate(
        self, per_s: float, seconds: float, meanwhile: Callable[[], Coroutine[Any, Any, None]] | None
    ) -> Tally:
        """Requests at random moments, `per_s` on average, all of them waited for in the end."""
        tally = Tally()
        started = time.perf_counter()
        due_s = 0.0
        async with self.client() as client, asyncio.TaskGroup() as tasks:
            if meanwhile is not None:
                tasks.create_task(meanwhile())
            while (due_s := due_s + self.random.expovariate(per_s)) < seconds:
                await asyncio.sleep(max(0.0, started + due_s - time.perf_counter()))
                tasks.create_task(self.ask(client, tally))
            tally.seconds = time.perf_counter() - started  # in which they were sent
        return tally


async def slow_client(url: str) -> str:
    """Sends a byte now and then, as one who wants to hold a connection for ever; what the service makes of it."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    answer = asyncio.ensure_future(reader.read())
    try:
        for byte in b"POST /v1/summaries HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"x" * 1000:
            writer.write(bytes([byte]))
            await asyncio.wait({answer}, timeout=0.1)
            if answer.done():
                return answer.result()[:12].decode("ascii", "replace") or "closed"
        return "still served"
    except ConnectionError:
        return "closed"
    finally:
        answer.cancel()
        writer.close()


def judge(service: Service, phases: dict[str, Tally], slow: Counter[str]) -> list[str]:
    """What is not as it should be."""
    wrong = []
    for name, tally in phases.items():
        if tally.lost or tally.crossed:
            wrong.append(f"{name}: {tally.lost} lost and {tally.crossed} crossed")
        if set(tally.statuses) - PROMISED:
            wrong.append(f"{name}: statuses {dict(tally.statuses)}")
        if tally.retry_after != tally.statuses[503]:
            wrong.append(f"{name}: a 503 without Retry-After")
        if not tally.latencies_s:
            wrong.append(f"{name}: nothing was answered")
    if set(slow) - {"HTTP/1.1 408", "closed"}:
        wrong.append(f"slow clients: {dict(slow)}")
    if len(service.events("worker ready")) < 2:
        wrong.append("the killed worker was not replaced")
    if service.metric("mglm_queue_texts") or service.metric("mglm_running_texts"):
        wrong.append("something is left in the queue")
    return wrong


def shown(tally: Tally) -> str:
    return (
        f"{tally.sent / tally.seconds:.0f}/s sent, {dict(sorted(tally.statuses.items()))}, {tally.lost} lost, "
        f"{tally.crossed} crossed, p50 {tally.percentile_s(0.5):.2f} s, p99 {tally.percentile_s(0.99):.2f} s"
    )


def record(capacity: float, phases: dict[str, Tally], slow: Counter[str]) -> None:
    rows: list[list[Any]] = [
        [name, round(tally.sent / tally.seconds, 1), tally.sent, tally.statuses[200], tally.statuses[503],
         tally.statuses[504], tally.lost, tally.crossed, f"{tally.percentile_s(0.5):.2f}",
         f"{tally.percentile_s(0.95):.2f}", f"{tally.percentile_s(0.99):.2f}"]
        for name, tally in phases.items()
    ]  # fmt: skip
    write_record(
        "serve_load",
        "The service under load",
        ["load", "sent per s", "sent", "200", "503", "504", "lost", "crossed", "p50, s", "p95, s", "p99, s"],
        rows,
        versions={name: version(name) for name in ("aiohttp", "fastapi", "uvicorn", "torch", "transformers")},
        remarks=[
            f"A tiny random model on the CPU, {OPTIONS['num_beams']} beams: {capacity:.1f} texts per second; it "
            "shares the machine with service and client.",
            f"Requests arrive at random, at multiples of that. {QUEUE} texts may wait; beyond, 503 with Retry-After.",
            "Percentiles are of answered requests. Each answer was compared with the article's own summary.",
            f"Slow clients, a byte every 0.1 s: {dict(slow)}.",
            "The worker was killed with SIGKILL a third into its phase; its texts were done by the next one.",
        ],
    )


if __name__ == "__main__":
    main()
