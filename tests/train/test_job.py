"""What an output holds of a run: whether something was trained there that other work must spare."""

import json
from pathlib import Path
from typing import Any

import pytest

import train.job
from core.manifest import MARKER_NAME
from model.checkpoint_meta import CHECKPOINT
from train.job import CHECKPOINTS, METRICS, nothing_trained


def test_a_step_or_a_checkpoint_is_something_and_checkpoints_spare_reading_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / MARKER_NAME).write_text(json.dumps({"schema": CHECKPOINT}))
    (tmp_path / CHECKPOINTS).mkdir()
    assert nothing_trained(tmp_path)
    (tmp_path / METRICS).write_text('{"step": 1}\n')
    assert not nothing_trained(tmp_path)
    read: list[Any] = []
    monkeypatch.setattr(train.job, "read_metrics", read.append)
    (tmp_path / CHECKPOINTS / "step-00000001").mkdir()
    assert not nothing_trained(tmp_path)
    assert not read
