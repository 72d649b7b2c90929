"""The work table of a build: one part for each piece of the input, finished or not there, read by language and hash.

A part is what one task made of its splits, in three files and a journal, each renamed into place and the journal last:
documents (Arrow, one language to a batch, sorted by doc_id within a run), rejected records, and the keys that the
search for near-duplicates needs, where it is on. A run is what a task holds at once; a large file makes several.
"""

import json
import os
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.document_ranges import HashRange
from core.manifest import write_atomically
from core.schemas import DOCUMENTS_TABLE, REJECTED_TABLE

CHUNK_ROWS, CHUNK_BYTES = 1_000, 4 * 1024 * 1024  # rows that are Python objects at once
BATCH_BYTES = 2 * 1024 * 1024  # text of a batch that can be read alone
REJECTED_ROWS = 10_000

KEYS = "keys"
KEYS_TABLE = pa.schema(
    [
        pa.field("lang", pa.string()),
        *(DOCUMENTS_TABLE.field(name) for name in ("doc_id", "source", "offset", "n_chars", "n_bytes")),
        pa.field(KEYS, pa.binary()),
    ]
)
_RUN_TABLE = pa.schema([*DOCUMENTS_TABLE, pa.field("lang", pa.string()), pa.field(KEYS, pa.binary())])
_IPC = pa.ipc.IpcWriteOptions(compression="lz4")


@dataclass(frozen=True)
class Batch:
    """One batch of a part: documents of one language, the smallest and the largest doc_id, their UTF-8 bytes."""

    lang: str
    low: str
    high: str
    rows: int
    n_bytes: int


@dataclass(frozen=True)
class PartJournal:
    """What a finished part holds. `duplicates` were found within a run; `skipped` was no record to begin with."""

    records: int
    duplicates: int
    invalid_utf8: int
    rejected: dict[str, int]
    examples: dict[str, str]
    skipped: dict[str, int]
    changes: dict[str, int]
    batches: list[Batch] = field(default_factory=list)

    def bytes_by_language(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for batch in self.batches:
            total[batch.lang] += batch.n_bytes
        return total


def part_name(number: int) -> str:
    return f"part-{number:06d}"


def read_journal(directory: Path, name: str) -> PartJournal | None:
    """The journal of a part, None where it is not finished."""
    path = directory / f"{name}.json"
    if not path.exists():
        return None
    value = json.loads(path.read_text("utf-8"))
    return PartJournal(**value | {"batches": [Batch(*batch) for batch in value["batches"]]})


class PartWriter:
    """Takes rows in the order of the input and writes a part. Memory holds one run of text and its sorted copy."""

    def __init__(self, directory: Path, name: str, run_bytes: int) -> None:
        self._directory, self._name, self._run_bytes = directory, name, run_bytes
        self._attempt = uuid.uuid4().hex[:12]  # of a retried or speculative task, beside another
        self._rows: list[Mapping[str, Any]] = []
        self._chunk_bytes = self._held_bytes = 0
        self._held: list[pa.RecordBatch] = []
        self._documents: Any = None
        self._keys: Any = None
        self._rejected: Any = None
        self._rejected_rows: list[Mapping[str, Any]] = []
        self._batches: list[Batch] = []
        self._files: list[tuple[Path, Path]] = []
        self.records = self.duplicates = self.invalid_utf8 = 0
        self.reasons: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.skipped: Counter[str] = Counter()
        self.changes: Counter[str] = Counter()

    def add(self, row: Mapping[str, Any]) -> None:
        """A document: the columns of documents/1 and `lang`, with its keys or without."""
        self.records += 1
        self._rows.append(row)
        self._chunk_bytes += row["n_bytes"]
        if len(self._rows) >= CHUNK_ROWS or self._chunk_bytes >= CHUNK_BYTES:
            self._end_chunk()
            if self._held_bytes >= self._run_bytes:
                self._end_run()

    def reject(self, row: Mapping[str, Any]) -> None:
        """A record that is no document: the columns of the rejected table."""
        self.records += 1
        reason, detail = row["reason"], row["detail"]
        self.reasons[reason] += 1
        self.examples[reason] = min(detail, self.examples.get(reason, detail))
        self._rejected_rows.append(row)
        if len(self._rejected_rows) >= REJECTED_ROWS:
            self._end_rejected()

    def finish(self) -> PartJournal:
        """Puts the files and then the journal in place."""
        self._end_chunk()
        self._end_run()
        self._end_rejected()
        for writer in (self._documents, self._keys, self._rejected):
            if writer is not None:
                writer.close()
        for temporary, place in self._files:
            temporary.replace(place)
        journal = PartJournal(
            records=self.records,
            duplicates=self.duplicates,
            invalid_utf8=self.invalid_utf8,
            rejected=dict(self.reasons),
            examples=self.examples,
            skipped=dict(self.skipped),
            changes=dict(self.changes),
            batches=self._batches,
        )
        value = asdict(journal) | {"batches": [list(asdict(batch).values()) for batch in self._batches]}
        write_atomically(self._directory / f"{self._name}.json", json.dumps(value, ensure_ascii=False))
        return journal

    def _end_chunk(self) -> None:
        if self._rows:
            columns = [
                pa.array([row.get(field.name) for row in self._rows], field.type, from_pandas=False)
                for field in _RUN_TABLE
            ]
            self._held.append(pa.RecordBatch.from_arrays(columns, schema=_RUN_TABLE))
        self._held_bytes += self._chunk_bytes
        self._rows, self._chunk_bytes = [], 0

    def _end_run(self) -> None:
        """Sorts what is held by language and doc_id, keeps the first of equal ones, and writes it."""
        if not self._held:
            return
        table = pa.Table.from_batches(self._held)
        self._held, self._held_bytes = [], 0
        order, copies = first_of_each(table)
        self.duplicates += copies
        table = table.combine_chunks()
        langs = table.column("lang").take(order).combine_chunks().dictionary_encode()
        sizes = table.column("n_bytes").to_numpy()[order.to_numpy()]
        for start, end in _stretches(langs, sizes):
            rows = table.take(order.slice(start, end - start)).combine_chunks()
            lang = rows.column("lang")[0].as_py()
            ids = rows.column("doc_id")
            if rows.column(KEYS).null_count < len(rows):
                self._keys = self._keys or pq.ParquetWriter(self._new("keys.parquet"), KEYS_TABLE, compression="zstd")
                self._keys.write_table(rows.select(KEYS_TABLE.names).cast(KEYS_TABLE))
            self._documents = self._documents or pa.ipc.new_file(self._new("arrow"), DOCUMENTS_TABLE, options=_IPC)
            self._documents.write_batch(rows.select(DOCUMENTS_TABLE.names).to_batches()[0])
            self._batches.append(Batch(lang, ids[0].as_py(), ids[-1].as_py(), len(rows), int(sizes[start:end].sum())))

    def _end_rejected(self) -> None:
        if self._rejected_rows:
            self._rejected = self._rejected or pq.ParquetWriter(
                self._new("rejected.parquet"), REJECTED_TABLE, compression="zstd"
            )
            self._rejected.write_table(pa.Table.from_pylist(self._rejected_rows, schema=REJECTED_TABLE))
            self._rejected_rows = []

    def _new(self, ending: str) -> str:
        place = self._directory / f"{self._name}.{ending}"
        temporary = self._directory / f".{self._name}.{ending}.{os.getpid()}.{self._attempt}.tmp"
        self._files.append((temporary, place))
        return str(temporary)


def first_of_each(table: pa.Table) -> tuple[pa.Array, int]:
    """Row numbers by language and doc_id, of equal documents that of the smallest source and offset; how many others.

    `table` has the columns lang, doc_id, source, offset.
    """
    keys = table.select(["lang", "doc_id", "source", "offset"]).combine_chunks()
    order = pc.sort_indices(keys, [(name, "ascending") for name in keys.column_names])
    ids = keys.column("doc_id").take(order).combine_chunks()
    if len(ids) < 2:
        return order, 0
    first = np.concatenate([[True], pc.not_equal(ids.slice(1), ids.slice(0, len(ids) - 1)).to_numpy(False)])
    return order.filter(pa.array(first)), int(len(first) - first.sum())


def batches_within(directory: Path, names: Iterable[str], lang: str, hashes: HashRange) -> Iterator[pa.RecordBatch]:
    """The documents of a language in a range of hashes, from every part of `names` that has some."""
    for name in names:
        journal = read_journal(directory, name)
        assert journal is not None, f"{directory / name} is not finished"
        wanted = [
            number
            for number, batch in enumerate(journal.batches)
            if batch.lang == lang and hashes.overlaps(batch.low, batch.high)
        ]
        if not wanted:
            continue
        with pa.memory_map(str(directory / f"{name}.arrow")) as source:
            reader = pa.ipc.open_file(source)
            for number in wanted:
                batch = reader.get_batch(number)
                yield batch.filter(hashes.within(batch.column("doc_id")))


def _stretches(langs: pa.DictionaryArray, sizes: Any) -> Iterator[tuple[int, int]]:
    """Ranges of rows of one language and about BATCH_BYTES of text."""
    codes = langs.indices.to_numpy()
    edges = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
    for start, end in pairwise(edges):
        total = np.cumsum(sizes[start:end])
        cuts = np.flatnonzero(np.diff(total // BATCH_BYTES)) + 1
        inner = [start, *(start + cuts).tolist(), end]
        yield from pairwise(inner)
