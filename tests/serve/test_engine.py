import asyncio
import sys
from pathlib import Path

import pytest

from core.errors import MGLMError
from serve.config import ServeConfig
from serve.engine import Worker


def test_a_worker_that_the_system_does_not_start_is_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The scheduler tries again after those; anything else would end the service, e.g. when memory is short."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    with pytest.raises(MGLMError, match="the worker process.*No such file"):
        asyncio.run(Worker.start(tmp_path, ServeConfig()))
