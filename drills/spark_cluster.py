"""A Spark cluster of several hosts: real daemons, real spark-submit, the program shipped as a zip, workers lost midway.

    python -m drills.spark_cluster [--keep DIR]

A master, two workers and the host that submits are network namespaces of this machine (drills/hosts.py). Their Python
has the packages that mglm needs but not mglm: it comes with `--py-files`, made by `mglm package`. `corpus build`, with
its search for near-duplicates, `balancing sample`, `tokenizer shard` and `eval contamination` run there; a worker host
is killed, executors and all, while the first and the third work. Each must come to the same content as on one machine.
"""

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from core.manifest import read_manifest
from core.schemas import DOCUMENTS, SAMPLE, SHARDS
from drills.clusters import daemon, daemon_environment, spark_home
from drills.hosts import Hosts, need_namespaces
from eval.contamination import CONTAMINATION

ROOT = Path(__file__).parents[1]
WORKERS = ("worker1", "worker2")
MASTER_PORT = 7077
TOO_LONG_S = 300
FILES, RECORDS_OF_FILE = 16, 150
CONFIG = """
[spark]
java_options = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
[corpus]
split_bytes = 100000
file_bytes = 1000000
heldout_share = 0.05
near_duplicates.enabled = true
[balancing]
sample_bytes = 1000000
[tokenizer]
vocab_size = 2000
shard_text_bytes = 100000
"""
SMALL = {
    "spark.driver.memory": "512m",
    "spark.executor.memory": "512m",
    "spark.executor.cores": "1",
    "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.ui.enabled": "false",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="work here, and leave it to be looked at")
    arguments = parser.parse_args()
    need_namespaces("drills.spark_cluster")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mglm-drill-") as folder:
        work = (arguments.keep or Path(folder)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        drill(work)
    print(f"the cluster's results are those of one machine; {time.monotonic() - started:.0f} s")


def drill(work: Path) -> None:
    make_input(work / "crawl")
    (work / "config.toml").write_text(CONFIG, "utf-8")
    mglm("package", "--output", str(work / "mglm.zip"))
    local, there = Road(work, work / "local"), Road(work, work / "cluster")
    mglm(*local.corpus())
    mglm("balancing", "fit", "--counts", str(local.output / "corpus"), "--output", str(work / "plan"))
    mglm(*local.sample())
    mglm(
        "tokenizer",
        "train",
        "--sample",
        str(local.output / "sample"),
        "--output",
        str(work / "tokenizer"),
        *local.config,
    )
    mglm(*local.shard())
    texts = ["--input", str(ROOT / "examples" / "documents.jsonl")]
    mglm("eval", "prepare", "--task", "summaries", *texts, "--output", str(work / "examples"), *local.config)
    mglm(*local.contamination())
    with Hosts(["master", "submitter", *WORKERS]) as hosts:
        cluster = Cluster(hosts, work)
        cluster.start()
        cluster.submit(there.corpus(), kill=("worker1", lambda: there.parts(".json") >= FILES // 4))
        same(local, there, "corpus", DOCUMENTS)
        cluster.start_worker("worker1")
        cluster.submit(there.sample())
        same(local, there, "sample", SAMPLE)
        cluster.submit(there.shard(), kill=("worker2", lambda: there.shards() >= 3))
        same(local, there, "shards", SHARDS)
        cluster.submit(there.contamination())
        same(local, there, "contamination", CONTAMINATION)


@dataclass(frozen=True)
class Road:
    """The commands of one run; the plan and the tokenizer are those of the local run for both."""

    work: Path
    output: Path

    @property
    def config(self) -> list[str]:
        return ["--config", str(self.work / "config.toml")]

    def corpus(self) -> list[str]:
        return ["corpus", "build", "--input", str(self.work / "crawl"), *self._to("corpus")]

    def sample(self) -> list[str]:
        return ["balancing", "sample", *self._documents(), *self._to("sample")]

    def shard(self) -> list[str]:
        tokenizer = ["--tokenizer", str(self.work / "tokenizer")]
        return ["tokenizer", "shard", *self._documents(), *tokenizer, *self._to("shards")]

    def contamination(self) -> list[str]:
        given = ["--documents", str(self.output / "corpus"), "--examples", str(self.work / "examples")]
        return ["eval", "contamination", *given, *self._to("contamination")]

    def parts(self, suffix: str) -> int:
        return len(list((self.output / "corpus" / "_work" / "parts").rglob(f"*{suffix}")))

    def shards(self) -> int:
        return len(list((self.output / "shards").glob("lang=*/part-*.arrow")))

    def _documents(self) -> list[str]:
        return ["--documents", str(self.output / "corpus"), "--plan", str(self.work / "plan" / "plan.json")]

    def _to(self, name: str) -> list[str]:
        return ["--output", str(self.output / name), *self.config]


@dataclass
class Cluster:
    """Master and workers, as an administrator starts them, and spark-submit on another host."""

    hosts: Hosts
    work: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Daemons in an environment of their own; raises if mglm could be imported there without being shipped."""
        for name in ("elsewhere", "logs", "scratch"):
            (self.work / name).mkdir(exist_ok=True)
        python = python_without_mglm(self.work / "python")
        self.environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            **daemon_environment(),
            "SPARK_LOCAL_DIRS": str(self.work / "scratch"),
            "PYSPARK_PYTHON": str(python),
            "OMP_NUM_THREADS": "1",
        }
        probe = [
            str(python),
            "-c",
            "import pyarrow, pyspark\ntry: import mglm\nexcept ImportError: raise SystemExit(7)",
        ]
        done = subprocess.run(probe, env=self.environment, cwd=self.work / "elsewhere")
        assert done.returncode == 7, "the workers' Python knows mglm already: nothing would be shown"
        self._daemon("master", "master.Master", "--host", "master", "--port", str(MASTER_PORT), "--webui-port", "8080")
        for name in WORKERS:
            self.start_worker(name)

    def start_worker(self, name: str) -> None:
        """Returns when the master knows it."""
        before = self._log("master").count("Registering worker")
        size = [
            "--cores",
            "1",
            "--memory",
            "600m",
            "--webui-port",
            "8081",
            "--work-dir",
            str(self.work / "scratch" / name),
        ]
        self._daemon(name, "worker.Worker", *size, f"spark://master:{MASTER_PORT}")
        until(lambda: self._log("master").count("Registering worker") > before, f"{name} joins", self._log(name))

    def submit(self, arguments: list[str], kill: tuple[str, Callable[[], bool]] | None = None) -> None:
        """Runs one command of mglm on the cluster; a host is killed when the moment has come.

        Raises:
            AssertionError: the job failed, or was done before the host could be killed.
        """
        settings = [word for name, value in SMALL.items() for word in ("--conf", f"{name}={value}")]
        program = ["--py-files", str(self.work / "mglm.zip"), str(ROOT / "docker" / "spark_main.py")]
        words = [f"{spark_home()}/bin/spark-submit", "--master", f"spark://master:{MASTER_PORT}", *settings, *program]
        log = self.work / "logs" / "submitter"
        log.unlink(missing_ok=True)
        started = time.monotonic()
        driver = self.hosts.start("submitter", [*words, *arguments], log, self.environment, self.work / "elsewhere")
        lost = ""
        if kill is not None:
            name, moment = kill
            until(lambda: moment() or driver.poll() is not None, "the moment to kill", "")
            assert driver.poll() is None, f"done before {name} could be killed\n{self._log('submitter')}"
            words_there = [word for pid in self.hosts.processes(name) for word in cmdline(pid)]
            assert any("executor" in word for word in words_there), f"{name} has no part in the job"
            self.hosts.kill(name)
            lost = f", {name} killed after {time.monotonic() - started:.0f} s"
        try:
            status = driver.wait(TOO_LONG_S)
        except subprocess.TimeoutExpired:
            status = -1
        told = self._log("submitter")
        assert status == 0, f"{' '.join(arguments[:2])} failed, {status}\n{told[-6000:]}"
        assert kill is None or "Lost executor" in told, f"the loss of {kill[0]} was not noticed\n{told[-6000:]}"
        print(f"{' '.join(arguments[:2])} on the cluster: {time.monotonic() - started:.0f} s{lost}", flush=True)

    def _daemon(self, host: str, kind: str, *arguments: str) -> None:
        self.hosts.start(
            host, daemon(kind, *arguments), self.work / "logs" / host, self.environment, self.work / "elsewhere"
        )

    def _log(self, host: str) -> str:
        path = self.work / "logs" / host
        return path.read_text("utf-8", "replace") if path.exists() else ""


def python_without_mglm(folder: Path) -> Path:
    """A Python with this one's packages, but not with what a checkout adds to it (an editable install, PYTHONPATH)."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--clear", str(folder)], check=True)
    packages = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    return folder / "bin" / "python"


def make_input(folder: Path) -> None:
    """JSON Lines of the texts in examples/, cut here and there: many documents come of few, some nearly alike."""
    records = [json.loads(line) for line in (ROOT / "examples" / "documents.jsonl").read_text("utf-8").splitlines()]
    folder.mkdir(exist_ok=True)
    for number in range(FILES):
        lines = []
        for index in range(RECORDS_OF_FILE):
            text = records[(number * 37 + index) % len(records)]["text"]
            cut = (number * 211 + index * 13) % max(1, len(text) // 2)
            lines.append(json.dumps({"text": text[cut:] + f"\n{number if index % 3 else ''}"}, ensure_ascii=False))
        (folder / f"crawl-{number:02d}.jsonl").write_text("\n".join([*lines, "no JSON"]) + "\n", "utf-8")


def mglm(*arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "mglm", *arguments], cwd=ROOT, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )


def same(local: Road, there: Road, name: str, schema: str) -> None:
    ours, theirs = (read_manifest(road.output / name, schema) for road in (local, there))
    assert ours.counts == theirs.counts, f"{name}: other counts than on one machine"
    assert ours.content_hash() == theirs.content_hash(), f"{name}: another content than on one machine"


def cmdline(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text("utf-8").lower().split("\0")
    except OSError:
        return []


def until(is_so: Callable[[], bool], what: str, otherwise: str) -> None:
    deadline = time.monotonic() + TOO_LONG_S
    while not is_so():
        assert time.monotonic() < deadline, f"waited {TOO_LONG_S} s for: {what}\n{otherwise}"
        time.sleep(0.05)


if __name__ == "__main__":
    main()
