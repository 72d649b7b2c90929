"""Where the time of `mglm demo` goes: seconds and peak memory of every stage, as shares of the run and of its limit.

    python -m benchmarks.demo_stages [--input FILE] [--limit-s 480]
    python -m benchmarks.demo_stages --of DIR --input FILE [--limit-s 1500]

Runs the demo afresh in a temporary directory, then once more to show what a finished run costs; with `--of`, tells of a
run that was made before. Writes `benchmarks/results/demo_<name>.json` and the same as a Markdown table. Memory is the
proportional set size of the stage's process tree: a page that processes share counts once.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.manifest import git_revision, read_manifest
from mglm.demo import read_timings

RESULTS = Path(__file__).parent / "results"
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
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write(arguments, read_timings(Path(folder) / "demo"), total_s, again_s, now, git_revision())


def write(
    arguments: argparse.Namespace,
    timings: dict[str, dict[str, Any]],
    total_s: float | None,
    again_s: float | None,
    at: str,
    revision: str | None,
) -> None:
    """Writes the result as JSON and Markdown. Without `total_s`, the stages' sum stands for it."""
    stages = list(timings.values())
    result = {
        "command": "mglm demo" + (f" --input {arguments.input.name}" if arguments.input else ""),
        "at": at,
        "machine": machine(),
        "git_revision": revision,
        "total_s": round(total_s or sum(stage["wall_s"] for stage in stages), 1),
        "limit_s": arguments.limit_s,
        "finished_run_again_s": round(again_s, 1) if again_s else None,
        "peak_bytes": max(stage["peak_bytes"] for stage in stages),
        "stages": [{key: stage[key] for key in ("stage", "wall_s", "peak_bytes")} for stage in stages],
    }
    name = "demo_own_text" if arguments.input else "demo_embedded"
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    table = markdown(result)
    (RESULTS / f"{name}.md").write_text(table, "utf-8")
    print(table)


def timed(command: list[str]) -> float:
    """Seconds of a whole process."""
    started = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - started


def machine() -> str:
    """What the figures were measured on, in words."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    python = platform.python_version()
    return f"{os.cpu_count()} cores, {memory_bytes / 1024**3:.0f} GiB, {platform.system()}, Python {python}"


def markdown(result: dict[str, Any]) -> str:
    """The result as a table with its circumstances."""
    total_s = result["total_s"]
    lines = [
        f"`{result['command']}`, {result['at'][:10]}, {result['machine']}",
        "",
        "| stage | seconds | of the run | peak memory, GiB |",
        "|---|---:|---:|---:|",
    ]
    for stage in result["stages"]:
        share, gib = stage["wall_s"] / total_s, stage["peak_bytes"] / 1024**3
        lines.append(f"| {stage['stage']} | {stage['wall_s']:.1f} | {share:.0%} | {gib:.2f} |")
    rest_s = total_s - sum(stage["wall_s"] for stage in result["stages"])
    peak = result["peak_bytes"] / 1024**3
    again_s = result["finished_run_again_s"]
    if again_s is not None:
        lines.append(f"| unseen article, report, front door | {rest_s:.1f} | {rest_s / total_s:.0%} | |")
    lines += [
        f"| **all** | **{total_s:.1f}** | {total_s / result['limit_s']:.2f} × the limit of {result['limit_s']:.0f} s | "
        f"**{peak:.2f}** ({result['peak_bytes'] / LIMIT_BYTES:.2f} × the limit of 6) |",
    ]
    if again_s is not None:
        lines.append(f"| run again when finished | {again_s:.1f} | {again_s / total_s:.1%} | |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
