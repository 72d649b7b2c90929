"""Fine-tuning with everything switched on, in two processes: killed and continued at another layout it equals a run of
one process; frozen layers keep their weights to the bit, and the best checkpoint by the task's metric stays."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from core.config import RunConfig
from core.examples import EXAMPLES, write_examples
from core.stage import open_stage
from mglm.development import find_development
from model.checkpoint_meta import complete_checkpoints, read_meta
from model.config import ModelConfig
from model.cpu import cpu_runtime
from model.topology import Topology
from tests.train.conftest import make_examples
from tokenizer.encoding import Tokenizer
from train.finetune import prepare_finetune
from train.metrics import read_metrics

ROOT = Path(__file__).parents[2]
TOO_LONG_S = 240
STEPS, LAYERS, FROZEN = 14, 4, 2
MODEL = ModelConfig(
    num_layers=LAYERS, hidden_size=32, num_attention_heads=2, ffn_hidden_size=64, sequence_length=32, max_positions=96,
    hidden_dropout=0.0, attention_dropout=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    """A checkpoint with random weights, of a finished run."""
    from model.checkpoint import save_checkpoint
    from model.parallel import build_chunks, initialize, shut_down

    root = tmp_path_factory.mktemp("init") / "pretrained"
    stage = open_stage(root, schema="checkpoint/1", config={}, inputs={})
    tokenizer.save(root / "tokenizer")
    meta = {
        "step": 5, "samples": 20, "model": MODEL.model_dump(), "vocab_size": tokenizer.vocab_size,
        "tokenizer_sha256": tokenizer.sha256,
    }  # fmt: skip
    with cpu_runtime():
        initialize(Topology(), 0)
        chunks = build_chunks(MODEL, tokenizer.vocab_size, Topology(), distributed_optimizer=False)
        save_checkpoint(root / "checkpoints", chunks, None, None, meta)
        shut_down()
    stage.finish()
    return root


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("with_dev") / "examples"
    stage = open_stage(root, schema=EXAMPLES, config={}, inputs={})
    made = make_examples(20)
    write_examples(root / "train.jsonl", made[:30])
    write_examples(root / "dev.jsonl", [one.model_copy(update={"split": "dev"}) for one in made[30:]])
    decoding = {"max_source_tokens": 48, "max_new_tokens": 6, "num_beams": 2}
    stage.finish(facts={"task": {"name": "summaries", "kind": "summary", "scorer": "rouge", "decoding": decoding}})
    return root


@pytest.fixture(scope="module")
def settings(shards_directory: Path, plan_path: Path) -> dict[str, Any]:
    return {
        "steps": STEPS, "global_batch_size": 8, "micro_batch_size": 2, "source_length": 48, "target_length": 12,
        "learning_rate": 5e-3, "warmup_steps": 2, "save_interval": 3, "keep_checkpoints": 1, "tensorboard": False,
        "distributed_optimizer": True, "freeze_upper_layers": FROZEN, "sort_batches": 3,
        "blank_infilling_share": 0.25, "blank_infilling_shards": str(shards_directory), "plan": str(plan_path),
        "prompt_languages": ["en", "zh"], "eval_interval": 5, "development_examples": 7,
    }  # fmt: skip


def overrides(settings: dict[str, Any], **changes: Any) -> list[str]:
    return [f"finetune.{name}={json.dumps(value)}" for name, value in {**settings, **changes}.items()]


def start(init: Path, examples: Path, output: Path, wanted: list[str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "mglm", "train", "finetune", "--init", str(init), "--examples", str(examples)]
    command += ["--output", str(output), "--nproc", "2", *(word for one in wanted for word in ("--set", one))]
    return subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True, env={**os.environ}
    )


@pytest.mark.distributed
def test_killed_and_continued_elsewhere_it_equals_an_undisturbed_run(
    pretrained: Path, examples: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    from model.parallel import initialize, shut_down
    from model.readers import read_megatron
    from train.loop import run

    broken, whole = tmp_path / "broken", tmp_path / "whole"
    process = start(pretrained, examples, broken, overrides(settings, pipeline_parallel=2))
    deadline = time.monotonic() + TOO_LONG_S
    while not any(row["step"] >= 7 for row in read_metrics(broken / "metrics.jsonl")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    workers = psutil.Process(process.pid).children(recursive=True)
    workers[-1].send_signal(signal.SIGKILL)
    assert "killed by SIGKILL" in process.communicate(timeout=TOO_LONG_S)[1]
    measured_before = [row for row in read_metrics(broken / "events.jsonl") if row["event"] == "development"]
    process = start(pretrained, examples, broken, overrides(settings, tensor_parallel=2))
    errors = process.communicate(timeout=TOO_LONG_S)[1]
    assert process.returncode == 0, errors

    whole.mkdir()
    with cpu_runtime():
        job = prepare_finetune(
            RunConfig(None, overrides(settings)),
            pretrained,
            examples,
            whole,
            None,
            1,
            find_development=find_development,
        )
        initialize(job.topology, job.config.seed)
        assert run(job) == 0
        shut_down()

    ours, theirs = (read_metrics(output / "metrics.jsonl") for output in (broken, whole))
    assert [row["step"] for row in ours] == [row["step"] for row in theirs] == list(range(1, STEPS + 1))
    for row, wanted in zip(ours, theirs, strict=True):
        for name in ("loss", "loss_tuning", "loss_blanks"):
            assert row[name] == pytest.approx(wanted[name], rel=1e-5)
        assert row["grad_norm"] == pytest.approx(wanted["grad_norm"], rel=1e-4)
        assert row["targets"] == wanted["targets"]
    assert theirs[-1]["loss_tuning"] < theirs[0]["loss_tuning"] - 0.5
    assert {"en", "hi", "blanks:en", "blanks:th"} < set(theirs[-1]["loss_of"])

    # Frozen layers are those of the checkpoint, bit for bit; the others have moved.
    before, after, at_once = (read_megatron(path, None, MODEL).weights for path in (pretrained, broken, whole))
    for name, weight in before.items():
        layer = name.split(".")[2] if ".layers." in name else ""
        frozen = "final_layernorm" in name or (layer and int(layer) >= LAYERS - FROZEN)
        assert torch.equal(weight, after[name]) == bool(frozen), name
        assert torch.allclose(after[name], at_once[name], atol=1e-4), name

    # The best by ROUGE-L is kept, whatever its age, and known again after a kill.
    found = [row for row in read_metrics(whole / "events.jsonl") if row["event"] == "development"]
    assert [row["step"] for row in found] == [5, 10, STEPS]
    assert [row["step"] for row in measured_before] == [5]
    assert all(row["examples"] == 7 and row["score"] == row["rougeL"] for row in found)
    for output in (broken, whole):
        scores = {
            row["step"]: row["score"] for row in read_metrics(output / "events.jsonl") if row["event"] == "development"
        }
        best = max(scores, key=lambda step: (scores[step], -step))
        link = output / "checkpoints" / "best"
        assert link.readlink().name == f"step-{best:08d}"
        assert read_meta(link)["development"]["score"] == scores[best]
        kept = {path.name for path in complete_checkpoints(output / "checkpoints")}
        assert kept == {f"step-{STEPS:08d}", f"step-{best:08d}"}
