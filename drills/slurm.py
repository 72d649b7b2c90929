"""docker/slurm/ under a real Slurm: a controller and two nodes, each a host of its own (drills/hosts.py).

    python -m drills.slurm [--root DIR]

`sbatch docker/slurm/pretrain.sbatch` trains on both nodes; the signal that Slurm sends before the time is up comes in
the middle. The run must save, be queued again, go on from that step and come to the end of an undisturbed run. Then
`sbatch docker/slurm/spark.sbatch corpus build` runs a Spark cluster inside a job.

Slurm is the machine's (Debian: apt install slurmctld slurmd slurm-client), or packages unpacked at --root:
    apt-get download slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge libmunge2 libhwloc15
    for package in *.deb; do dpkg -x "$package" DIR; done
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from core.manifest import MANIFEST_NAME, read_manifest
from core.schemas import DOCUMENTS
from drills.hosts import INTERFACE, Hosts, need_namespaces
from drills.training_run import ROOT, compare, make_inputs, write_config
from train.metrics import read_metrics

NODES = ("node1", "node2")
STEPS, STEPS_BEFORE = 200, 10
TOO_LONG_S = 500
CONF = """
ClusterName=drill
SlurmctldHost=head
AuthType=auth/none
CredType=cred/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
SlurmUser=root
SlurmdUser=root
SlurmctldPidFile={work}/slurmctld.pid
SlurmdPidFile={work}/slurmd-%n.pid
SlurmdSpoolDir={work}/spool-%n
StateSaveLocation={work}/state
SwitchType=switch/none
TaskPlugin=task/none
SelectType=select/linear
PluginDir={plugins}
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=30
SchedulerParameters=sched_interval=2
NodeName=node[1-2] CPUs=1 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("/"), help="where Slurm's packages are unpacked")
    parser.add_argument("--keep", type=Path, help="work here, and leave it to be looked at")
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    if not (root / "usr" / "sbin" / "slurmctld-wlm").exists():
        print("not run: no Slurm of Debian's on this machine; see --help", file=sys.stderr)
        return
    need_namespaces("drills.slurm")
    with tempfile.TemporaryDirectory(prefix="mglm-drill-") as folder:
        work = (arguments.keep or Path(folder)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        with Hosts(["head", *NODES]) as hosts:
            slurm = Slurm(hosts, work, root)
            train(slurm, work)
            spark(slurm, work)


def train(slurm: "Slurm", work: Path) -> None:
    make_inputs(work)
    write_config(work, STEPS, batch=24, save_interval=4)
    output = work / "disturbed"
    given = [str(work / name) for name in ("config.toml", "shards", "plan.json", "disturbed")]
    job = slurm.sbatch("pretrain.sbatch", "--nodes=2", "--time=30", "--gpus-per-node=0", arguments=given)
    slurm.until(lambda: len(read_metrics(output / "metrics.jsonl")) >= STEPS_BEFORE, "the first steps")
    slurm.run("scancel", "--batch", "--signal=USR1", job)
    slurm.until(lambda: "queued again" in slurm.words(), "the job to be queued again")
    saved = len(read_metrics(output / "metrics.jsonl"))
    assert saved < STEPS, "done before the signal came"
    slurm.run("scontrol", "update", f"JobId={job}", "StartTime=now")  # Slurm lets a job wait two minutes
    slurm.until(lambda: (output / MANIFEST_NAME).exists(), "its end")
    starts = [event for event in read_metrics(output / "events.jsonl") if event["event"] == "start"]
    assert [(event["processes"], event["step"]) for event in starts] == [(2, 0), (2, saved)], starts
    assert starts[1]["redone_steps"] == 0, starts
    print(f"pretrain.sbatch: signalled, saved at step {saved}, queued again, went on to {STEPS}", flush=True)
    undisturbed = ["--config", "config.toml", "--shards", "shards", "--plan", "plan.json", "--output", "undisturbed"]
    words = [sys.executable, "-m", "mglm", "train", "pretrain", *undisturbed]
    subprocess.run(words, check=True, cwd=work, env=os.environ | {"PYTHONPATH": str(ROOT)})
    compare(work / "undisturbed", output, STEPS)


def spark(slurm: "Slurm", work: Path) -> None:
    shutil.copy(ROOT / "examples" / "documents.jsonl", work / "crawl.jsonl")
    given = ["corpus", "build", "--input", str(work / "crawl.jsonl"), "--output", str(work / "corpus")]
    slurm.sbatch("spark.sbatch", "--nodes=2", "--time=30", arguments=given)
    slurm.until(lambda: (work / "corpus" / MANIFEST_NAME).exists(), "the corpus")
    documents = read_manifest(work / "corpus", DOCUMENTS).facts["documents"]
    print(f"spark.sbatch: {documents} documents, by a Spark cluster inside a job", flush=True)


class Slurm:
    """Its daemons on their hosts, and its commands on the first of them."""

    def __init__(self, hosts: Hosts, work: Path, root: Path) -> None:
        self.hosts, self.work = hosts, work
        libraries = root / "usr" / "lib" / "x86_64-linux-gnu"
        (work / "state").mkdir(exist_ok=True)
        (work / "slurm.conf").write_text(CONF.format(work=work, plugins=libraries / "slurm-wlm"), "utf-8")
        self.environment = {
            "PATH": f"{root}/usr/bin:/usr/local/bin:/usr/bin:/bin",
            "SLURM_CONF": str(work / "slurm.conf"),
            "HOME": str(work),
        }
        if root != Path("/"):  # else jobs would load the machine's libraries in place of their own interpreter's
            self.environment["LD_LIBRARY_PATH"] = f"{libraries / 'slurm-wlm'}:{libraries}"
        programs = root / "usr" / "sbin"
        self._daemon("head", f"{programs}/slurmctld-wlm", "-D", "-c")
        for node in NODES:
            self._daemon(node, f"{programs}/slurmd-wlm", "-D", "-N", node, "-d", f"{programs}/slurmstepd-wlm")
        self.until(lambda: "2   idle" in self.run("sinfo", must=False), "the nodes")

    def sbatch(self, script: str, *options: str, arguments: list[str]) -> str:
        """Submits a script of docker/slurm; the number of its job."""
        wanted = {"MGLM": str(self._environment_of_python()), "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": INTERFACE}
        output = f"--output={self.work}/job.log"
        words = ["sbatch", "--parsable", output, *options, str(ROOT / "docker" / "slurm" / script), *arguments]
        return self.run(*words, **wanted).strip()

    def run(self, *words: str, must: bool = True, **settings: str) -> str:
        command, environment = self.hosts.command("head", words), self.environment | settings
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0 or not must, f"{' '.join(words)}: {done.stderr}"
        return done.stdout

    def words(self) -> str:
        log = self.work / "job.log"
        return log.read_text("utf-8", "replace") if log.exists() else ""

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + TOO_LONG_S
        while not is_so():
            assert time.monotonic() < deadline, f"waited {TOO_LONG_S} s for {what}\n{self.words()[-6000:]}"
            time.sleep(0.2)

    def _daemon(self, host: str, *words: str) -> None:
        self.hosts.start(host, words, self.work / f"{host}.log", self.environment, self.work)

    def _environment_of_python(self) -> Path:
        """What a job takes for its virtual environment: this Python, torchrun and mglm."""
        place = self.work / "environment" / "bin"
        place.mkdir(parents=True, exist_ok=True)
        commands = {"python": "", "torchrun": "-m torch.distributed.run", "mglm": "-m mglm"}
        for name, module in commands.items():
            (place / name).write_text(f'#!/bin/sh\nexec {sys.executable} {module} "$@"\n', "utf-8")
            (place / name).chmod(0o755)
        return place.parent


if __name__ == "__main__":
    main()
