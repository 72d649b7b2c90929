"""Sorted runs of documents: files that a task writes once and others read in the order of language and hash.

A file holds runs, each sorted by language and doc_id and cut into batches of one language (Arrow, lz4). Its journal is
written last and has two lines: what the file came to, and where each batch begins and ends. Who plans reads the first
line alone, who merges the second. A merge opens a file once and reads each batch once, however many pieces it makes.
"""

import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.manifest import replace_durably, write_atomically
from core.schemas import DOCUMENTS_TABLE

BATCH_BYTES = 256 * 1024  # of a batch: what a merge holds of each run that it reads
ROW_BYTES = 256  # that a row takes beside its text and its URL: short texts are many
HELD_BYTES = 32 * 1024 * 1024  # of batches, before equal documents among them are looked for
ENDING = "arrow"
RUN_TABLE = DOCUMENTS_TABLE.append(pa.field("lang", pa.string()))
_DIGITS = 16  # of a doc_id in an index: ranges are cut by its first 64 bits
_IPC = pa.ipc.IpcWriteOptions(compression="lz4")

Key = tuple[str, str]  # a language, and a doc_id or its first digits; keys compare as the documents are sorted
FIRST_KEY, LAST_KEY = ("", ""), ("~", "")


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents of one language: the run they are in, the first digits of the least and the greatest doc_id."""

    run: int
    lang: str
    low: str
    high: str
    rows: int
    n_bytes: int  # in memory, about


class RunWriter:
    """Writes a file of runs below a temporary name; `finish` puts it and then its journal in place."""

    def __init__(self, path: Path) -> None:
        """`path`: of the file, without ending. Nothing is made where nothing is written."""
        self._path = path
        self._temporary = temporary_beside(path, ENDING)
        self._file: Any = None
        self.batches: list[Batch] = []
        self.runs = 0

    def begin_run(self) -> None:
        """What is written from here on is sorted anew."""
        self.runs += 1

    def write(self, table: pa.Table, order: pa.Array) -> None:
        """Rows of RUN_TABLE's columns, in `order`, which follow those that the run has."""
        if not len(order):
            return
        table = table.combine_chunks()
        langs = table.column("lang").take(order).combine_chunks().dictionary_encode()
        sizes = weights_of(table)[order.to_numpy()]
        columns = table.select(DOCUMENTS_TABLE.names)
        if self._file is None:
            self._file = pa.ipc.new_file(str(self._temporary), DOCUMENTS_TABLE, options=_IPC)
        for start, end in _stretches(langs, sizes):
            rows = columns.take(order.slice(start, end - start)).combine_chunks()
            lang, ids = langs[start].as_py(), rows.column("doc_id")
            self._file.write_batch(rows.to_batches()[0])
            ends = (ids[0].as_py()[:_DIGITS], ids[-1].as_py()[:_DIGITS])
            self.batches.append(Batch(self.runs, lang, *ends, len(rows), int(sizes[start:end].sum())))

    def finish(self, account: Mapping[str, Any]) -> None:
        """Puts the file in place, and then the journal with `account` as its first line."""
        if self._file is not None:
            self._file.close()
            replace_durably(self._temporary, named(self._path, ENDING))
        write_journal(self._path, account, self.batches)


class SortedRuns:
    """Several files, read from their beginnings to their ends by ranges of keys. To be used with `with`.

    Memory holds the indexes and a batch of each run at most: that in which the last range ended.
    """

    def __init__(self, directory: Path, names: Sequence[str]) -> None:
        self._files: list[RunFile] = []
        self._runs: list[_Run] = []
        for name in names:
            path = directory / name
            if batches := read_index(path):
                file = RunFile(named(path, ENDING))
                self._files.append(file)
                of_run: dict[int, list[tuple[int, Batch]]] = {}
                for number, batch in enumerate(batches):
                    of_run.setdefault(batch.run, []).append((number, batch))
                self._runs += [_Run(file, of_one) for of_one in of_run.values()]

    def __enter__(self) -> "SortedRuns":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()

    def within(self, low: Key, high: Key) -> Iterator[pa.RecordBatch]:
        """Rows of RUN_TABLE with low ≤ key < high. Ranges must be asked for in ascending order, each to its end."""
        for run in self._runs:
            yield from run.within(low, high)

    def cuts(self, n_bytes: int) -> list[Key]:
        """Keys that cut what is there into ranges of about so many bytes of text, ascending."""
        found: list[Key] = []
        total = 0
        for low, size in sorted(((batch.lang, batch.low), batch.n_bytes) for run in self._runs for batch in run.left()):
            if total >= n_bytes:
                found.append(low)
                total = 0
            total += size
        return found


class RunFile:
    """One open file; nothing of it is in memory but its footer."""

    def __init__(self, path: Path) -> None:
        # Not mapped: batches are packed, so nothing would be saved, and YARN counts pages of a mapped file as memory.
        self._source = pa.OSFile(str(path))
        self._reader = pa.ipc.open_file(self._source)

    def read(self, number: int) -> pa.RecordBatch:
        return self._reader.get_batch(number)

    def close(self) -> None:
        self._source.close()


class _Run:
    """One run of a file, read forwards."""

    def __init__(self, file: RunFile, batches: Sequence[tuple[int, Batch]]) -> None:
        self._file, self._batches = file, batches
        self._at = 0
        self._held: pa.RecordBatch | None = None

    def left(self) -> Iterator[Batch]:
        return (batch for _, batch in self._batches[self._at :])

    def within(self, low: Key, high: Key) -> Iterator[pa.RecordBatch]:
        while self._at < len(self._batches):
            number, batch = self._batches[self._at]
            first, last = (batch.lang, batch.low), (batch.lang, batch.high)
            if first >= high:
                return
            if last >= low:
                rows = self._held if self._held is not None else self._file.read(number)
                ids = rows.column("doc_id")
                start = _less(ids, low[1]) if first < low else 0
                end = _less(ids, high[1]) if batch.lang == high[0] and last >= high else len(rows)
                if end > start:
                    yield _with_language(rows.slice(start, end - start), batch.lang)
                if last >= high:
                    self._held = rows
                    return
            self._at, self._held = self._at + 1, None


def gather(batches: Iterator[pa.RecordBatch]) -> tuple[pa.Table, pa.Array, int]:
    """Rows of RUN_TABLE, the order in which those that stay are sorted, and how many there were.

    Of equal documents that of the smallest source and offset stays. The same page a million times is never held so.
    """
    held: list[pa.RecordBatch] = []
    held_bytes, limit, rows_in = 0, HELD_BYTES, 0
    for batch in batches:
        rows_in += len(batch)
        held.append(batch)
        held_bytes += batch.nbytes
        if held_bytes > limit:
            table = pa.Table.from_batches(held, RUN_TABLE)
            table = table.take(first_of_each(table))
            held, held_bytes = table.to_batches(), table.nbytes
            limit = max(limit, 2 * held_bytes)
    table = pa.Table.from_batches(held, RUN_TABLE)
    return table, first_of_each(table), rows_in


def first_of_each(table: pa.Table) -> pa.Array:
    """Row numbers by language and doc_id, of equal documents that of the smallest source and offset.

    `table` has the columns lang, doc_id, source, offset.
    """
    keys = table.select(["lang", "doc_id", "source", "offset"]).combine_chunks()
    order = pc.sort_indices(keys, [(name, "ascending") for name in keys.column_names])
    ids = keys.column("doc_id").take(order).combine_chunks()
    if len(ids) < 2:
        return order
    first = np.concatenate([[True], pc.not_equal(ids.slice(1), ids.slice(0, len(ids) - 1)).to_numpy(False)])
    return order.filter(pa.array(first))


def weights_of(table: pa.Table) -> NDArray[np.int64]:
    """Bytes that each row takes in memory, about; `table` has the columns n_bytes and url."""
    urls = pc.fill_null(pc.binary_length(table.column("url")), 0).to_numpy()
    weights: NDArray[np.int64] = table.column("n_bytes").to_numpy() + urls + ROW_BYTES
    return weights


def named(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.name}.{ending}")


def temporary_beside(path: Path, ending: str) -> Path:
    """A name that no other attempt at the same file has."""
    return path.with_name(f".{path.name}.{ending}.{os.getpid()}.{uuid.uuid4().hex[:12]}.tmp")


def write_journal(path: Path, account: Mapping[str, Any], batches: Sequence[Batch]) -> None:
    lines = [json.dumps(value, ensure_ascii=False) for value in (account, [astuple(batch) for batch in batches])]
    write_atomically(named(path, "json"), "\n".join(lines) + "\n")


def read_account(path: Path) -> dict[str, Any] | None:
    """The first line of a file's journal; None where the file is not finished."""
    try:
        with named(path, "json").open(encoding="utf-8") as journal:
            account: dict[str, Any] = json.loads(journal.readline())
    except FileNotFoundError:
        return None
    return account


def read_index(path: Path) -> list[Batch]:
    """The batches of a finished file."""
    with named(path, "json").open(encoding="utf-8") as journal:
        journal.readline()
        return [Batch(*batch) for batch in json.loads(journal.readline())]


def _less(ids: pa.Array, bound: str) -> int:
    return int(pc.sum(pc.less(ids, bound)).as_py() or 0)


def _with_language(rows: pa.RecordBatch, lang: str) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([*rows.columns, pa.repeat(lang, len(rows))], schema=RUN_TABLE)


def _stretches(langs: pa.DictionaryArray, sizes: Any) -> Iterator[tuple[int, int]]:
    """Ranges of rows of one language and about BATCH_BYTES."""
    codes = langs.indices.to_numpy()
    edges = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
    for start, end in pairwise(edges):
        total = np.cumsum(sizes[start:end])
        cuts = np.flatnonzero(np.diff(total // BATCH_BYTES)) + 1
        inner = [start, *(start + cuts).tolist(), end]
        yield from pairwise(inner)
