"""Predictions: one for each chosen example, the same after a kill, and only what was asked for."""

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from core.errors import MGLMError
from core.examples import EXAMPLES, Example, read_examples, write_examples
from core.manifest import WORK_NAME, read_manifest
from core.stage import Stage, open_stage
from eval.config import EvalConfig
from eval.predict import WORK_FILE, Written, predict, select, write_predictions
from eval.predictions import PREDICTIONS, read_predictions
from eval.records import example_id
from model.summarizer import Summarizer
from tests.eval.conftest import example

ROOT = Path(__file__).parents[2]
CONFIG = EvalConfig(max_new_tokens=8, num_beams=2, batch_size=3)


def test_every_heldout_example_gets_a_prediction(export: Path, examples: Path, tmp_path: Path) -> None:
    manifest = predict(export, examples, tmp_path / "out", CONFIG)
    predictions = read_predictions(tmp_path / "out")
    wanted = list(read_examples(examples / "heldout.jsonl"))
    assert [p.id for p in predictions] == [e.id for e in wanted]
    assert [p.reference for p in predictions] == [e.target for e in wanted]
    assert any(p.prediction for p in predictions)
    assert manifest.counts == {"en": {"en": 4, "zh": 4}, "th": {"zh": 2}}
    assert {name: manifest.config[name] for name in ("num_beams", "length_penalty", "max_new_tokens")} == {
        "num_beams": 2, "length_penalty": 0.7, "max_new_tokens": 8,
    }  # fmt: skip
    assert predict(export, examples, tmp_path / "out", CONFIG) == manifest


def test_what_was_trained_on_is_not_answered(export: Path, examples: Path, tmp_path: Path) -> None:
    for split in ("train", "rejected"):
        with pytest.raises(MGLMError, match=f"--split; found {split}; expected heldout or dev"):
            predict(export, examples, tmp_path / "out", CONFIG, split=split)


def test_windows_that_cannot_overlap_are_told(
    export: Path, examples: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for stride, told in ((40, True), (16, False)):
        config = CONFIG.model_copy(update={"max_source_tokens": 40, "window_stride": stride})
        predict(export, examples, tmp_path / f"out{stride}", EvalConfig(**config.model_dump()))
        assert ("do not overlap at eval.window_stride 40" in caplog.text) == told
        caplog.clear()


def test_predictions_are_what_the_summarizer_says(export: Path, examples: Path, tmp_path: Path) -> None:
    config = EvalConfig(max_new_tokens=8, num_beams=3, no_repeat_ngram_size=2, batch_size=4)
    predict(export, examples, tmp_path / "out", config)
    summarizer = Summarizer.from_pretrained(export, long_articles="cut")
    texts = {e.id: e.source[0].value for e in read_examples(examples / "heldout.jsonl")}
    for prediction in read_predictions(tmp_path / "out"):
        alone = summarizer.summarize(
            texts[prediction.id], prediction.target_lang, max_new_tokens=8, num_beams=3, no_repeat_ngram_size=2
        )
        assert prediction.prediction == alone


def test_a_killed_run_goes_on_with_the_next_batch_and_ends_the_same(examples: Path, tmp_path: Path) -> None:
    wanted = list(read_examples(examples / "heldout.jsonl"))
    asked: list[int] = []

    def write(batch: Sequence[Example]) -> list[Written]:
        asked.append(len(batch))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return [Written(f"{len(each.source)} {each.source[0].value[:9]}") for each in batch]

    def stage(name: str) -> Stage:
        return open_stage(tmp_path / name, schema="predictions/1", config={}, inputs={})

    with pytest.raises(KeyboardInterrupt):
        write_predictions(stage("killed"), wanted, write, batch_size=3)
    work_file = tmp_path / "killed" / "_work" / WORK_FILE
    lines = work_file.read_bytes().splitlines(keepends=True)
    assert len(lines) == 6
    work_file.write_bytes(b"".join(lines[:5]) + lines[5][:40])  # the second batch was not quite written
    write_predictions(stage("killed"), wanted, write, batch_size=3)
    assert asked == [3, 3, 3, 3, 3, 1]
    write_predictions(stage("whole"), wanted, write, batch_size=3)
    ends = [(tmp_path / name / "predictions.jsonl").read_bytes() for name in ("killed", "whole")]
    assert ends[0] == ends[1]
    assert not work_file.exists()


def test_a_process_killed_in_the_middle_and_started_again_writes_the_file_of_an_undisturbed_one(
    export: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "examples"
    stage = open_stage(directory, schema=EXAMPLES, config={}, inputs={})
    rows = [example(number, "en", "zh") for number in range(45)]
    write_examples(directory / "heldout.jsonl", rows)
    stage.finish()
    settings = {"max_new_tokens": 20, "min_new_tokens": 20, "num_beams": 2, "batch_size": 3}

    def start(output: Path) -> "subprocess.Popen[bytes]":
        overrides = [item for name, value in settings.items() for item in ("--set", f"eval.{name}={value}")]
        command = ["eval", "predict", "--model", export, "--examples", directory, "--output", output, *overrides]
        return subprocess.Popen([sys.executable, "-m", "mglm", *map(str, command)], cwd=ROOT, stderr=subprocess.DEVNULL)

    work_file = tmp_path / "killed" / WORK_NAME / WORK_FILE
    process = start(tmp_path / "killed")
    while not work_file.exists() or work_file.read_bytes().count(b"\n") < 6:
        assert process.poll() is None
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert 6 <= work_file.read_bytes().count(b"\n") < 45
    assert start(tmp_path / "killed").wait() == 0
    predict(export, directory, tmp_path / "whole", EvalConfig.model_validate(settings))
    ends = [(tmp_path / name / "predictions.jsonl").read_bytes() for name in ("killed", "whole")]
    assert ends[0] == ends[1]
    manifests = [read_manifest(tmp_path / name, PREDICTIONS) for name in ("killed", "whole")]
    assert manifests[0].content_hash() == manifests[1].content_hash()


def test_a_limit_is_spread_over_the_pairs_and_keeps_the_order(examples: Path) -> None:
    wanted = list(read_examples(examples / "heldout.jsonl"))
    for limit, expected in [(1, [1]), (3, [1, 1, 1]), (7, [3, 2, 2]), (99, [4, 4, 2])]:
        chosen = select(wanted, None, limit)
        assert sorted(Counter((e.lang, e.target_lang) for e in chosen).values(), reverse=True) == expected
        assert [e.id for e in chosen] == [e.id for e in wanted if e in chosen]
    assert len(select(wanted, 1, None)) == 3
    assert select(wanted[::-1], 2, None)[::-1] == select(wanted, 2, None)
    question = wanted[0].model_copy(update={"target_lang": "en"})
    asked = [
        question.model_copy(update={"id": example_id("", f"{lang}-en", str(number)), "lang": lang})
        for lang in ("ar", "de", "hi")
        for number in range(50)
    ]
    numbers = [example.id.rpartition(":")[2] for example in select(asked, 7, None)]
    assert numbers[:7] == numbers[7:14] == numbers[14:]  # the same questions in every language
    assert len(set(numbers)) == 7


def test_stages_that_are_missing_or_wrong_are_named(export: Path, examples: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    with pytest.raises(MGLMError, match="Run mglm model convert --to hf first"):
        predict(tmp_path / "absent", examples, output, CONFIG)
    with pytest.raises(MGLMError, match="expected hf/1"):
        predict(examples, examples, output, CONFIG)
    with pytest.raises(MGLMError, match="Run mglm eval prepare first"):
        predict(export, tmp_path / "absent", output, CONFIG)
    empty = open_stage(tmp_path / "empty", schema=EXAMPLES, config={}, inputs={})
    write_examples(tmp_path / "empty" / "heldout.jsonl", [])
    empty.finish()
    with pytest.raises(MGLMError, match="no held-out example"):
        predict(export, tmp_path / "empty", output, CONFIG)
    assert not output.exists()
    assert read_manifest(export, "hf/1")


def test_more_tokens_than_positions_is_an_error_before_any_work(export: Path, examples: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    with pytest.raises(MGLMError, match=r"eval\.max_new_tokens; found 97 positions"):
        predict(export, examples, output, EvalConfig(max_new_tokens=96))
    with pytest.raises(MGLMError, match=r"eval\.max_source_tokens"):
        predict(export, examples, output, EvalConfig(max_source_tokens=97, max_new_tokens=8))
    assert not output.exists()
