"""From a queued job to what its client gets: waiting until a deadline, noticing that the client left, events."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Mapping
from functools import partial
from typing import Any, TypeVar

from starlette.requests import Request

from serve.guards import ARRIVED
from serve.problems import Refusal
from serve.scheduler import Scheduler

T = TypeVar("T")

STATUS_OF = {"draining": 503, "worker_died": 500, "generation_failed": 500}


class ClientGoneError(Exception):
    """The client closed its connection before it had its answer."""


def deadline(request: Request, seconds: float) -> float:
    """On the loop's clock, from the arrival of the request's head."""
    return float(request.scope[ARRIVED]) + seconds


async def answers(
    scheduler: Scheduler, request: Request, texts: list[str], target: str, generation: Mapping[str, Any], seconds: float
) -> list[Mapping[str, Any]]:
    """What the worker made of each text, in their order.

    Raises:
        Refusal: not taken on (503), not done in time (504), or failed (500). Whatever is left is abandoned.
        ClientGoneError: nobody to answer; whatever is left is abandoned.
    """
    loop = asyncio.get_running_loop()
    results: list[Mapping[str, Any] | None] = [None] * len(texts)
    everything: asyncio.Future[None] = loop.create_future()

    def listener(index: int, message: Mapping[str, Any]) -> None:
        results[index] = message
        if not everything.done() and ("error" in message or all(results)):
            everything.set_result(None)

    until = deadline(request, seconds)
    heard = [(text, partial(listener, index)) for index, text in enumerate(texts)]
    jobs = scheduler.submit(heard, target, generation, until)
    try:
        async with asyncio.timeout_at(until):
            await unless_left(request, everything)
        for message in results:
            if message is not None and "error" in message:
                raise failed(message)
        return [message for message in results if message is not None]
    except TimeoutError:
        raise late(seconds) from None
    finally:
        scheduler.abandon(jobs)


async def pieces(
    scheduler: Scheduler, request: Request, text: str, target: str, generation: Mapping[str, Any], seconds: float
) -> AsyncGenerator[Mapping[str, Any], None]:
    """What the worker tells of one text: {"piece"} as it is written, then the whole summary.

    Raises:
        Refusal: as `answers`. Closing the iterator abandons the text.
    """
    told: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
    until = deadline(request, seconds)
    jobs = scheduler.submit([(text, told.put_nowait)], target, generation, until, stream=True)
    try:
        while True:
            try:
                # An item that this loses at the last moment would have been late anyway.
                message = await asyncio.wait_for(told.get(), max(0.0, until - scheduler.now()))
            except TimeoutError:
                raise late(seconds) from None
            if "error" in message:
                raise failed(message)
            yield message
            if "summary" in message:
                return
    finally:
        scheduler.abandon(jobs)


def event(name: str, data: Mapping[str, Any]) -> bytes:
    """One server-sent event; JSON has no line break, so one data line holds it."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def late(seconds: float) -> Refusal:
    return Refusal(504, "deadline", f"There was no answer within {seconds:g} s, the request's deadline.", limit=seconds)


def failed(message: Mapping[str, Any]) -> Refusal:
    status = STATUS_OF[message["error"]]
    return Refusal(status, message["error"], message["detail"], retry_after_s=5 if status == 503 else None)


async def unless_left(request: Request, work: Awaitable[T]) -> T:
    """What `work` gives, if the client stays for it.

    Raises:
        ClientGoneError: it did not; the work is cancelled.
    """
    working, left = asyncio.ensure_future(work), asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, left}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGoneError
    finally:
        working.cancel()
        left.cancel()


async def _left(request: Request) -> None:
    """Returns when the client is gone. The body was read, so that is all there is to hear."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
