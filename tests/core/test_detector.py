import json
from pathlib import Path

import pytest

from core.detector import LanguageDetector
from core.errors import MGLMError

EXAMPLES = Path(__file__).parents[2] / "examples" / "documents.jsonl"


@pytest.fixture(scope="module")
def detector() -> LanguageDetector:
    return LanguageDetector()


def test_the_embedded_model_lacks_the_eleven_languages_known_to_be_missing(detector: LanguageDetector) -> None:
    assert sorted(detector.cannot_emit()) == ["ha", "haw", "hmn", "ig", "mi", "ny", "sm", "sn", "st", "xh", "zu"]


def test_most_example_documents_are_told_apart(detector: LanguageDetector) -> None:
    records = [json.loads(line) for line in EXAMPLES.read_text("utf-8").splitlines()]
    right = sum(detector.detect(record["text"]).lang == record["lang"] for record in records)
    assert right / len(records) > 0.97


def test_a_line_break_does_not_hide_the_rest_of_the_text(detector: LanguageDetector) -> None:
    sentence = "Это предложение написано по-русски и стоит во второй строке."
    assert detector.detect("OK\n" + sentence).lang == "ru"
    assert detector.detect("OK\u2028" + sentence).lang == "ru"


@pytest.mark.parametrize("text", ["", "   ", "12345 67890 12345", "!?!?!?!?!?!?!?", "ab", "\n\n\n", "\x00" * 50])
def test_text_without_letters_is_undetermined_and_not_english(detector: LanguageDetector, text: str) -> None:
    assert detector.detect(text).lang == "und"


def test_scores_are_probabilities_and_a_threshold_turns_doubt_into_undetermined(detector: LanguageDetector) -> None:
    text = "The parish council met on Tuesday to talk about the bridge."
    found = detector.detect(text)
    assert found.lang == "en"
    assert 0 < found.score <= 1
    doubtful = detector.detect("Selamat pagi semua, apa khabar dan terima kasih", threshold=0.999)
    assert doubtful.lang == "und"
    assert doubtful.label != ""


def test_a_lone_surrogate_does_not_stop_detection(detector: LanguageDetector) -> None:
    assert detector.detect("Der Zug nach \ud800 München fährt heute leider nicht.").lang == "de"


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.bin", tmp_path / "text.bin"
    empty.write_bytes(b"")
    text.write_bytes(b"not a model at all" * 100)
    for path in (empty, text, tmp_path / "none.bin"):
        with pytest.raises(MGLMError, match=path.name):
            LanguageDetector(path)
