"""What was made before is found by its hashes, and few files are opened for it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.document_ranges import EVERY_HASH
from core.documents import document_id
from core.schemas import DOCUMENTS_TABLE
from corpus import older
from corpus.merge import write_documents
from corpus.near_duplicates_here import FOUND_TABLE
from corpus.older import OlderDocuments, Refused, in_order, index_refused

IDS = sorted(document_id(str(number)) for number in range(300))


def test_files_are_in_the_order_of_their_numbers() -> None:
    paths = [f"documents/lang=en/part-{name}.parquet" for name in ("100000", "00002-d1", "99999", "00010-d2", "00001")]
    assert [Path(path).stem for path in in_order(paths)] == [
        "part-00001", "part-00002-d1", "part-00010-d2", "part-99999", "part-100000",
    ]  # fmt: skip


def test_a_range_of_older_documents_opens_the_files_that_hold_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = {"doc_id": "", "script": "Latn", "lid_label": "en", "source": "s", "split": "heldout", "text": "t"}
    numbers = {"lid_score": 0.5, "n_chars": 1, "n_bytes": 1, "offset": 0}
    names = []
    for number, hashes in enumerate(EVERY_HASH.cut(64)):
        ids = [doc_id for doc_id in IDS if hashes.overlaps(doc_id, doc_id)]
        if ids:
            names.append(f"part-{number:05d}.parquet")
            rows = [columns | numbers | {"doc_id": doc_id} for doc_id in ids]
            write_documents(pa.Table.from_pylist(rows, DOCUMENTS_TABLE), tmp_path / names[-1])
    opened: list[Path] = []
    really = pq.read_metadata
    monkeypatch.setattr(older.pq, "read_metadata", lambda path: (opened.append(path), really(path))[1])
    documents = OlderDocuments(tmp_path, {"en": names}, 0.0)
    for hashes in EVERY_HASH.cut(10)[3:5]:
        found = pa.Table.from_batches(documents.within("en", hashes))
        assert found["doc_id"].to_pylist() == [doc_id for doc_id in IDS if hashes.overlaps(doc_id, doc_id)]
        assert set(found["lang"].to_pylist()) == {"en"}
        assert set(found["split"].to_pylist()) == {"train"}  # as their hash alone has it
    assert len(set(opened)) == len(opened) < len(names) // 2
    assert list(documents.within("de", EVERY_HASH)) == []


def test_what_stays_out_is_found_in_every_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "near").mkdir()
    rows = [{"lang": lang, "doc_id": doc_id} for lang in ("de", "en", "fr") for doc_id in IDS[::3]]
    for number in range(2):
        half = pa.Table.from_pylist(rows[number * 150 : number * 150 + 150])
        pq.write_table(half, tmp_path / "near" / f"{number}.parquet", row_group_size=20)
    pq.write_table(pa.Table.from_pylist([{"lang": "en", "doc_id": IDS[1]}]), tmp_path / "deleted.parquet")
    assert index_refused(tmp_path / "near") == 300
    monkeypatch.delattr(older.pq, "read_metadata")  # a task looks at no file that holds nothing for it
    refused = Refused(tmp_path / "near", [tmp_path / "deleted.parquet"])
    for hashes in EVERY_HASH.cut(7):
        ids = refused.within("en", hashes)
        expected = sorted(doc_id for doc_id in [*IDS[::3], IDS[1]] if hashes.overlaps(doc_id, doc_id))
        assert sorted(ids.to_pylist() if ids is not None else []) == expected
    assert refused.within("xx", EVERY_HASH) is None
    assert Refused(None, []).within("en", EVERY_HASH) is None


def test_where_nothing_is_too_much_alike_nothing_stays_out(tmp_path: Path) -> None:
    pq.write_table(FOUND_TABLE.empty_table(), tmp_path / "part-00000.parquet")
    assert index_refused(tmp_path) == 0
    assert Refused(tmp_path, []).within("en", EVERY_HASH) is None
