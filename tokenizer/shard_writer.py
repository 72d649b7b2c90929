"""Writes the Arrow files of `shards/1`, one at a time, from documents that come in order. Knows nothing of Spark.

A file is written under a temporary name and renamed when it is complete; then a small JSON beside the stage's scratch
files says what it holds, so that a killed job keeps the files it finished.
"""

import itertools
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.manifest import sha256_file, write_atomically
from core.schemas import SHARDS_TABLE
from tokenizer.encoding import Tokenizer

# Documents of a record batch. Fixed, so that a file's bytes do not depend on the batches that Spark hands over.
BATCH_DOCUMENTS = 1_000


@dataclass(frozen=True)
class Part:
    """One file: a range of `doc_id` within one language. `number` is unique over all languages."""

    number: int
    lang: str
    index: int

    @property
    def path(self) -> str:
        return f"lang={self.lang}/part-{self.index:05d}.arrow"


@dataclass(frozen=True)
class PartRow:
    """What one written file holds; `n_bytes` counts the UTF-8 bytes of its documents, `bytes` those of the file."""

    number: int
    path: str
    lang: str
    rows: int
    tokens: int
    n_bytes: int
    bytes: int
    sha256: str


def plan_parts(text_bytes: dict[str, int], bytes_per_part: int) -> list[Part]:
    """How many files each language gets: a function of its size alone, so cluster and laptop write the same files."""
    parts: list[Part] = []
    for lang, size in sorted(text_bytes.items()):
        count = max(1, -(-size // bytes_per_part))
        parts += [Part(len(parts) + index, lang, index) for index in range(count)]
    return parts


def part_index(doc_id: str, parts: int) -> int:
    """Which of a language's `parts` files a document belongs to: equal ranges of its hash, in order."""
    return (int(doc_id[:8], 16) * parts) >> 32


def write_parts(
    batches: Iterable[pa.RecordBatch], tokenizer: Tokenizer, parts: dict[int, Part], output: Path, journal: Path
) -> Iterator[PartRow]:
    """Encodes and writes documents; yields a row for each finished file.

    `batches` have columns part, doc_id, text, sorted by part and doc_id.
    """
    writer: _PartWriter | None = None
    try:
        for batch in batches:
            for number, documents in _runs(batch):
                if writer is not None and writer.part.number != number:
                    yield writer.finish(journal)
                    writer = None
                if writer is None:
                    writer = _PartWriter(parts[number], output, tokenizer)
                writer.add(documents)
        if writer is not None:
            yield writer.finish(journal)
            writer = None
    finally:
        if writer is not None:
            writer.abandon()


def finished_parts(output: Path, journal: Path) -> list[PartRow]:
    """The files that an interrupted job completed."""
    rows = [PartRow(**json.loads(path.read_text("utf-8"))) for path in sorted(journal.glob("*.json"))]
    return [row for row in rows if (output / row.path).is_file()]


class _PartWriter:
    def __init__(self, part: Part, output: Path, tokenizer: Tokenizer) -> None:
        self.part, self._path, self._tokenizer = part, output / part.path, tokenizer
        self._pending: list[pa.RecordBatch] = []
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = self._path.with_name(f"_{self._path.name}.{uuid.uuid4().hex}.tmp")
        self._file = self._temporary.open("wb")
        self._arrow: Any = pa.ipc.new_file(self._file, SHARDS_TABLE)
        self._rows = self._tokens = self._n_bytes = 0

    def add(self, documents: pa.RecordBatch) -> None:
        self._pending.append(documents)
        while sum(batch.num_rows for batch in self._pending) >= BATCH_DOCUMENTS:
            together = pa.concat_batches(self._pending)
            self._write(together.slice(0, BATCH_DOCUMENTS))
            self._pending = [together.slice(BATCH_DOCUMENTS)]

    def _write(self, documents: pa.RecordBatch) -> None:
        texts = documents.column("text")
        encoded = self._tokenizer.encode_batch(texts.to_pylist())
        offsets = np.zeros(len(encoded) + 1, np.int32)
        np.cumsum([len(ids) for ids in encoded], out=offsets[1:])
        values = np.fromiter(itertools.chain.from_iterable(encoded), np.int32, count=int(offsets[-1]))
        tokens = pa.ListArray.from_arrays(offsets, pa.array(values), type=SHARDS_TABLE.field("tokens").type)
        n_bytes = pc.binary_length(texts).to_numpy().astype(np.int64)
        # Made anew: a column that came in slices carries buffers that depend on the slicing.
        doc_ids = pa.array(documents.column("doc_id").to_pylist(), pa.string())
        columns = [doc_ids, tokens, pa.array(n_bytes)]
        self._arrow.write_batch(pa.RecordBatch.from_arrays(columns, schema=SHARDS_TABLE))
        self._rows += len(encoded)
        self._tokens += len(values)
        self._n_bytes += int(n_bytes.sum())

    def finish(self, journal: Path) -> PartRow:
        if rest := [batch for batch in self._pending if batch.num_rows]:
            self._write(pa.concat_batches(rest))
        self._arrow.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.replace(self._path)
        row = PartRow(
            number=self.part.number,
            path=self.part.path,
            lang=self.part.lang,
            rows=self._rows,
            tokens=self._tokens,
            n_bytes=self._n_bytes,
            bytes=self._path.stat().st_size,
            sha256=sha256_file(self._path),
        )
        write_atomically(journal / f"{self.part.number:08d}.json", json.dumps(asdict(row)))
        return row

    def abandon(self) -> None:
        """After an error: leaves nothing behind."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def _runs(batch: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
    numbers = batch.column("part").to_numpy()
    if not len(numbers):
        return
    starts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    for start, stop in itertools.pairwise(starts):
        yield int(numbers[start]), batch.slice(start, stop - start)
