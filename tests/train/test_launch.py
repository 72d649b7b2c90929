"""Mistakes are told in one line before a worker starts; what happens to workers becomes one line and a status."""

import contextlib
import faulthandler
import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import train.finetune
import train.pretrain
from core.errors import MGLMError
from core.examples import EXAMPLES
from core.stage import open_stage
from model.config import ModelConfig
from tokenizer.encoding import Tokenizer
from train import launch
from train.config import FinetuneConfig, PretrainConfig


@pytest.fixture(autouse=True)
def no_workers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], int]]:
    """Records what would have been started."""
    started: list[tuple[list[str], int]] = []
    for module in (train.pretrain, train.finetune):
        monkeypatch.setattr(module, "launch", lambda arguments, nproc, _: started.append((list(arguments), nproc)))
    monkeypatch.delenv("RANK", raising=False)
    return started


@pytest.fixture
def run(shards_directory: Path, plan_path: Path, tiny_config: Path, tmp_path: Path):  # type: ignore[no-untyped-def]
    def pretrain(*overrides: str, nproc: int | None = 2, **changes: Path) -> None:
        given = {"config": tiny_config, "shards": shards_directory, "plan": plan_path, "output": tmp_path / "out"}
        train.pretrain.pretrain(overrides=list(overrides), nproc=nproc, **{**given, **changes})  # type: ignore[arg-type]

    return pretrain


@pytest.mark.parametrize(
    ("overrides", "nproc", "words"),
    [
        (["pretrain.tensor_parallel=2"], 3, "tensor 2 × pipeline 1 = 2"),
        (["pretrain.pipeline_parallel=3"], 6, "num_layers 2 under pipeline parallelism 3"),
        (["pretrain.tensor_parallel=4"], 4, "num_attention_heads 2 under tensor parallelism 4"),
        (["pretrain.global_batch_size=6"], 4, "micro_batch_size 2 × 2 data-parallel processes = 4"),
        (["pretrain.tensor_parallel=2", "pretrain.virtual_pipeline=2"], 2, "virtual_pipeline; found 2 with pipeline 1"),
        (["pretrain.warmup_steps=6"], 2, "pretrain.warmup_steps; found 6; expected less than the 6 steps"),
        (["pretrain.stepz=6"], 2, "Did you mean steps?"),
        (["pretrain.blanks.generation=0.9"], 2, "must be 1"),
        (["pretrain.min_learning_rate=1.0"], 2, "above learning_rate"),
        (
            ["pretrain.windows_per_sequence=16", "model.sequence_length=24"],
            2,
            "found 16 windows in model.sequence_length",
        ),
        ([], 0, "--nproc 0"),
    ],
)
def test_settings_that_do_not_fit_are_told_before_anything_starts(  # type: ignore[no-untyped-def]
    run, no_workers, tmp_path: Path, overrides: list[str], nproc: int, words: str
) -> None:
    with pytest.raises(MGLMError) as error:
        run(*overrides, nproc=nproc)
    assert words in str(error.value)
    assert no_workers == []
    assert not (tmp_path / "out").exists()


def test_missing_inputs_name_the_command_that_makes_them(run, no_workers, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(MGLMError, match="mglm tokenizer shard"):
        run(shards=tmp_path / "none")
    with pytest.raises(MGLMError, match="mglm balancing fit"):
        run(plan=tmp_path / "none.json")
    with pytest.raises(MGLMError, match="no such file"):
        run(config=tmp_path / "none.toml")
    assert no_workers == []


def test_workers_get_the_same_arguments(run, no_workers, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(MGLMError, match="checkpoint/1"):  # nothing was trained, so there is nothing to report
        run("pretrain.seed=7")
    ((arguments, nproc),) = no_workers
    assert nproc == 2
    assert arguments[:2] == ["train", "pretrain"]
    assert arguments[arguments.index("--output") + 1] == str(tmp_path / "out")
    assert arguments[arguments.index("--set") + 1] == "pretrain.seed=7"


def test_without_nproc_there_are_as_many_processes_as_the_model_is_split_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "gpus", lambda: 0)
    assert launch.processes(None, 2) == 2
    monkeypatch.setattr(launch, "gpus", lambda: 8)
    assert launch.processes(None, 2) == 8
    with pytest.raises(MGLMError, match="the GPUs of this machine"):
        launch.processes(9, 1)


@pytest.mark.parametrize("finished", [True, False])
def test_a_signal_that_comes_when_all_is_done_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, finished: bool
) -> None:
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.launcher import api

    def workers(*_: str) -> None:
        if finished:
            (tmp_path / "manifest.json").write_text("{}")
        raise SignalException("while it waited for them to end", signal.SIGTERM)

    monkeypatch.setattr(api, "elastic_launch", lambda config, entry: workers)
    if finished:
        launch.launch([], 1, tmp_path)
        return
    with pytest.raises(SystemExit) as status:
        launch.launch([], 1, tmp_path)
    assert status.value.code == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ([0, 0], "stopped by SIGTERM after saving"),
        ([None, None], "stopped by SIGTERM before it had saved"),  # killed, since it took too long
        ([None, RuntimeError("Connection closed by peer [127.0.0.1]:6411")], "stopped by SIGTERM before it had saved"),
        ([RuntimeError("Broken pipe"), MGLMError("checkpoint of step 7", found="nothing written")], "nothing written"),
        ([0, ValueError("bad")], "training process 1; found ValueError: bad"),
    ],
)
def test_after_a_signal_it_is_told_whether_the_state_was_saved_and_what_went_wrong(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    ends: list[Exception | int | None],
    told: str,
) -> None:
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.launcher import api

    def workers(logs: Path) -> None:
        for rank, end in enumerate(ends):
            own = logs / "run_x" / "attempt_0" / str(rank)
            own.mkdir(parents=True)
            monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(own / "error.json"))
            monkeypatch.setenv("RANK", str(rank))

            def train(end: Exception | int | None = end) -> int:
                if isinstance(end, Exception):
                    raise end
                return signal.SIGTERM

            if end is not None:
                with contextlib.suppress(SystemExit, ValueError):
                    launch.as_worker(train)
        raise SignalException("asked to leave", signal.SIGTERM)

    monkeypatch.setattr(faulthandler, "enable", lambda **_: None)  # of torch's, for the whole process
    monkeypatch.setattr(
        api, "elastic_launch", lambda config, _: lambda *_: workers(Path(config.logs_specs.root_log_dir))
    )
    fails = "stopped" not in told
    with caplog.at_level("INFO"), pytest.raises(MGLMError if fails else SystemExit) as ended:
        launch.launch([], 2, tmp_path)
    assert told in (str(ended.value) if fails else caplog.text)
    if not fails:
        assert ended.value.code == 128 + signal.SIGTERM


def test_the_environment_of_workers_leaves_no_trace_and_yields_to_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(launch, "gpus", lambda: 0)
    before = dict(os.environ)
    with launch._environment(1_000):
        assert os.environ["OMP_NUM_THREADS"] == "1"
        assert os.environ["GLOO_SOCKET_IFNAME"] == "lo"
    assert dict(os.environ) == before
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    with launch._environment(1_000):
        assert os.environ["OMP_NUM_THREADS"] == "5"


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (SimpleNamespace(message={"message": "MGLMError: x; found y"}, exitcode=2), "x; found y"),
        (SimpleNamespace(message="Signal 9", exitcode=-9), "process 1; found killed by SIGKILL"),
        (SimpleNamespace(message={"message": "ValueError: bad"}, exitcode=1), "process 1; found ValueError: bad"),
        (SimpleNamespace(message="", exitcode=7), "found exit status 7"),
        (
            SimpleNamespace(message={"message": "OutOfMemoryError: CUDA out of memory. Tried to allocate"}, exitcode=1),
            "Lower micro_batch_size or head_chunk, or set recompute=full",
        ),
    ],
)
def test_a_failed_worker_becomes_one_line(failure: SimpleNamespace, words: str) -> None:
    line = str(launch._explain(1, failure))
    assert words in line
    assert "\n" not in line


def test_the_failure_told_is_the_one_that_others_follow_from() -> None:
    def failure(words: str, exitcode: int, timestamp: int) -> SimpleNamespace:
        return SimpleNamespace(message={"message": words}, exitcode=exitcode, timestamp=timestamp)

    lost = failure("RuntimeError: [gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:6411", 1, 5)
    ended, killed = failure("", -15, 4), failure("", -9, 6)
    own, mistake = failure("ValueError: bad", 1, 7), failure("MGLMError: part-00000.arrow; found no such file", 2, 8)
    assert launch._cause({0: lost, 1: killed, 2: ended}) == (1, killed)
    assert launch._cause({0: lost, 1: own}) == (1, own)
    assert launch._cause({0: lost, 1: killed, 2: mistake}) == (2, mistake)
    assert launch._cause({0: lost, 1: ended}) == (1, ended)


@pytest.fixture
def checkpoint(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    """What pretraining leaves, as far as fine-tuning reads it before its workers start."""
    root = tmp_path / "pretrained"
    stage = open_stage(root, schema="checkpoint/1", config={}, inputs={})
    model = ModelConfig(
        num_layers=2, hidden_size=32, num_attention_heads=2, ffn_hidden_size=128, sequence_length=64, max_positions=128
    )
    step = root / "checkpoints" / "step-00000006"
    step.mkdir(parents=True)
    meta = {
        "schema": "checkpoint/1",
        "step": 6,
        "samples": 24,
        "model": model.model_dump(),
        "vocab_size": tokenizer.vocab_size,
        "tokenizer_sha256": tokenizer.sha256,
    }
    (step / "meta.json").write_text(json.dumps(meta))
    tokenizer.save(root / "tokenizer")
    stage.finish()
    return root


def prepare_finetune(
    checkpoint: Path, examples: Path, output: Path, config: Path, *overrides: str, task: str | None = None
) -> train.finetune.Job:
    run_config = train.finetune.RunConfig(config, overrides)
    return train.finetune.prepare_finetune(run_config, checkpoint, examples, output, task, 2)


def test_fine_tuning_takes_its_shape_from_the_checkpoint_and_its_dropout_from_the_config(
    checkpoint: Path, examples_directory: Path, tmp_path: Path, tiny_config: Path
) -> None:
    changed = ["model.num_layers=8", "model.hidden_dropout=0.3"]
    job = prepare_finetune(checkpoint, examples_directory, tmp_path / "out", tiny_config, *changed)
    assert job.model.num_layers == 2
    assert job.model.hidden_dropout == 0.3
    assert job.row_length == 80  # source_length + target_length, not the checkpoint's sequence_length
    assert job.init == checkpoint / "checkpoints" / "step-00000006"
    step = prepare_finetune(job.init, examples_directory, tmp_path / "out", tiny_config)
    assert step.init == job.init


def test_fine_tuning_runs_epochs_unless_steps_are_given(
    checkpoint: Path, examples_directory: Path, tmp_path: Path
) -> None:
    config = tmp_path / "epochs.toml"
    config.write_text("[finetune]\nepochs = 2.5\nmicro_batch_size = 2\nsource_length = 60\ntarget_length = 20\n")
    job = prepare_finetune(checkpoint, examples_directory, tmp_path / "out", config)
    assert job.steps == 4  # 2.5 × 24 examples / 16, rounded up
    fixed = prepare_finetune(checkpoint, examples_directory, tmp_path / "out", config, "finetune.steps=7")
    assert fixed.steps == 7


def test_fine_tuning_checks_its_inputs(
    checkpoint: Path, examples_directory: Path, tmp_path: Path, tiny_config: Path
) -> None:
    output = tmp_path / "out"
    with pytest.raises(MGLMError, match="expected at least one of titles"):
        prepare_finetune(checkpoint, examples_directory, output, tiny_config, task="titles")
    with pytest.raises(MGLMError, match="at most 128"):
        prepare_finetune(checkpoint, examples_directory, output, tiny_config, "finetune.source_length=129")
    with pytest.raises(MGLMError, match="at most 127"):
        prepare_finetune(checkpoint, examples_directory, output, tiny_config, "finetune.target_length=128")
    with pytest.raises(MGLMError, match="mglm train pretrain"):
        prepare_finetune(tmp_path / "none", examples_directory, output, tiny_config)
    with pytest.raises(MGLMError, match="mglm eval prepare"):
        prepare_finetune(checkpoint, tmp_path / "none", output, tiny_config)
    empty = tmp_path / "empty"
    stage = open_stage(empty, schema=EXAMPLES, config={}, inputs={})
    (empty / "train.jsonl").write_text("")
    stage.finish()
    with pytest.raises(MGLMError, match="found 0 examples"):
        prepare_finetune(checkpoint, empty, output, tiny_config)
    (checkpoint / "tokenizer" / "tokenizer.model").write_bytes(b"")
    with pytest.raises(MGLMError, match="broken file"):
        prepare_finetune(checkpoint, examples_directory, output, tiny_config)


def test_what_may_change_between_two_starts_is_not_part_of_a_run_s_identity() -> None:
    first = PretrainConfig(tensor_parallel=1, micro_batch_size=4, save_interval=5)
    second = PretrainConfig(tensor_parallel=2, micro_batch_size=8, save_interval=7)
    assert first.identity() == second.identity()
    assert PretrainConfig(seed=1).identity() != PretrainConfig(seed=2).identity()
    assert FinetuneConfig(label_smoothing=0.0).identity() != FinetuneConfig().identity()


def test_processes_that_would_do_different_work_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.distributed as dist

    def check(**settings: Any) -> None:
        launch.check_same(PretrainConfig.model_validate(settings), {"plan": "1"}, steps=3)

    others: list[Any] = []

    def gather(told: list[Any], mine: Any) -> None:
        told[:] = [mine, *others]
        others.append(mine)

    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_gather_object", gather)
    check()
    check()
    with pytest.raises(MGLMError, match="training process 1; found another learning_rate, another seed than process 0"):
        check(learning_rate=1e-2, seed=5)
    others[:1] = [{**others[0], "input plan": "2"}]
    with pytest.raises(MGLMError, match="found another input plan than"):
        check()
