"""Other people's models on our tasks: fine-tuned, stopped and continued, predicted with, scored, by the same code."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from core.errors import MGLMError
from core.examples import EXAMPLES, Example, write_examples
from core.manifest import read_manifest
from core.stage import open_stage
from eval.config import EvalConfig
from eval.predict import predict
from eval.predictions import read_predictions
from eval.score import score_directory
from mglm.development import find_development
from model.peer_directory import PEER
from tests.peers import PEERS, gpt2, mt5
from tokenizer.prompts import source, summary_source
from train.finetune import finetune
from train.metrics import read_metrics

ROOT = Path(__file__).parents[2]
PAIRS = [
    ("The ferry left the harbour late.", "渡轮晚点了。", "zh"),
    ("Nobody on the quay was surprised.", "Nobody minded.", "en"),
    ("The market opens in the morning.", "市场早上开门。", "zh"),
    ("An old bridge was painted.", "A bridge, painted.", "en"),
]
TEXTS = [text for source_, target, _ in PAIRS for text in (source_, target)]
LEARNT_AT = 160  # far enough that rounding does not decide which of two titles is the likelier
SETTINGS = (
    "steps=60", "learning_rate=0.01", "global_batch_size=4", "micro_batch_size=2", "source_length=48",
    "target_length=24", "save_interval=20", "warmup_steps=4",
)  # fmt: skip


def rows(split: str) -> list[Example]:
    return [
        Example(id=str(number), task="summaries", lang="en", target_lang=lang, split=split, target=target,
                source=summary_source(text, lang))  # type: ignore[arg-type]
        for number, (text, target, lang) in enumerate(PAIRS)
    ]  # fmt: skip


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    directory = tmp_path / "examples"
    stage = open_stage(directory, schema=EXAMPLES, config={}, inputs={})
    write_examples(directory / "train.jsonl", rows("train"))
    write_examples(directory / "heldout.jsonl", rows("heldout"))
    stage.finish(facts={"task": {"name": "summaries", "kind": "summary", "scorer": "rouge"}})
    return directory


def tune(
    init: Path, examples: Path, output: Path, *settings: str, nproc: int | None = 1, more: Sequence[str] = ()
) -> None:
    overrides = [f"finetune.{setting}" for setting in (*SETTINGS, *settings)]
    overrides += ["eval.num_beams=1", "eval.max_new_tokens=24", *more]
    finetune(
        config=None, overrides=overrides, init=init, examples=examples, output=output, nproc=nproc,
        find_development=find_development,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["bloom", "mt5", "nllb"])
def test_a_model_of_another_family_learns_examples_by_heart(name: str, examples: Path, tmp_path: Path) -> None:
    base = PEERS[name](tmp_path / "base", TEXTS)
    tune(base, examples, tmp_path / "tuned", f"steps={LEARNT_AT}", "label_smoothing=0")
    losses = [row["loss"] for row in read_metrics(tmp_path / "tuned" / "metrics.jsonl")]
    assert len(losses) == LEARNT_AT
    assert losses[-1] < losses[0] / 10
    assert read_manifest(tmp_path / "tuned", PEER).facts["steps"] == LEARNT_AT
    config = EvalConfig(max_new_tokens=24, num_beams=2, batch_size=3, no_repeat_ngram_size=0)
    predict(tmp_path / "tuned", examples, tmp_path / "said", config)
    scores = score_directory(tmp_path / "said", tmp_path / "scores", resamples=100)
    wanted = [target for _, target, _ in PAIRS]
    said = [prediction.prediction for prediction in read_predictions(tmp_path / "said")]
    assert said == wanted
    assert scores["overall"]["rougeL"] == 1


def test_label_smoothing_and_batches_over_processes_change_as_little_as_with_ours(
    examples: Path, tmp_path: Path
) -> None:
    base = mt5(tmp_path / "base", TEXTS)
    for name, nproc, settings in [
        ("one", 1, ("micro_batch_size=4",)), ("cut", 1, ("micro_batch_size=1",)), ("two", 2, ()),
        ("sharp", 1, ("label_smoothing=0",)),
    ]:  # fmt: skip
        tune(base, examples, tmp_path / name, "steps=4", "warmup_steps=1", *settings, nproc=nproc)
    losses = {
        name: [row["loss"] for row in read_metrics(tmp_path / name / "metrics.jsonl")]
        for name in ("one", "cut", "two", "sharp")
    }
    assert losses["cut"] == pytest.approx(losses["one"], rel=1e-5)
    assert losses["two"] == pytest.approx(losses["one"], rel=1e-5)
    assert losses["sharp"][-1] < losses["one"][-1]


def test_a_killed_fine_tuning_ends_as_an_undisturbed_one(examples: Path, tmp_path: Path) -> None:
    base = gpt2(tmp_path / "base", TEXTS)
    settings = ("save_interval=10", "steps=100")

    def arguments(output: Path) -> list[str]:
        overrides = [item for each in (*SETTINGS, *settings) for item in ("--set", f"finetune.{each}")]
        return ["train", "finetune", "--init", str(base), "--examples", str(examples), "--output", str(output),
                "--nproc", "1", *overrides]  # fmt: skip

    broken, whole = tmp_path / "broken", tmp_path / "whole"
    process = subprocess.Popen([sys.executable, "-m", "mglm", *arguments(broken)], cwd=ROOT, stderr=subprocess.DEVNULL)
    _wait_for(broken, 15, process)
    process.kill()
    process.wait()
    after = _last_step(broken) + 5
    stopper = threading.Thread(target=lambda: (_wait_for(broken, after), os.kill(os.getpid(), signal.SIGTERM)))
    stopper.start()
    try:
        tune(base, examples, broken, *settings)
        code: Any = 0
    except SystemExit as stopped:
        code = stopped.code
    stopper.join()
    assert code == 128 + signal.SIGTERM
    assert after <= _last_step(broken) < 100
    for output in (broken, whole):
        tune(base, examples, output, *settings)
    kept = [load_file(output / "model.safetensors") for output in (broken, whole)]
    assert all(kept[0][name].equal(kept[1][name]) for name in kept[1])
    assert not (broken / "_work").exists()
    losses = [[row["loss"] for row in read_metrics(output / "metrics.jsonl")] for output in (broken, whole)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("nproc", [1, 2])
def test_the_best_on_the_development_examples_is_what_comes_out(examples: Path, tmp_path: Path, nproc: int) -> None:
    write_examples(examples / "dev.jsonl", rows("dev"))
    base, output = mt5(tmp_path / "base", TEXTS), tmp_path / "out"
    settings = ("steps=60", "eval_interval=10", "label_smoothing=0", "save_interval=7", "min_learning_rate=0.009")
    tune(base, examples, output, *settings, "development_examples=3", nproc=nproc)
    events = [event for event in read_metrics(output / "events.jsonl") if event["event"] == "development"]
    assert [event["step"] for event in events] == [10, 20, 30, 40, 50, 60]
    assert all(event["examples"] == 3 for event in events)
    best = max(events, key=lambda event: (event["score"], -event["step"]))
    facts = read_manifest(output, PEER).facts
    assert facts["step"] == best["step"]
    assert facts["development"]["score"] == best["score"]
    assert facts["steps"] == 60
    # Learned by heart by then, and the first of equals counts. A run that ends there, at the same rates, has these
    # weights.
    assert best["step"] < 60
    short = tmp_path / "short"
    tune(base, examples, short, *settings, f"steps={best['step']}", "decay_steps=60", "development_examples=0")
    kept, alone = (load_file(path / "model.safetensors") for path in (output, short))
    assert all(kept[name].allclose(alone[name], atol=1e-5) for name in alone)


def test_stopped_where_it_is_to_be_measured_it_saves_at_once_and_measures_when_it_goes_on(
    examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from train.peer_loop import PeerTrainer

    write_examples(examples / "dev.jsonl", rows("dev"))
    base, broken, whole = gpt2(tmp_path / "base", TEXTS), tmp_path / "broken", tmp_path / "whole"
    settings = ("steps=9", "eval_interval=3", "save_interval=9", "development_examples=2")
    train_step = PeerTrainer.train_step

    def until_asked_to_stop(trainer: PeerTrainer, own_rows: Any, stop: Any) -> dict[str, Any]:
        stop.signal = signal.SIGTERM if trainer.step + 1 == 3 else None
        return train_step(trainer, own_rows, stop)

    def told(output: Path) -> list[tuple[int, float]]:
        events = read_metrics(output / "events.jsonl")
        return [(event["step"], event["score"]) for event in events if event["event"] == "development"]

    monkeypatch.setattr(PeerTrainer, "train_step", until_asked_to_stop)
    try:
        tune(base, examples, broken, *settings)
        code: Any = 0
    except SystemExit as stopped:  # kept, its frames would hold the output's lock
        code = stopped.code
    assert code == 128 + signal.SIGTERM
    assert told(broken) == []
    monkeypatch.undo()
    for output in (broken, whole):
        tune(base, examples, output, *settings)
    assert told(broken) == told(whole)
    assert [step for step, _ in told(whole)] == [3, 6, 9]
    facts = [read_manifest(output, PEER).facts for output in (broken, whole)]
    assert facts[0]["step"] == facts[1]["step"]
    kept = [load_file(output / "model.safetensors") for output in (broken, whole)]
    assert all(kept[0][name].equal(kept[1][name]) for name in kept[1])


def test_a_long_source_is_learned_in_windows_that_hold_the_answer(tmp_path: Path) -> None:
    from core.config import RunConfig
    from model.peer import Peer
    from train.peer_job import prepare_peer
    from train.peer_loop import PeerBatches

    context = f"{'The market opens. ' * 20}The ferry left late. {'An old bridge was painted. ' * 20}"
    asked = source("question", "en", context=context, question="When?")
    example = Example(id="q", task="t", lang="en", target_lang="en", split="train", source=asked, target="left late")
    directory = tmp_path / "examples"
    stage = open_stage(directory, schema=EXAMPLES, config={}, inputs={})
    write_examples(directory / "train.jsonl", [example])
    stage.finish()
    for name in ("mt5", "gpt2"):
        base = PEERS[name](tmp_path / name, TEXTS)
        for stride, holds in ((None, False), (12, True)):
            settings = ["source_length=100", "target_length=24", "global_batch_size=8", "steps=1"]
            settings += [f"window_stride={stride}"] if stride else []
            run_config = RunConfig(None, [f"finetune.{setting}" for setting in settings])
            peer = Peer.load(base)
            batches = PeerBatches(prepare_peer(run_config, base, directory, tmp_path / "out", None, 1), peer)
            read = [peer.decode(source_.ids) for source_, _ in batches.rows(0, 0, 1)]
            assert all(("left late" in text) == holds for text in read), read
            assert (len(set(read)) > 1) == holds


def test_examples_are_asked_in_the_languages_wanted(examples: Path, tmp_path: Path) -> None:
    from core.config import RunConfig
    from model.peer import Peer
    from train.peer_job import prepare_peer
    from train.peer_loop import PeerBatches

    base = gpt2(tmp_path / "base", TEXTS)
    settings = ["source_length=90", "target_length=24", "global_batch_size=24", "steps=1"]
    peer, read = Peer.load(base), {}
    for languages in ('["en"]', '["en", "de"]'):
        run_config = RunConfig(None, [f"finetune.{each}" for each in (*settings, f"prompt_languages={languages}")])
        job = prepare_peer(run_config, base, examples, tmp_path / "out", None, 1)
        read[languages] = [peer.decode(source_.ids) for source_, _ in PeerBatches(job, peer).rows(0, 0, 1)]
    both = read['["en", "de"]']
    assert not any("Zusammenfassung" in text for text in read['["en"]'])
    assert 4 < sum("Zusammenfassung" in text for text in both) < 20
    assert sum("Summary" in text for text in both) == len(both) - sum("Zusammenfassung" in text for text in both)


def _wait_for(output: Path, step: int, process: "subprocess.Popen[bytes] | None" = None) -> None:
    while _last_step(output) < step:
        assert process is None or process.poll() is None


def _last_step(output: Path) -> int:
    return max((row["step"] for row in read_metrics(output / "metrics.jsonl")), default=0)


def test_windows_and_choices_are_answered_too(tmp_path: Path) -> None:
    directory = tmp_path / "examples"
    stage = open_stage(directory, schema=EXAMPLES, config={}, inputs={})
    shared: dict[str, Any] = {"task": "t", "lang": "en", "target_lang": "en", "split": "heldout"}
    context = "The ferry left late. " * 30
    long = Example(id="q", source=source("question", "en", context=context, question="When?"), target="late", **shared)
    choices = {"yes": [" bridge"], "no": [" quay", " ferry"]}
    nli = source("nli", "en", premise="An old bridge.", hypothesis="A bridge")
    write_examples(
        directory / "heldout.jsonl", [long, Example(id="c", source=nli, target="yes", choices=choices, **shared)]
    )
    stage.finish()
    base = gpt2(tmp_path / "base", TEXTS)
    config = EvalConfig(max_source_tokens=115, window_stride=20, max_new_tokens=4, num_beams=2)
    predict(base, directory, tmp_path / "out", config)
    by_id = {prediction.id: prediction for prediction in read_predictions(tmp_path / "out")}
    assert by_id["q"].windows > 2
    assert by_id["q"].score is not None
    assert by_id["c"].prediction in choices


def test_what_does_not_fit_is_said_before_any_work(examples: Path, tmp_path: Path) -> None:
    base, output = gpt2(tmp_path / "base", TEXTS), tmp_path / "out"
    with pytest.raises(MGLMError, match=r"finetune\.tensor_parallel; found 2 with a model that is not ours"):
        tune(base, examples, output, "tensor_parallel=2")
    with pytest.raises(MGLMError, match=r"finetune\.freeze_upper_layers; found 1 with a model that is not ours"):
        tune(base, examples, output, "freeze_upper_layers=1")
    with pytest.raises(MGLMError, match=r"finetune\.source_length; found 140 positions"):
        tune(base, examples, output, "source_length=116")
    with pytest.raises(MGLMError, match="bf16 or fp32"):
        tune(base, examples, output, "precision=fp16")
    write_examples(examples / "dev.jsonl", rows("dev"))
    with pytest.raises(MGLMError, match=r"eval\.long_articles; found passages"):
        tune(base, examples, output, more=("eval.long_articles=passages",))
    (examples / "dev.jsonl").unlink()
    with pytest.raises(MGLMError, match=r"eval\.max_new_tokens; found 200 positions"):
        predict(base, examples, output, EvalConfig())
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"model_type": "mglm"}))
    with pytest.raises(MGLMError, match="run mglm model convert --from hf --to megatron|Run mglm model convert"):
        tune(base, examples, output)
    assert not output.exists()
