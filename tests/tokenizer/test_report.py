import csv
import gzip
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.errors import MGLMError
from core.manifest import read_manifest
from core.schemas import DOCUMENTS
from core.stage import open_stage
from tokenizer.commands import app
from tokenizer.config import TokenizerConfig
from tokenizer.encoding import Tokenizer
from tokenizer.report import held_out, make_report, names, read_parallel
from tokenizer.report_tables import low_resource

from .conftest import text_of


@pytest.fixture(scope="module")
def parallel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three groups of two languages in one file, and a third language in another, compressed."""
    folder = tmp_path_factory.mktemp("parallel")
    lines = [
        json.dumps({"group": f"{n}", "lang": lang, "text": text_of(lang, n)}) for n in range(3) for lang in ("en", "hi")
    ]
    (folder / "a.jsonl").write_text("\n".join(lines) + "\n")
    with gzip.open(folder / "b.jsonl.gz", "wt") as file:
        file.write(json.dumps({"group": "1", "lang": "ka", "text": text_of("ka", 1)}) + "\n")
    return folder


@pytest.fixture(scope="module")
def bpe_directory(sample_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("bpe") / "bpe & co"
    arguments = ["train", "--sample", sample_directory, "--vocab-size", 600, "--model-type", "bpe", "--output", output]
    run([*arguments, "--set", "tokenizer.num_threads=1"])
    return output


def run(arguments: list[object]) -> None:
    CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_the_report_says_what_each_language_costs(
    tokenizer_directory: Path, bpe_directory: Path, documents_directory: Path, parallel: Path, tmp_path: Path
) -> None:
    output = tmp_path / "report"
    arguments = ["report", "--tokenizer", tokenizer_directory, "--against", bpe_directory, "--parallel", parallel]
    run([*arguments, "--documents", documents_directory, "--output", output])
    manifest = read_manifest(output, "tokenizer_report/1")
    assert [line["vocabulary"] for line in manifest.facts["summary"]] == ["tokenizer", "bpe & co"]
    with (output / "report.csv").open(encoding="utf-8") as file:
        rows = {(row["vocabulary"], row["language"]): row for row in csv.DictReader(file)}
    tokenizer = Tokenizer.load(tokenizer_directory)
    texts = held_out(documents_directory, read_manifest(documents_directory, DOCUMENTS), "en", 10**6)
    assert len(texts) == 5
    english = rows["tokenizer", "en"]
    assert int(english["tokens"]) == sum(len(tokenizer.encode(text)) for text in texts)
    assert (english["documents"], english["rank"], english["premium"]) == ("5", "2", "1.00000")  # Hindi has more bytes
    groups = [[tokenizer.encode(text_of(lang, n)) for n in range(3)] for lang in ("hi", "en")]
    hindi, reference = (sum(map(len, of_lang)) for of_lang in groups)
    assert float(rows["tokenizer", "hi"]["premium"]) == pytest.approx(hindi / reference, abs=1e-5)
    assert rows["bpe & co", "ka"]["parallel_groups"] == "1"
    assert rows["tokenizer", "th"]["tokens"] == ""  # nothing of it is held out
    page = (output / "index.html").read_text("utf-8")
    HTMLParser().feed(page)
    assert "bpe &amp; co" in page
    assert "Hindi (hi)" in page
    assert "data:image/png" in page
    assert "http" not in page.replace("http-equiv", "")
    markdown = (output / "report.md").read_text("utf-8")
    assert "| Hindi (hi) |" in markdown
    assert {path.name for path in output.glob("*.svg")} == {"cost_by_language.svg", "tokens_against.svg"}
    made = manifest.made
    run([*arguments, "--documents", documents_directory, "--output", output])
    assert read_manifest(output, "tokenizer_report/1").made == made


def test_without_parallel_text_and_others_the_words_of_each_language_remain(
    tokenizer_directory: Path, documents_directory: Path, plan_path: Path, tmp_path: Path
) -> None:
    manifest = make_report(
        tokenizer_directory, documents_directory, tmp_path / "r", TokenizerConfig(report_bytes=1), plan=plan_path
    )
    assert manifest.facts["summary"][0]["mean_premium"] is None
    report = json.loads((tmp_path / "r" / "report.json").read_text("utf-8"))
    assert report["order"] == ["en", "hi", "zh", "th", "yo"]
    assert report["vocabularies"][0]["held_out"]["en"]["documents"] == 1
    assert "tokens per word" in (tmp_path / "r" / "report.md").read_text("utf-8")


def test_wrong_inputs_are_one_clear_line_and_leave_nothing(
    tokenizer_directory: Path, documents_directory: Path, tmp_path: Path
) -> None:
    def refused(match: str, documents: Path = documents_directory, tokenizer: Path = tokenizer_directory) -> None:
        with pytest.raises(MGLMError, match=match):
            make_report(tokenizer, documents, tmp_path / "out", TokenizerConfig(), parallel=given)
        assert not (tmp_path / "out").exists()

    given: list[Path] = []
    refused("found no manifest.json.*mglm tokenizer train", tokenizer=tmp_path)
    refused("mglm corpus build first", documents=tmp_path / "absent")
    open_stage(tmp_path / "trained", schema=DOCUMENTS, config={}, inputs={}).finish(counts={"en": {"bytes": 1}})
    refused("no document held out", documents=tmp_path / "trained")
    given = [tmp_path / "absent.jsonl"]
    refused("no such file")
    (tmp_path / "empty").mkdir()
    given = [tmp_path / "empty"]
    refused("no .jsonl")
    broken = tmp_path / "broken.jsonl"
    given = [broken]
    first = '{"group": "1", "lang": "en", "text": "a"}\n'
    for line, match in (
        ("{", "line 2"),
        ("[]", "line 2"),
        ('{"group": "1", "lang": "en"}', "line 2; found no field 'text'"),
        ('{"group": 1, "lang": "en", "text": "b"}', "line 2; found a value that is no string"),
        ('{"group": "2", "lang": "hi", "text": "b"}', "no group of en and another language"),
    ):
        broken.write_text(first + line + "\n")
        refused(match)
    given = [tmp_path / "cut.jsonl.gz"]
    given[0].write_bytes(gzip.compress(first.encode())[:-9])
    refused("line")


def test_aliases_of_codes_are_understood(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"group": "1", "lang": "he", "text": "a"}\n')
    assert list(read_parallel([tmp_path / "p.jsonl"])) == [("1", "iw", "a")]


def test_vocabularies_are_told_apart_by_name() -> None:
    assert names([Path("/a/x"), Path("/b/y")]) == ["x", "y"]
    assert names([Path("/a/x"), Path("/b/x")]) == ["a/x", "b/x"]
    assert names([Path("/a/x"), Path("/a/x")]) == ["a/x 1", "a/x 2"]


def test_low_resource_is_the_last_third() -> None:
    assert low_resource(["a", "b", "c", "d", "e", "f", "g"]) == ["f", "g"]
    assert low_resource(["a", "b"]) == []
