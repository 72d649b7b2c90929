"""Documents are read by hash range, whatever their order in files, and only where the range reaches."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.document_ranges import (
    EVERY_HASH,
    HASHES,
    HashRange,
    RowGroup,
    groups_of_parts,
    survey_file,
    train_documents,
)
from core.documents import document_id
from core.errors import MGLMError
from core.schemas import DOCUMENTS_TABLE

hashes = st.integers(0, HASHES)


@given(hashes, hashes, st.integers(1, 50))
def test_a_range_is_cut_without_gaps(one: int, other: int, parts: int) -> None:
    whole = HashRange(min(one, other), max(one, other))
    cut = whole.cut(parts)
    bounds = [whole.low, *(part.high for part in cut)]
    assert [part.low for part in cut] == bounds[:-1]
    assert bounds[-1] == whole.high
    assert all(0 <= part.high - part.low - (whole.high - whole.low) // parts <= 1 for part in cut)


@given(st.integers(0, HASHES - 1), hashes, st.lists(st.integers(0, 2**128 - 1), min_size=1))
def test_a_document_is_in_the_range_of_its_number(low: int, high: int, numbers: list[int]) -> None:
    wanted = HashRange(low, high)
    inside = wanted.within(pa.array([f"{number:032x}" for number in numbers])).to_pylist()
    assert inside == [low <= number >> 64 < high for number in numbers]
    ids = sorted(f"{number:032x}" for number in numbers)
    group = RowGroup("", "en", 0, len(ids), ids[0], ids[-1], len(ids), 0, 0, 0)
    assert wanted.touches(group) or not any(inside)


@given(st.lists(st.tuples(*[st.integers(0, 2**128 - 1)] * 2)), st.integers(1, 50))
def test_the_groups_of_all_parts_are_those_that_each_part_touches(bounds: list[tuple[int, int]], parts: int) -> None:
    ends = [sorted(f"{number:032x}" for number in pair) for pair in [*bounds, (0, 0), (2**128 - 1, 2**128 - 1)]]
    groups = [RowGroup("", "en", index, 1, low, high, 1, 0, 0, 0) for index, (low, high) in enumerate(ends)]
    expected = [[group for group in groups if part.touches(group)] for part in EVERY_HASH.cut(parts)]
    assert groups_of_parts(groups, parts) == expected


def write(path: Path, rows: list[int], row_group_size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    documents = [document(number) for number in rows]
    pq.write_table(pa.Table.from_pylist(documents, DOCUMENTS_TABLE), path, row_group_size=row_group_size)


def document(number: int) -> dict[str, object]:
    text = f"text {number} " * (number % 7 + 1)
    split = "heldout" if number % 10 == 9 else "train"
    described = dict.fromkeys(("url", "script", "lid_label", "source"), "x")
    size = {"n_chars": len(text), "n_bytes": len(text), "offset": number, "lid_score": 1.0}
    return {"doc_id": document_id(text), "text": text, "split": split, **described, **size}


@pytest.fixture(params=["sorted", "by number"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    numbers = list(range(500))
    if request.param == "sorted":
        numbers.sort(key=lambda number: str(document(number)["doc_id"]))
    for part in range(2):
        path = tmp_path / "documents" / "lang=en" / f"part-{part:05d}.parquet"
        write(path, numbers[250 * part : 250 * (part + 1)], 60)
    return tmp_path


def survey(folder: Path) -> list[RowGroup]:
    return [group for part in range(2) for group in survey_file(folder, f"documents/lang=en/part-{part:05d}.parquet")]


def test_a_survey_counts_what_may_be_trained_on(folder: Path) -> None:
    groups = survey(folder)
    sizes = [int(str(document(number)["n_bytes"])) for number in range(500) if number % 10 != 9]
    assert (len(groups), {group.lang for group in groups}) == (10, {"en"})
    assert sum(group.rows for group in groups) == 500
    assert sum(group.documents for group in groups) == 450
    assert sum(group.n_bytes for group in groups) == sum(sizes)
    assert sum(group.squared_bytes for group in groups) == sum(size**2 for size in sizes)


@pytest.mark.parametrize("wanted", [EVERY_HASH, HashRange(0, HASHES // 9), HashRange(HASHES // 3, HASHES // 2)])
def test_a_range_has_its_train_documents_in_the_order_of_the_hash(folder: Path, wanted: HashRange) -> None:
    batches = list(train_documents(folder, survey(folder), wanted))
    got = [row for batch in batches for row in batch.to_pylist()]
    every = [document(number) for number in range(500) if number % 10 != 9]
    chosen = [row for row in every if wanted.low <= int(str(row["doc_id"])[:16], 16) < wanted.high]
    ordered = sorted(chosen, key=lambda row: str(row["doc_id"]))
    assert got == [{"doc_id": row["doc_id"], "text": row["text"]} for row in ordered]


def test_an_empty_range_reads_nothing(folder: Path) -> None:
    assert list(train_documents(folder, survey(folder), HashRange(5, 6))) == []


def test_broken_files_are_named(folder: Path) -> None:
    path = "documents/lang=en/part-00001.parquet"
    groups = survey(folder)
    whole = (folder / path).read_bytes()
    for content, message in ((whole[:-9], "whole Parquet"), (b"", "whole Parquet"), (b"x" * 99, "whole Parquet")):
        (folder / path).write_bytes(content)
        with pytest.raises(MGLMError, match=rf"part-00001\.parquet; found .*{message}"):
            survey_file(folder, path)
    pq.write_table(pa.table({"doc_id": ["a"]}), folder / path)
    with pytest.raises(MGLMError, match=r"part-00001\.parquet; found columns doc_id; expected a column text"):
        survey_file(folder, path)
    (folder / path).unlink()
    with pytest.raises(MGLMError, match=r"part-00001\.parquet; found no such file"):
        list(train_documents(folder, groups, EVERY_HASH))
