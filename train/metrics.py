"""metrics.jsonl and events.jsonl: the record of a run, written by one process.

metrics.jsonl has one row for each step, in order. A run that continues from a checkpoint drops the rows after it, which
it makes again; events.jsonl says how many. No row is lost when the disk is full for a while.
"""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.log import get_logger


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics or events file; a last line cut by a kill is left out."""
    return [row for _, row in _rows(path)] if path.exists() else []


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """One row after another, each with the place in the file where it ends, as far as lines are whole.

    Lines end at line feeds alone: texts hold other characters that count as line ends elsewhere.
    """
    end = 0
    with path.open("rb") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:  # no JSON; or no UTF-8, cut within a letter
                return
            if not line.endswith(b"\n"):
                return
            end += len(line)
            yield end, row


class JSONLines:
    """Appends rows to a file. What cannot be written is kept and tried again with the next row."""

    def __init__(self, path: Path, last_step: int | None = None) -> None:
        """Cuts off what a kill left of a line, and the rows of steps after `last_step`: `dropped` is their number."""
        path.touch()
        kept, self.dropped = 0, 0
        for end, row in _rows(path):  # one at a time: those of a long run fill a gigabyte
            if last_step is not None and (self.dropped or row["step"] > last_step):
                self.dropped += 1
            else:
                kept = end
        if path.stat().st_size > kept:
            os.truncate(path, kept)
        self._path, self._waiting = path, b""
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND)

    def append(self, row: dict[str, Any]) -> None:
        told = bool(self._waiting)
        self._waiting += (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8")
        self._write(told=told)

    def close(self) -> None:
        if self._waiting:
            self._write(told=True)
        os.close(self._file)

    def _write(self, *, told: bool) -> None:
        size = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, self._waiting)
            if written < len(self._waiting):
                raise OSError("the disk is full")
            self._waiting = b""
        except OSError as error:
            os.ftruncate(self._file, size)
            if not told:
                get_logger("train").warning("%s: %s; its rows wait in memory", self._path, error)


class MetricsLog(JSONLines):
    """Rows after `step`, left by a run that was killed after its last checkpoint, are dropped first: `dropped`."""

    def __init__(self, path: Path, step: int) -> None:
        super().__init__(path, step)


class EventLog(JSONLines):
    """What happened to a run beside its steps: starts, stops, evaluations, checkpoints, what went wrong."""

    def tell(self, event: str, step: int, **facts: Any) -> None:
        """Adds a row; `step` is the number of steps done."""
        self.append({"at": datetime.now(UTC).isoformat(timespec="seconds"), "event": event, "step": step, **facts})
