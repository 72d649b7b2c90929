from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenizer.encoding import Tokenizer
from tokenizer.shard_writer import Part, finished_parts, part_index, plan_parts, write_parts


def batch_of(rows: list[tuple[int, str, str | None]]) -> pa.RecordBatch:
    schema = pa.schema([("part", pa.int64()), ("doc_id", pa.string()), ("text", pa.string())])
    return pa.RecordBatch.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)


@given(st.dictionaries(st.sampled_from(["en", "hi", "zh"]), st.integers(0, 10_000), min_size=1), st.integers(1, 3_000))
def test_every_language_gets_files_for_its_size_numbered_without_gaps(sizes: dict[str, int], limit: int) -> None:
    parts = plan_parts(sizes, limit)
    assert [part.number for part in parts] == list(range(len(parts)))
    for lang, size in sizes.items():
        indices = [part.index for part in parts if part.lang == lang]
        assert indices == list(range(len(indices)))
        assert len(indices) == max(1, -(-size // limit))


@given(st.lists(st.integers(0, 2**128 - 1), min_size=2, max_size=20), st.integers(1, 1_000))
def test_files_are_ranges_of_the_hash_in_its_order(numbers: list[int], parts: int) -> None:
    indices = [part_index(f"{number:032x}", parts) for number in sorted(numbers)]
    assert indices == sorted(indices)
    assert indices[0] >= 0
    assert indices[-1] < parts


def test_a_file_spans_batches_and_a_batch_spans_files(tokenizer: Tokenizer, tmp_path: Path) -> None:
    parts = {0: Part(0, "en", 0), 1: Part(1, "hi", 0)}
    batches = [batch_of([(0, "a", "one"), (0, "b", "two")]), batch_of([(0, "c", "three"), (1, "d", "चार")])]
    journal = tmp_path / "journal"
    journal.mkdir()
    rows = list(write_parts(batches, tokenizer, parts, tmp_path, journal))
    assert [(row.path, row.rows, row.n_bytes) for row in rows] == [
        ("lang=en/part-00000.arrow", 3, 11),
        ("lang=hi/part-00000.arrow", 1, 9),
    ]
    assert finished_parts(tmp_path, journal) == rows
    with pa.memory_map(str(tmp_path / rows[0].path)) as source:
        table = pa.ipc.open_file(source).read_all()
    assert table.column("doc_id").to_pylist() == ["a", "b", "c"]
    assert [tokenizer.decode(ids) for ids in table.column("tokens").to_pylist()] == ["one", "two", "three"]


def test_how_the_documents_are_handed_over_does_not_change_the_bytes(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenizer.shard_writer.BATCH_DOCUMENTS", 7)
    documents = [(0, f"{number:02d}", f"text {number}") for number in range(30)]
    hashes = set()
    for size in (1, 4, 7, 30):
        output = tmp_path / str(size)
        output.mkdir()
        batches = [batch_of(documents[start : start + size]) for start in range(0, 30, size)]
        (row,) = write_parts(batches, tokenizer, {0: Part(0, "en", 0)}, output, output)
        hashes.add(row.sha256)
        with pa.memory_map(str(output / row.path)) as source:
            assert pa.ipc.open_file(source).num_record_batches == 5
    assert len(hashes) == 1


def test_an_error_leaves_no_half_written_file_and_finished_ones_stand(tokenizer: Tokenizer, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    journal.mkdir()
    bad = batch_of([(1, "b", None)])
    parts = {0: Part(0, "en", 0), 1: Part(1, "en", 1)}
    with pytest.raises(AttributeError):
        list(write_parts([batch_of([(0, "a", "one"), (1, "b", "two")]), bad], tokenizer, parts, tmp_path, journal))
    assert [path.name for path in (tmp_path / "lang=en").iterdir()] == ["part-00000.arrow"]
    assert [row.number for row in finished_parts(tmp_path, journal)] == [0]
