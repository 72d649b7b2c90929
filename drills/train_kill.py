"""Kills a training run again and again, at random moments, and compares what comes out with an undisturbed run.

    python -m drills.train_kill [--kills 20] [--steps 200] [--seed 1]

Each start has a random layout of two processes (tensor, pipeline or data parallel with the distributed optimizer) and a
random launcher (ours or torchrun). A random process of it, a worker or the launcher, is sent SIGKILL, SIGTERM or
SIGUSR1: while it starts, at a random step, or in the middle of a save. No process may be left behind, and the same
command must go on. In the end every step was recorded once, losses and weights are those of the undisturbed run.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from drills.training_run import ROOT, compare, free_port, make_inputs, write_config
from train.metrics import read_metrics

INPUTS = {"config": "config.toml", "shards": "shards", "plan": "plan.json", "heldout": "documents"}
LAYOUTS = {"TP2": ["tensor_parallel=2"], "PP2": ["pipeline_parallel=2"], "DP2": []}
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1)
TOO_LONG_S = 600  # for a machine that does other things as well


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="of what is killed when")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mglm-drill-") as folder:
        drill(Path(folder), arguments.kills, arguments.steps, random.Random(arguments.seed))


def drill(work: Path, kills: int, steps: int, draw: random.Random) -> None:
    """One undisturbed run, one killed `kills` times, and the comparison."""
    make_inputs(work)
    write_config(work, steps)
    undisturbed, disturbed = Run(work, "undisturbed"), Run(work, "disturbed")
    disturb(undisturbed, disturbed, kills, steps, draw)


def disturb(undisturbed: "Run", disturbed: "Run", kills: int, steps: int, draw: random.Random) -> None:
    """Lets the one run, and the other between kills, and compares."""
    try:
        _disturb(undisturbed, disturbed, kills, steps, draw)
    finally:
        for run in (undisturbed, disturbed):
            run.end()


def _disturb(undisturbed: "Run", disturbed: "Run", kills: int, steps: int, draw: random.Random) -> None:
    undisturbed.start("DP2", "mglm")
    assert undisturbed.wait() == 0, undisturbed.words()
    for number in range(1, kills + 1):
        layout, launcher = draw.choice(list(LAYOUTS)), draw.choice(["mglm", "torchrun"])
        before = disturbed.step
        disturbed.start(layout, launcher)
        told = disturbed.kill(draw, number)
        left = disturbed.left_behind()
        assert not left, f"left behind: {left}"
        print(f"{number:3d} {layout} by {launcher:8s} from step {before:3d}: {told}", flush=True)
    disturbed.start("PP2", "mglm")
    assert disturbed.wait() == 0, disturbed.words()
    assert not disturbed.left_behind()
    compare(undisturbed.output, disturbed.output, steps)


@dataclass
class Run:
    """A training run with its output, started and killed as often as one likes."""

    work: Path
    name: str
    stage: str = "pretrain"
    inputs: Mapping[str, str] = field(default_factory=lambda: INPUTS)  # option → name in `work`
    process: "subprocess.Popen[str] | None" = None

    @property
    def output(self) -> Path:
        return self.work / self.name

    @property
    def step(self) -> int:
        rows = read_metrics(self.output / "metrics.jsonl")
        return int(rows[-1]["step"]) if rows else 0

    def start(self, layout: str, launcher: str) -> None:
        arguments = [item for name, path in self.inputs.items() for item in (f"--{name}", str(self.work / path))]
        for override in LAYOUTS[layout]:
            arguments += ["--set", f"{self.stage}.{override}"]
        arguments += ["--output", str(self.output)]
        torchrun = ["torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
        torchrun += ["--master-port", str(free_port()), "-m"]
        start = [sys.executable, "-m", *(torchrun if launcher == "torchrun" else []), "mglm", "train", self.stage]
        settings = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        command = [*start, *arguments, *(["--nproc", "2"] if launcher == "mglm" else [])]
        with (self.work / f"{self.name}.log").open("w") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, text=True, start_new_session=True, env={**os.environ, **settings}
            )

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(TOO_LONG_S)

    def words(self) -> str:
        return (self.work / f"{self.name}.log").read_text("utf-8")[-4000:]

    def kill(self, draw: random.Random, number: int) -> str:
        """Waits for a random moment, kills a random process, waits for all to end; tells what it did."""
        assert self.process is not None
        moment = ("step", "save", "start")[0 if number % 5 in (0, 3) else 2 if number % 5 == 4 else 1]
        if moment == "start":
            time.sleep(draw.uniform(0.5, 8))
        else:
            wanted = self.step + draw.randint(1, 9)
            self._until(lambda: self.step >= wanted)
            if moment == "save":
                self._until(lambda: any((self.output / "checkpoints").glob(".step-*.partial")))
            time.sleep(draw.uniform(0, 0.03))
        if self.process.poll() is not None:
            raise AssertionError(f"it ended before it could be killed: {self.words()}")
        workers = self._workers()
        victim, what = draw.choice([(self.process.pid, "launcher"), *((pid, "worker") for pid in workers)])
        number_of_signal = draw.choice(SIGNALS)
        at = self.step
        os.kill(victim, number_of_signal)
        status = self.process.wait(TOO_LONG_S)
        deadline = time.monotonic() + TOO_LONG_S
        while self.left_behind() and time.monotonic() < deadline:  # a killed launcher's workers save before they end
            time.sleep(0.1)
        assert status != 0, self.words()
        lines = [line for line in self.words().splitlines() if line.strip()]
        said = next((line for line in reversed(lines) if "error: " in line or ": stopped by" in line), "")
        return f"{number_of_signal.name} to a {what} at a {moment}, step {at}: exit status {status}. {said[:150]}"

    def end(self) -> None:
        """Nothing of a drill that failed runs on."""
        for pid in self.left_behind():
            os.kill(pid, signal.SIGKILL)

    def left_behind(self) -> list[int]:
        """Processes of this run that are alive."""
        return [pid for pid in self._mine() if pid != os.getpid()]

    def _workers(self) -> list[int]:
        assert self.process is not None
        return [pid for pid in self._mine() if pid != self.process.pid]

    def _mine(self) -> list[int]:
        found = []
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
                if str(self.output) in words and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
            except psutil.Error:
                continue
        return found

    def _until(self, is_so: Callable[[], bool]) -> None:
        assert self.process is not None
        deadline = time.monotonic() + TOO_LONG_S
        while not is_so():
            assert self.process.poll() is None, self.words()
            assert time.monotonic() < deadline, f"nothing in {TOO_LONG_S} s: {self.words()}"
            time.sleep(0.002)


if __name__ == "__main__":
    main()
