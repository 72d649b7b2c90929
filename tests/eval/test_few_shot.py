"""Few-shot prompting: examples of one language before questions of another."""

from pathlib import Path

import pytest

from core.errors import MGLMError
from core.examples import EXAMPLES, Example, read_examples, write_examples
from core.manifest import read_manifest
from core.stage import open_stage
from eval.config import EvalConfig
from eval.few_shot import few_shot
from eval.predict import predict
from tokenizer.prompts import summary_source


def example(number: int, split: str, lang: str, target: str) -> Example:
    source = summary_source(f"text {number} of {lang}", target)
    name = f"{split}-{lang}-{target}-{number}"
    return Example(
        id=name, task="summaries", lang=lang, target_lang=target, split=split, source=source,  # type: ignore[arg-type]
        target=f"answer {number} of {lang} in {target}",
    )  # fmt: skip


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    directory = tmp_path / "prepared"
    stage = open_stage(directory, schema=EXAMPLES, config={}, inputs={})
    pairs = [(lang, target) for lang in ("en", "fr") for target in ("en", "zh")]
    for split, count in (("train", 5), ("heldout", 3)):
        rows = [example(number, split, *pair) for pair in pairs for number in range(count)]
        write_examples(directory / f"{split}.jsonl", rows)
    stage.finish(rows={"train.jsonl": 20, "heldout.jsonl": 12})
    return directory


def test_examples_of_the_shown_language_come_before_questions_of_the_asked_one(prepared: Path, tmp_path: Path) -> None:
    few_shot(prepared, tmp_path / "out", shots=3, shown="zh", asked="en")
    made = list(read_examples(tmp_path / "out" / "heldout.jsonl"))
    assert len(made) == 6
    for one in made:
        said = "".join(part.value for part in one.source)
        assert one.target_lang == "en"
        assert said.count("中文摘要: answer") == 3
        assert len({line for line in said.split("\n") if "中文摘要" in line}) == 3, "three different examples"
        assert said.endswith("English Summary: [sMASK]")
        assert [part.kind for part in one.source].count("mask") == 1
        assert f"answer 0 of {one.lang}" in said or f"of {one.lang} in zh" in said, "of the question's source language"


def test_without_shown_each_question_sees_its_own_language_and_the_same_examples_again(
    prepared: Path, tmp_path: Path
) -> None:
    few_shot(prepared, tmp_path / "a", shots=2)
    few_shot(prepared, tmp_path / "b", shots=2)
    assert (tmp_path / "a" / "heldout.jsonl").read_bytes() == (tmp_path / "b" / "heldout.jsonl").read_bytes()
    for one in read_examples(tmp_path / "a" / "heldout.jsonl"):
        said = "".join(part.value for part in one.source)
        assert said.count(f"of {one.lang} in {one.target_lang}") == 2


def test_of_choices_the_word_that_is_said_is_shown_and_not_its_label(tmp_path: Path) -> None:
    stage = open_stage(tmp_path / "prepared", schema=EXAMPLES, config={}, inputs={})
    choices = {"entailment": [" True"], "contradiction": [" False"]}
    for split in ("train", "heldout"):
        one = example(0, split, "en", "en").model_copy(update={"target": "contradiction", "choices": choices})
        write_examples(tmp_path / "prepared" / f"{split}.jsonl", [one])
    stage.finish(rows={"train.jsonl": 1, "heldout.jsonl": 1})
    few_shot(tmp_path / "prepared", tmp_path / "out", shots=1)
    (made,) = read_examples(tmp_path / "out" / "heldout.jsonl")
    assert [part.value for part in made.source if part.kind == "text"][1] == " False"


def test_no_shots_are_the_questions_themselves(prepared: Path, tmp_path: Path) -> None:
    few_shot(prepared, tmp_path / "out", shots=0)
    assert list(read_examples(tmp_path / "out" / "heldout.jsonl")) == list(read_examples(prepared / "heldout.jsonl"))


@pytest.mark.parametrize(("given", "words"), [({"shots": 11}, "at least 11"), ({"shots": 1, "shown": "de"}, "to de"),
                                              ({"shots": 1, "asked": "de"}, "to de")])  # fmt: skip
def test_too_few_examples_and_unknown_languages_are_refused(
    prepared: Path, tmp_path: Path, given: dict[str, object], words: str
) -> None:
    with pytest.raises(MGLMError, match=words):
        few_shot(prepared, tmp_path / "out", **given)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_model_answers_few_shot_questions_like_any_others(prepared: Path, export: Path, tmp_path: Path) -> None:
    few_shot(prepared, tmp_path / "out", shots=1, shown="zh", asked="en")
    config = EvalConfig(max_new_tokens=4, num_beams=1, max_source_tokens=90)
    predict(export, tmp_path / "out", tmp_path / "predictions", config, limit=2)
    assert read_manifest(tmp_path / "predictions", "predictions/1").facts["predictions"] == 2
