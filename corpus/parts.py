"""The work table of a build: one part for each piece of the input, finished or not there.

A part is what one task made of its splits, in three files and a journal, each renamed into place and the journal last:
documents in sorted runs, rejected records, and the keys that the search for near-duplicates needs, where it is on. A
run is what a task holds at once; a large file makes several.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.manifest import replace_durably
from core.schemas import DOCUMENTS_TABLE, REJECTED_TABLE
from corpus.runs import ROW_BYTES, RUN_TABLE, RunWriter, first_of_each, named, read_account, temporary_beside

CHUNK_ROWS, CHUNK_BYTES = 1_000, 4 * 1024 * 1024  # rows that are Python objects at once
REJECTED_ROWS = 10_000
FOLDER_PARTS = 1_000  # in a directory

KEYS = "keys"
KEYS_TABLE = pa.schema(
    [
        pa.field("lang", pa.string()),
        *(DOCUMENTS_TABLE.field(name) for name in ("doc_id", "source", "offset", "n_chars", "n_bytes")),
        pa.field(KEYS, pa.binary()),
    ]
)
_ROWS_TABLE = RUN_TABLE.append(pa.field(KEYS, pa.binary()))

Keys = Callable[[Sequence[str]], Sequence[bytes | None]]  # of texts


@dataclass(frozen=True)
class PartJournal:
    """What a finished part holds. `duplicates` were found within a run; `skipped` was no record to begin with;
    `text_bytes` by language, with what rows take beside their text; `keys` how many documents have some."""

    records: int
    duplicates: int
    invalid_utf8: int
    rejected: dict[str, int]
    examples: dict[str, str]
    skipped: dict[str, int]
    changes: dict[str, int]
    text_bytes: dict[str, int]
    runs: int
    keys: int


@dataclass
class Summary:
    """What consecutive parts hold together, as in their journals; and of each the runs, rejected records and keys."""

    records: int = 0
    duplicates: int = 0
    invalid_utf8: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    text_bytes: Counter[str] = field(default_factory=Counter)
    runs: list[int] = field(default_factory=list)
    rejected_rows: list[int] = field(default_factory=list)
    key_rows: list[int] = field(default_factory=list)

    def add(self, part: PartJournal) -> None:
        self._add(part)
        self.runs.append(part.runs)
        self.rejected_rows.append(sum(part.rejected.values()))
        self.key_rows.append(part.keys)

    def extend(self, other: "Summary") -> None:
        """By the parts that follow."""
        self._add(other)
        self.runs += other.runs
        self.rejected_rows += other.rejected_rows
        self.key_rows += other.key_rows

    def _add(self, other: "PartJournal | Summary") -> None:
        self.records += other.records
        self.duplicates += other.duplicates
        self.invalid_utf8 += other.invalid_utf8
        self.rejected.update(other.rejected)
        self.skipped.update(other.skipped)
        self.changes.update(other.changes)
        self.text_bytes.update(other.text_bytes)
        for reason, example in other.examples.items():
            self.examples[reason] = min(example, self.examples.get(reason, example))


def part_name(number: int) -> str:
    """Where a part is, below the directory of all: no directory grows beyond some thousand files."""
    return f"{number // FOLDER_PARTS:04d}/part-{number:06d}"


def read_journal(directory: Path, name: str) -> PartJournal | None:
    """The journal of a part, None where it is not finished."""
    account = read_account(directory / name)
    return None if account is None else PartJournal(**account)


def summarise(directory: Path, numbers: Iterable[int]) -> Summary:
    """What finished parts hold together, without looking at their batches."""
    summary = Summary()
    for number in numbers:
        journal = read_journal(directory, part_name(number))
        assert journal is not None, f"part {number} is not finished"
        summary.add(journal)
    return summary


def finished_parts(directory: Path) -> set[int]:
    """The numbers of the parts that are finished."""
    return {int(path.stem.removeprefix("part-")) for path in directory.glob("*/part-*.json")}


class PartWriter:
    """Takes rows in the order of the input and writes a part. Memory holds one run of text and its sorted copy."""

    def __init__(self, directory: Path, name: str, run_bytes: int, keys_of: Keys | None = None) -> None:
        """`keys_of`: what is kept of texts so that near-duplicates can be found; None where they are not looked for."""
        self._path, self._run_bytes, self._keys_of = directory / name, run_bytes, keys_of
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._documents = RunWriter(self._path)
        self._rows: list[Mapping[str, Any]] = []
        self._chunk_bytes = self._held_bytes = 0
        self._held: list[pa.RecordBatch] = []
        self._keys: Any = None
        self._rejected: Any = None
        self._rejected_rows: list[Mapping[str, Any]] = []
        self._key_rows = 0
        self._files: list[tuple[Path, Path]] = []
        self.records = self.duplicates = self.invalid_utf8 = 0
        self.reasons: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.skipped: Counter[str] = Counter()
        self.changes: Counter[str] = Counter()

    def add(self, row: Mapping[str, Any]) -> None:
        """A document: the columns of documents/1 and `lang`."""
        self.records += 1
        self._rows.append(row)
        self._chunk_bytes += row["n_bytes"] + len(row["url"] or "") + ROW_BYTES
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
        for writer in (self._keys, self._rejected):
            if writer is not None:
                writer.close()
        for temporary, place in self._files:
            replace_durably(temporary, place)
        text_bytes: Counter[str] = Counter()
        for batch in self._documents.batches:
            text_bytes[batch.lang] += batch.n_bytes
        journal = PartJournal(
            records=self.records,
            duplicates=self.duplicates,
            invalid_utf8=self.invalid_utf8,
            rejected=dict(self.reasons),
            examples=self.examples,
            skipped=dict(self.skipped),
            changes=dict(self.changes),
            text_bytes=dict(text_bytes),
            runs=self._documents.runs,
            keys=self._key_rows,
        )
        self._documents.finish(asdict(journal))
        return journal

    def _end_chunk(self) -> None:
        if self._rows:
            columns = [
                pa.array([row[field.name] for row in self._rows], field.type, from_pandas=False) for field in RUN_TABLE
            ]
            keys = self._keys_of([row["text"] for row in self._rows]) if self._keys_of else [None] * len(self._rows)
            columns.append(pa.array(keys, pa.binary()))
            self._held.append(pa.RecordBatch.from_arrays(columns, schema=_ROWS_TABLE))
        self._held_bytes += self._chunk_bytes
        self._rows, self._chunk_bytes = [], 0

    def _end_run(self) -> None:
        """Sorts what is held by language and doc_id, keeps the first of equal ones, and writes it."""
        if not self._held:
            return
        table = pa.Table.from_batches(self._held).combine_chunks()
        self._held, self._held_bytes = [], 0
        order = first_of_each(table)
        self.duplicates += len(table) - len(order)
        self._documents.begin_run()
        self._documents.write(table, order)
        if table.column(KEYS).null_count < len(table):
            self._keys = self._keys or pq.ParquetWriter(self._new("keys.parquet"), KEYS_TABLE, compression="zstd")
            self._keys.write_table(table.select(KEYS_TABLE.names).take(order).cast(KEYS_TABLE))
            self._key_rows += len(order)

    def _end_rejected(self) -> None:
        if self._rejected_rows:
            self._rejected = self._rejected or pq.ParquetWriter(
                self._new("rejected.parquet"), REJECTED_TABLE, compression="zstd"
            )
            self._rejected.write_table(pa.Table.from_pylist(self._rejected_rows, schema=REJECTED_TABLE))
            self._rejected_rows = []

    def _new(self, ending: str) -> str:
        temporary = temporary_beside(self._path, ending)
        self._files.append((temporary, named(self._path, ending)))
        return str(temporary)
