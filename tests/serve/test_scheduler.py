import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import pytest

from core.errors import MGLMError
from serve.config import ServeConfig
from serve.metrics import Metrics
from serve.scheduler import Scheduler

POSITIONS = 256


class FakeWorker:
    """A model of so many positions that is never asked anything."""

    alive = True
    killed = 0

    def __init__(self) -> None:
        self.described: Mapping[str, Any] = {"most_new_tokens": POSITIONS, "source_length": 96}

    @classmethod
    async def start(cls, model: Path, config: ServeConfig, most_tokens: int) -> Self:
        return cls()

    async def ended(self) -> None:
        await asyncio.Event().wait()

    async def leave(self) -> None: ...

    async def kill(self) -> None:
        FakeWorker.killed += 1


async def reloaded(most_tokens: int) -> Mapping[str, Any]:
    """What a reload says right after the start."""
    scheduler = Scheduler(Path("model"), ServeConfig(), most_tokens, Metrics())
    work = asyncio.create_task(scheduler.run())
    while not scheduler.ready:
        await asyncio.sleep(0)
        if work.done():
            work.result()
    try:
        return await scheduler.reload()
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


def test_a_model_is_loaded_anew_whatever_the_service_allows_within_its_positions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The operator may allow longer summaries than the export writes unasked."""
    monkeypatch.setattr("serve.scheduler.Worker", FakeWorker)
    assert asyncio.run(reloaded(POSITIONS))["most_new_tokens"] == POSITIONS


def test_a_limit_that_the_model_cannot_keep_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.scheduler.Worker", FakeWorker)
    monkeypatch.setattr(FakeWorker, "killed", 0)
    with pytest.raises(MGLMError, match=r"256 tokens at most; expected 257 or more.*Lower serve\.max_new_tokens"):
        asyncio.run(reloaded(POSITIONS + 1))
    assert FakeWorker.killed == 1
