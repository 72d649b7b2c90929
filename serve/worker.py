"""The process that holds the model: JSON lines in, JSON lines out, one batch at a time. `python -m serve.worker DIR`.

A process of its own, so that the event loop never waits for the model, a crash of it takes no request along, and new
weights load beside the old. It knows nothing of HTTP. Messages in: {"batch": [{id, text, target, generation}],
"stream": bool} and {"cancel": [id, …]}; the end of its input ends it. Messages out: {"ready": {…}} once, then per
job {"id", "summary", "input_tokens", …}, {"id", "piece"} or {"id", "error"}, and {"done": seconds} after each batch.
"""

import argparse
import hashlib
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import torch
import transformers

from core.errors import MGLMError
from core.log import get_logger
from core.processes import end_with_parent
from model.summaries import Source, Summary, SummaryRequest
from serve.logs import FIELDS, set_up_json_logging

if TYPE_CHECKING:
    from model.summarizer import Summarizer

WARM_UP = "A short text, read once before the first request, so that none waits for what loads lazily."

# What decides the answers: the revision is a hash of these.
WEIGHTS_AND_SETTINGS = ("config.json", "generation_config.json", "tokenizer.model", "*.safetensors")

Tell = Callable[[Mapping[str, Any]], None]

log = get_logger("serve.worker")


class Inbox:
    """Reads messages in a thread of its own, so that a cancellation is heard while the model runs."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self.batches: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.cancelled: set[int] = set()
        threading.Thread(target=self._read, args=[lines], daemon=True).start()

    def _read(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            message = json.loads(line)
            if "cancel" in message:
                self.cancelled.update(message["cancel"])
            else:
                self.batches.put(message)
        self.batches.put(None)

    def nobody_waits(self, ids: Sequence[int]) -> bool:
        return self.cancelled.issuperset(ids)


def main() -> None:
    """Loads the model, says so, and works until its input ends."""
    end_with_parent()
    service = os.getppid()
    # Who stops a service may tell all of its processes (systemd, scancel). It needs this one for what it accepted.
    signal.signal(signal.SIGTERM, lambda *_: None if os.getppid() == service else os._exit(1))
    parser = argparse.ArgumentParser(prog="serve.worker")
    parser.add_argument("model", type=Path)
    parser.add_argument("--device")
    parser.add_argument("--precision")
    parser.add_argument("--long-articles", choices=["passages", "cut"], default="passages")
    parser.add_argument("--max-passages", type=int)
    parser.add_argument("--max-batch", type=int, default=8)
    parser.add_argument("--max-beams", type=int, required=True)
    parser.add_argument("--max-new-tokens", type=int, required=True)
    arguments = parser.parse_args()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints goes to the log, not between the messages
    set_up_json_logging()
    transformers.logging.set_verbosity_error()
    from model.summarizer import Summarizer  # here: what it brings warns while it loads

    try:
        started = time.perf_counter()
        revision = revision_of(arguments.model)
        summarizer = Summarizer.from_pretrained(
            arguments.model,
            arguments.device,
            arguments.precision,
            long_articles=arguments.long_articles,
            max_passages=arguments.max_passages,
        )
        own(summarizer.model)
        limit(summarizer.model.generation_config, arguments.max_beams, arguments.max_new_tokens)
        summarizer.summarize_batch([SummaryRequest(WARM_UP, generation={"max_new_tokens": 2})])
    except MGLMError as error:
        say(out, {"failed": str(error)})
        sys.exit(2)
    except Exception as error:  # of a library, about the files; no text from outside was read yet
        say(out, {"failed": f"model {arguments.model}; found {type(error).__name__}: {error}"})
        sys.exit(2)
    about = {"id": arguments.model.resolve().name, "revision": revision, **described(summarizer)}
    say(out, {"ready": {**about, "load_s": round(time.perf_counter() - started, 3)}})
    work_through(summarizer, Inbox(sys.stdin.buffer), out, revision, arguments.max_batch)


def work_through(summarizer: "Summarizer", inbox: Inbox, out: TextIO, revision: str, max_batch: int) -> None:
    """Does batch after batch until the input ends; of a long article `max_batch` passages together."""
    while (message := inbox.batches.get()) is not None:
        started = time.perf_counter()
        jobs = message["batch"]
        ids = [job["id"] for job in jobs]
        if not inbox.nobody_waits(ids):
            work = partial(stream if message["stream"] else batch, max_batch=max_batch)
            generate(summarizer, jobs, work, inbox, partial(say, out, revision=revision))
        inbox.cancelled.clear()  # with what came too late for batches before; nobody knows of a next one yet
        say(out, {"done": time.perf_counter() - started})


def generate(
    summarizer: "Summarizer", jobs: Sequence[Mapping[str, Any]], work: Callable[..., None], inbox: Inbox, tell: Tell
) -> None:
    """All jobs together; where that fails, each that has no answer again, alone: a text that cannot be summarised takes
    no other client's along.

    Raises:
        SystemExit: the device no longer computes. Who feeds this process tries its texts in another one.
    """
    answered: set[int] = set()

    def note(message: Mapping[str, Any]) -> None:
        if "summary" in message:
            answered.add(message["id"])
        tell(message)

    try:
        work(summarizer, jobs, inbox, note)
        return
    except Exception as error:
        log.exception("generation failed", extra={FIELDS: {"texts": len(jobs)}})
        if not isinstance(error, MGLMError) and not computes(summarizer.model.device):
            log.error("the device no longer computes: this process ends")
            sys.exit(3)
        # An MGLMError is our own sentence; any other message might quote the text.
        why = str(error) if isinstance(error, MGLMError) else type(error).__name__
    if len(jobs) == 1:
        tell({"id": jobs[0]["id"], "error": "generation_failed", "detail": why})
        return
    for job in jobs:  # out of the handler, whose error holds the memory of what failed
        if job["id"] not in answered and not inbox.nobody_waits([job["id"]]):
            generate(summarizer, [job], work, inbox, tell)


def batch(
    summarizer: "Summarizer", jobs: Sequence[Mapping[str, Any]], inbox: Inbox, tell: Tell, max_batch: int = 8
) -> None:
    """All jobs together, long articles after those that fit, each alone; what is under way is given up at the next
    token once nobody waits for any of it."""
    ids = [job["id"] for job in jobs]
    requests = [SummaryRequest(job["text"], job["target"], job["generation"]) for job in jobs]

    def answer(index: int, summary: Summary) -> None:
        tell(
            {
                "id": ids[index],
                "summary": summary.text,
                "input_tokens": summary.input_tokens,
                "output_tokens": summary.output_tokens,
                **reading(summary),
            }
        )

    def stop(under_way: Sequence[int]) -> bool:  # what was answered before cannot be cancelled, and holds up nothing
        return inbox.nobody_waits([ids[index] for index in under_way])

    summarizer.summarize_batch(requests, stop, answer, max_batch)


def stream(
    summarizer: "Summarizer", jobs: Sequence[Mapping[str, Any]], inbox: Inbox, tell: Tell, max_batch: int = 8
) -> None:
    """One job, its summary told in pieces as they are written, then whole."""
    (job,) = jobs
    request = SummaryRequest(job["text"], job["target"], {"num_beams": 1, **job["generation"]})

    def stop() -> bool:
        return inbox.nobody_waits([job["id"]])

    source = summarizer.encode(request, stop=stop, batch_size=max_batch)
    pieces = []
    for piece in summarizer.stream(request, stop, source):
        pieces.append(piece)
        tell({"id": job["id"], "piece": piece})
    text = "".join(pieces)
    written = len(summarizer.tokenizer.encode(text))
    read = source.read_tokens + len(source.ids)
    tell({"id": job["id"], "summary": text, "input_tokens": read, "output_tokens": written, **reading(source)})


def computes(device: torch.device) -> bool:
    """Whether a device still works. After an illegal access or a failed assertion a process's GPU fails at whatever it
    is asked, to the end of the process; after a lack of memory it does not."""
    try:
        return bool(torch.ones((), device=device).item())
    except RuntimeError:
        return False


def reading(of: Summary | Source) -> dict[str, Any]:
    """What is told of how an article was read."""
    return {
        "truncated": of.left_out_tokens > 0,
        "passages": of.passages,
        "rounds": of.rounds,
        "read_share": round(of.read_share, 4),
    }


def own(model: torch.nn.Module) -> None:
    """Copies weights that are still the mapped file: whoever writes new ones over it would crash the running model."""
    for parameter in model.parameters():
        if type(parameter.data) is torch.Tensor and parameter.device.type == "cpu":
            parameter.data = parameter.data.clone()


def limit(settings: Any, max_beams: int, max_new_tokens: int) -> None:
    """Brings an export's defaults below the service's limits: a request that names none takes them unchecked."""
    settings.num_beams = min(settings.num_beams or 1, max_beams)
    settings.max_new_tokens = min(settings.max_new_tokens or max_new_tokens, max_new_tokens)


def revision_of(model: Path) -> str:
    """A short hash of the export's content: two models with the same one answer alike."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in WEIGHTS_AND_SETTINGS for path in model.glob(pattern)):
        with path.open("rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


def described(summarizer: "Summarizer") -> dict[str, Any]:
    """What /v1/models tells of it, and what the scheduler asks."""
    model = summarizer.model
    return {
        "parameters": model.num_parameters(),
        "source_length": summarizer.source_length,
        "most_new_tokens": summarizer.most_new_tokens,
        "num_beams": model.generation_config.num_beams,
        "max_new_tokens": model.generation_config.max_new_tokens,
        "targets": summarizer.targets,
        "device": str(model.device),
        "dtype": str(model.dtype).removeprefix("torch."),
    }


def say(out: TextIO, message: Mapping[str, Any], revision: str = "") -> None:
    """Sends a message; with a summary goes the revision of the weights that wrote it."""
    if "summary" in message:
        message = {**message, "revision": revision}
    out.write(json.dumps(message) + "\n")
    out.flush()


if __name__ == "__main__":
    main()
