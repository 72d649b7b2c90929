import json
from collections.abc import Sequence
from pathlib import Path

import fasttext
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.detector import LanguageDetector, prepare
from core.errors import MGLMError
from core.fasttext_training import train_classifier
from core.languages import languages

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "documents.jsonl"
LABEL_LISTS = ROOT.parent / "shared" / "data" / "lid_labels"


def tiny_model(path: Path, labels: Sequence[str]) -> Path:
    """A fastText model with these labels, each learned from one word."""
    lines = [f"__label__{label} word{number}" for number, label in enumerate(labels)]
    train_classifier(lines, path, training={"dim": 2, "epoch": 1, "minn": 0, "maxn": 0})
    return path


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


@pytest.mark.parametrize(
    ("name", "labels", "missing"),
    [
        ("lid176.txt", 176, "zu sn hmn ha ny mi sm ig haw xh st"),
        ("flores200_nllb_codes.tsv", 204, "la fy co hmn haw"),
        ("openlid_labels.tsv", 201, "la fy co hmn haw"),
        ("glotlid_v3_labels.tsv", 2102, ""),
    ],
)
def test_a_model_says_which_languages_it_cannot_emit(tmp_path: Path, name: str, labels: int, missing: str) -> None:
    path = LABEL_LISTS / name
    if not path.exists():
        pytest.skip("the label lists of the public detectors are not beside the project")
    lines = path.read_text("utf-8").split("\n")
    known = lines[0].split() if name == "lid176.txt" else [line.split("\t")[0] for line in lines if line]
    assert len(known) == labels
    detector = LanguageDetector(tiny_model(tmp_path / "tiny.bin", known))
    assert sorted(detector.labels) == sorted(known)
    assert sorted(detector.cannot_emit()) == sorted(missing.split())


@pytest.mark.parametrize("family", ["lid176", "flores200", "openlid", "glotlid_v3"])
def test_models_of_every_family_answer_with_our_codes_and_keep_their_label(tmp_path: Path, family: str) -> None:
    labels = {code: language.labels[family] for code, language in languages().items() if family in language.labels}
    lines = [f"__label__{label} {code}{code}{code}letters" for code, label in labels.items()]
    options = {"dim": 32, "epoch": 200, "lr": 1.0, "minn": 0, "maxn": 0}
    train_classifier(lines, tmp_path / "model.bin", training=options)
    detector = LanguageDetector(tmp_path / "model.bin")
    found = {code: detector.detect(f"{code}{code}{code}letters") for code in labels}
    assert {code: detection.lang for code, detection in found.items()} == {code: code for code in labels}
    assert {code: detection.label for code, detection in found.items()} == labels


@pytest.mark.parametrize("ending", ["</s>", "__label__en", "__label__", "\x00", "\x85", "\u2029", "\x1c"])
def test_no_word_or_character_ends_the_input_early(detector: LanguageDetector, ending: str) -> None:
    sentence = "Это предложение написано по-русски и стоит в конце."
    assert detector.detect(f"OK {ending} {sentence}").lang == "ru"
    assert detector.detect(ending.join(sentence.split(" "))).lang == "ru"


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=200))
def test_a_prepared_line_is_one_line_that_utf8_can_hold(text: str) -> None:
    line = prepare(text)
    assert len(line.splitlines()) <= 1
    assert line.encode("utf-8").decode("utf-8") == line
    assert "\x00" not in line
    assert "</s>" not in line
    assert "__label__" not in line
    assert prepare(line) == line


def test_the_minimum_of_letters_and_the_cap_of_characters_can_be_set() -> None:
    short, long = "Guten Tag", "Guten Tag, das ist ein Satz. " + "This is an English sentence. " * 20
    assert LanguageDetector().detect(short).lang == "und"
    assert LanguageDetector(minimum_letters=5).detect(short).lang == "de"
    assert LanguageDetector().detect(long).lang == "en"
    assert LanguageDetector(max_characters=28).detect(long).lang == "de"


def test_a_directory_and_an_unsupervised_model_are_no_detectors(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("some words for some vectors\n" * 20, "utf-8")
    vectors = fasttext.train_unsupervised(str(tmp_path / "lines.txt"), dim=2, epoch=1, minCount=1, thread=1, verbose=0)
    vectors.save_model(str(tmp_path / "vectors.bin"))
    for path in (tmp_path, tmp_path / "vectors.bin"):
        with pytest.raises(MGLMError, match="fastText model"):
            LanguageDetector(path)
