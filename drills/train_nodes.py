"""Training on several hosts that come and go: each with its own address, torchrun on each, meeting by rendezvous.

    python -m drills.train_nodes [--steps 400] [--keep DIR]

Three network namespaces of this machine (drills/hosts.py) share the disk, as hosts share a cluster's storage. In turn
one is lost without a word, comes back, and another is asked to leave (SIGTERM, as when a node is drained or a pod
evicted); each time the others go on from the last checkpoint, at another world size. Then the scheduler takes all of
them, and one host alone finishes. Every step must be recorded once, losses and weights be those of a run that nobody
disturbed.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from drills.hosts import INTERFACE, Hosts, need_namespaces
from drills.training_run import ROOT, compare, make_inputs, write_config
from train.metrics import read_metrics

NODES = ("node1", "node2", "node3")
PORT = 29400
TOO_LONG_S = 400
# Else workers that start again find the addresses of those before them (pytorch/pytorch#135712) and never meet.
AGENT = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
STEPS_BETWEEN = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--keep", type=Path, help="work here, and leave it to be looked at")
    arguments = parser.parse_args()
    need_namespaces("drills.train_nodes")
    with tempfile.TemporaryDirectory(prefix="mglm-drill-") as folder:
        work = (arguments.keep or Path(folder)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        drill(work, arguments.steps)


def drill(work: Path, steps: int) -> None:
    make_inputs(work)
    write_config(work, steps, batch=24, save_interval=4)
    run = Nodes(work, "disturbed")
    with Hosts(NODES) as hosts:
        run.hosts = hosts
        for name in NODES:
            run.join(name)
        run.until_goes_on(3)
        run.hosts.kill("node3")
        run.until_goes_on(2, "node3 is lost")
        run.join("node3")
        run.until_goes_on(3, "node3 is back")
        run.ask_to_leave("node2")
        run.until_goes_on(2, "node2 was asked to leave")
        at = run.step
        for name in ("node1", "node3"):
            run.ask_to_leave(name)
        until(lambda: not any(hosts.processes(name) for name in NODES), "all to have left", run.words)
        assert run.step < steps, "done before it was taken away"
        print(f"all were asked to leave after step {at} and have saved at {run.step}", flush=True)
        run.join("node2", hosts=1)
        run.until_goes_on(1, "one host alone")
        until(lambda: (run.output / "manifest.json").exists(), "its end", run.words)
        assert run.agents["node2"].wait(TOO_LONG_S) == 0, run.words()
    undisturbed = Nodes(work, "undisturbed")
    subprocess.run([sys.executable, "-m", *undisturbed.arguments()], check=True, env=undisturbed.environment())
    compare(work / "undisturbed", run.output, steps)


class Nodes:
    """One run over hosts; `join` starts torchrun on one of them."""

    hosts: Hosts

    def __init__(self, work: Path, name: str) -> None:
        self.work, self.output = work, work / name
        self.log = work / f"{name}.log"
        self.agents: dict[str, subprocess.Popen[bytes]] = {}
        self.starts = 0

    @property
    def step(self) -> int:
        rows = read_metrics(self.output / "metrics.jsonl")
        return int(rows[-1]["step"]) if rows else 0

    def arguments(self) -> list[str]:
        paths = {"config": "config.toml", "shards": "shards", "plan": "plan.json"}
        given = [word for name, path in paths.items() for word in (f"--{name}", str(self.work / path))]
        return ["mglm", "train", "pretrain", *given, "--output", str(self.output)]

    def environment(self) -> dict[str, str]:
        return {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def join(self, name: str, hosts: int = len(NODES)) -> None:
        """As on any cluster: the first host is where they meet, and gloo is told which network is theirs."""
        torchrun = [
            "torch.distributed.run", "--nnodes", f"1:{hosts}", "--nproc-per-node", "1", "--max-restarts", "9",
            "--rdzv-id", "drill", "--rdzv-backend", "c10d", "--rdzv-conf", "last_call_timeout=5",
            "--rdzv-endpoint", f"{name if hosts == 1 else NODES[0]}:{PORT}", "-m",
        ]  # fmt: skip
        environment = self.environment() | {"GLOO_SOCKET_IFNAME": INTERFACE, **AGENT}
        words = [sys.executable, "-m", *torchrun, *self.arguments()]
        self.agents[name] = self.hosts.start(name, words, self.log, environment, self.work)

    def ask_to_leave(self, name: str) -> None:
        self.agents[name].send_signal(signal.SIGTERM)

    def until_goes_on(self, processes: int, told: str = "") -> None:
        """Waits until this many processes train, and have made some steps."""
        started, before = time.monotonic(), self.step

        def goes_on() -> bool:
            assert any(agent.poll() is None for agent in self.agents.values()), f"all have ended\n{self.words()}"
            events = read_metrics(self.output / "events.jsonl")
            begun = [event for event in events if event["event"] == "start"]
            if len(begun) <= self.starts or begun[-1]["processes"] != processes:
                return False
            return self.step >= begun[-1]["step"] + STEPS_BETWEEN

        until(goes_on, f"{processes} processes to train", self.words)
        begun = [event for event in read_metrics(self.output / "events.jsonl") if event["event"] == "start"]
        self.starts = len(begun)
        since = f"{told} at step {before}: " if told else ""
        redone = begun[-1]["redone_steps"]
        print(
            f"{since}{processes} processes go on from step {begun[-1]['step']}, {redone} steps redone, "
            f"after {time.monotonic() - started:.0f} s",
            flush=True,
        )

    def words(self) -> str:
        return self.log.read_text("utf-8", "replace")[-6000:]


def until(is_so: Callable[[], bool], what: str, words: Callable[[], str]) -> None:
    deadline = time.monotonic() + TOO_LONG_S
    while not is_so():
        assert time.monotonic() < deadline, f"waited {TOO_LONG_S} s for {what}\n{words()}"
        time.sleep(0.05)


if __name__ == "__main__":
    main()
