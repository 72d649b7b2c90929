"""From finished parts, and the documents that are there already, to the files of documents/1: one of each hash.

A piece is one output file: a language and a range of hashes, so its text fits into memory however large the language is
and its documents are sorted by hash. Of equal documents that with the smallest source and offset stays, which is the
same whatever order they come in; so documents made before take part like a part, and the outcome is that of all input
at once. A piece is written once: its journal says so.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.document_ranges import EVERY_HASH, HashRange
from core.documents import split_of, uniform
from core.manifest import FileEntry, sha256_file, write_atomically
from core.schemas import DOCUMENTS_TABLE, REJECTED_TABLE
from corpus.parts import batches_within, first_of_each

GROUP_BYTES = 16 * 1024 * 1024  # text of a row group, the least that a later stage opens
REJECTED_ROWS_OF_FILE = 1_000_000
DOCUMENTS, REJECTED, KEYS, DELETED = "documents", "rejected", "near_duplicate_keys", "deleted"
_SETTINGS: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": ["script", "lid_label", "source", "split"],
    "write_statistics": ["doc_id"],
}
_HASHED = [name for name in DOCUMENTS_TABLE.names if name != "text"]


@dataclass(frozen=True)
class Piece:
    """One file of documents to make: a language, a range of hashes, the parts and older files that may hold some.

    Of a language to which nothing is added, `hashes` is None and the one older file is taken as it is.
    """

    lang: str
    index: int
    hashes: HashRange | None
    parts: tuple[str, ...]
    older: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.lang}-{self.index:05d}"

    @property
    def path(self) -> str:
        return f"{DOCUMENTS}/lang={self.lang}/part-{self.index:05d}.parquet"


@dataclass(frozen=True)
class Merged:
    """What a piece came to; without rows there is no file. `content` is the sum of its rows' hashes, in hex;
    `first` the smallest number with its doc_id where none is held out; `refused` the near-duplicates left out."""

    lang: str
    path: str
    rows: int
    bytes: int
    sha256: str
    heldout: int
    characters: int
    n_bytes: int
    rows_in: int
    refused: int
    content: str
    first: tuple[float, str] | None

    @property
    def file(self) -> FileEntry | None:
        if not self.rows:
            return None
        return FileEntry(path=self.path, rows=self.rows, bytes=self.bytes, sha256=self.sha256)


@dataclass(frozen=True)
class Merging:
    """What a task needs besides its piece. `refused`: a directory of doc_ids to leave out, Parquet by language;
    `deleted`: lists of documents that were deleted from the base, relative to it."""

    work: Path
    base: Path | None
    heldout_share: float
    refused: Path | None
    deleted: tuple[str, ...] = ()

    def merge(self, piece: Piece) -> Merged:
        """Writes the file of a piece and its journal; what was finished before is not written again."""
        journal = self.work / "merged" / f"{piece.name}.json"
        if journal.exists():
            return read_merged(journal)
        if piece.hashes is None:
            merged = self._take(piece)
        else:
            rows, rows_in, refused = self._collect(piece, piece.hashes)
            merged = self._write(piece, rows, rows_in, refused)
        _write_journal(journal, merged)
        return merged

    def hold_out(self, item: tuple[Merged, str]) -> Merged:
        """Writes a piece's file again with one more document held out."""
        merged, doc_id = item
        path = self.work / merged.path
        table = pq.ParquetFile(path).read()
        split = pc.if_else(pc.equal(table.column("doc_id"), doc_id), "heldout", "train").cast(pa.string())
        table = table.set_column(table.schema.get_field_index("split"), DOCUMENTS_TABLE.field("split"), split)
        again = self._store(table, merged)
        _write_journal(self.work / "merged" / f"{merged.lang}-{int(path.stem.removeprefix('part-')):05d}.json", again)
        return again

    def _collect(self, piece: Piece, hashes: HashRange) -> tuple[pa.Table, int, int]:
        """The rows that stay, sorted; how many there were; how many were refused as near-duplicates."""
        refused = self._refused_ids(piece.lang, hashes)
        held: list[pa.RecordBatch] = []
        held_bytes, limit = 0, 2 * GROUP_BYTES
        rows_in = removed = 0
        for batch in self._batches(piece, hashes):
            rows_in += len(batch)
            held.append(batch)
            held_bytes += batch.nbytes
            if held_bytes > limit:  # the same page a million times is never held a million times
                table = _distinct(held)
                held, held_bytes = table.to_batches(), table.nbytes
                limit = max(limit, 2 * held_bytes)
        table = _distinct(held)
        if refused is not None:
            keep = pc.invert(pc.is_in(table.column("doc_id"), refused))
            removed = len(table) - pc.sum(keep).as_py() if len(table) else 0
            table = table.filter(keep)
        return table, rows_in, removed

    def _batches(self, piece: Piece, hashes: HashRange) -> Iterator[pa.RecordBatch]:
        yield from batches_within(self.work / "parts", piece.parts, piece.lang, hashes)
        for path in piece.older:
            assert self.base is not None
            yield from _older_documents(self.base / path, hashes, self.heldout_share)

    def _refused_ids(self, lang: str, hashes: HashRange) -> pa.Array | None:
        found = []
        for path in sorted((self.refused / f"lang={lang}").glob("*.parquet")) if self.refused else []:
            ids = pq.ParquetFile(path).read(columns=["doc_id"]).column("doc_id").cast(pa.string())
            found += ids.filter(hashes.within(ids)).chunks
        for name in self.deleted:
            assert self.base is not None
            table = pq.ParquetFile(self.base / name).read()
            ids = table.filter(pc.equal(table.column("lang"), lang)).column("doc_id")
            found += ids.filter(hashes.within(ids)).chunks
        return pa.chunked_array(found, pa.string()).combine_chunks() if found else None

    def _write(self, piece: Piece, table: pa.Table, rows_in: int, refused: int) -> Merged:
        empty = Merged(piece.lang, piece.path, 0, 0, "", 0, 0, 0, rows_in, refused, f"{0:x}", None)
        if not len(table):
            return empty
        return self._store(table, empty)

    def _store(self, table: pa.Table, about: Merged) -> Merged:
        place = self.work / about.path
        place.parent.mkdir(parents=True, exist_ok=True)
        write_documents(table, place)
        return replace(_counted(table, about), bytes=place.stat().st_size, sha256=sha256_file(place))

    def _take(self, piece: Piece) -> Merged:
        """An older file as it is: linked, or copied where links cannot be."""
        assert self.base is not None
        source, place = self.base / piece.older[0], self.work / piece.path
        place.parent.mkdir(parents=True, exist_ok=True)
        link(source, place)
        table = pq.ParquetFile(place).read(columns=[name for name in DOCUMENTS_TABLE.names if name != "text"])
        about = Merged(piece.lang, piece.path, 0, 0, "", 0, 0, 0, len(table), 0, "", None)
        return replace(_counted(table, about), bytes=place.stat().st_size, sha256=sha256_file(place))


def write_documents(table: pa.Table, place: Path) -> None:
    """Writes a file of documents/1 from its rows, sorted by doc_id, and puts it in place by rename."""
    temporary = place.with_name(f".{place.name}.{os.getpid()}.{uuid.uuid4().hex[:12]}.tmp")
    with pq.ParquetWriter(temporary, DOCUMENTS_TABLE, **_SETTINGS) as writer:
        for rows in _groups(table):
            writer.write_table(rows)
    temporary.replace(place)


def plan_pieces(
    new_bytes: Mapping[str, Mapping[str, int]],
    older: Mapping[str, Sequence[str]],
    older_bytes: Mapping[str, int],
    file_bytes: int,
) -> list[Piece]:
    """The files to make: `new_bytes` by language and part, `older` files and their text by language."""
    pieces = []
    for lang in sorted({*new_bytes, *older}):
        files = tuple(older.get(lang, ()))
        if lang not in new_bytes:
            pieces += [Piece(lang, index, None, (), (path,)) for index, path in enumerate(files)]
            continue
        parts = tuple(sorted(new_bytes.get(lang, ())))
        total = sum(new_bytes.get(lang, {}).values()) + older_bytes.get(lang, 0)
        ranges = EVERY_HASH.cut(total // file_bytes + 1)
        pieces += [Piece(lang, index, hashes, parts, files) for index, hashes in enumerate(ranges)]
    return pieces


def merged_rejected(work: Path, item: tuple[int, Sequence[str]]) -> FileEntry:
    """Joins the rejected records of consecutive parts into one file."""
    number, names = item
    path = f"{REJECTED}/part-{number:05d}.parquet"
    place = work / path
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.name}.{os.getpid()}.{uuid.uuid4().hex[:12]}.tmp")
    rows = 0
    with pq.ParquetWriter(temporary, REJECTED_TABLE, compression="zstd") as writer:
        for name in names:
            for batch in pq.ParquetFile(work / "parts" / f"{name}.rejected.parquet").iter_batches():
                writer.write_batch(batch.cast(REJECTED_TABLE))
                rows += len(batch)
    entry = FileEntry(path=path, rows=rows, bytes=temporary.stat().st_size, sha256=sha256_file(temporary))
    temporary.replace(place)
    return entry


def keep_keys(work: Path, item: tuple[str, str]) -> FileEntry:
    """Puts a file of keys, below `work` or anywhere, to its place below `work`."""
    source, path = item
    place = work / path
    place.parent.mkdir(parents=True, exist_ok=True)
    link(work / source, place)
    rows = pq.read_metadata(place).num_rows
    return FileEntry(path=path, rows=rows, bytes=place.stat().st_size, sha256=sha256_file(place))


def content_of(table: pa.Table, lang: str) -> int:
    """The sum of a table's row hashes, modulo 2^128: the same however rows are ordered, cut into files and stored.

    A row's hash covers every column; the text by its doc_id.
    """
    columns = [_as_strings(table.column(name)) for name in _HASHED]
    rows = pc.binary_join_element_wise(*columns, lang, "\x1f")
    digest = hashlib.blake2b
    total = 0
    for row in rows.to_pylist():
        total += int.from_bytes(digest(row.encode("utf-8"), digest_size=16).digest(), "big")
    return total % (1 << 128)


def _as_strings(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_floating(column.type):  # by its bits: how a float is spelled is a library's business
        bits = column.cast(pa.float32()).combine_chunks()
        column = pa.chunked_array([pa.Array.from_buffers(pa.int32(), len(bits), bits.buffers(), offset=bits.offset)])
    return pc.fill_null(column.cast(pa.string()), "\x1e")


def read_merged(journal: Path) -> Merged:
    value = json.loads(journal.read_text("utf-8"))
    return Merged(**value | {"first": tuple(value["first"]) if value["first"] else None})


def _write_journal(path: Path, merged: Merged) -> None:
    write_atomically(path, json.dumps(asdict(merged), ensure_ascii=False))


def link(source: Path, place: Path) -> None:
    place.unlink(missing_ok=True)
    try:
        place.hardlink_to(source)
    except OSError:  # a file system without links
        shutil.copyfile(source, place)


def _distinct(batches: Sequence[pa.RecordBatch]) -> pa.Table:
    table = pa.Table.from_batches(batches, DOCUMENTS_TABLE)
    keys = table.select(["doc_id", "source", "offset"])
    order, _ = first_of_each(keys.append_column("lang", pa.repeat("", len(keys))))
    return table.take(order)


def _groups(table: pa.Table) -> Iterator[pa.Table]:
    start = held = 0
    for index, size in enumerate(table.column("n_bytes").to_pylist()):
        if held and held + size > GROUP_BYTES:
            yield table.slice(start, index - start)
            start, held = index, 0
        held += size
    yield table.slice(start)


def _counted(table: pa.Table, about: Merged) -> Merged:
    heldout = pc.sum(pc.equal(table.column("split"), "heldout")).as_py() or 0
    first = None
    if not heldout:
        first = min((uniform(doc_id, "split"), doc_id) for doc_id in table.column("doc_id").to_pylist())
    return replace(
        about,
        rows=len(table),
        heldout=heldout,
        characters=pc.sum(table.column("n_chars")).as_py(),
        n_bytes=pc.sum(table.column("n_bytes")).as_py(),
        content=f"{content_of(table, about.lang):x}",
        first=first,
    )


def _older_documents(path: Path, hashes: HashRange, heldout_share: float) -> Iterator[pa.RecordBatch]:
    """Documents of a finished build in a range, with the split that their hash alone gives them."""
    file = pq.ParquetFile(path, buffer_size=1 << 20)
    column = file.schema_arrow.get_field_index("doc_id")
    for number in range(file.num_row_groups):
        statistics = file.metadata.row_group(number).column(column).statistics
        if statistics is not None and statistics.has_min_max and not hashes.overlaps(statistics.min, statistics.max):
            continue
        table = file.read_row_group(number, use_threads=False).cast(DOCUMENTS_TABLE)
        table = table.filter(hashes.within(table.column("doc_id")))
        held = pc.equal(table.column("split"), "heldout").to_numpy()
        ids = table.column("doc_id").to_pylist()
        split = ["train" if not is_held else split_of(ids[row], heldout_share) for row, is_held in enumerate(held)]
        index = table.schema.get_field_index("split")
        table = table.set_column(index, DOCUMENTS_TABLE.field("split"), pa.array(split, pa.string()))
        yield from table.to_batches()
