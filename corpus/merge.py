"""From sorted runs, and the documents that are there already, to the files of documents/1: one of each hash.

A piece is one output file: a language and a range of hashes, so its text fits into memory however large the language is
and its documents are sorted by hash. Of equal documents that with the smallest source and offset stays, which is the
same whatever order they come in; so documents made before take part like a run, and the outcome is that of all input
at once. A task makes consecutive pieces from the same sources. A piece is written once: its journal says so.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.document_ranges import EVERY_HASH, HASHES, HashRange
from core.documents import uniform
from core.manifest import FileEntry, replace_durably, sha256_file, write_atomically
from core.schemas import DOCUMENTS_TABLE
from corpus.older import OlderDocuments, Refused
from corpus.runs import Key, SortedRuns, gather, temporary_beside, weights_of

HASHED_AT_ONCE = 10_000  # rows as Python's strings
GROUP_BYTES = 16 * 1024 * 1024  # of a row group in memory, the least that a later stage opens
DOCUMENTS, REJECTED, KEYS, DELETED = "documents", "rejected", "near_duplicate_keys", "deleted"
MERGED = "merged"
_SETTINGS: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": ["script", "lid_label", "source", "split"],
    "write_statistics": ["doc_id"],
}
_HASHED = [name for name in DOCUMENTS_TABLE.names if name != "text"]


@dataclass(frozen=True, slots=True)
class Piece:
    """One file of documents to make: a language, a range of hashes, about how much text.

    Of a language to which nothing is added, `hashes` is None and the file `older` is taken as it is.
    """

    lang: str
    index: int
    hashes: HashRange | None
    n_bytes: int
    older: str = ""

    @property
    def path(self) -> str:
        return f"{DOCUMENTS}/lang={self.lang}/part-{self.index:05d}.parquet"

    @property
    def key(self) -> Key:
        """Where it begins."""
        return (self.lang, f"{self.hashes.low:016x}" if self.hashes else "")

    @property
    def end(self) -> Key:
        return (self.lang, f"{self.hashes.high:016x}" if self.hashes and self.hashes.high < HASHES else "~")


@dataclass(frozen=True, slots=True)
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
    """What a task needs besides its pieces and their sources. `older`: documents of the base by language, in order;
    `refused`: a directory of doc_ids to leave out; `deleted`: lists of documents deleted from the base, relative to it.
    """

    work: Path
    base: Path | None
    heldout_share: float
    refused: Path | None
    deleted: tuple[str, ...] = ()
    older: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def merge(self, item: tuple[Sequence[str], Sequence[Piece]]) -> list[Merged]:
        """Writes the files of consecutive pieces and their journals; what was finished before is not written again."""
        sources, pieces = item
        found = {piece: read_merged(self._journal(piece.path)) for piece in pieces}
        if any(found[piece] is None for piece in pieces):
            base = self.base or Path()
            older = OlderDocuments(base, self.older, self.heldout_share)
            refused = Refused(self.refused, [base / name for name in self.deleted])
            with SortedRuns(self.work, sources) as runs:
                for piece in pieces:
                    if found[piece] is None:
                        found[piece] = merged = self._merge(piece, runs, older, refused)
                        self._write_journal(merged)
        return [merged for merged in found.values() if merged is not None]

    def hold_out(self, item: tuple[Merged, str]) -> Merged:
        """Writes a piece's file again with one more document held out."""
        merged, doc_id = item
        table = pq.ParquetFile(self.work / merged.path).read()
        split = pc.if_else(pc.equal(table.column("doc_id"), doc_id), "heldout", "train").cast(pa.string())
        table = table.set_column(table.schema.get_field_index("split"), DOCUMENTS_TABLE.field("split"), split)
        again = self._store(table, merged)
        self._write_journal(again)
        return again

    def _merge(self, piece: Piece, runs: SortedRuns, older: OlderDocuments, refused: Refused) -> Merged:
        if piece.hashes is None:
            return self._take(piece)
        batches = chain(runs.within(piece.key, piece.end), older.within(piece.lang, piece.hashes))
        table, order, rows_in = gather(batches)
        table = table.select(DOCUMENTS_TABLE.names).take(order)
        removed = 0
        if len(table) and (ids := refused.within(piece.lang, piece.hashes)) is not None:
            keep = pc.invert(pc.is_in(table.column("doc_id"), ids))
            removed = len(table) - pc.sum(keep).as_py()
            table = table.filter(keep)
        return self._write(piece, table, rows_in, removed)

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
        source, place = self.base / piece.older, self.work / piece.path
        place.parent.mkdir(parents=True, exist_ok=True)
        link(source, place)
        table = pq.ParquetFile(place).read(columns=[name for name in DOCUMENTS_TABLE.names if name != "text"])
        about = Merged(piece.lang, piece.path, 0, 0, "", 0, 0, 0, len(table), 0, "", None)
        return replace(_counted(table, about), bytes=place.stat().st_size, sha256=sha256_file(place))

    def _journal(self, path: str) -> Path:
        return (self.work / MERGED / path).with_suffix(".json")

    def _write_journal(self, merged: Merged) -> None:
        path = self._journal(merged.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(asdict(merged), ensure_ascii=False))


def write_documents(table: pa.Table, place: Path) -> None:
    """Writes a file of documents/1 from its rows, sorted by doc_id, and puts it in place by rename."""
    temporary = temporary_beside(place, "documents")
    with pq.ParquetWriter(temporary, DOCUMENTS_TABLE, **_SETTINGS) as writer:
        for rows in _groups(table):
            writer.write_table(rows)
    replace_durably(temporary, place)


def plan_pieces(
    new_bytes: Mapping[str, int],
    older: Mapping[str, Sequence[str]],
    older_bytes: Mapping[str, int],
    file_bytes: int,
) -> list[Piece]:
    """The files to make, in the order of their keys: by language the text that is new, and the files and text that are
    there."""
    pieces = []
    for lang in sorted({*new_bytes, *older}):
        files, before = older.get(lang, ()), older_bytes.get(lang, 0)
        if lang not in new_bytes:
            pieces += [Piece(lang, index, None, before // len(files), path) for index, path in enumerate(files)]
            continue
        total = new_bytes[lang] + before
        ranges = EVERY_HASH.cut(total // file_bytes + 1)
        pieces += [Piece(lang, index, hashes, total // len(ranges)) for index, hashes in enumerate(ranges)]
    return pieces


def content_of(table: pa.Table, lang: str) -> int:
    """The sum of a table's row hashes, modulo 2^128: the same however rows are ordered, cut into files and stored.

    A row's hash covers every column; the text by its doc_id.
    """
    columns = [_as_strings(table.column(name)) for name in _HASHED]
    rows = pc.binary_join_element_wise(*columns, lang, "\x1f")
    digest = hashlib.blake2b
    total = 0
    for start in range(0, len(rows), HASHED_AT_ONCE):
        for row in rows.slice(start, HASHED_AT_ONCE).to_pylist():
            total += int.from_bytes(digest(row.encode("utf-8"), digest_size=16).digest(), "big")
    return total % (1 << 128)


def _as_strings(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_floating(column.type):  # by its bits: how a float is spelled is a library's business
        bits = column.cast(pa.float32()).combine_chunks()
        column = pa.chunked_array([pa.Array.from_buffers(pa.int32(), len(bits), bits.buffers(), offset=bits.offset)])
    return pc.fill_null(column.cast(pa.string()), "\x1e")


def read_merged(journal: Path) -> Merged | None:
    if not journal.exists():
        return None
    value = json.loads(journal.read_text("utf-8"))
    return Merged(**value | {"first": tuple(value["first"]) if value["first"] else None})


def link(source: Path, place: Path) -> None:
    place.unlink(missing_ok=True)
    try:
        place.hardlink_to(source)
    except OSError:  # a file system without links
        shutil.copyfile(source, place)


def _groups(table: pa.Table) -> Iterator[pa.Table]:
    start = held = 0
    for index, size in enumerate(weights_of(table).tolist()):
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
