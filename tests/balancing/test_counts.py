"""Counts are read from tables as people keep them, and from documents."""

import logging
from pathlib import Path

import pytest

from balancing.counts import Counts, read_counts
from core.errors import MGLMError
from core.manifest import read_manifest
from core.schemas import DOCUMENTS


def read(path: Path, column: str = "documents", tokens_column: str | None = None) -> Counts:
    return read_counts(path, column, tokens_column=tokens_column, bytes_per_token=4.0)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_by_language_or_by_code_which_wins(tmp_path: Path) -> None:
    plain = read(write(tmp_path / "a.csv", "language,documents\nen,3\nHE,2\n"))
    assert plain.counts == {"en": 3, "iw": 2}
    assert (plain.unit, plain.available_tokens) == ("documents", {})
    named = read(write(tmp_path / "b.csv", "\ufefflanguage,code,pages,tok\nEnglish,en,1.5,70\n"), "pages", "tok")
    assert (named.counts, named.available_tokens, named.available_source) == ({"en": 1.5}, {"en": 70}, "measured")


def test_codes_outside_the_101_are_taken_with_a_note(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="mglm"):
        counts = read(write(tmp_path / "a.csv", "code,documents\nen,3\nru-Latn,2\n"))
    assert counts.counts == {"en": 3, "ru-latn": 2}
    assert "ru-latn" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found columns none"),
        ("name,documents\nen,1\n", "a column code or language"),
        ("code,pages\nen,1\n", "a column documents. Name the column with --count-column"),
        ("code,documents\n", "no row"),
        ("code,documents\nen,many\n", "line 2, column documents; found 'many'"),
        ("code,documents\nen,1\nde,\n", "line 3, column documents; found ''"),
        ("code,documents\nen,-1\n", "found '-1'"),
        ("code,documents\nen,nan\n", "found 'nan'"),
        ("code,documents\nen\n", "line 2, column documents"),
        ("code,documents\n,3\n", "no language"),
        ("code,documents\nhe,3\niw,4\n", "line 3; found language iw again"),
    ],
)
def test_a_table_that_will_not_do_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(MGLMError, match=message):
        read(write(tmp_path / "a.csv", text))


def test_a_path_that_will_not_do_is_told(tmp_path: Path) -> None:
    with pytest.raises(MGLMError, match="nothing there"):
        read(tmp_path / "none.csv")
    with pytest.raises(MGLMError, match="mglm corpus build"):
        read(tmp_path)
    (tmp_path / "a.csv").write_bytes(b"code,documents\n\xff\xfe,1\n")
    with pytest.raises(MGLMError, match="UTF-8"):
        read(tmp_path / "a.csv")


def test_documents_give_their_counts_and_an_estimate_of_tokens(documents_directory: Path) -> None:
    counts = read(documents_directory, "bytes")
    assert counts.counts == {"en": 200_000, "de": 60_000, "sw": 5_000, "yo": 200}
    assert counts.available_tokens["yo"] == 50
    assert counts.available_source == "estimated"
    assert counts.identity == read_manifest(documents_directory, DOCUMENTS).content_hash()
    assert read(documents_directory / "manifest.json", "bytes") == counts
    with pytest.raises(MGLMError, match="documents, characters, bytes"):
        read(documents_directory, "pages")
