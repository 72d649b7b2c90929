"""The metric that picks a fine-tuning's best checkpoint: the task's scorer over what was prepared for development."""

from pathlib import Path
from typing import Any

import pytest

from core.config import RunConfig
from core.errors import MGLMError
from core.examples import EXAMPLES, Example, write_examples
from core.stage import open_stage
from mglm.development import TaskDevelopment, find_development
from tokenizer.prompts import source
from train.config import FinetuneConfig
from train.development import DevelopmentRequest

QA = {"name": "qa", "kind": "question", "scorer": "squad", "postprocess": ["one_line"]}


def made(number: int, lang: str, target: str) -> Example:
    segments = source("question", "en", context=f"{target} rose.", question="What rose?")
    return Example(
        id=f"{lang}{number}", task="qa", lang=lang, target_lang=lang, split="dev", source=segments, target=target
    )


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    root = tmp_path / "examples"
    stage = open_stage(root, schema=EXAMPLES, config={}, inputs={})
    write_examples(root / "dev.jsonl", [made(n, lang, f"river {n}") for lang in ("en", "de") for n in range(9)])
    stage.finish(facts={"task": {**QA, "decoding": {"max_source_tokens": 512, "max_new_tokens": 64, "num_beams": 5}}})
    return root


def find(examples: Path, positions: int = 1025, task: str | None = None, **fields: Any) -> TaskDevelopment | None:
    config = FinetuneConfig(source_length=100, target_length=20, **fields)
    return find_development(DevelopmentRequest(RunConfig(), config, examples, task, positions))


def test_languages_weigh_the_same_and_the_measure_asked_for_counts(examples: Path) -> None:
    development = find(examples)
    assert development is not None
    given = [example.target if example.lang == "en" else "the nothing" for example in development._examples]
    scores = development.scores(given)
    assert (scores["score"], scores["best_by"], scores["examples"]) == (50.0, "f1", 18)
    by_match = find(examples, best_by="exact_match")
    assert by_match is not None
    assert by_match.scores(given)["best_by"] == "exact_match"
    assert by_match.identity != development.identity
    again = find(examples)
    assert again is not None
    assert again.identity == development.identity
    with pytest.raises(MGLMError, match=r"finetune.best_by; found rouge1; expected one of"):
        find(examples, best_by="rouge1")


def test_as_many_as_wanted_in_every_language_and_decoded_within_what_is_tuned_on(examples: Path) -> None:
    few = find(examples, development_examples=4)
    assert few is not None
    assert sorted(example.lang for example in few._examples) == ["de", "de", "en", "en"]
    assert few._decoding["max_source_tokens"] == 100
    assert few._decoding["max_new_tokens"] == 20
    assert few._decoding["num_beams"] == 5
    assert find(examples, development_examples=0) is None
    assert find(examples, task="another") is None
    (examples / "dev.jsonl").unlink()
    assert find(examples) is None
