"""Bad steps are skipped or end the run, and a disk that is full for one save does not; a run that must stop measures
later; in this process alone."""

import math
import resource
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import MGLMError
from model.checkpoint_meta import complete_checkpoints, read_meta
from model.config import ModelConfig
from model.cpu import cpu_runtime
from model.topology import Topology
from tokenizer.encoding import Tokenizer
from tokenizer.sampler import Sampler
from tokenizer.shards import Shards
from train.batches import PretrainBatches, window_length
from train.config import PretrainConfig
from train.heldout import heldout_source
from train.job import Job
from train.metrics import read_metrics

MODEL = ModelConfig(
    num_layers=2, hidden_size=32, num_attention_heads=2, ffn_hidden_size=128, sequence_length=64, max_positions=128,
    hidden_dropout=0.0, attention_dropout=0.0,
)  # fmt: skip


@pytest.fixture
def make_job(shards_directory: Path, tokenizer: Tokenizer, tmp_path: Path) -> Iterator[Callable[..., Job]]:
    from model.parallel import initialize, shut_down

    def make(**settings: Any) -> Job:
        config = PretrainConfig.model_validate(
            {"steps": 8, "global_batch_size": 2, "micro_batch_size": 2, "tensorboard": False, **settings}
        )
        opened = Shards.open(shards_directory)
        shares = dict.fromkeys(opened.languages, 1.0)
        sampler = Sampler(opened.stream_lengths(), shares, window_length(MODEL.sequence_length, config), config.seed)
        return Job(
            name="pretraining", output=tmp_path, identity={}, inputs={}, config=config, model=MODEL,
            tokenizer=tokenizer, steps=config.steps, world_size=1,
            make_batches=lambda: PretrainBatches(opened, sampler, tokenizer, config, MODEL.sequence_length),
            languages=tuple(sampler.languages),
        )  # fmt: skip

    with cpu_runtime():
        initialize(Topology(), seed=7)
        try:
            yield make
        finally:
            shut_down()


def spoil(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """Makes the gradients of some steps NaN, as an overflow would; steps count from 1."""
    from train import loop

    update, done = loop.update_weights, [0]

    def spoilt(optimizer: Any) -> Any:
        done[0] += 1
        if done[0] in steps:
            for part in optimizer.chained_optimizers:
                part.param_groups[0]["params"][0].main_grad[:] = math.nan
        return update(optimizer)

    monkeypatch.setattr(loop, "update_weights", spoilt)


def test_bad_steps_are_skipped_and_recorded(make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    from train.loop import run

    spoil(monkeypatch, {3, 5})
    job = make_job(save_interval=4, peak_tflops=0.1)
    assert run(job) == 0
    rows = read_metrics(job.output / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert {row["step"]: row["skipped"] for row in rows if "skipped" in row} == {
        3: "gradient norm nan",
        5: "gradient norm nan",
    }
    assert all(math.isfinite(row["loss"]) and 0 < row["mfu"] < 1 for row in rows)
    assert [row["step"] for row in rows if row["grad_norm"] is None] == [3, 5]  # null, not a zero for curves to draw
    events = read_metrics(job.output / "events.jsonl")
    assert [event["step"] for event in events if event["event"] == "skipped"] == [3, 5]
    assert set(rows[-1]["loss_of"]) == {"en", "hi", "th"}


def test_too_many_bad_steps_end_the_run_and_the_last_checkpoint_stays(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    from train.loop import run

    spoil(monkeypatch, {3, 4, 5, 6})
    job = make_job(save_interval=2, max_skipped=2)
    with pytest.raises(MGLMError, match="step 5; found gradient norm nan, and 3 bad steps among the last 100"):
        run(job)
    kept = complete_checkpoints(job.output / "checkpoints")
    assert [path.name for path in kept] == ["step-00000002"]  # a bad step, as 4 is, is not saved
    spoil(monkeypatch, {1})
    stopping = make_job(on_bad_step="stop")
    with pytest.raises(MGLMError, match="step 3; found gradient norm nan"):
        run(stopping)
    monkeypatch.undo()
    assert run(make_job(on_bad_step="stop")) == 0  # continues


def test_a_save_that_fails_is_told_and_the_next_one_counts(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    from train import loop

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    train_step = loop.Trainer.train_step

    def with_a_full_disk(trainer: Any, *given: Any) -> Any:
        limit = 300_000 if trainer.step + 1 in full else soft  # the kernel refuses larger files: the weights'
        if limit == soft:
            trainer.saver.finish()  # what was begun under the limit ends under it
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        return train_step(trainer, *given)

    monkeypatch.setattr(loop.Trainer, "train_step", with_a_full_disk)
    try:
        full = {3, 4}  # the save of step 3 ends in step 4
        job = make_job(save_interval=3)
        assert loop.run(job) == 0
        events = read_metrics(job.output / "events.jsonl")
        assert [event["step"] for event in events if event["event"] == "checkpoint failed"] == [3]
        assert [path.name for path in complete_checkpoints(job.output / "checkpoints")] == [
            "step-00000006",
            "step-00000008",
        ]
        full = {9, 10}
        with pytest.raises(MGLMError, match="found nothing written"):
            loop.run(make_job(save_interval=30, steps=10))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Weighed:
    """A development metric in whose place a figure of the weights stands."""

    def measure(self, chunks: list[Any]) -> dict[str, Any]:
        score = float(next(chunks[0].parameters()).detach().abs().sum())
        return {"score": score, "best_by": "weight", "examples": 1, "identity": "the same"}


@pytest.mark.parametrize("stops", [{4}, {2, 4, 5}])
def test_a_run_stopped_where_it_is_to_be_measured_saves_at_once_and_measures_when_it_goes_on(
    make_job: Callable[..., Job], documents_directory: Path, monkeypatch: pytest.MonkeyPatch, stops: set[int]
) -> None:
    from train import loop

    train_step, left = loop.Trainer.train_step, set(stops)

    def until_asked_to_stop(trainer: Any, micro_batches: Any, stop: Any) -> Any:
        if trainer.step + 1 in left and trainer.job.output.name == "broken":
            left.remove(trainer.step + 1)
            stop.signal = signal.SIGTERM
        return train_step(trainer, micro_batches, stop)

    def told(output: Path, *names: str) -> list[dict[str, Any]]:
        rows = [row for row in read_metrics(output / "events.jsonl") if row["event"] in names]
        return [{key: value for key, value in row.items() if key not in ("at", "seconds")} for row in rows]

    monkeypatch.setattr(loop.Trainer, "train_step", until_asked_to_stop)
    made = make_job(steps=6, save_interval=3, keep_checkpoints=9)
    heldout = heldout_source(documents_directory, 1, {"en", "hi"})
    broken, whole = (
        replace(made, output=made.output / name, heldout=heldout, eval_interval=2, make_development=Weighed)
        for name in ("broken", "whole")
    )
    for job in (broken, whole):
        job.output.mkdir()
    for step in sorted(stops):
        assert loop.run(broken) == signal.SIGTERM
        latest = complete_checkpoints(broken.output / "checkpoints")[-1]
        assert latest.name == f"step-{step:08d}"
        meta = read_meta(latest)
        assert meta["development"] is meta["heldout_bits_per_byte"] is None
        assert step not in [row["step"] for row in told(broken.output, "evaluation", "development")]
    assert loop.run(broken) == loop.run(whole) == 0
    for name in ("evaluation", "development"):
        found = told(broken.output, name)
        assert found == told(whole.output, name)
        assert [row["step"] for row in found] == [2, 4, 6]
    ours, theirs = (job.output / "checkpoints" for job in (broken, whole))
    assert (ours / "best").readlink() == (theirs / "best").readlink()
    for directory in complete_checkpoints(theirs):
        meta, wanted = read_meta(ours / directory.name), read_meta(directory)
        for key in ("heldout_bits_per_byte", "nats", "recent_losses"):
            assert meta[key] == wanted[key]
        assert meta.get("development") == wanted.get("development")


def test_a_tokenizer_that_was_cut_short_is_written_again(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    from train.loop import run

    def full(tokenizer: Tokenizer, directory: Path) -> None:
        directory.mkdir()
        (directory / "tokenizer.model").write_bytes(b"half")
        raise OSError("No space left on device")

    job = make_job(steps=1)
    with monkeypatch.context() as broken:
        broken.setattr(Tokenizer, "save", full)
        with pytest.raises(OSError, match="No space left"):
            run(job)
    assert run(job) == 0
    assert Tokenizer.load(job.output / "tokenizer").sha256 == job.tokenizer.sha256
