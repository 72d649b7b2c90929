"""The Spark side of `mglm balancing sample`: tasks that read documents and write the files of the sample themselves.

A file holds one language and a range of hashes, in the order of the hash, and is the same bytes however tasks are cut.
"""

import json
import os
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from balancing.sample import Stock, once_more, ranges_to_read
from core.document_ranges import HashRange, RowGroup, by_language, files_of_languages, survey_file, train_documents
from core.errors import MGLMError
from core.manifest import FileEntry, Manifest, sha256_file, write_atomically
from core.schemas import SAMPLE_TABLE
from core.spark import into_bins, run_tasks
from core.stage import Stage

FILE_BYTES = 128 << 20  # text that one file of a sample is expected to hold
GROUP_BYTES = 32 << 20  # text of a row group
SAMPLE_DIRECTORY = "sample"


@dataclass(frozen=True)
class Piece:
    """One file to draw: a range of hashes of one language; `weight` is how often a document of it is taken."""

    lang: str
    index: int
    hashes: HashRange
    weight: float
    seed: int
    groups: list[RowGroup]

    @property
    def name(self) -> str:
        return f"{self.lang}-{self.index:05d}"


@dataclass(frozen=True)
class Drawn:
    """What a piece came to; without rows there is no file. `documents` counts different ones."""

    lang: str
    rows: int
    documents: int
    n_bytes: int
    path: str
    file_bytes: int
    sha256: str

    @property
    def file(self) -> FileEntry | None:
        if not self.rows:
            return None
        return FileEntry(path=self.path, rows=self.rows, bytes=self.file_bytes, sha256=self.sha256)


def survey(
    session: SparkSession, documents: Path, made: Manifest, languages: Collection[str], tasks: int
) -> dict[str, list[RowGroup]]:
    """What the documents hold of these languages, without reading text."""
    size_of = {entry.path: entry.bytes for entry in made.files}
    sizes = {path: size_of[path] for path in files_of_languages(made, set(languages))}
    found = run_tasks(session, into_bins(sizes, tasks), partial(survey_file, documents.resolve()))
    return by_language([group for groups in found for group in groups], made, documents)


def stock_of(groups: Sequence[RowGroup]) -> Stock:
    """The train documents of a language."""
    return Stock(
        documents=sum(group.documents for group in groups),
        n_bytes=sum(group.n_bytes for group in groups),
        squared_bytes=sum(group.squared_bytes for group in groups),
    )


def draw(
    session: SparkSession,
    documents: Path,
    groups: Mapping[str, list[RowGroup]],
    weights: Mapping[str, float],
    seed: int,
    stage: Stage,
    tasks: int,
) -> list[Drawn]:
    """Writes every copy of every document drawn, by language, hash and copy; goes on where a killed job ended."""
    journal = (stage.work / "drawn").resolve()
    journal.mkdir(exist_ok=True)
    folder = (stage.output / SAMPLE_DIRECTORY).resolve()
    folder.mkdir(exist_ok=True)
    for path in folder.glob("_*.tmp"):
        path.unlink(missing_ok=True)
    pieces: dict[str, Piece] = {}
    sizes: dict[str, int] = {}
    for lang, weight in weights.items():
        for piece in cut_language(lang, groups[lang], weight, seed):
            pieces[piece.name] = piece
            sizes[piece.name] = sum(group.n_bytes for group in piece.groups)
    bins = [[pieces[name] for name in names] for names in into_bins(sizes, tasks)]
    return run_tasks(session, bins, partial(draw_piece, documents.resolve(), folder, journal))


def cut_language(lang: str, groups: Sequence[RowGroup], weight: float, seed: int) -> list[Piece]:
    """The files of one language: each expected to hold FILE_BYTES of text, or less, over the ranges that are taken."""
    expected = weight * sum(group.n_bytes for group in groups)
    ranges = ranges_to_read(weight, seed)
    width = sum(hashes.high - hashes.low for hashes in ranges)
    cut: list[HashRange] = []
    for hashes in ranges:
        share = (hashes.high - hashes.low) / width
        cut += hashes.cut(max(1, -(-int(expected * share) // FILE_BYTES)))
    return [
        Piece(lang, index, hashes, weight, seed, [group for group in groups if hashes.touches(group)])
        for index, hashes in enumerate(cut)
    ]


def draw_piece(documents: Path, folder: Path, journal: Path, piece: Piece) -> Drawn:
    """Writes one file of the sample, or takes the one that is there.

    Raises:
        MGLMError: a file cannot be read or written.
    """
    target, note = folder / f"{piece.name}.parquet", journal / f"{piece.name}.json"
    if note.exists():
        drawn = Drawn(**json.loads(note.read_text("utf-8")))
        if not drawn.rows or (target.is_file() and target.stat().st_size == drawn.file_bytes):
            return drawn
    temporary = folder / f"_{piece.name}.{uuid.uuid4().hex}.tmp"
    rows = different = n_bytes = held_bytes = 0
    held: list[pa.RecordBatch] = []
    try:
        with temporary.open("wb") as file, _writer(file) as writer:
            for batch in train_documents(documents, piece.groups, piece.hashes):
                copies = copied(batch, piece)
                held.append(copies)
                size = pc.sum(pc.binary_length(copies.column("text"))).as_py() or 0
                rows, n_bytes, held_bytes = rows + copies.num_rows, n_bytes + size, held_bytes + size
                different += pc.sum(pc.equal(copies.column("copy"), 0)).as_py() or 0
                if held_bytes >= GROUP_BYTES:
                    writer.write_table(pa.Table.from_batches(held))
                    held, held_bytes = [], 0
            if held:
                writer.write_table(pa.Table.from_batches(held))
            writer.close()
            file.flush()
            os.fsync(file.fileno())
        if rows:
            temporary.replace(target)
    except OSError as error:
        action = "make room and run the same command again: files that are finished are kept"
        raise MGLMError(f"{target}", found=str(error), expected="room to write", action=action) from None
    finally:
        temporary.unlink(missing_ok=True)
    size, sha256 = (target.stat().st_size, sha256_file(target)) if rows else (0, "")
    drawn = Drawn(piece.lang, rows, different, n_bytes, f"{SAMPLE_DIRECTORY}/{target.name}", size, sha256)
    write_atomically(note, json.dumps(asdict(drawn)))
    return drawn


def copied(batch: pa.RecordBatch, piece: Piece) -> pa.RecordBatch:
    """Rows of the sample: every document as often as its hash says, its copies numbered from 0."""
    ids = batch.column("doc_id")
    copies = np.full(len(ids), int(piece.weight))
    for hashes in once_more(piece.weight, piece.seed):
        copies += hashes.within(ids).to_numpy(zero_copy_only=False)
    numbers = np.arange(copies.sum()) - np.repeat(np.cumsum(copies) - copies, copies)
    if (copies != 1).any():
        batch = batch.take(pa.array(np.repeat(np.arange(len(ids)), copies)))
    columns: dict[str, Any] = {
        "doc_id": batch.column("doc_id"),
        "lang": pa.DictionaryArray.from_arrays(np.zeros(len(numbers), np.int32), [piece.lang]).cast(pa.string()),
        "copy": pa.array(numbers, pa.int32()),
        "text": batch.column("text"),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in SAMPLE_TABLE.names], schema=SAMPLE_TABLE)


def _writer(file: Any) -> Any:
    return pq.ParquetWriter(
        file, SAMPLE_TABLE, compression="zstd", use_dictionary=["lang"], write_statistics=["doc_id"]
    )
