"""metrics.jsonl continues where the checkpoint stands, and loses no row to a disk that is full for a while."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from train.metrics import EventLog, MetricsLog, read_metrics


def test_rows_after_the_checkpoint_are_dropped_on_resuming_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    first = MetricsLog(path, 0)
    for step in range(1, 8):
        first.append({"step": step, "loss": 8.0 - step})
    first.close()
    second = MetricsLog(path, 5)
    assert second.dropped == 2
    second.append({"step": 6, "loss": 0.5})
    second.close()
    assert [row["step"] for row in read_metrics(path)] == [1, 2, 3, 4, 5, 6]
    assert read_metrics(path)[-1]["loss"] == 0.5


@pytest.mark.parametrize("log", [lambda path: MetricsLog(path, 2), EventLog])
def test_a_line_cut_by_a_kill_is_ignored_and_goes(tmp_path: Path, log: Any) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert read_metrics(path) == [{"step": 1, "loss": 2.0}]
    opened = log(path)
    opened.append({"step": 2, "loss": 1.0})
    opened.close()
    assert [row["step"] for row in read_metrics(path)] == [1, 2]


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x1e"])
def test_what_counts_as_a_line_end_elsewhere_cuts_no_row(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "samples.jsonl"
    rows = [{"step": step, "written": f"so{mark}und"} for step in (1, 2)]
    first = MetricsLog(path, 0)
    for row in rows:
        first.append(row)
    first.close()
    assert read_metrics(path) == rows
    MetricsLog(path, 2).close()
    assert read_metrics(path) == rows


def test_a_line_cut_within_a_letter_goes_too(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    whole = '{"step": 1, "written": "नाव"}\n'.encode()
    path.write_bytes(whole + '{"step": 2, "written": "न'.encode()[:-1])
    assert read_metrics(path) == [{"step": 1, "written": "नाव"}]
    MetricsLog(path, 2).close()
    assert path.read_bytes() == whole


def test_rows_wait_in_memory_while_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.tell("start", 0)
    write = os.write

    def full(file: int, data: bytes) -> int:
        write(file, data[:7])  # a part gets there
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    log.tell("skipped", 3, reason="loss nan")
    log.tell("skipped", 4, reason="loss nan")
    monkeypatch.undo()
    assert [row["step"] for row in read_metrics(tmp_path / "events.jsonl")] == [0]
    log.tell("stop", 5)
    log.close()
    assert [row["step"] for row in read_metrics(tmp_path / "events.jsonl")] == [0, 3, 4, 5]
