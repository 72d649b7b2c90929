"""Figures equal those that the official scorers gave for the same texts, to the last printed digit.

official_scores.json was made by running them; its `origin` says which, at which revision. The texts are of
examples/documents.jsonl.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from rouge_score.rouge_scorer import RougeScorer

from eval import authors, mlqa, squad
from eval.rouge import f_measures, rouge
from eval.words import words_of

OFFICIAL: dict[str, Any] = json.loads(Path(__file__).with_name("official_scores.json").read_text("utf-8"))


@pytest.mark.parametrize("language", OFFICIAL["rouge"])
def test_rouge_is_that_of_the_xlsum_scorer(language: str) -> None:
    case = OFFICIAL["rouge"][language]
    references, predictions = zip(*case["pairs"], strict=True)
    assert rouge(references, predictions, language).means == case["expected"]


@pytest.mark.parametrize("language", OFFICIAL["answers"])
def test_answers_score_as_by_the_scripts_of_squad_and_mlqa(language: str) -> None:
    case = OFFICIAL["answers"][language]
    answers = {str(number): item[0] for number, item in enumerate(case["items"])}
    predictions = {str(number): item[1] for number, item in enumerate(case["items"])}
    assert squad.squad(answers, predictions) == case["squad"]
    assert squad.squad(answers, predictions, mlqa.normaliser(language)) == case["mlqa"]


@pytest.mark.parametrize("language", OFFICIAL["answers"])
def test_answers_score_as_by_the_authors_script(language: str) -> None:
    pytest.importorskip("unidecode", reason="unidecode is not installed")
    case = OFFICIAL["answers"][language]
    answers = {str(number): item[0] for number, item in enumerate(case["items"])}
    predictions = {str(number): item[1] for number, item in enumerate(case["items"])}
    assert squad.squad(answers, predictions, authors.answer_normaliser()) == case["authors"]


def test_the_arithmetic_is_that_of_googles_rouge_score() -> None:
    class Cut:
        def tokenize(self, text: str) -> list[str]:
            return words_of("hi").tokenize(text)

    theirs = RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=Cut())
    for reference, prediction in OFFICIAL["rouge"]["hi"]["pairs"]:
        scores = theirs.score(reference, prediction)
        ours = f_measures(Cut().tokenize(reference), Cut().tokenize(prediction))
        assert ours == tuple(scores[name].fmeasure for name in ("rouge1", "rouge2", "rougeL"))
