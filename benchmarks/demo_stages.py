"""Where the time of `mglm demo` goes: seconds and peak memory of every stage, as shares of the run and of its limit.

    python -m benchmarks.demo_stages [--input FILE] [--limit-s 480]
    python -m benchmarks.demo_stages --of DIR --input FILE [--limit-s 1500]

Runs the demo afresh in a temporary directory, then once more to show what a finished run costs; with `--of`, tells of a
run that was made before. Memory is the proportional set size of the stage's process tree: a page that processes share
counts once.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.record import write_record
from core.manifest import read_manifest
from mglm.walk import read_timings

LIMIT_BYTES = 6 * 1024**3  # what the embedded demo may hold


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, help="JSONL as for mglm demo; without it the texts of examples/")
    parser.add_argument("--limit-s", type=float, default=480.0, help="what the run is allowed to take")
    parser.add_argument("--of", type=Path, help="output directory of a demo that ran without interruption")
    arguments = parser.parse_args()
    if arguments.of:
        made = read_manifest(arguments.of / "scores", "scores/1").made  # of the run's end, not of today
        write(arguments, read_timings(arguments.of), None, None, made["at"], made["git_revision"])
        return
    given = ["--input", str(arguments.input)] if arguments.input else []
    with tempfile.TemporaryDirectory(prefix="mglm-bench-") as folder:
        command = [sys.executable, "-m", "mglm", "demo", *given, "--output", str(Path(folder) / "demo")]
        total_s = timed(command)
        again_s = timed(command)
        write(arguments, read_timings(Path(folder) / "demo"), total_s, again_s)


def write(
    arguments: argparse.Namespace,
    timings: dict[str, dict[str, Any]],
    total_s: float | None,
    again_s: float | None,
    at: str | None = None,
    revision: str | None = None,
) -> None:
    """Writes the record. Without `total_s`, the stages' sum stands for it."""
    stages_s = sum(stage["wall_s"] for stage in timings.values())
    total_s = total_s or stages_s
    peak_bytes = max(stage["peak_bytes"] for stage in timings.values())
    rows: list[list[Any]] = [
        [stage["stage"], round(stage["wall_s"], 1), f"{stage['wall_s'] / total_s:.0%}", gib(stage["peak_bytes"])]
        for stage in timings.values()
    ]
    if again_s is not None:
        rest_s = total_s - stages_s
        rows.append(["unseen article, report, front door", round(rest_s, 1), f"{rest_s / total_s:.0%}", ""])
    limits = f"{total_s / arguments.limit_s:.2f} × the limit of {arguments.limit_s:.0f} s"
    rows.append(
        ["all", round(total_s, 1), limits, f"{gib(peak_bytes)} ({peak_bytes / LIMIT_BYTES:.2f} × the limit of 6)"]
    )
    if again_s is not None:
        rows.append(["run again when finished", round(again_s, 1), f"{again_s / total_s:.1%}", ""])
    what = f"`mglm demo --input {arguments.input.name}`" if arguments.input else "`mglm demo`"
    write_record(
        "demo_own_text" if arguments.input else "demo_embedded",
        f"Where the time of {what} goes",
        ["stage", "seconds", "of the run", "peak memory, GiB"],
        rows,
        at=at,
        revision=revision,
    )


def gib(size_bytes: float) -> str:
    return f"{size_bytes / 1024**3:.2f}"


def timed(command: list[str]) -> float:
    """Seconds of a whole process."""
    started = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
