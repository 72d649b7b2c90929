"""Training, combining and measuring on the examples, small enough for seconds."""

import csv
import gzip
import json
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from core.detector import LanguageDetector
from core.errors import MGLMError
from corpus.labelled import LabelledDocument, read_labelled
from corpus.lid_config import LidConfig
from corpus.lid_measure import cut
from corpus.lid_training import DEV, HELDOUT, TRAIN, few_documents, split_documents, training_lines
from corpus.train_lid import train_lid
from mglm.cli import app

EXAMPLES = Path(__file__).parents[2] / "examples" / "documents.jsonl"
SMALL = LidConfig(characters_per_language=3_000, bucket=2_000, epoch=40, lr=1.0, dim=8, max_rounds=3)


@pytest.fixture(scope="module")
def documents() -> list[LabelledDocument]:
    return read_labelled([str(EXAMPLES)], text_field="text", lang_field="lang").documents


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory, documents: list[LabelledDocument]) -> Path:
    """Four languages of the examples, cut into paragraphs so that each has some dozens of documents; one is outside."""
    path = tmp_path_factory.mktemp("labelled") / "labelled.jsonl"
    names = {"de": "deu_Latn", "ru": "ru", "en": "en", "ta": "und:xx"}
    with path.open("w", encoding="utf-8") as file:
        for document in documents:
            if document.lang in names:
                for _, text in cut([document], 100) + cut([document], 150) + cut([document], 70):
                    file.write(json.dumps({"body": text, "language": names[document.lang]}) + "\n")
    return path


@pytest.fixture(scope="module")
def small() -> LidConfig:
    return SMALL.model_copy(update={"text_field": "body", "lang_field": "language"})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, labelled: Path, small: LidConfig) -> tuple[Path, dict[str, Any]]:
    output = tmp_path_factory.mktemp("trained") / "own.ftz"
    return output, train_lid([str(labelled)], output, config=small)


def test_the_split_hangs_on_the_document_alone_and_every_language_is_measured(
    documents: list[LabelledDocument],
) -> None:
    splits = split_documents(documents, LidConfig())
    shuffled = random.Random(1).sample(documents, len(documents))
    assert split_documents(shuffled, LidConfig()) == splits
    sides: dict[str, Counter[str]] = defaultdict(Counter)
    for document in documents:
        sides[document.lang][splits[document.doc_id]] += 1
    few = few_documents(documents)
    for lang, counts in sides.items():
        assert counts[HELDOUT] >= 1 or counts.total() == 1
        assert counts[DEV] == 0 or lang not in few
    assert 0.15 < sum(counts[HELDOUT] for counts in sides.values()) / len(documents) < 0.4


def test_languages_with_much_text_give_as_much_as_those_with_little(documents: list[LabelledDocument]) -> None:
    one_alphabet = SMALL.model_copy(update={"both_alphabets": False})
    lines = training_lines(documents, one_alphabet)
    assert training_lines(documents, one_alphabet) == lines
    characters = Counter[str]()
    for line in lines:
        label, _, text = line.partition(" ")
        assert "\n" not in text
        characters[label.removeprefix("__label__")] += len(text)
    assert set(characters) == {document.lang for document in documents}
    assert max(characters.values()) < 3_000 + 450


def test_labels_inside_a_text_are_text(documents: list[LabelledDocument]) -> None:
    text = "first __label__de\n__label__fr __label__ __label____label__it word </s> more words of this document"
    lines = training_lines([LabelledDocument("0" * 32, text, "en")], SMALL)
    assert lines
    assert all(line.count("__label__") == 1 and line.startswith("__label__en ") for line in lines)
    assert not any("</s>" in line for line in lines)


def test_a_trained_detector_tells_its_languages_apart_and_all_of_it_is_published(
    trained: tuple[Path, dict[str, Any]], labelled: Path
) -> None:
    output, result = trained
    assert sorted(path.name for path in output.parent.iterdir()) == [
        "own.ftz", "own.json", "own.split.tsv.gz", "own.toml"
    ]  # fmt: skip
    assert json.loads(output.with_name("own.json").read_text("utf-8")) == result
    own = result["heldout"]["own.ftz"]["documents"]
    assert set(own["languages"]) == {"en", "de", "ru"}
    assert own["macro_f1"] > 0.9
    assert own["outside"]["texts"] > 0
    assert own["outside"]["taken_for_one_of_the_101"] <= 1
    assert set(result["heldout"]) == {"lid.176.ftz", "own.ftz", "own.toml"}
    assert len(result["cannot_emit"]) == 98
    rows = list(csv.DictReader(gzip.decompress(output.with_name("own.split.tsv.gz").read_bytes()).decode().splitlines(), delimiter="\t"))  # fmt: skip  # noqa: E501
    assert Counter(row["split"] for row in rows) == result["split"]["documents"]
    assert {row["split"] for row in rows} == {TRAIN, DEV, HELDOUT}
    assert LanguageDetector(output).detect("Это предложение написано по-русски.").lang == "ru"
    assert LanguageDetector(output.with_name("own.toml")).detect("Ceci est une phrase en français.").lang == "fr"


def test_finished_work_is_not_redone_and_other_work_is_not_overwritten(
    trained: tuple[Path, dict[str, Any]], labelled: Path, small: LidConfig
) -> None:
    output, result = trained
    before = output.stat().st_mtime_ns
    assert train_lid([str(labelled)], output, config=small) == result
    assert output.stat().st_mtime_ns == before
    with pytest.raises(MGLMError, match="other inputs or settings.*--overwrite"):
        train_lid([str(labelled)], output, config=small.model_copy(update={"epoch": 1}))


def test_a_file_that_no_training_made_is_not_overwritten(labelled: Path, small: LidConfig, tmp_path: Path) -> None:
    (tmp_path / "other.ftz").write_bytes(b"something of the user's")
    with pytest.raises(MGLMError, match="no finished training"):
        train_lid([str(labelled)], tmp_path / "other.ftz", config=small)
    assert (tmp_path / "other.ftz").read_bytes() == b"something of the user's"


def test_training_killed_before_its_report_is_made_again_by_the_same_command_alone(
    labelled: Path, small: LidConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "own.ftz"
    with monkeypatch.context() as patched:
        patched.setattr("corpus.train_lid.evaluate", _killed)
        with pytest.raises(KeyboardInterrupt):
            train_lid([str(labelled)], output, config=small)
    assert output.exists()
    with pytest.raises(MGLMError, match="no finished training"):
        train_lid([str(labelled)], output, config=small.model_copy(update={"epoch": 1}))
    result = train_lid([str(labelled)], output, config=small)
    assert json.loads(output.with_name("own.json").read_text("utf-8")) == result
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_training_again_gives_the_same_bytes(
    trained: tuple[Path, dict[str, Any]], labelled: Path, small: LidConfig, tmp_path: Path
) -> None:
    train_lid([str(labelled)], tmp_path / "own.ftz", config=small)
    for name in ("own.ftz", "own.split.tsv.gz", "own.toml"):
        assert (tmp_path / name).read_bytes() == trained[0].with_name(name).read_bytes()


def test_the_report_measures_a_detector_on_what_it_never_saw(
    trained: tuple[Path, dict[str, Any]], labelled: Path, tmp_path: Path
) -> None:
    output, result = trained
    arguments = ["corpus", "lid-quality", "--input", str(labelled), "--output", str(tmp_path / "report" / "lid")]
    arguments += ["--set", "lid.text_field=body", "--set", "lid.lang_field=language"]
    for model in ("own.ftz", "own.toml"):
        arguments += ["--lid-model", str(output.with_name(model))]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    made = {path.name for path in (tmp_path / "report").iterdir()}
    assert made == {"lid.md", "lid.json", "lid_caps.svg", "lid_languages.svg", "lid_thresholds.svg"}
    report = json.loads((tmp_path / "report" / "lid.json").read_text("utf-8"))
    assert report["compared_on"] == result["split"]["documents"][HELDOUT]
    assert report["detectors"]["own.ftz"]["documents"] == result["heldout"]["own.ftz"]["documents"]
    text = (tmp_path / "report" / "lid.md").read_text("utf-8")
    assert str(tmp_path) not in text
    assert f"{report['detectors']['own.toml']['documents']['macro_f1']:.4f}" in text
    for row in report["detectors"]["lid.176.ftz"]["thresholds"]:
        assert 0 <= row["kept"] <= 1
        assert 0 <= row["precision"] <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train-lid", "--input", "NONE", "--output", "x.ftz"], "input NONE"),
        (["train-lid", "--input", str(EXAMPLES), "--output", "x.bin"], "ending in .ftz"),
        (["train-lid", "--input", str(EXAMPLES), "--output", "x.ftz", "--combine-with", "NONE"], "detector NONE"),
        (["train-lid", "--input", str(EXAMPLES), "--output", "x.ftz", "--set", "lid.minn=6"], "lid"),
        (["train-lid", "--input", str(EXAMPLES), "--output", "x.ftz", "--set", "lid.epochs=3"], "epoch"),
        (["lid-quality", "--input", str(EXAMPLES), "--output", "x", "--gold", "NONE"], "gold labels NONE"),
        (["lid-quality", "--input", str(EXAMPLES), "--output", "x", "--lid-model", "NONE"], "detector NONE"),
    ],
)
def test_mistakes_are_told_before_the_work(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["corpus", *arguments])
    assert isinstance(done.exception, MGLMError)
    assert message in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_one_language_is_nothing_to_tell_apart(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text('{"text": "one", "lang": "en"}\n{"text": "two", "lang": "en"}\n{"text": "drei", "lang": "de"}\n')
    with pytest.raises(MGLMError, match="two languages at least"):
        train_lid([str(path)], tmp_path / "one.ftz", config=LidConfig())
