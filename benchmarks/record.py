"""What every benchmark and drill leaves behind: a JSON record of a run; and docs/benchmarks.md, made from all records.

A record says what was asked, with which command, on which machine, when, at which revision. Its table compares at least
two things measured in the same run. `python -m benchmarks.record` writes docs/benchmarks.md again.
"""

import json
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.manifest import git_revision, write_atomically
from core.processes import tree_bytes

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
SAMPLE_EVERY_S = 0.1


@dataclass(frozen=True)
class Measure:
    """Wall seconds of a call, and the peak memory of this process with its children while it ran (as PSS)."""

    seconds: float
    peak_bytes: int


def write_record(
    name: str,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    remarks: Sequence[str] = (),
    versions: Mapping[str, str] | None = None,
    figures: Mapping[str, float] | None = None,
    device: str = "",
    at: str | None = None,
    revision: str | None = None,
) -> None:
    """Writes `results/<name>.json`, prints its table and renews docs/benchmarks.md.

    The first column names what was measured; numbers are written as given, so round them to what they are worth.
    `figures` are numbers that `mglm estimate` takes from here. `device` names another machine than this one; `at` and
    `revision` are those of a run made earlier.
    """
    command = "python -m " + (sys.modules["__main__"].__spec__ or __spec__).name
    record = {
        "title": title,
        "command": " ".join([command, *sys.argv[1:]]),
        "at": at or datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": device or machine(),
        "git_revision": revision or git_revision(),
        "versions": dict(versions or {}),
        "columns": list(columns),
        "rows": [list(row) for row in rows],
        "remarks": list(remarks),
    }
    if figures:
        record["figures"] = {name: float(f"{value:.4g}") for name, value in figures.items()}
    RESULTS.mkdir(exist_ok=True)
    write_atomically(RESULTS / f"{name}.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    print(markdown(record))
    write_page()


def write_page() -> None:
    """docs/benchmarks.md from every record, in the order of their names."""
    parts = [
        "# Benchmarks\n\nMade by `python -m benchmarks.record` from `benchmarks/results/`. The machines are shared and "
        "noisy: ratios within a table hold, seconds hardly. Where ways were measured in turn, a ratio is the median of "
        "the rounds' own, so it may differ from that of the medians beside it. Figures of other pages that stand "
        "neither here nor in a file beside the page were measured once, when that part was written; no record of "
        "them is kept.\n\n"
        "*The pool* is 17,772 public documents in 101 languages, 80 MB: the news of NTREX-128, TICO-19, the "
        "declaration of human rights, chapters of Bibles and of ELTeC's English novels. It does not come with the "
        "project; where it is missing, most benchmarks take the texts of `examples/` and say so.\n"
    ]
    parts += [markdown(json.loads(path.read_text("utf-8"))) for path in sorted(RESULTS.glob("*.json"))]
    write_atomically(PAGE, "\n".join(parts))


def markdown(record: Mapping[str, Any]) -> str:
    """One record as a Markdown section."""
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    circumstances = ", ".join(filter(None, [f"`{record['command']}`", record["at"][:10], record["machine"], versions]))
    head = record["columns"]
    lines = [f"## {record['title']}", "", circumstances, "", "| " + " | ".join(head) + " |"]
    lines.append("|---|" + "---:|" * (len(head) - 1))
    lines += ["| " + " | ".join(_shown(cell) for cell in row) + " |" for row in record["rows"]]
    lines += ["", *(f"- {remark}" for remark in record["remarks"])]
    return "\n".join(lines).rstrip() + "\n"


def machine() -> str:
    """What the figures were measured on, in words."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    python = platform.python_version()
    return f"{os.cpu_count()} cores, {memory_bytes / 1024**3:.0f} GiB, {platform.system()}, Python {python}"


def measure(call: Callable[[], object]) -> Measure:
    """Runs `call` and watches time and memory."""
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(SAMPLE_EVERY_S):
            peak = max(peak, tree_bytes(os.getpid()))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    started = time.perf_counter()
    try:
        call()
    finally:
        seconds = time.perf_counter() - started
        done.set()
        watcher.join()
    return Measure(seconds, peak)


def in_turn(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[Measure]]:
    """Measures each call `rounds` times, A B C A B C …, so that a machine that slows down slows all of them."""
    results: dict[str, list[Measure]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            results[name].append(measure(call))
    return results


def median_s(measures: Sequence[Measure]) -> float:
    return statistics.median(measure.seconds for measure in measures)


def ratio(measures: Sequence[Measure], against: Sequence[Measure]) -> float:
    """How many times as long as `against`, pair by pair, the median."""
    return statistics.median(a.seconds / b.seconds for a, b in zip(measures, against, strict=True))


def _shown(cell: object) -> str:
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)


if __name__ == "__main__":
    write_page()
