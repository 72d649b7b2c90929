"""A predictions directory becomes scores by language pair, target and overall, that agree with one another."""

from pathlib import Path

import pytest

from core.errors import MGLMError
from core.manifest import read_manifest
from core.stage import open_stage
from eval.predictions import PREDICTIONS, Prediction
from eval.records import item_of
from eval.report import report
from eval.score import read_scores, score_directory
from tokenizer.encoding import MODEL_NAME, Tokenizer

ROWS = [
    Prediction(id="1:en", lang="fr", target_lang="en", reference="the cat sat", prediction="the cat sat"),
    Prediction(id="2:en", lang="fr", target_lang="en", reference="a b", prediction="c d"),
    Prediction(id="3:en", lang="sw", target_lang="en", reference="a b c d", prediction="a b"),
    Prediction(id="1:zh", lang="fr", target_lang="zh", reference="我爱北京", prediction="北京"),
]


def directory(path: Path, rows: list[Prediction]) -> Path:
    stage = open_stage(path, schema=PREDICTIONS, config={"num_beams": 4}, inputs={})
    (path / "predictions.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in rows), "utf-8")
    stage.finish()
    return path


def test_pairs_targets_and_overall_agree(tmp_path: Path) -> None:
    scores = score_directory(directory(tmp_path / "predictions", ROWS), tmp_path / "scores")
    pairs = {(row["lang"], row["target_lang"]): row for row in scores["pairs"]}
    assert pairs["fr", "en"]["rouge1"] == pytest.approx(0.5)
    assert pairs["sw", "en"]["rouge1"] == pytest.approx(2 * 2 / 6)
    assert pairs["fr", "zh"]["rouge1"] == pytest.approx(2 * 1 / 4)
    assert pairs["fr", "zh"]["tokenization"] == "xlsum-jieba"
    english = next(row for row in scores["targets"] if row["target_lang"] == "en")
    assert english["examples"] == 3
    assert english["rouge1"] == pytest.approx((1 + 0 + 2 / 3) / 3)
    assert english["macro"]["rouge1"] == pytest.approx((0.5 + 2 / 3) / 2)
    assert scores["overall"]["rouge1"] == pytest.approx((1 + 0 + 2 / 3 + 0.5) / 4)


def test_a_directory_is_scored_once(tmp_path: Path) -> None:
    given = directory(tmp_path / "predictions", ROWS)
    scores = score_directory(given, tmp_path / "scores")
    assert scores["decoding"] == {"num_beams": 4}
    assert read_scores(tmp_path / "scores") == scores == score_directory(given, tmp_path / "scores")
    assert read_manifest(tmp_path / "scores", "scores/1").facts["examples"] == 4


def test_a_tokenizer_counts_by_its_content_and_not_by_its_place(tokenizer: Tokenizer, tmp_path: Path) -> None:
    given, first, second = directory(tmp_path / "predictions", ROWS), tmp_path / "first", tmp_path / "second"
    tokenizer.save(first)
    scores = score_directory(given, tmp_path / "scores", tokenizer=first)
    first.rename(second)
    assert score_directory(given, tmp_path / "scores", tokenizer=second) == scores
    model = second / MODEL_NAME
    assert score_directory(given, tmp_path / "scores", tokenizer=model) == scores
    model.write_bytes(model.read_bytes() + b"\x12\x00")  # an empty field more: a sound model, another file
    with pytest.raises(MGLMError, match="another configuration"):
        score_directory(given, tmp_path / "scores", tokenizer=second)


def test_doubled_broken_and_absent_predictions_are_named(tmp_path: Path) -> None:
    doubled = directory(tmp_path / "doubled", [ROWS[0], ROWS[0]])
    with pytest.raises(MGLMError, match="more than one record for id 1:en"):
        score_directory(doubled, tmp_path / "scores")
    broken = directory(tmp_path / "broken", ROWS[:1])
    (broken / "predictions.jsonl").write_text('{"id": "x"}\n', "utf-8")
    with pytest.raises(MGLMError, match=r"predictions\.jsonl, line 1"):
        score_directory(broken, tmp_path / "scores")
    with pytest.raises(MGLMError, match="Run mglm eval predict first"):
        score_directory(tmp_path / "absent", tmp_path / "scores")
    with pytest.raises(MGLMError, match="empty; found no prediction"):
        score_directory(directory(tmp_path / "empty", []), tmp_path / "scores")
    assert not (tmp_path / "scores").exists()


def test_the_report_shows_every_pair_and_how_it_was_made(tmp_path: Path) -> None:
    score_directory(directory(tmp_path / "predictions", ROWS), tmp_path / "scores")
    text = report([tmp_path / "scores"], None)
    assert "| French (fr) | English (en) | xlsum-words | 2 | 0.5000 [0.0" in text
    assert "| French (fr) | Chinese (zh) | xlsum-jieba | 1 | 0.5000 [0.5000, 0.5000] |" in text
    assert "| all languages | English (en) | xlsum-words | 3 |" in text  # two pairs have this target, one the other
    assert "| all languages | Chinese (zh)" not in text
    assert "num_beams 4" in text
    assert "Bits per byte" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {8, 9}  # scores, and what ROUGE does not see


def test_a_mean_over_languages_that_share_their_questions_is_no_surer_than_one_language(tmp_path: Path) -> None:
    rows = [
        Prediction(id=f"{lang}-{lang}:q{n}", lang=lang, target_lang=lang, reference="a b", prediction="a b" * (n % 2))
        for lang in ("de", "es", "vi", "zh")
        for n in range(40)
    ]
    scores = score_directory(directory(tmp_path / "predictions", rows), tmp_path / "scores")
    one, mean = scores["pairs"][0]["interval"]["rouge1"], scores["overall"]["macro"]["interval"]["rouge1"]
    assert mean[1] - mean[0] == pytest.approx(one[1] - one[0], rel=1e-6)
    assert scores["overall"]["interval"]["rouge1"] == pytest.approx(mean)


@pytest.mark.parametrize(
    ("example", "target_lang", "item"),
    [
        ("de-de:56be4db0acb8001400a502ec", "de", "56be4db0acb8001400a502ec"),  # XQuAD
        ("ar-zh:a:b", "zh", "a:b"),  # MLQA: a question in Arabic on a Chinese article
        ("chinese_simplified-en:url#Steps#步骤", "en", "url#Steps#步骤"),
        ("ncls_en2zh:en-zh:12", "zh", "12"),
        ("record 7:zh", "zh", "record 7"),  # the task `summaries`
    ],
)
def test_what_an_example_is_about_is_its_id_without_languages(example: str, target_lang: str, item: str) -> None:
    assert item_of(example, target_lang) == item
