"""Training as users run it, in two processes: stopped, killed, its newest checkpoint cut short, continued at other
layouts, a run equals an uninterrupted one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.manifest import read_manifest
from model.checkpoint_meta import complete_checkpoints
from train.metrics import read_metrics

ROOT = Path(__file__).parents[2]
STEPS = 20
TOO_LONG_S = 150  # on a machine that does other things as well


def start(arguments: list[str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "mglm", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finish(process: "subprocess.Popen[str]") -> str:
    _, errors = process.communicate(timeout=TOO_LONG_S)
    return errors


def wait_until(is_so: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + TOO_LONG_S
    while not is_so():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, f"nothing in {TOO_LONG_S} s"
        time.sleep(0.005)


@pytest.mark.distributed
def test_a_run_that_was_stopped_and_killed_and_continued_elsewhere_equals_an_uninterrupted_one(
    shards_directory: Path, plan_path: Path, documents_directory: Path, tiny_config: Path, tmp_path: Path
) -> None:
    def arguments(output: Path, *layout: str) -> list[str]:
        inputs = ["--shards", str(shards_directory), "--plan", str(plan_path), "--config", str(tiny_config)]
        settings = [f"steps={STEPS}", "save_interval=3", "distributed_optimizer=true", "tensor_parallel=1", *layout]
        return [
            "train", "pretrain", *inputs, "--heldout", str(documents_directory), "--nproc", "2",
            "--output", str(output),
            *(item for setting in settings for item in ("--set", f"pretrain.{setting}")),
        ]  # fmt: skip

    broken, whole = tmp_path / "broken", tmp_path / "whole"
    metrics, checkpoints = broken / "metrics.jsonl", broken / "checkpoints"

    def step() -> int:
        return max((row["step"] for row in read_metrics(metrics)), default=0)

    # A pre-emption: the state is saved.
    process = start(arguments(broken, "tensor_parallel=2"))
    wait_until(lambda: step() >= 2, process)
    os.kill(process.pid, signal.SIGUSR1)
    errors = finish(process)
    assert process.returncode == 128 + signal.SIGUSR1, errors
    assert "after saving: run the same command again" in errors
    reached = step()
    assert 2 <= reached < STEPS - 5
    assert complete_checkpoints(checkpoints)[-1].name == f"step-{reached:08d}"
    assert not (broken / "manifest.json").exists()

    # A worker dies: the others end, too, and the reason is told.
    process = start(arguments(broken, "pipeline_parallel=2"))
    wait_until(lambda: int(complete_checkpoints(checkpoints)[-1].name[5:]) > reached, process)
    workers = psutil.Process(process.pid).children(recursive=True)
    workers[-1].kill()
    errors = finish(process)
    assert process.returncode == 2, errors
    assert "killed by SIGKILL" in errors
    assert "Traceback" not in errors
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)

    # The newest checkpoint is cut short: the one before it is good.
    older, newest = complete_checkpoints(checkpoints)[-2:]
    os.truncate(newest / "__0_0.distcp", 1000)
    for output, layout in ((broken, "pipeline_parallel=1"), (whole, "tensor_parallel=2")):
        process = start(arguments(output, layout))
        errors = finish(process)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
        assert ("is damaged (1000 of" in errors) == (output == broken)
        assert errors.count("Warning") == 0

    ours, theirs = (read_metrics(output / "metrics.jsonl") for output in (broken, whole))
    assert [row["step"] for row in ours] == [row["step"] for row in theirs] == list(range(1, STEPS + 1))
    for row, wanted in zip(ours, theirs, strict=True):
        assert row["loss"] == pytest.approx(wanted["loss"], rel=1e-6)
        assert row["grad_norm"] == pytest.approx(wanted["grad_norm"], rel=2e-5)
        assert row["learning_rate"] == pytest.approx(wanted["learning_rate"], rel=1e-12)
        assert row.get("loss_of", {}) == pytest.approx(wanted.get("loss_of", {}), abs=2e-5)
    assert set(ours[-1]["loss_of"]) == {"en", "hi", "th"}

    told = [event["event"] for event in read_metrics(broken / "events.jsonl")]
    assert told.count("start") == 3
    assert told.count("stop") == told.count("checkpoint damaged") == told.count("end") == 1
    starts = [event for event in read_metrics(broken / "events.jsonl") if event["event"] == "start"]
    assert starts[-1]["step"] == int(older.name[5:])
    assert starts[-1]["redone_steps"] > 0
    assert evaluation(broken) == pytest.approx(evaluation(whole), rel=1e-5)
    assert {row["lang"] for row in read_metrics(broken / "samples.jsonl")} == {"en", "hi", "th"}

    manifest = read_manifest(whole, "checkpoint/1")
    assert manifest.facts["tensor_parallel"] == 2
    assert set(manifest.inputs) == {"shards", "plan"}
    paths = {entry.path for entry in manifest.files}
    assert f"checkpoints/step-{STEPS:08d}/__0_0.distcp" in paths  # the weights are among what is hashed
    assert "tokenizer/tokenizer.model" in paths
    assert not any(path.startswith("checkpoints/best") for path in paths)
    best = (whole / "checkpoints" / "best").readlink().name
    kept = [path.name for path in complete_checkpoints(whole / "checkpoints")]
    assert len(set(kept) - {best}) <= 2  # keep_checkpoints
    assert best in kept


def evaluation(output: Path) -> dict[str, Any]:
    """The scores of the last one."""
    found = [event for event in read_metrics(output / "events.jsonl") if event["event"] == "evaluation"][-1]
    return {"all": found["bits_per_byte"], **found["languages"]}
