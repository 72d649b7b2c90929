"""SQuAD v1.1: the published scorer's behaviour, case by case."""

import gzip
import json
from pathlib import Path

import pytest

from core.errors import MGLMError
from eval.qa_files import read_answers, read_predictions
from eval.squad import normalised, squad, word_f1

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "eval" / "xquad"


def references(path: Path, questions: dict[str, list[str]]) -> Path:
    qas = [{"id": key, "question": "?", "answers": [{"text": t} for t in texts]} for key, texts in questions.items()]
    path.write_text(json.dumps({"version": "1.1", "data": [{"paragraphs": [{"context": "", "qas": qas}]}]}), "utf-8")
    return path


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The  Eiffel-Tower, (in) Paris!", "eiffeltower in paris"),
        ("an apple a day", "apple day"),
        ("theatre and Anna", "theatre and anna"),
        ("北京。", "北京。"),  # only ASCII punctuation goes
        ("«Лев»", "«лев»"),
        ("a", ""),
    ],
)
def test_answers_are_normalised_as_published(answer: str, expected: str) -> None:
    assert normalised(answer) == expected


def test_f1_is_over_bags_of_words() -> None:
    assert word_f1(["in", "paris", "paris"], ["paris", "france"]) == pytest.approx(2 * 1 / (3 + 2))
    assert word_f1([], []) == 0
    assert squad({"q": ["the"]}, {"q": "an"}) == {"exact_match": 100, "f1": 0}  # nothing is left of either
    assert squad({"q": ["the Denver Broncos"]}, {"q": "Denver broncos"})["f1"] == 100


def test_the_best_answer_counts_and_the_mean_is_in_percent() -> None:
    answers = {"q1": ["Paris", "the city of Paris"], "q2": ["1998"], "q3": ["one two three four"]}
    scores = squad(answers, {"q1": "city of paris", "q2": "1999", "q3": "two three"})
    assert scores == pytest.approx({"exact_match": 100 / 3, "f1": 100 * (1 + 0 + 2 * 2 / (2 + 4)) / 3})


def test_missing_and_unknown_predictions_are_errors_that_name_them() -> None:
    with pytest.raises(MGLMError, match="no prediction for id q2, q3, q4 and 1 more"):
        squad({f"q{n}": ["x"] for n in range(1, 6)}, {"q1": "x"})
    with pytest.raises(MGLMError, match="predictions for id q9"):
        squad({"q1": ["x"]}, {"q1": "x", "q9": "y"})


def test_doubled_ids_are_errors_in_both_files(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text('{"q1": "a", "q1": "b"}', "utf-8")
    with pytest.raises(MGLMError, match="more than one record for id q1"):
        read_predictions(path)
    doubled = references(tmp_path / "r.json", {"q1": ["a"]})
    document = json.loads(doubled.read_text("utf-8"))
    document["data"].append(document["data"][0])
    doubled.write_text(json.dumps(document), "utf-8")
    with pytest.raises(MGLMError, match="more than one record for id q1"):
        read_answers(doubled)


@pytest.mark.parametrize("text", ['{"data": [{"paragraphs": 3}]}', '{"rows": []}', "[]", '{"data": []}', "{", ""])
def test_files_of_another_shape_are_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text, "utf-8")
    with pytest.raises(MGLMError, match=r"broken\.json"):
        read_answers(path)


def test_a_question_without_answers_is_no_v1_question(tmp_path: Path) -> None:
    with pytest.raises(MGLMError, match="question q7; found no answers"):
        read_answers(references(tmp_path / "r.json", {"q7": []}))


@pytest.mark.skipif(not SHARED.exists(), reason="XQuAD is not beside the project")
def test_xquad_scores_full_marks_against_itself(tmp_path: Path) -> None:
    path = SHARED / "xquad.hi.json.gz"
    answers = read_answers(path)
    assert (len(answers.by_id), len(answers.contexts)) == (1190, 240)
    assert squad(answers.by_id, {key: texts[0] for key, texts in answers.by_id.items()})["exact_match"] == 100
    plain = tmp_path / "xquad.json"
    plain.write_bytes(gzip.decompress(path.read_bytes()))
    assert read_answers(plain) == answers
