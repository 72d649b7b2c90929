"""References of another language are counted, and refused where they are in another script."""

import json
from pathlib import Path

import pytest

from core.errors import MGLMError
from eval.language_check import check_references, languages_in
from eval.score_files import score_files

TEXTS = {
    "en": "The ferry left the harbour late because of the fog, and nobody on the quay was surprised.",
    "zh": "渡轮因为大雾很晚才离开港口，码头上没有人感到意外。",
    "hi": "कोहरे के कारण नाव देर से चली और किसी को आश्चर्य नहीं हुआ।",
    "th": "เรือออกช้าเพราะหมอก และไม่มีใครแปลกใจ",
}


def test_texts_in_another_language_are_counted() -> None:
    counted = languages_in([TEXTS["en"], TEXTS["zh"], "12", ""], "en")
    assert (counted.looked_at, counted.other, counted.mostly) == (2, 1, "zh")
    german = ["Die Fähre verließ den Hafen wegen des Nebels sehr spät am Abend."] * 3
    assert check_references(german, "en", "r").other == 3  # the same script: said, not refused


@pytest.mark.parametrize(("language", "of"), [("zh", "hi"), ("en", "th"), ("th", "zh"), ("hi", "en")])
def test_references_in_another_script_are_refused(language: str, of: str, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text(f"{TEXTS[of]}\n" * 3, "utf-8")
    with pytest.raises(MGLMError, match=rf"r\.txt; found 3 of 3 texts in another language, mostly .* \({of}\)"):
        score_files("rouge", language, tmp_path / "r.txt", tmp_path / "r.txt")


def test_contexts_tell_the_language_of_answers(tmp_path: Path) -> None:
    qas = [{"id": "1", "answers": [{"text": "渡轮"}]}]
    document = {"data": [{"paragraphs": [{"context": TEXTS["zh"], "qas": qas}]}]}
    (tmp_path / "r.json").write_text(json.dumps(document), "utf-8")
    (tmp_path / "p.json").write_text('{"1": "  "}', "utf-8")
    with pytest.raises(MGLMError, match="texts in another language"):
        score_files("mlqa", "hi", tmp_path / "r.json", tmp_path / "p.json")
    scores = score_files("mlqa", "zh", tmp_path / "r.json", tmp_path / "p.json")
    assert (scores["f1"], scores["empty_predictions"], scores["tokenization"]) == (0, 1, "mlqa zh")
    with pytest.raises(MGLMError, match="one of MLQA's"):
        score_files("mlqa", None, tmp_path / "r.json", tmp_path / "p.json")
