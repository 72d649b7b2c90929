"""A run continued as another equals a longer one where nothing changes, and says what changed where something does."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.shards import write_plan
from core.config import RunConfig
from core.errors import MGLMError
from model.checkpoint_meta import latest_checkpoint, read_meta
from tests.train.conftest import SHARES
from tokenizer.sampler import Sampler
from tokenizer.shards import Shards
from train.config import PretrainConfig
from train.continuing import Continued, check_continued, data_place, open_continued
from train.job import Job
from train.metrics import read_metrics
from train.pretrain import prepare_pretrain

Train = Callable[..., Job]
SCHEDULE = ["pretrain.decay_steps=12", "pretrain.warmup_steps=2", "pretrain.tensor_parallel=1"]


@pytest.fixture
def train(shards_directory: Path, plan_path: Path, tiny_config: Path, tmp_path: Path) -> Train:
    """Trains in this process, which is then a world of one."""

    def run_job(name: str, *overrides: str, source: str | None = None, plan: Path | None = None) -> Job:
        from model.cpu import cpu_runtime
        from model.parallel import initialize, shut_down
        from train.loop import run

        given = RunConfig(tiny_config, [*SCHEDULE, "pretrain.tensorboard=false", *overrides])
        continued = tmp_path / source if source else None
        job = prepare_pretrain(given, shards_directory, plan or plan_path, tmp_path / name, 1, continue_from=continued)
        job.output.mkdir(exist_ok=True)
        with cpu_runtime():
            initialize(job.topology, job.config.seed)
            try:
                assert run(job) == 0
            finally:
                shut_down()
        return job

    return run_job


def losses(job: Job) -> dict[int, float]:
    return {row["step"]: row["loss"] for row in read_metrics(job.output / "metrics.jsonl")}


@pytest.mark.parametrize("optimizer", ["false", "true"])
def test_continued_with_nothing_changed_it_equals_a_longer_run(train: Train, optimizer: str) -> None:
    kind = f"pretrain.distributed_optimizer={optimizer}"
    whole = train("whole", "pretrain.steps=8", kind)
    train("first", "pretrain.steps=4", kind)
    second = train("second", "pretrain.steps=8", kind, source="first")
    ours, theirs = losses(second), losses(whole)
    assert list(ours) == [5, 6, 7, 8]
    assert all(abs(ours[step] - theirs[step]) <= 1e-6 * theirs[step] for step in ours)
    rates = [[row["learning_rate"] for row in read_metrics(job.output / "metrics.jsonl")] for job in (second, whole)]
    assert rates[0] == pytest.approx(rates[1][4:], rel=1e-12)
    # Stopped on its way, it goes on from its own checkpoint.
    shutil.rmtree(second.output / "checkpoints" / "step-00000008")
    assert losses(train("second", "pretrain.steps=8", kind, source="first")) == pytest.approx(ours, rel=1e-6)
    (chapter,) = second.meta["lineage"]
    assert chapter["step"] == 4
    assert chapter["checkpoint"] == "first/step-00000004"
    assert chapter["changed"] == {"training.steps": [4, 8]}


def test_a_checkpoint_with_other_content_than_was_written_is_not_begun_with(train: Train) -> None:
    step = train("first", "pretrain.steps=3").output / "checkpoints" / "step-00000003"
    weights = bytearray((step / "__0_0.distcp").read_bytes())
    weights[len(weights) // 2] ^= 1
    (step / "__0_0.distcp").write_bytes(weights)
    with pytest.raises(MGLMError, match="found __0_0.distcp with another content than was written"):
        train("second", "pretrain.steps=6", source="first")
    assert step.is_dir()  # another run's: it is not put aside


def test_a_spike_is_one_among_losses_on_the_same_data(train: Train, tmp_path: Path) -> None:
    step = train("first", "pretrain.steps=3").output / "checkpoints" / "step-00000003"
    meta = read_meta(step)
    (step / "meta.json").write_text(json.dumps({**meta, "recent_losses": [0.5, 0.5, 0.5, 0.5]}))
    settings = ["pretrain.steps=5", "pretrain.spike_window=4"]
    refitted = write_plan(tmp_path / "refitted.json", {"en": 0.2, "hi": 0.4, "th": 0.4})
    for name, plan, skipped in (("same", None, 2), ("other", refitted, 0)):
        rows = read_metrics(train(name, *settings, source="first", plan=plan).output / "metrics.jsonl")
        assert sum("skipped" in row for row in rows) == skipped


def test_what_changed_is_in_the_lineage_the_events_and_every_checkpoint(train: Train, tmp_path: Path) -> None:
    train("first", "pretrain.steps=4")
    refitted = write_plan(tmp_path / "refitted.json", {"en": 0.2, "hi": 0.4, "th": 0.4})
    settings = ["pretrain.steps=8", "pretrain.learning_rate=2e-3", "pretrain.restart_schedule=true"]
    second = train("second", *settings, source="first", plan=refitted)
    changed = second.meta["lineage"][0]["changed"]
    assert changed["data.shares.en"] == [0.5, 0.2]
    assert changed["training.learning_rate"] == [1e-3, 2e-3]
    latest = latest_checkpoint(second.output / "checkpoints")
    assert latest is not None
    meta = read_meta(latest)
    assert meta["lineage"] == second.meta["lineage"]
    assert meta["data"]["first_step"] == meta["schedule_from"] == 4
    (told,) = (row for row in read_metrics(second.output / "events.jsonl") if row["event"] == "continued")
    assert told["step"] == 4
    assert told["changed"] == changed
    # Warm-up begins anew, over two steps, to the new rate.
    rates = [row["learning_rate"] for row in read_metrics(second.output / "metrics.jsonl")]
    assert rates[:3] == pytest.approx([0.0, 1e-3, 2e-3])
    # A third run goes on with the data of the second, and knows of both.
    third = train("third", "pretrain.steps=10", *settings[1:2], source="second", plan=refitted)
    assert [chapter["step"] for chapter in third.meta["lineage"]] == [4, 8]
    assert third.meta["data"] == meta["data"]
    assert third.schedule_from == 4


def test_under_another_plan_a_language_goes_on_at_its_next_window(shards_directory: Path) -> None:
    shards = Shards.open(shards_directory)
    lengths, other = shards.stream_lengths(), {"en": 0.2, "hi": 0.4, "th": 0.4}
    first = Sampler(lengths, SHARES, 63, 1)
    begun = first.windows_begun(30)
    assert sum(begun.values()) == 30
    second = Sampler(lengths, other, 63, 1, begun)
    for lang in lengths:
        drawn = [draw for draw in first.draw_many(0, 30) if draw.lang == lang]
        drawn += [draw for draw in second.draw_many(0, 400) if draw.lang == lang]
        numbers = np.array([draw.epoch * lengths[lang] + draw.start for draw in drawn])
        windows = lengths[lang] // 63
        # Every window of the first epoch comes once before any of the second comes.
        assert len(set(numbers[:windows].tolist())) == windows
        assert [draw.epoch for draw in drawn] == sorted(draw.epoch for draw in drawn)


def test_another_seed_keeps_the_order_of_the_windows(shards_directory: Path, tmp_path: Path) -> None:
    shards, config = Shards.open(shards_directory), PretrainConfig(global_batch_size=4, seed=1)
    first = data_place(config, 64, shards, SHARES, None)
    continued = Continued(tmp_path, tmp_path, {"step": 5, "data": asdict(first)}, "")
    reseeded = data_place(config.model_copy(update={"seed": 2}), 64, shards, SHARES, continued)
    assert reseeded == first
    other = data_place(config.model_copy(update={"seed": 2}), 64, shards, {**SHARES, "en": 0.1}, continued)
    assert (other.seed, other.first_step) == (1, 5)


def test_samples_are_counted_by_the_batches_they_came_in() -> None:
    before: Any = {"name": "", "output": Path(), "identity": {}, "inputs": {}, "model": None, "tokenizer": None}
    before |= {"steps": 9, "world_size": 1, "make_batches": None}
    job = Job(config=PretrainConfig(global_batch_size=64), first_step=100, first_samples=3200, **before)
    assert [job.samples(step) for step in (100, 101, 110)] == [3200, 3264, 3840]


def test_what_cannot_be_continued_is_refused_and_both_sides_named(
    train: Train, shards_directory: Path, plan_path: Path, tiny_config: Path, tmp_path: Path
) -> None:
    first = train("first", "pretrain.steps=3")

    def refused(words: str, *overrides: str, source: Path = first.output) -> None:
        given = RunConfig(tiny_config, ["pretrain.tensor_parallel=1", *overrides])
        with pytest.raises(MGLMError, match=words):
            prepare_pretrain(given, shards_directory, plan_path, tmp_path / "second", 1, continue_from=source)

    refused("found 3; expected more than the 3 steps", "pretrain.steps=3")
    refused("found num_layers 2; expected num_layers 4", "pretrain.steps=8", "model.num_layers=4")
    refused("found the state of a plain optimizer; expected that of a distributed optimizer",
            "pretrain.steps=8", "pretrain.distributed_optimizer=true")  # fmt: skip
    refused("found weights and optimiser of fp32; expected bf16", "pretrain.steps=8", "pretrain.precision=bf16")
    refused("found no such directory", "pretrain.steps=8", source=tmp_path / "none")
    refused("found 2; expected less than the 2 steps", "pretrain.steps=5", "pretrain.restart_schedule=true",
            "pretrain.warmup_steps=2")  # fmt: skip
    continued, config = open_continued(first.output), first.config
    other = type("Other", (), {"sha256": "f" * 64, "pieces": 7})()
    with pytest.raises(MGLMError, match="found a tokenizer of 7 pieces, sha256 ffffffffffff"):
        check_continued(continued, first.model, other, config, shards_directory)
    converted = replace(continued, meta={**continued.meta, "optimizer": None})
    with pytest.raises(MGLMError, match="found the state of no optimizer.* one that was converted holds weights alone"):
        check_continued(converted, first.model, first.tokenizer, config, shards_directory)
    for optimizer in ("a plain", None):  # as it was trained, and grown by model extend
        meta = {**continued.meta, "training": {"freeze_upper_layers": 1}, "optimizer": optimizer}
        with pytest.raises(MGLMError, match=r"freeze_upper_layers=1.*mglm train finetune --init"):
            check_continued(replace(continued, meta=meta), first.model, first.tokenizer, config, shards_directory)


def test_other_shards_begin_anew_and_other_batches_go_on(train: Train, shards_directory: Path) -> None:
    first = train("first", "pretrain.steps=3")
    shards, continued = Shards.open(shards_directory), open_continued(first.output)
    config = first.config
    same = data_place(config, first.model.sequence_length, shards, SHARES, continued)
    assert (same.first_step, same.begun) == (0, {})
    larger = config.model_copy(update={"global_batch_size": 8})
    other = data_place(larger, first.model.sequence_length, shards, SHARES, continued)
    assert other.first_step == 3
    assert sum(other.begun.values()) == 3 * 4
    longer = data_place(config, 2 * first.model.sequence_length, shards, SHARES, continued)
    assert (longer.first_step, longer.begun) == (3, {})
