import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.combined_model import EMBEDDED, combination_toml, completed, pool
from core.detector import LanguageDetector
from core.errors import MGLMError
from core.fasttext_model import embedded_model_path
from core.fasttext_training import train_classifier
from core.manifest import sha256_file

EXAMPLES = Path(__file__).parents[2] / "examples" / "documents.jsonl"
FIRST, SECOND = frozenset("abc"), frozenset("bcd")


def distributions(codes: frozenset[str]) -> st.SearchStrategy[dict[str, float]]:
    weights = st.dictionaries(st.sampled_from(sorted(codes)), st.floats(0.001, 1), min_size=1)
    return weights.map(lambda found: {code: weight / sum(found.values()) for code, weight in found.items()})


@given(distributions(FIRST), distributions(SECOND), st.floats(0, 1))
def test_a_pool_is_a_distribution_whichever_comes_first(
    first: dict[str, float], second: dict[str, float], v: float
) -> None:
    pooled = pool((first, second), (FIRST, SECOND), (v, 1 - v))
    assert pooled.keys() == first.keys() | second.keys()
    assert sum(pooled.values()) == pytest.approx(1)
    assert all(probability >= 0 for probability in pooled.values())
    assert pool((second, first), (SECOND, FIRST), (1 - v, v)) == pytest.approx(pooled)


@given(distributions(FIRST), distributions(SECOND))
def test_each_is_completed_to_a_distribution_by_the_other(first: dict[str, float], second: dict[str, float]) -> None:
    both = completed((first, second), (FIRST, SECOND))
    for side in (0, 1):
        assert sum(pair[side] for pair in both.values()) == pytest.approx(1)


def test_a_language_that_one_lacks_is_the_others_to_say() -> None:
    pooled = pool(({"a": 0.6, "b": 0.4}, {"d": 0.9, "b": 0.1}), (FIRST, SECOND), (0.5, 0.5))
    assert max(pooled, key=pooled.__getitem__) == "d"
    certain = pool(({"b": 1.0}, {"b": 0.2, "c": 0.8}), (FIRST, SECOND), (1.0, 0.0))
    assert max(certain, key=certain.__getitem__) == "b"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of two languages, of which lid.176 lacks one."""
    path = tmp_path_factory.mktemp("own") / "own.bin"
    words = {"haw": "aloha kakahiaka mai kākou", "en": "good morning to you all"}
    lines = [f"__label__{lang} {text}" for lang, text in words.items() for _ in range(20)]
    train_classifier(lines, path, training={"dim": 8, "epoch": 40, "lr": 0.5, "minn": 2, "maxn": 3, "bucket": 5_000})
    return path


def write(path: Path, own: Path, weights: tuple[float, float] = (0.5, 0.5)) -> Path:
    members = [(EMBEDDED, sha256_file(embedded_model_path()), weights[0]), (own.name, sha256_file(own), weights[1])]
    path.write_text(combination_toml(members, "a test"), "utf-8")
    return path


def test_a_combination_emits_what_either_of_its_models_does(own: Path) -> None:
    detector = LanguageDetector(write(own.with_name("both.toml"), own))
    assert "haw" not in detector.cannot_emit()
    assert len(detector.cannot_emit()) == 10
    found = detector.detect("aloha kakahiaka mai kākou")
    assert (found.lang, found.label) == ("haw", "haw")
    assert 0.5 < found.score <= 1
    assert [file.name for file in detector.files] == ["both.toml", "lid.176.ftz", "own.bin"]


def test_with_no_weight_for_the_other_a_combination_answers_as_its_model_alone(tmp_path: Path) -> None:
    lines = ["__label__en good morning", "__label__de guten Morgen"] * 20
    train_classifier(
        lines, tmp_path / "own.bin", training={"dim": 4, "epoch": 5, "minn": 2, "maxn": 3, "bucket": 5_000}
    )
    both, alone = LanguageDetector(write(tmp_path / "first.toml", tmp_path / "own.bin", (1.0, 0.0))), LanguageDetector()
    texts = [json.loads(line)["text"] for line in EXAMPLES.read_text("utf-8").splitlines()]
    assert [both.detect(text).lang for text in texts] == [alone.detect(text).lang for text in texts]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("combined_detector/1", "combined_detector/2", "combined_detector/2"),
        ("own.bin", "none.bin", "no such file"),
        ('sha256 = "', 'sha256 = "0', "another file"),
        ("weight = 0.5", "weight = -0.5", "weight"),
        ("weight = 0.5", "weight = 0.7", "add up to 1"),
        ("weight = 0.5", "weight = 0.5\nheight = 0.5", "height"),
        ("[[models]]", "[[models", "TOML|Expected|expected"),
        ("schema", "# schema", "schema"),
    ],
)
def test_a_combination_that_will_not_do_is_told_in_one_line(own: Path, old: str, new: str, message: str) -> None:
    path = write(own.with_name("broken.toml"), own)
    path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")
    with pytest.raises(MGLMError, match=message):
        LanguageDetector(path)


def test_a_combination_that_is_not_there_or_no_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    for name in ("none.toml", "folder.toml"):
        with pytest.raises(MGLMError, match=name):
            LanguageDetector(tmp_path / name)
