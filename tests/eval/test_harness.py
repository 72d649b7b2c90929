"""Tasks of ours as files of lm-evaluation-harness: what they hold, and how the results are scored."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import MGLMError
from core.examples import EXAMPLES, Example, write_examples
from core.stage import open_stage
from eval.config import EvalConfig
from eval.harness_scores import process_results
from eval.harness_tasks import HARNESS, temperature_of, write_harness_tasks
from eval.likelihood import span_log_probs
from eval.writer import generation_settings, model_writer
from model.summarizer import Summarizer
from tests.eval.conftest import example
from tokenizer.inputs import SourceIds
from tokenizer.prompts import source

CHOICES = {"yes": [" fog", " late"], "no": [" the"]}
DECODING = {"max_source_tokens": 60, "max_new_tokens": 6, "num_beams": 2}


@pytest.fixture
def sets(tmp_path: Path) -> list[Path]:
    segments = source("paraphrase", "", first="The ferry left.", second="It stayed")
    choice = Example(id="c", task="same", lang="en", target_lang="en", split="heldout", source=segments, target="no",
                     choices=CHOICES)  # fmt: skip
    directories = []
    for name, scorer, rows in [
        ("short", "rouge", [example(n, "en", "zh") for n in range(3)]),
        ("same", "accuracy", [choice]),
    ]:
        stage = open_stage(tmp_path / name, schema=EXAMPLES, config={}, inputs={})
        write_examples(tmp_path / name / "heldout.jsonl", rows)
        stage.finish(facts={"task": {"name": name, "scorer": scorer, "decoding": DECODING}})
        directories.append(tmp_path / name)
    return directories


def rows_of(directory: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / f"mglm_{name}.jsonl").read_text("utf-8").splitlines()]


def test_a_task_file_names_its_data_its_scorer_and_the_decoding(sets: list[Path], tmp_path: Path) -> None:
    manifest = write_harness_tasks(sets, tmp_path / "tasks", EvalConfig())
    assert manifest.schema_name == HARNESS
    text = (tmp_path / "tasks" / "mglm_short.yaml").read_text("utf-8")
    assert 'task: "mglm_short"' in text
    assert str(tmp_path / "tasks" / "mglm_short.jsonl") in text
    assert '"num_beams": 2' in text
    assert '"rougeL"' in text
    choice = (tmp_path / "tasks" / "mglm_same.yaml").read_text("utf-8")
    assert "multiple_choice" in choice
    (row,) = rows_of(tmp_path / "tasks", "same")
    assert row["choices"] == [" fog", " late", " the"]
    assert all("MASK" not in row["prompt"] for row in rows_of(tmp_path / "tasks", "short"))
    assert write_harness_tasks(sets, tmp_path / "tasks", EvalConfig()) == manifest
    with pytest.raises(MGLMError, match="each task once"):
        write_harness_tasks([sets[0], sets[0]], tmp_path / "again", EvalConfig())


def test_windows_are_ranked_in_the_harness_as_outside(sets: list[Path], tmp_path: Path) -> None:
    config = EvalConfig(num_beams=1, length_penalty=0.25)
    write_harness_tasks(sets, tmp_path / "tasks", config)
    text = (tmp_path / "tasks" / "mglm_short.yaml").read_text("utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("generation_kwargs: ")]
    settings = json.loads(line.removeprefix("generation_kwargs: "))
    (row, *_) = rows_of(tmp_path / "tasks", "short")
    decoding = json.loads(row["mglm"])["decoding"]
    assert {**decoding, **settings}["length_penalty"] == decoding["length_penalty"] == 0.25


@pytest.mark.parametrize(
    ("said", "of_task", "drawn_at"),
    [
        ({}, None, None), ({}, 0.7, 0.7), ({"do_sample": False}, 0.7, None), ({"temperature": 0}, 0.7, None),
        ({"do_sample": False, "temperature": 1.0}, None, None), ({"do_sample": True, "temperature": 0.0}, None, None),
        ({"do_sample": True}, None, 1.0), ({"do_sample": True}, 0.7, 0.7), ({"temperature": 0.4}, None, 0.4),
    ],
)  # fmt: skip
def test_the_harness_samples_where_and_how_it_is_told(
    said: dict[str, Any], of_task: float | None, drawn_at: float | None
) -> None:
    assert temperature_of(said, of_task) == drawn_at
    settings = generation_settings(EvalConfig().decoding() | {"temperature": temperature_of(said, of_task)})
    assert settings["do_sample"] is (drawn_at is not None)
    assert settings.get("temperature") == drawn_at


def test_results_of_the_harness_are_scored_as_ours(sets: list[Path], tmp_path: Path) -> None:
    write_harness_tasks(sets, tmp_path / "tasks", EvalConfig())
    row = rows_of(tmp_path / "tasks", "short")[0]
    assert process_results(row, [f" {row['target']} "]) == {"rouge1": 1, "rouge2": 1, "rougeL": 1}
    assert process_results(row, [""]) == {"rouge1": 0, "rouge2": 0, "rougeL": 0}
    (choice,) = rows_of(tmp_path / "tasks", "same")
    logs = [math.log(value) for value in (0.5, 0.1, 0.35)]  # yes .3 on the average, no .35
    assert process_results(choice, [(log, False) for log in logs]) == {"accuracy": 100}


def test_our_model_in_the_harness_answers_as_it_does_outside(export: Path, sets: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is not installed; drills/harness.py runs all of it")
    from eval.harness import MGLMHarness

    write_harness_tasks(sets, tmp_path / "tasks", EvalConfig())
    model = MGLMHarness(str(export), batch_size=2, device="cpu")
    summarizer = Summarizer.from_pretrained(export, device="cpu")
    rows = rows_of(tmp_path / "tasks", "short")
    settings = {"until": [], "max_gen_toks": 6, "num_beams": 2}
    said = model.generate_until([SimpleNamespace(args=(row["prompt"], settings), doc=row) for row in rows])
    write = model_writer(summarizer, EvalConfig().decoding(DECODING), 2)
    assert said == [answer.text for answer in write([example(n, "en", "zh") for n in range(3)])]

    tokenizer = summarizer.tokenizer
    context, text = tokenizer.encode("The ferry"), tokenizer.encode(" left late")
    (found,) = model.loglikelihood([SimpleNamespace(args=("The ferry", " left late"), doc={})])
    given = SourceIds([tokenizer.cls_id, *context, tokenizer.gmask_id], 1 + len(context))
    assert found[0] == pytest.approx(span_log_probs(summarizer, [given], [text], ended=False)[0], abs=1e-4)
    alone = model.generate_until([SimpleNamespace(args=("The ferry", {"until": [], "max_gen_toks": 3}), doc={})])
    (span,) = summarizer.generate([given.ids], max_new_tokens=3, num_beams=1, do_sample=False, no_repeat_ngram_size=0,
                                  length_penalty=1.0)  # fmt: skip
    assert alone == [tokenizer.decode(span).replace("\ufffd", "").strip()]

    long = "The ferry left the harbour late because of the fog. " * 3
    whole, halves = model.loglikelihood_rolling([SimpleNamespace(args=(one,), doc={}) for one in (long, long[:10])])
    assert whole < halves < 0
    assert model.loglikelihood([SimpleNamespace(args=("a", ""), doc={})]) == [(0.0, True)]
