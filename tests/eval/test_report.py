"""Reports: beside the paper's tables, one system beside another, and the same figures in Markdown and page."""

from pathlib import Path
from typing import Any

import pytest

from core.errors import MGLMError
from core.stage import open_stage
from eval.predictions import PREDICTIONS, Prediction
from eval.report import report
from eval.score import read_scores, score_directory
from eval.tasks import tasks


def predictions(path: Path, task: str, rows: list[tuple[str, str, str, str]]) -> Path:
    """Rows of id, language, right answer and prediction."""
    stage = open_stage(path, schema=PREDICTIONS, config={"num_beams": 5}, inputs={})
    made = [
        Prediction(id=key, lang=lang, target_lang=lang, reference=right, prediction=said, source=f"{right} and more")
        for key, lang, right, said in rows
    ]
    (path / "predictions.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in made), "utf-8")
    stage.finish(facts={"task": tasks()[task].public()})
    return path


def scored(path: Path, task: str, rows: list[tuple[str, str, str, str]], **options: Any) -> Path:
    score_directory(predictions(path / "p", task, rows), path / "s", resamples=200, **options)
    return path / "s"


ANSWERS = [("1", "en", "in Paris", "Paris"), ("2", "en", "1998", "1998"), ("3", "hi", "दिल्ली", "मुंबई")]


def test_answers_stand_beside_the_papers_with_means_and_intervals(tmp_path: Path) -> None:
    scores = scored(tmp_path, "xquad", ANSWERS)
    content = read_scores(scores)
    means = [average["name"] for average in content["averages"]]
    assert means == ["all languages (paper, XTREME: 11)", "without English (10)"]
    assert content["averages"][0]["exact_match"] == pytest.approx((50 + 0) / 2)
    assert content["overall"]["exact_match"] == pytest.approx(100 / 3)
    low, high = content["averages"][0]["interval"]["f1"]
    assert low <= content["averages"][0]["f1"] <= high
    assert all("writing" not in row for row in content["pairs"])
    text = report([scores], None, names=["ours"])
    f1 = 100 * (2 / 3 + 1) / 2 / 2
    assert f"| ours | squad | {f1:.1f}/25.0 | – | – |" in text
    assert "| paper: mGLM-Large 1.0B | the paper's | 83.6/71.9 | 67.4/54.3 | 69.6/55.6 |" in text
    assert "ours has 3 examples of xquad, 2 pairs of languages." in text


def test_a_language_that_the_papers_mean_has_not_is_scored_and_stays_out_of_it(tmp_path: Path) -> None:
    scores = scored(tmp_path, "xquad", [*ANSWERS, ("4", "ro", "da", "da")])
    content = read_scores(scores)
    assert [(mean["pairs"], mean["exact_match"]) for mean in content["averages"]] == [(2, 25), (1, 0)]
    assert "/25.0 | – | – |" in report([scores], None, names=["ours"])
    assert "| Romanian (ro) | Romanian (ro) | squad | 1 | 100.00" in report([scores], None)


def test_tasks_of_one_system_fill_one_row(tmp_path: Path) -> None:
    xquad = scored(tmp_path / "x", "xquad", ANSWERS)
    mlqa = scored(tmp_path / "m", "mlqa", ANSWERS)
    text = report([xquad, mlqa], None, names=["ours", "ours"])
    assert [line.count("–") for line in text.splitlines() if line.startswith("| ours | squad |")] == [2]
    assert "| ours | mlqa | – | " in text
    with pytest.raises(MGLMError, match="1 names for 2 directories"):
        report([xquad, mlqa], None, names=["ours"])


def test_two_systems_are_compared_on_what_both_have(tmp_path: Path) -> None:
    right = [(str(n), "en", f"answer {n}", f"answer {n}") for n in range(30)]
    wrong = [(key, lang, reference, "nothing") for key, lang, reference, _ in right[:20]]
    text = report([scored(tmp_path / "a", "xquad", right), scored(tmp_path / "b", "xquad", wrong)], None,
                  names=["good", "bad"], resamples=500)  # fmt: skip
    (row,) = [line for line in text.splitlines() if line.startswith("| XQuAD | good")]
    assert row == "| XQuAD | good | bad | 20 | +100.00, p 0.004 * | +100.00, p 0.004 * |"
    apart = [(f"x{key}", *rest) for key, *rest in wrong]
    text = report([scored(tmp_path / "a", "xquad", right), scored(tmp_path / "c", "xquad", apart)], None)
    assert "no example in common" in text


def test_summaries_show_what_rouge_does_not_see(tmp_path: Path) -> None:
    english = "The ferry left the harbour late because of the fog."
    rows = [("1", "en", english, english), ("2", "en", english, "渡轮因为大雾很晚才离开港口，码头上没有人感到意外。")]
    content = read_scores(scored(tmp_path, "scitldr", rows))
    (pair,) = content["pairs"]
    assert pair["writing"]["language_rate"] == 0.5
    assert pair["writing"]["copied"] == pytest.approx(0.5)
    assert pair["writing"]["repetition"] == 0
    assert pair["writing"]["empty"] == 0
    assert "| English (en) | English (en) | 50.0% |" in report([tmp_path / "s"], None)


def test_several_references_count_by_the_best(tmp_path: Path) -> None:
    stage = open_stage(tmp_path / "p", schema=PREDICTIONS, config={}, inputs={})
    row = Prediction(id="1", lang="en", target_lang="en", reference="a b", references=["a b", "c d"], prediction="c d")
    (tmp_path / "p" / "predictions.jsonl").write_text(row.model_dump_json() + "\n", "utf-8")
    stage.finish(facts={"task": tasks()["scitldr"].public()})
    assert score_directory(tmp_path / "p", tmp_path / "s", resamples=100)["overall"]["rouge1"] == 1


def test_labels_are_scored_by_accuracy(tmp_path: Path) -> None:
    rows = [("1", "de", "entailment", "entailment"), ("2", "de", "neutral", "entailment")]
    content = read_scores(scored(tmp_path, "xnli", rows))
    assert content["overall"]["accuracy"] == 50
    assert "| German (de) | German (de) | labels | 2 | 50.00 [" in report([tmp_path / "s"], None)


def test_the_page_shows_the_same_figures_and_escapes_what_comes_from_outside(tmp_path: Path) -> None:
    scores = scored(tmp_path, "xquad", ANSWERS)
    page = report([scores], None, names=["<b>ours</b>"], html=True)
    assert "&lt;b&gt;ours&lt;/b&gt;" in page
    assert "<b>ours" not in page
    assert "83.6/71.9" in page
    assert "data:image/svg+xml" in page
    assert "| a \\| b |" in report([scores], None, names=["a | b"])
