import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from core.errors import MGLMError
from serve.config import ServeConfig
from serve.engine import Worker
from serve.waiting import Job
from tests.serve.tiny_model import MOST_TOKENS, article


def test_a_worker_that_the_system_does_not_start_is_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The scheduler tries again after those; anything else would end the service, e.g. when memory is short."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    with pytest.raises(MGLMError, match="the worker process.*No such file"):
        asyncio.run(Worker.start(tmp_path, ServeConfig(), 24))


def test_the_limits_hold_for_a_text_that_names_no_options(model: Path) -> None:
    """Of whichever export is loaded, at the start or later: this one writes more, with more beams, unasked."""

    async def ask() -> tuple[Mapping[str, Any], list[int]]:
        worker = await Worker.start(model, ServeConfig(device="cpu", max_beams=1), MOST_TOKENS // 2)
        said: list[int] = []
        texts = [article(1), article(2, words=200)]  # the second is read in passages
        jobs = [Job(number, text, "en", {}, lambda _: None, 0, 0) for number, text in enumerate(texts)]
        await worker.run(jobs, lambda _, message: said.append(message["output_tokens"]))
        await worker.leave()
        return worker.described, said

    described, said = asyncio.run(ask())
    assert (described["num_beams"], described["max_new_tokens"]) == (1, MOST_TOKENS // 2)
    assert len(said) == 2
    assert max(said) == MOST_TOKENS // 2
