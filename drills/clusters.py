"""A Spark standalone cluster on this machine, from the pip package alone: a master and workers, each a process.

On the machine's own network, so that it needs no rights; drills/spark_cluster.py starts the same daemons on hosts of
their own (drills/hosts.py).
"""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pyspark

from core.spark import java_home

ROOT = Path(__file__).parents[1]
EXECUTOR = "CoarseGrainedExecutorBackend"
_START_S = 120


class Cluster:
    """Starts, kills and starts again the workers of one master."""

    def __init__(self, work: Path, workers: int, *, cores: int = 1, memory: str = "1g") -> None:
        self._work, self._cores, self._memory = work, cores, memory
        self._port = free_port()
        self.address = f"spark://127.0.0.1:{self._port}"
        self._master = self._start("Master", "--host", "127.0.0.1", "--port", str(self._port), "--webui-port", "0")
        _wait_until_open(self._port)
        self.workers = [self._start_worker(number) for number in range(workers)]

    def kill_worker(self, number: int) -> None:
        """SIGKILL to a worker, and another in its place."""
        self.workers[number].kill()
        self.workers[number].wait()
        self.workers[number] = self._start_worker(number)

    def executors(self) -> list[psutil.Process]:
        """The executors that run now."""
        found = []
        for worker in self.workers:
            try:
                children = psutil.Process(worker.pid).children(recursive=True)
                found += [child for child in children if EXECUTOR in " ".join(child.cmdline())]
            except psutil.Error:  # it ended while we looked
                continue
        return found

    def stop(self) -> None:
        """Ends every process of the cluster."""
        for process in [*self.workers, self._master]:
            tree = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.kill()
            process.wait()
            for child in tree:
                if child.is_running():
                    child.kill()

    def _start_worker(self, number: int) -> "subprocess.Popen[bytes]":
        given = ("--host", "127.0.0.1", "--cores", str(self._cores), "--memory", self._memory, "--webui-port", "0")
        folder = self._work / f"worker-{number}"
        return self._start("Worker", *given, "--work-dir", str(folder), self.address, folder="worker")

    def _start(self, role: str, *arguments: str, folder: str = "master") -> "subprocess.Popen[bytes]":
        environment = os.environ | daemon_environment() | {"SPARK_LOCAL_IP": "127.0.0.1", "PYTHONPATH": str(ROOT)}
        command = daemon(f"{folder}.{role}", *arguments)
        with (self._work / f"{role.lower()}.log").open("ab") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


@contextmanager
def cluster(work: Path, workers: int = 2) -> Iterator[Cluster]:
    """A cluster that ends with the block."""
    made = Cluster(work, workers)
    try:
        yield made
    finally:
        made.stop()


def spark_home() -> Path:
    """Where the pip package has Spark."""
    return Path(pyspark.__file__).parent


def daemon(kind: str, *arguments: str) -> list[str]:
    """What starts `master.Master` or `worker.Worker`."""
    return [str(spark_home() / "bin" / "spark-class"), f"org.apache.spark.deploy.{kind}", *arguments]


def daemon_environment() -> dict[str, str]:
    """What a daemon needs to know."""
    return {"JAVA_HOME": str(java_home()), "SPARK_HOME": str(spark_home()), "SPARK_DAEMON_MEMORY": "256m"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_open(port: int) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise TimeoutError("the master did not start")
