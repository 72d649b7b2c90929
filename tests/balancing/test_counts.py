"""Counts are read from tables as people keep them, and from documents."""

from pathlib import Path

import pytest

from balancing.counts import Columns, Counts, read_counts, read_weights
from core.errors import MGLMError
from core.manifest import read_manifest
from core.schemas import DOCUMENTS, SHARDS
from core.stage import open_stage


def read(path: Path, column: str = "documents", tokens_column: str | None = None) -> Counts:
    return read_counts(path, Columns(column, tokens=tokens_column))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_by_language_or_by_code_which_wins(tmp_path: Path) -> None:
    plain = read(write(tmp_path / "a.csv", "language,documents\nen,3\nHE,2\n"))
    assert plain.counts == {"en": 3, "iw": 2}
    assert (plain.unit, plain.available_tokens) == ("documents", {})
    named = read(write(tmp_path / "b.csv", "\ufefflanguage,code,pages,tok\nEnglish,en,1.5,70\n"), "pages", "tok")
    assert (named.counts, named.available_tokens, named.available_source) == ({"en": 1.5}, {"en": 70}, "measured")


def test_tokens_come_from_a_column_in_its_unit_or_from_bytes_and_may_be_unknown(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "code, documents,tok_B,size\nen,3,1.5,800\nde,2,,400\n")
    billions = read_counts(path, Columns(tokens="tok_B", tokens_unit=1e9))
    assert (billions.available_tokens, billions.available_source) == ({"en": 1.5e9}, "measured")
    guessed = read_counts(path, Columns(bytes="size", bytes_per_token=5))
    assert (guessed.available_tokens, guessed.available_source) == ({"en": 160, "de": 80}, "estimated")
    with pytest.raises(MGLMError, match="a column of tokens and one of bytes"):
        read_counts(path, Columns(tokens="tok_B", bytes="size"))


def test_the_column_of_codes_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "Language,ISO code,documents\nEnglish,en,3\n")
    assert read_counts(path, Columns(code="ISO code")).counts == {"en": 3}
    with pytest.raises(MGLMError, match="expected a column iso. Name the column with --code-column"):
        read_counts(path, Columns(code="iso"))


def test_a_plan_is_a_table_of_counts_and_of_weights(tmp_path: Path) -> None:
    path = write(tmp_path / "plan.csv", "code,name,count,share\nen,English,30,0.75\nhe,Hebrew,10,0.25\n")
    assert read_counts(path, Columns("count")).counts == {"en": 30, "iw": 10}
    assert read_weights(path, None) == {"en": 0.75, "iw": 0.25}
    assert read_weights(path, "count") == {"en": 30, "iw": 10}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("code,part\nen,1\n", "a column share or weight. Name the column with --table-column"),
        ("code,weight\nen,-1\n", "line 2, column weight; found '-1'"),
        ("code,weight\nen,1\nen,2\n", "line 3, column weight; found language en again"),
        ("code,weight\n", "no row"),
        ('code,weight\n"en,1\n', "CSV file in UTF-8"),
    ],
)
def test_weights_that_will_not_do_are_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(MGLMError, match=message):
        read_weights(write(tmp_path / "a.csv", text), None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found columns none"),
        ("name,documents\nen,1\n", "a column code or language"),
        (f"{{'text': '{'a' * 999}'}}\n", "a{180,190} …; expected a column code or language"),
        ("code,pages\nen,1\n", "a column documents. Name the column with --count-column"),
        ("code,documents\n", "no row"),
        ("code,documents\nen,many\n", "line 2, column documents; found 'many'"),
        ("code,documents\nen,1\nde,\n", "line 3, column documents; found nothing"),
        ("code,documents\nen,-1\n", "found '-1'"),
        ("code,documents\nen,nan\n", "found 'nan'"),
        ("code,documents\nen\n", "line 2, column documents"),
        ("code,documents\nen,3,928\n", "line 2; found 3 cells; expected 2, as the header has"),
        ("code,documents\n,3\n", "no language"),
        ("code,documents,documents\nen,1,9\n", "column documents twice"),
        ("code,documents\nhe,3\niw,4\n", "line 3, column documents; found language iw again"),
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
    with pytest.raises(MGLMError, match="--tokens-column t; found .* Leave it out"):
        read(documents_directory, "bytes", "t")


def test_a_language_whose_documents_are_all_held_out_has_no_share(tmp_path: Path) -> None:
    stage = open_stage(tmp_path / "documents", schema=DOCUMENTS, config={}, inputs={})
    made = {"en": (10, 1), "hy": (1, 1), "und": (4, 0)}
    stage.finish(
        counts={
            code: {"documents": documents, "heldout_documents": held, "characters": 100, "bytes": 100}
            for code, (documents, held) in made.items()
        }
    )
    assert read(tmp_path / "documents", "documents").counts == {"en": 10}


def test_shards_give_the_tokens_they_counted_in_proportion_where_a_budget_cut_them(tmp_path: Path) -> None:
    made = {"en": {"documents": 20, "tokens": 900, "bytes": 4_000}, "sw": {"documents": 5, "tokens": 70, "bytes": 200}}
    for name, available, tokens, source in (
        ("whole", {"en": 20, "sw": 5}, 900, "measured"),
        ("cut", {"en": 60, "sw": 5, "yo": 3}, 2_700, "estimated"),
    ):
        stage = open_stage(tmp_path / name, schema=SHARDS, config={}, inputs={})
        stage.finish(counts=made, facts={"available_documents": available})
        counts = read(tmp_path / name, "tokens")
        assert counts.counts == counts.available_tokens == {"en": tokens, "sw": 70}
        assert (counts.unit, counts.available_source) == ("tokens", source)
        assert read(tmp_path / name).counts == {"en": available["en"], "sw": 5}
    with pytest.raises(MGLMError, match="documents, tokens, bytes"):
        read(tmp_path / "whole", "characters")
