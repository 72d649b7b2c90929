"""The images without Docker: the Dockerfile linted, every step of it run in a clean root, each image used as meant.

    python -m drills.images [--target spark|train|serve] [--keep DIR]

Each runs as its user on a read-only root, /tmp in memory, in a network of its own (drills/dockerfile.py). spark: a
driver and an executor, started by its entry point as Spark on Kubernetes starts them, build a corpus. train: torchrun
trains a tiny model in two processes. serve: its health check passes, it makes a summary, nothing outside /tmp can be
written, and SIGTERM ends it. Needs root.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from core.manifest import read_manifest
from core.schemas import DOCUMENTS
from drills.dockerfile import DOCKERFILE, PATH, REPOSITORY, Image, Mount, beside, build, in_root
from model.checkpoint_meta import CHECKPOINT

PATIENCE_S = 300.0
TOKEN = "a-token-for-the-image"
PYTHON = ["/opt/mglm/bin/python", "-c"]
ASK = """
import json, sys, urllib.request
headers = {"Authorization": "Bearer " + sys.argv[1], "Content-Type": "application/json"}
body = json.dumps({"text": sys.argv[2], "target": "zh"}).encode()
request = urllib.request.Request("http://127.0.0.1:8000/v1/summaries", body, headers)
sys.stdout.write(urllib.request.urlopen(request, timeout=180).read().decode())
"""
# What Kubernetes would put into the driver's settings, but for the master: a standalone one stands in for its API.
DRIVER = """
spark.master spark://127.0.0.1:7077
spark.driver.host 127.0.0.1
spark.driver.port 7078
spark.driver.memory 512m
spark.ui.enabled false
"""
# As the driver hands them to Kubernetes: what Spark 3.5 reaches into on Java 17 is opened to it.
OPENED = (
    "java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.util",
    "java.util.concurrent", "java.util.concurrent.atomic", "jdk.internal.ref", "sun.nio.ch", "sun.nio.cs",
    "sun.security.action", "sun.util.calendar",
)  # fmt: skip
EXECUTOR = {
    **{f"SPARK_JAVA_OPT_{n}": f"--add-opens=java.base/{name}=ALL-UNNAMED" for n, name in enumerate(OPENED)},
    f"SPARK_JAVA_OPT_{len(OPENED)}": "-Dspark.driver.port=7078",
    "SPARK_EXECUTOR_MEMORY": "512m",
    "SPARK_DRIVER_URL": "spark://CoarseGrainedScheduler@127.0.0.1:7078",
    "SPARK_EXECUTOR_ID": "1",
    "SPARK_EXECUTOR_CORES": "1",
    "SPARK_APPLICATION_ID": "spark-application",
    "SPARK_EXECUTOR_POD_IP": "127.0.0.1",
    "SPARK_RESOURCE_PROFILE_ID": "0",
    "SPARK_EXECUTOR_POD_NAME": "executor-1",
}
TINY = """
[model]
num_layers = 2
hidden_size = 64
num_attention_heads = 2
sequence_length = 64
max_positions = 128
[pretrain]
steps = 3
global_batch_size = 4
micro_batch_size = 2
warmup_steps = 1
"""


def main() -> None:
    """Ends with an error at the first thing that is not as it should be."""
    checks: dict[str, Callable[[Image, Path], None]] = {"spark": spark, "train": train, "serve": serves}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=list(checks), action="append", help="repeatable; default: all")
    parser.add_argument("--keep", type=Path, help="build here, and leave it to be looked at")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("error: mount and chroot need root; found another user. Run it in a machine or container of your own")
    subprocess.run([Path(sys.executable).with_name("hadolint"), str(DOCKERFILE)], check=True)
    print("hadolint: nothing to say", flush=True)
    for target in arguments.target or checks:
        with tempfile.TemporaryDirectory(prefix="mglm-image-") as folder:
            where = arguments.keep / target if arguments.keep else Path(folder)
            image = build(where, target)
            print(f"{target}: {image.size_bytes() / 1e9:.2f} GB beside the base image", flush=True)
            (where / "given").mkdir()
            checks[target](image, where / "given")


def spark(image: Image, given: Path) -> None:
    """Driver and executor by the entry point, as Kubernetes starts them."""
    data = given_to(image, given)
    (data / "crawl.jsonl").write_bytes((REPOSITORY / "examples" / "documents.jsonl").read_bytes())
    (data / "spark.properties").write_text(DRIVER, "utf-8")
    log = given / "log"
    with Container(image, {"/data": Mount(data, writable=True)}, log) as container:
        container.start("spark-class", "org.apache.spark.deploy.master.Master", "--host", "127.0.0.1")
        until(lambda: "Starting Spark master" in log.read_text("utf-8"), log, container.process)
        arguments = ["corpus", "build", "--input", "/data/crawl.jsonl", "--output", "/data/corpus"]
        submitted = ["--properties-file", "/data/spark.properties", "--class", "org.apache.spark.deploy.PythonRunner"]
        words = ["driver", *submitted, "local:///opt/spark_main.py", *arguments]
        driver = container.start(*words, SPARK_DRIVER_BIND_ADDRESS="127.0.0.1")
        until(lambda: "input files" in log.read_text("utf-8"), log, driver)
        deadline = time.monotonic() + PATIENCE_S
        while (
            driver.poll() is None and time.monotonic() < deadline
        ):  # one that meets no driver ends, and is started again
            executor = container.start("executor", **EXECUTOR)
            while executor.poll() is None and driver.poll() is None and time.monotonic() < deadline:
                time.sleep(0.2)
        if driver.poll() != 0:
            sys.exit(f"error: the driver ended with status {driver.returncode}\n{log.read_text('utf-8')[-6000:]}")
    documents = read_manifest(data / "corpus", DOCUMENTS).facts["documents"]
    print(f"spark: driver and executor made {documents} documents", flush=True)


def train(image: Image, given: Path) -> None:
    """torchrun, two processes."""
    from drills.training_run import make_inputs

    data = given_to(image, given)
    make_inputs(data)
    (data / "config.toml").write_text(TINY, "utf-8")
    subprocess.run(["chown", "--recursive", image.user, str(data)], check=True)
    paths = ["--config", "/data/config.toml", "--shards", "/data/shards", "--plan", "/data/plan.json"]
    torchrun = [
        "torchrun",
        "--nproc-per-node",
        "2",
        "--master-addr",
        "127.0.0.1",
        "--master-port",
        "29500",
        "-m",
        "mglm",
    ]
    words = [*torchrun, "train", "pretrain", *paths, "--output", "/data/run"]
    command = ["env", "GLOO_SOCKET_IFNAME=lo", "OMP_NUM_THREADS=1", *image.entrypoint, *words]
    subprocess.run(in_root(image, command, {"/data": Mount(data, writable=True)}), check=True, env=PATH, timeout=600)
    print(f"train: {read_manifest(data / 'run', CHECKPOINT).facts['steps']} steps in two processes", flush=True)


def serves(image: Image, given: Path) -> None:
    """Runs it as its users do, and asks it what they ask."""
    from tests.serve.tiny_model import article, write_model

    model = write_model(given / "weights")
    (model / "model.safetensors").chmod(0o644)  # the image's user must be able to read what is mounted
    image.environment["MGLM_SERVE_TOKENS"] = TOKEN
    command = in_root(image, image.entrypoint, {"/model": Mount(model)})
    service = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=PATH)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(service.stderr or ()), daemon=True)
    reader.start()

    def ask(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(beside(service, image, words), capture_output=True, text=True, env=PATH)

    try:
        deadline = time.monotonic() + PATIENCE_S
        while ask(*image.health).returncode:
            if service.poll() is not None or time.monotonic() > deadline:
                sys.exit("error: the health check does not pass\n" + "".join(lines[-20:]))
            time.sleep(0.5)
        print("serve: HEALTHCHECK passes", flush=True)
        asked = ask(*PYTHON, ASK, TOKEN, article(1))
        if asked.returncode:
            sys.exit("error: no summary\n" + asked.stderr + "".join(lines[-20:]))
        (answer,) = json.loads(asked.stdout)["summaries"]
        print(f"a summary of {answer['output_tokens']} tokens, language {answer['language']['code']}", flush=True)
        if "401" not in ask(*PYTHON, ASK, "wrong", article(1)).stderr:
            sys.exit("error: served without its token")
        status = Path(f"/proc/{service.pid}/status").read_text("ascii")
        uids = re.findall(r"^Uid:(.*)$", status, re.MULTILINE)[0].split()
        if set(uids) != {image.user.partition(":")[0]}:
            sys.exit(f"error: runs as user {uids}")
        for place in ("/", "/model", "/opt/mglm", "/etc", "/usr", "/tmp"):
            written = ask("sh", "-c", f"touch {place}/written").returncode == 0
            if written != (place == "/tmp"):
                sys.exit(f"error: {place} can{'' if written else 'not'} be written")
        print(f"user {uids[0]}, nothing but /tmp can be written, no token no answer", flush=True)
        service.terminate()
        if service.wait(PATIENCE_S):
            sys.exit(f"error: SIGTERM ended it with status {service.returncode}\n" + "".join(lines[-20:]))
        print("SIGTERM ends it with status 0", flush=True)
    finally:
        service.kill()
        service.wait()
        reader.join()


class Container:
    """An image that does nothing but stay, so that several programs can be started in it; they end with it."""

    def __init__(self, image: Image, mounts: dict[str, Mount], log: Path) -> None:
        self.image, self.log = image, log
        log.touch()
        command = in_root(image, ["sh", "-c", "echo up; exec sleep infinity"], mounts)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=PATH)
        self._started: list[subprocess.Popen[str]] = []

    def __enter__(self) -> "Container":
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "up\n"
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self._started, self.process]:
            process.kill()
            process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def start(self, *words: str, **settings: str) -> "subprocess.Popen[str]":
        """Starts what the entry point makes of `words`."""
        command = beside(self.process, self.image, [*self.image.entrypoint, *words], **settings)
        with self.log.open("a") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, text=True, env=PATH)
        self._started.append(process)
        return process


def given_to(image: Image, given: Path) -> Path:
    """A directory that the image's user may write to."""
    data = given / "data"
    data.mkdir()
    user, group = (int(number) for number in image.user.split(":"))
    os.chown(data, user, group)
    return data


def until(is_so: Callable[[], bool], log: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"error: ended, or nothing in {PATIENCE_S:.0f} s\n{log.read_text('utf-8')[-6000:]}")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
