"""Runs our commands one after another, each a process of its own with its memory watched, and keeps what each took.

What is finished is not redone, since every command sees that for itself; after a kill the same walk goes on.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from core.errors import MGLMError
from core.log import LOG_FILE_VARIABLE
from core.manifest import write_atomically
from core.processes import end_with_parent, tree_bytes
from core.stage import wait_until_free
from mglm.stages import DemoStage

TIMINGS_NAME = "timings.json"  # command, seconds and memory of every stage, when it last did work
MEMORY_SAMPLE_S = 0.5
SAVING_S = 30.0


def read_timings(run: Path) -> dict[str, dict[str, Any]]:
    """Stage folder below `run`, parts joined by dots → {command, wall_s, peak_bytes} of the process that made it."""
    path = run / TIMINGS_NAME
    timings: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return timings


def walk(stage: DemoStage, number: int, total: int, run: Path) -> None:
    """Runs one stage as a process, with its memory watched, and prints the one line about it."""
    finished_before = stage.content()
    command = [sys.executable, "-m", "mglm", *stage.arguments]
    name = ".".join(stage.output.relative_to(run).parts)
    log = run / "logs" / f"{number:02}-{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    wait_until_free(stage.output, SAVING_S)  # by a run that was killed a moment ago
    started = time.monotonic()
    status, peak_bytes = _run_watched(command, {**os.environ, LOG_FILE_VARIABLE: str(log)})
    wall_s = time.monotonic() - started
    if status != 0:
        raise MGLMError(
            f"stage {number}/{total} {stage.name}",
            found=f"exit status {status}" if status >= 0 else f"its end by {signal.Signals(-status).name}",
            action=f"see the line above and {log}; the same command continues where it stopped",
        )
    if finished_before == stage.content():
        say(f"[{number:2}/{total}] {stage.name:<19} made before")
        return
    timings = read_timings(run)
    timings[name] = {
        "stage": stage.name,
        "command": "mglm " + " ".join(stage.arguments),
        "wall_s": round(wall_s, 1),
        "peak_bytes": peak_bytes,
    }
    write_atomically(run / TIMINGS_NAME, json.dumps(timings, indent=1))
    say(f"[{number:2}/{total}] {stage.name:<19} {stage.said()}  ({wall_s:.1f} s)")


def _run_watched(command: Sequence[str], environment: dict[str, str]) -> tuple[int, int]:
    """Runs a command to its end; returns exit status and the peak memory of its process tree.

    Memory is the proportional set size: a page that processes share counts once, divided among them.
    """
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, preexec_fn=end_with_parent)
    peak_bytes = 0
    ended = threading.Event()

    def watch() -> None:
        nonlocal peak_bytes
        while not ended.wait(MEMORY_SAMPLE_S):
            peak_bytes = max(peak_bytes, tree_bytes(process.pid))

    def forward(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    previous = signal.signal(signal.SIGTERM, forward)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        status = process.wait()
    except KeyboardInterrupt:
        process.wait()  # the terminal sent it the same interrupt: let it save what it saves
        raise
    finally:
        ended.set()
        watcher.join()
        signal.signal(signal.SIGTERM, previous)
    return status, peak_bytes


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
