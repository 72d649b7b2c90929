"""Every format gives its records with the offsets they stand at, however files are cut, and none is lost or fatal."""

import gzip
import json
import tracemalloc
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus import lines, readers
from corpus.config import CorpusConfig
from corpus.inputs import PARQUET, TEXT, Split, find_inputs, plan_parts
from corpus.lines import Line
from corpus.readers import read_paragraphs, read_records
from corpus.records import TEXT_NOT_STRING, TOO_LONG, UNREADABLE, Accepted, Rejected
from corpus.streams import _FREE_BYTES


def records(path: Path, config: CorpusConfig | None = None) -> list[tuple[int, Accepted | Rejected]]:
    config = config or CorpusConfig()
    parts = plan_parts(find_inputs([str(path)], config), config, tasks=1)
    return [record for part in parts for split in part for record in read_records(split, config, Counter())]


def test_a_text_file_is_a_document_or_each_of_its_lines_or_paragraphs_is(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\n\n \nthr\xffee\n")
    assert records(path) == [(0, Accepted("one\ntwo\n\n\nthr\ufffdee", None, True))]
    lines = [
        (0, Accepted("one", None, False)),
        (8, Accepted("two", None, False)),
        (15, Accepted("thr\ufffdee", None, True)),
    ]
    assert records(path, CorpusConfig(text_documents="line")) == lines
    paragraphs = [(0, Accepted("one\ntwo", None, False)), lines[2]]
    assert records(path, CorpusConfig(text_documents="paragraph")) == paragraphs


def test_a_text_file_that_is_too_long_is_not_held(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"line\n" * 1_000)
    ((offset, verdict),) = records(path, CorpusConfig(max_record_bytes=99))
    assert isinstance(verdict, Rejected)
    assert (offset, verdict.reason, verdict.detail) == (0, TOO_LONG, "5000 bytes, more than 99")


def test_of_a_paragraph_that_never_ends_no_more_is_held_than_a_record_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"a\n" * 30_000)
    monkeypatch.setattr(lines, "BLOCK_BYTES", 1_024)
    tracemalloc.start()
    (found,) = read_paragraphs(Split(str(path), 0, None, None, TEXT), 99, 200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.offset, found.data, found.length) == (0, (b"a\n" * 50)[:99], 59_999)
    assert peak < 15_000  # a byte for each line would be more than that


@given(
    st.lists(st.sampled_from([b"", b" ", b"a", b"bb", b"ccc"]), max_size=12),
    st.booleans(),
    st.integers(1, 12),
)
def test_paragraphs_are_the_same_however_a_file_is_cut(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], ends: bool, size: int
) -> None:
    content = b"\n".join(lines) + (b"\n" if ends else b"")
    path = tmp_path_factory.mktemp("paragraphs") / "a.txt"
    path.write_bytes(content)
    found = [
        line
        for start in range(0, len(content), size)
        for line in read_paragraphs(Split(str(path), start, min(start + size, len(content)), None, TEXT), 100, 200)
    ]
    expected: list[Line] = []
    offset, held = 0, False
    for line in content.split(b"\n"):
        if line.strip() and held:
            last = expected.pop()
            data = last.data + b"\n" + line
            expected.append(Line(last.offset, data, len(data)))
        elif line.strip():
            expected.append(Line(offset, line, len(line)))
        held = bool(line.strip())
        offset += len(line) + 1
    assert found == expected


def test_a_row_of_parquet_is_a_record_and_its_number_the_offset(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    invalid = pa.array([b"bad \xff utf-8"], pa.binary()).view(pa.string())
    texts = pa.chunked_array([pa.array(["one", None, "x" * 200, " "]), invalid, pa.array(["six"])])
    table = pa.table({"text": texts, "url": ["u", None, "v", "w", "x", None], "other": range(6)})
    pq.write_table(table, path, row_group_size=2)
    config = CorpusConfig(max_record_bytes=100)
    found = records(path, config)
    assert [offset for offset, _ in found] == list(range(6))
    verdicts = [verdict for _, verdict in found]
    assert verdicts[0] == Accepted("one", "u", False)
    assert [verdict.reason for verdict in verdicts if isinstance(verdict, Rejected)] == [
        TEXT_NOT_STRING,
        TOO_LONG,
        "empty_text",
    ]
    assert verdicts[4:] == [Accepted("bad \ufffd utf-8", "x", True), Accepted("six", None, False)]
    halves = [read_records(Split(str(path), start, start + 1, None, PARQUET), config, Counter()) for start in range(3)]
    assert [record for half in halves for record in half] == found


def test_a_parquet_column_of_numbers_loses_no_row_and_a_broken_page_is_told(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "a.parquet")
    numbers = [verdict for _, verdict in records(tmp_path / "a.parquet")]
    assert [verdict.reason for verdict in numbers if isinstance(verdict, Rejected)] == [TEXT_NOT_STRING] * 2
    path = tmp_path / "b.parquet"
    pq.write_table(pa.table({"text": [f"text {number}" for number in range(9_000)]}), path, use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[200:2_000] = b"\xff" * 1_800
    path.write_bytes(data)
    *_, (_, last) = records(path)
    assert isinstance(last, Rejected)
    assert last.reason == UNREADABLE


ENCODINGS: dict[str, Any] = {
    "dictionary": {},
    "plain": {"use_dictionary": False},
    "shared beginnings": {"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY"}},
}


CATEGORIES = pa.dictionary(pa.int32(), pa.string())  # Arrow writes these as dictionaries alone


@pytest.mark.parametrize(
    ("encoding", "kind"),
    [("dictionary", CATEGORIES), *product(ENCODINGS, [pa.string(), pa.large_binary()])],
)
def test_rows_of_parquet_are_the_same_whatever_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, kind: pa.DataType
) -> None:
    texts = [None if number % 7 == 0 else f"text {number % 50} " * (number % 9 + 1) for number in range(500)]
    table = pa.table({"text": pa.array(texts).cast(kind), "url": [f"u{number}" for number in range(500)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=170, **ENCODINGS[encoding])
    expected = records(tmp_path / "a.parquet", CorpusConfig(max_record_bytes=60))
    assert [offset for offset, _ in expected] == list(range(500))
    assert {verdict.text for _, verdict in expected if isinstance(verdict, Accepted)} == {
        text.strip() for text in texts if text is not None and len(text) <= 60
    }
    for size in (1, 20_000):
        monkeypatch.setattr(readers, "PARQUET_BYTES", size)
        assert records(tmp_path / "a.parquet", CorpusConfig(max_record_bytes=60)) == expected


@pytest.mark.parametrize("encoding", ["dictionary", "shared beginnings"])
def test_a_long_value_that_is_stored_once_for_many_rows_is_not_held_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    mib = 1 << 20
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x" * 5 * mib] * 40}), path, compression="zstd", **ENCODINGS[encoding])
    assert path.stat().st_size < 3_000
    monkeypatch.setattr(readers, "PARQUET_BYTES", 10 * mib)
    usual, counted = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(counted)
    try:
        reasons = [verdict.reason for _, verdict in records(path) if isinstance(verdict, Rejected)]
    finally:
        pa.set_memory_pool(usual)
    assert reasons == [TOO_LONG] * 40
    assert counted.max_memory() < 60 * mib  # of 200


def test_an_address_of_parquet_is_no_longer_than_a_record_may_be(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["one", "two"], "url": ["u" * 101, "u" * 100]}), tmp_path / "a.parquet")
    (_, first), (_, second) = records(tmp_path / "a.parquet", CorpusConfig(max_record_bytes=100))
    assert isinstance(first, Rejected)
    assert (first.reason, first.raw) == (TOO_LONG, "one")
    assert second == Accepted("two", "u" * 100, False)


def test_a_compressed_file_that_expands_too_far_is_read_no_further(tmp_path: Path) -> None:
    path = tmp_path / "bomb.jsonl.gz"
    line = b'{"text": "a document"}\n'
    with gzip.open(path, "wb", 1) as file:
        file.write(line + b"\n" * (_FREE_BYTES + 1_000_000))
    (first, (_, last)) = records(path, CorpusConfig(max_expansion=20))
    assert first == (0, Accepted("a document", None, False))
    assert isinstance(last, Rejected)
    assert last.reason == UNREADABLE
    assert "more than 20 times as large" in last.detail


def test_hostile_lines_have_verdicts_and_those_beside_them_are_read(tmp_path: Path) -> None:
    good = {"text": "plain"}
    hostile = [
        b'{"text": "lone \\ud800 surrogate"}',
        b'{"text": "nul \\u0000 and \x00 raw"}',
        b'{"text": "' + b"x" * 50_000 + b'"}',
        '{"text": "right \u202eto\u202c left \u2066one\u2069"}'.encode(),
        b'{"text": "\xff\xfe\xc3("}',
        b'{"text": 12}',
        b'{"text": "first", "text": "second"}',
        b'{"text": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b'{"text": 1e999999999}',
        json.dumps({"text": "\n".join(["ein Satz", "одно предложение", "一句话", "جملة", "एक वाक्य"])}).encode(),
    ]
    path = tmp_path / "a.jsonl"
    plain = json.dumps(good).encode()
    path.write_bytes(b"\n".join([line for bad in hostile for line in (plain, b"\n\n\n", bad)] + [plain]))
    found = [verdict for _, verdict in records(path, CorpusConfig(max_record_bytes=20_000))]
    assert found[::2] == [Accepted("plain", None, False)] * 11
    texts = [verdict.text if isinstance(verdict, Accepted) else verdict.reason for verdict in found[1::2]]
    assert texts == [
        "lone \ufffd surrogate",
        "not_json",
        "too_long",
        "right \u202eto\u202c left \u2066one\u2069",
        "\ufffd\ufffd\ufffd(",
        "text_not_a_string",
        "second",
        "not_json",
        "text_not_a_string",
        "ein Satz\nодно предложение\n一句话\nجملة\nएक वाक्य",
    ]
    assert [verdict.invalid_utf8 for verdict in found[1::2]].count(True) == 1
