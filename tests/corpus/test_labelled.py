import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest

from core.errors import MGLMError
from corpus.labelled import Labelled, read_gold, read_labelled


def read(*inputs: Path | str, **options: object) -> Labelled:
    return read_labelled([str(given) for given in inputs], **({"text_field": "text", "lang_field": "lang"} | options))  # type: ignore[arg-type]


def lines(*records: object) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def test_plain_gzip_and_zstandard_files_of_a_directory_are_read(tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    (tmp_path / "a.jsonl").write_bytes(lines({"text": "one", "lang": "en"}))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines({"text": "zwei", "lang": "deu_Latn"})))
    with pa.CompressedOutputStream(str(tmp_path / "deeper" / "c.json.zst"), "zstd") as stream:
        stream.write(lines({"text": "trois", "lang": "fr"}))
    (tmp_path / "notes.txt").write_text("not read")
    found = read(tmp_path)
    assert {document.lang: document.text for document in found.documents} == {"en": "one", "de": "zwei", "fr": "trois"}
    assert read(tmp_path / "*.jsonl*").documents == [d for d in found.documents if d.lang != "fr"]


def test_what_is_no_labelled_document_is_counted_by_reason(tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    path.write_bytes(
        lines(
            {"text": "kept", "lang": "en"},
            {"text": " kept\r\n", "lang": "eng"},
            {"text": "both", "lang": "en"},
            {"text": "both", "lang": "de"},
            {"text": "\u0000", "lang": "en"},
            {"text": 7, "lang": "en"},
            {"text": "no language"},
            {"text": "empty language", "lang": "  "},
            7,
            {"text": "outside", "lang": "some new\tlanguage"},
        )
        + b'{"text": "cut\n\n'
        + b'{"text": "invalid \xff UTF-8", "lang": "en"}\n'
        + b"[" * 100_000
    )
    found = read(path)
    assert sorted((document.text, document.lang) for document in found.documents) == [
        ("invalid \ufffd UTF-8", "en"),
        ("kept", "en"),
        ("outside", "some_new_language"),
    ]
    assert found.skipped == {
        "duplicate": 2, "two_languages": 1, "no_text": 2, "no_language": 2, "no_object": 1, "no_json": 2
    }  # fmt: skip


def test_a_table_of_gold_labels_gives_the_languages(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_bytes(lines({"n": 1, "text": "one"}, {"n": "2", "text": "two"}, {"n": 3, "text": "x"}))
    table = tmp_path / "gold.tsv.gz"
    table.write_bytes(gzip.compress(b"n\tlang\tmore\n1\ten\t-\n2\tund:xx\t-\n"))
    gold = read_gold(table, id_field="n", lang_field="lang")
    found = read(tmp_path / "t.jsonl", gold=gold, id_field="n")
    assert {document.text: document.lang for document in found.documents} == {"one": "en", "two": "und:xx"}
    assert found.skipped == {"no_language": 1}


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("none.jsonl", None, "nothing there"),
        ("empty.jsonl", b"", "blank lines alone"),
        ("text.txt", b"some text", "another kind"),
        ("broken.jsonl.gz", b"\x1f\x8b\x08 and no more", "input .*broken"),
        ("broken.jsonl.zst", b"(\xb5/\xfd and no more", "input .*broken"),
        ("other.jsonl", b'{"body": "x", "lang": "en"}\n', "1 records: no_text.*text_field"),
    ],
)
def test_inputs_that_will_not_do_are_told_in_one_line(
    tmp_path: Path, name: str, data: bytes | None, message: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(MGLMError, match=message):
        read(tmp_path / name)


@pytest.mark.parametrize("data", [b"", b"a\tb\n1\t2\n", b"\xff\xfe\x00"])
def test_a_gold_table_without_its_columns_is_told(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "gold.tsv").write_bytes(data)
    for path in (tmp_path / "gold.tsv", tmp_path / "none.tsv"):
        with pytest.raises(MGLMError, match="gold labels"):
            read_gold(path, id_field="doc_id", lang_field="lang")
