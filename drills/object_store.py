"""`mglm push` and `mglm pull` against an S3 server of this machine (moto), cut off in the middle and continued.

    python -m drills.object_store

A stage of some hundred files goes up; the command is killed when part of it is there: nothing can be pulled. The same
command again sends only what is missing, and the manifest last. What comes back by pull, itself killed once, is the
same files. Then a training run that is stopped goes to the store, and goes on from there in another directory.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from core.manifest import MANIFEST_NAME, read_manifest
from core.schemas import SHARDS
from core.stage import open_stage
from drills.training_run import ROOT, free_port, make_inputs, write_config
from mglm.transfer import Store

FILES, FILE_BYTES = 300, 200_000
TOO_LONG_S = 180
STEPS = 12


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="mglm-drill-") as folder, s3_server() as environment:
        os.environ.update(environment)
        work = Path(folder)
        stage_there_and_back(work)
        run_that_moves(work)


def stage_there_and_back(work: Path) -> None:
    stage = open_stage(work / "stage", schema=SHARDS, config={}, inputs={})
    for number in range(FILES):
        (work / "stage" / f"part-{number:05d}.arrow").write_bytes(os.urandom(FILE_BYTES))
    stage.finish()
    address = "s3://mglm/stage"
    store = Store.at(address)
    push = ["push", "--input", str(work / "stage"), "--output", address, "--jobs", "2"]
    killed = start(*push)
    wait(lambda: len(store.sizes()) > FILES // 5, killed)
    killed.kill()
    killed.wait()
    before = len(store.sizes())
    assert MANIFEST_NAME not in store.sizes(), "complete before it was"
    pull = ["pull", "--input", address, "--output", str(work / "back"), "--jobs", "2"]
    refused = start(*pull)
    assert "none of them manifest.json" in refused.communicate()[1], "an incomplete stage was pulled"
    told = done(*push)
    assert f"{FILES - before} files" in told or f"{FILES - before + 1} files" in told, told
    partial = work / "back.pulling"
    killed = start(*pull)
    wait(lambda: len(list(partial.glob("part-*.arrow"))) > FILES // 5, killed)
    killed.kill()
    killed.wait()
    assert not (work / "back").exists()
    done(*pull)
    read_manifest(work / "back", SHARDS)
    for path in (work / "stage").glob("part-*.arrow"):
        assert (work / "back" / path.name).read_bytes() == path.read_bytes()
    print(f"{FILES} files to S3 and back, both ways killed; {before} were there when the push was killed", flush=True)


def run_that_moves(work: Path) -> None:
    """Training stops at a signal here, and goes on from the store elsewhere."""
    make_inputs(work)
    write_config(work, STEPS)

    def train(output: str) -> "subprocess.Popen[str]":
        paths = {"config": "config.toml", "shards": "shards", "plan": "plan.json", "heldout": "documents"}
        given = [word for name, path in paths.items() for word in (f"--{name}", str(work / path))]
        return start("train", "pretrain", *given, "--output", str(work / output))

    here = train("here")
    wait(lambda: any((work / "here" / "checkpoints").glob("step-*")), here)
    here.send_signal(signal.SIGTERM)
    here.communicate()
    assert not (work / "here" / MANIFEST_NAME).exists(), "done before it could be stopped"
    done("push", "--input", str(work / "here"), "--output", "s3://mglm/run")
    done("pull", "--input", "s3://mglm/run", "--output", str(work / "there"))
    there = train("there")
    words = there.communicate()[1]
    assert there.returncode == 0, words
    events = (work / "there" / "events.jsonl").read_text("utf-8")
    starts = [line for line in events.splitlines() if '"start"' in line]
    assert len(starts) == 2, events
    assert '"step": 0,' not in starts[1], events
    print(f"a run stopped here went on there and came to step {STEPS}", flush=True)


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """A server with one bucket, and the variables that lead to it."""
    port = free_port()
    words = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "drill",
        "AWS_SECRET_ACCESS_KEY": "drill",
        "AWS_REGION": "us-east-1",
    }
    try:
        deadline = time.monotonic() + TOO_LONG_S
        while True:
            made = subprocess.run(
                ["curl", "--silent", "--fail", "-X", "PUT", f"{environment['AWS_ENDPOINT_URL']}/mglm"]
            )
            if made.returncode == 0:
                break
            assert server.poll() is None, "moto has ended; is it installed? See drills/requirements.txt"
            assert time.monotonic() < deadline, "moto does not answer"
            time.sleep(0.5)
        yield environment
    finally:
        server.kill()
        server.wait()


def start(*arguments: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "mglm", *arguments]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def done(*arguments: str) -> str:
    process = start(*arguments)
    words = process.communicate()[1]
    assert process.returncode == 0, words
    return words


def wait(is_so: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + TOO_LONG_S
    while not is_so():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "nothing happens"
        time.sleep(0.01)


if __name__ == "__main__":
    main()
