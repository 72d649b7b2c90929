"""Before a run: what it takes is said, what will not do is refused, and nothing is started or written."""

import json
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.shards import write_plan
from core.errors import MGLMError
from train import dry_run, pretrain
from train.commands import app
from train.dry_run import checkpoint_bytes, forecast
from train.job import Job
from train.pretrain import RunConfig, prepare_pretrain

ROW = '{{"step": {}, "tokens_per_s": {}}}\n'


@pytest.fixture
def job(shards_directory: Path, plan_path: Path, tiny_config: Path, tmp_path: Path) -> Job:
    given = RunConfig(tiny_config, ["pretrain.steps=100", "pretrain.global_batch_size=8"])
    return prepare_pretrain(given, shards_directory, plan_path, tmp_path / "out", 4)


@pytest.fixture
def arguments(
    shards_directory: Path, plan_path: Path, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(pretrain, "launch", lambda *_: pytest.fail("a worker was started"))
    inputs = ["--shards", str(shards_directory), "--plan", str(plan_path), "--config", str(tiny_config)]
    return ["pretrain", *inputs, "--output", str(tmp_path / "out"), "--nproc", "2", "--dry-run"]


def test_days_are_tokens_by_the_rate_and_epochs_tokens_by_what_there_is(job: Job) -> None:
    made = forecast(job, tokens_per_s=1_000.0)
    assert (made.tensor, made.pipeline, made.data, made.micro_batches) == (2, 1, 2, 2)
    assert made.tokens == 100 * 8 * job.row_tokens
    assert 64 <= job.row_tokens <= 72
    assert made.days == pytest.approx(made.tokens / 1_000 / 86_400)
    assert list(made.epochs.values()) == sorted(made.epochs.values(), reverse=True)
    assert made.epochs == dict(job.epochs)
    total = sum(made.epochs.values())
    assert total > 3
    assert made.checkpoint_bytes == made.parameters * 12
    assert made.disk_bytes == made.checkpoint_bytes * 4 + 100 * 600
    assert not job.output.exists()


def test_memory_is_reckoned_for_the_rows_that_are_computed(job: Job) -> None:
    (batch, *_) = job.make_batches().batch(0, 0, 4)
    assert batch.input_ids_BS.shape[1] == job.row_length > job.model.sequence_length
    made, longer = forecast(job), forecast(replace(job, row_length=2 * job.row_length))
    assert made.row_length == job.row_length
    assert longer.memory_bytes_per_process > made.memory_bytes_per_process


def test_the_whole_model_that_answers_development_examples_counts_where_it_is_more_than_a_step(job: Job) -> None:
    short, long = replace(job, row_length=8), replace(job, row_length=8_000)
    for asked, more in ((short, True), (long, False)):
        measured = replace(asked, make_development=lambda: pytest.fail("it was made"))
        more_bytes = forecast(measured).memory_bytes_per_process - forecast(asked).memory_bytes_per_process
        assert 0 <= more_bytes <= forecast(job).parameters * 4
        assert bool(more_bytes) == more


@pytest.mark.parametrize(
    ("precision", "distributed", "size"),
    [("fp32", False, 12), ("fp32", True, 16), ("bf16", False, 14), ("bf16", True, 14), ("fp16", True, 14)],
)
def test_a_checkpoint_holds_weights_and_optimizer(precision: str, distributed: bool, size: int) -> None:
    assert checkpoint_bytes(10, precision, distributed=distributed) == 10 * size


def test_the_rate_may_be_a_former_run_s(job: Job, tmp_path: Path) -> None:
    former = tmp_path / "former"
    former.mkdir()
    (former / "metrics.jsonl").write_text("".join(ROW.format(step, rate) for step, rate in enumerate([1, 500, 510])))
    assert forecast(job, measured=former).tokens_per_s == 500
    assert forecast(job, measured=former / "metrics.jsonl").tokens_per_s == 500
    assert forecast(job).days is None
    with pytest.raises(MGLMError, match="found no such file"):
        forecast(job, measured=tmp_path / "none")


def test_a_run_under_way_is_measured_by_itself_and_counts_what_is_left(job: Job) -> None:
    stage = job.claim(overwrite=False)
    (job.output / "metrics.jsonl").write_text("".join(ROW.format(step, 100 * step) for step in (38, 39, 40)))
    made = forecast(job)
    assert (made.state, made.steps_left, made.tokens_per_s) == ("unfinished", 60, 3_900)
    stage.finish()
    assert forecast(job).state == "finished"
    assert forecast(job).disk_bytes == 0


def test_a_run_that_made_no_step_yields_to_another_and_one_that_made_a_step_does_not(job: Job) -> None:
    other = replace(job, identity={**job.identity, "pretrain": "with less memory"})
    other.claim(overwrite=False)
    for name in ("metrics.jsonl", "events.jsonl"):
        (job.output / name).touch()
    (job.output / "checkpoints").mkdir()
    assert forecast(job).state == "new"
    assert not job.claim(overwrite=False).resumed
    assert [path.name for path in job.output.iterdir() if path.name != ".lock"] == ["in_progress.json"]
    for made in ("notes.txt", "metrics.jsonl", "checkpoints/step-00000001/meta.json"):
        path = job.output / made
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"step": 1}\n')
        with pytest.raises(MGLMError, match="found unfinished work of another configuration"):
            other.claim(overwrite=False)
        with pytest.raises(MGLMError, match="work of another configuration"):
            forecast(other)
        path.unlink()
        assert job.claim(overwrite=False).resumed


def test_a_disk_too_small_and_another_s_output_are_refused(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(dry_run.shutil, "disk_usage", lambda _: usage(0, 0, 1_000_000))
    with pytest.raises(MGLMError, match=r"found 1.00 MB free; expected .* MB: 4 checkpoints of"):
        forecast(job)
    monkeypatch.undo()
    job.output.mkdir()
    (job.output / "thesis.txt").write_text("")
    with pytest.raises(MGLMError, match="found other files"):
        forecast(job)
    assert forecast(job, overwrite=True).state == "other"


def test_the_command_tells_as_text_and_as_json(arguments: list[str], tmp_path: Path) -> None:
    told = CliRunner().invoke(app, [*arguments, "--tokens-per-second", "500"])
    assert told.exit_code == 0, told.output
    assert "tensor 2 × pipeline 1 × data 1 = 2 processes" in told.stdout
    assert "at 500 tokens/s (given)" in told.stdout
    assert "repetition" in told.stdout
    as_json = CliRunner().invoke(app, [*arguments, "--tokens-per-second", "500", "--json"])
    assert json.loads(as_json.stdout)["tokens_per_s"] == 500
    assert not (tmp_path / "out").exists()


def test_a_rate_without_a_dry_run_is_refused(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, [*arguments[:-1], "--tokens-per-second", "500"])
    assert isinstance(result.exception, MGLMError)
    assert "no --dry-run" in str(result.exception)


def test_a_plan_s_language_without_shards_is_refused_unless_it_may_be_dropped(
    shards_directory: Path, tiny_config: Path, tmp_path: Path
) -> None:
    plan = write_plan(tmp_path / "plan.json", {"en": 0.5, "my": 0.3, "lo": 0.2})
    with pytest.raises(MGLMError, match="found a share for lo, my; expected languages of .*: en, hi, th"):
        prepare_pretrain(RunConfig(tiny_config), shards_directory, plan, tmp_path / "out", 2)
    dropped = RunConfig(tiny_config, ["pretrain.missing_languages=drop"])
    assert prepare_pretrain(dropped, shards_directory, plan, tmp_path / "out", 2).languages == ("en",)


def test_a_shard_file_of_another_tokenizer_is_refused_before_training(
    shards_directory: Path, plan_path: Path, tiny_config: Path, tmp_path: Path
) -> None:
    import shutil

    copy = tmp_path / "shards"
    shutil.copytree(shards_directory, copy)
    path = copy / "lang=hi" / "part-00000.arrow"
    content = path.read_bytes()
    sha256 = prepare_pretrain(RunConfig(tiny_config), copy, plan_path, tmp_path / "out", 2).tokenizer.sha256.encode()
    assert sha256 in content
    path.write_bytes(content.replace(sha256, b"0" * 64))
    with pytest.raises(MGLMError, match="found a file of tokenizer 000.*; expected one of tokenizer"):
        prepare_pretrain(RunConfig(tiny_config), copy, plan_path, tmp_path / "out", 2)
