"""Training as users run it: two tensor-parallel processes; a run stopped and continued equals an uninterrupted one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.manifest import read_manifest
from model.checkpoint_meta import complete_checkpoints
from train.metrics import read_metrics

ROOT = Path(__file__).parents[2]
STEPS = 16
TOO_LONG_S = 150  # on a machine that does other things as well


def start(arguments: list[str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "mglm", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finish(process: "subprocess.Popen[str]") -> str:
    _, errors = process.communicate(timeout=TOO_LONG_S)
    return errors


def wait_for_step(metrics: Path, step: int, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + TOO_LONG_S
    while not any(row["step"] >= step for row in read_metrics(metrics)):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, f"no step {step} in {TOO_LONG_S} s"
        time.sleep(0.01)


@pytest.mark.distributed
def test_a_run_that_was_stopped_and_continued_equals_an_uninterrupted_one(
    shards_directory: Path, plan_path: Path, tiny_config: Path, tmp_path: Path
) -> None:
    def arguments(output: Path) -> list[str]:
        inputs = ["--shards", str(shards_directory), "--plan", str(plan_path), "--config", str(tiny_config)]
        steps = ["--set", f"pretrain.steps={STEPS}", "--set", "pretrain.save_interval=5"]
        return ["train", "pretrain", *inputs, *steps, "--nproc", "2", "--output", str(output)]

    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    process = start(arguments(stopped))
    wait_for_step(stopped / "metrics.jsonl", 2, process)
    os.kill(process.pid, signal.SIGTERM)
    errors = finish(process)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert "run the same command again" in errors
    reached = read_metrics(stopped / "metrics.jsonl")[-1]["step"]
    assert 2 <= reached < STEPS
    assert complete_checkpoints(stopped / "checkpoints")[-1].name == f"step-{reached:08d}"
    assert not (stopped / "manifest.json").exists()

    for output in (stopped, whole):
        process = start(arguments(output))
        errors = finish(process)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
        assert "Warning" not in errors

    ours, theirs = (read_metrics(output / "metrics.jsonl") for output in (stopped, whole))
    assert [row["step"] for row in ours] == [row["step"] for row in theirs] == list(range(1, STEPS + 1))
    for row, wanted in zip(ours, theirs, strict=True):
        assert abs(row["loss"] - wanted["loss"]) <= 1e-6
        assert row["grad_norm"] == pytest.approx(wanted["grad_norm"], rel=1e-5)
        assert row["learning_rate"] == pytest.approx(wanted["learning_rate"], rel=1e-12)

    manifest = read_manifest(whole, "checkpoint/1")
    assert manifest.facts["tensor_parallel"] == 2
    assert set(manifest.inputs) == {"shards", "plan"}
    paths = {entry.path for entry in manifest.files}
    assert f"checkpoints/step-{STEPS:08d}/__0_0.distcp" in paths  # the weights are among what is hashed
    assert "tokenizer/tokenizer.model" in paths
    assert len(complete_checkpoints(whole / "checkpoints")) == 2  # keep_checkpoints
