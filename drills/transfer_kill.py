"""Kills `mglm world run` while it tunes and while it predicts, and looks that nothing finished is done again.

    python -m drills.transfer_kill

A world of few words and a model of few steps: a few minutes. After two kills the same command must go on, redo no
command that had finished, and leave a matrix with every cell.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mglm.transfer_run import PAGE_NAME, RESULTS_NAME

ROOT = Path(__file__).parents[1]
SMALL = [
    "world.documents=60", "lid.epoch=50", "world.train=20", "world.heldout=1", "pretrain.steps=8",
    "pretrain.warmup_steps=1", "pretrain.save_interval=8", "finetune.steps=6",
    "finetune.warmup_steps=1", "finetune.save_interval=2",
]  # fmt: skip
TOO_LONG_S = 900


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="mglm-drill-") as folder:
        drill(Path(folder) / "world")
    print("transfer_kill: passed")


def drill(output: Path) -> None:
    systems = output / "transfer" / "systems"
    tuning, predicting = "*/finetune/checkpoints/step-*/meta.json", "*+freeze/predictions-own/in_progress.json"
    for pattern in (tuning, predicting):
        run = start(output)
        deadline = time.monotonic() + TOO_LONG_S
        while not any(systems.glob(pattern)):
            if run.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"transfer_kill: ended before it came to {pattern}: {run.communicate()[0][-2000:]}")
            time.sleep(0.05)
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
    finished = {path: path.read_bytes() for path in output.rglob("manifest.json")}
    last = start(output)
    said = last.communicate(timeout=TOO_LONG_S)[0]
    if last.returncode:
        sys.exit(f"transfer_kill: the third run ended with {last.returncode}: {said[-2000:]}")
    if redone := [str(path) for path, content in finished.items() if path.read_bytes() != content]:
        sys.exit(f"transfer_kill: made again: {', '.join(redone)}")
    results = json.loads((output / "transfer" / RESULTS_NAME).read_text("utf-8"))
    expected = len(results["systems"]) * len(results["evaluated"])
    if len(results["cells"]) != expected or not (output / "transfer" / PAGE_NAME).exists():
        sys.exit(f"transfer_kill: {len(results['cells'])} cells, expected {expected}")
    print(f"{len(finished)} finished commands stayed, {expected} cells")


def start(output: Path) -> subprocess.Popen[str]:
    words = [word for setting in SMALL for word in ("--set", setting)]
    command = [sys.executable, "-m", "mglm", "world", "run", "--output", str(output), *words]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


if __name__ == "__main__":
    main()
