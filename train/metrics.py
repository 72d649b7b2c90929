"""metrics.jsonl and events.jsonl: the record of a run, written by one process.

metrics.jsonl has one row for each step, in order. A run that continues from a checkpoint drops the rows after it, which
it makes again; events.jsonl says how many. No row is lost when the disk is full for a while.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.log import get_logger
from core.manifest import write_atomically


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics or events file; a last line cut by a kill is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text("utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


class JSONLines:
    """Appends rows to a file. What cannot be written is kept and tried again with the next row."""

    def __init__(self, path: Path) -> None:
        kept = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in read_metrics(path))
        if not path.exists() or path.read_text("utf-8") != kept:  # a cut line goes
            write_atomically(path, kept)
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
        rows = read_metrics(path)
        kept = [row for row in rows if row["step"] <= step]
        self.dropped = len(rows) - len(kept)
        if self.dropped:
            write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))
        super().__init__(path)


class EventLog(JSONLines):
    """What happened to a run beside its steps: starts, stops, evaluations, checkpoints, what went wrong."""

    def tell(self, event: str, step: int, **facts: Any) -> None:
        """Adds a row; `step` is the number of steps done."""
        self.append({"at": datetime.now(UTC).isoformat(timespec="seconds"), "event": event, "step": step, **facts})
