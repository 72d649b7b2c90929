"""Progress bars for long steps: on a terminal a bar, in a log file one line every few seconds."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY_S = 15.0


class ProgressReporter:
    """Counts finished units of one step; `advance` is all a loop needs to call."""

    def __init__(self, description: str, total: int, bar: Progress | None) -> None:
        self._description, self._total, self._bar = description, total, bar
        self._done, self._last_line = 0, time.monotonic()
        self._task = bar.add_task(description, total=total, note="") if bar else None

    def advance(self, units: int = 1, note: str = "") -> None:
        """Adds `units` finished units; `note` is shown after the counter, e.g. the loss."""
        self._done += units
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=units, note=note)
        elif self._done >= self._total or time.monotonic() - self._last_line > LINE_EVERY_S:
            self._last_line = time.monotonic()
            print(f"  {self._description}: {self._done}/{self._total} {note}".rstrip(), file=sys.stderr, flush=True)


@contextmanager
def progress(description: str, total: int, *, enabled: bool = True) -> Iterator[ProgressReporter]:
    """A progress bar on stderr. `enabled=False` (ranks above 0) shows nothing."""
    console = Console(stderr=True, quiet=not enabled)
    if not console.is_terminal and enabled:
        yield ProgressReporter(description, total, None)
        return
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not enabled) as bar:
        yield ProgressReporter(description, total, bar)
