"""Writes one Arrow file of `shards/1` from documents that come in order. Knows nothing of Spark.

A file is written under a temporary name and renamed when it is complete; then a small JSON beside the stage's scratch
files says what it holds, so that a killed job keeps the files it finished. The file itself says which language, part
and tokenizer it is of, so that a reader knows one that lies in another's place.

A document of more than `LONG_BYTES` is encoded in stretches, since SentencePiece takes thirty times a text's size.
Stretches end before a newline, or before a space after a word, where no piece of our models can lie across: their ids
are those of the whole, but for near ties, which SentencePiece's 32-bit sums decide in another way the longer a text is
(135 of 4.8 million tokens, in 14 MB). Where a stretch has neither, it ends between two characters, and a piece there
may be cut in two. A tokenizer that puts a space before every text puts one before each stretch.
"""

import hashlib
import io
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.document_ranges import HASHES, HashRange
from core.errors import MGLMError
from core.schemas import SHARDS_TABLE
from tokenizer.encoding import Tokenizer

# What a record batch holds at most: documents, or text by the document that fills it. Fixed, so that a file's bytes do
# not depend on the batches that the documents came in.
BATCH_DOCUMENTS = 1_000
BATCH_BYTES = 16 << 20
LONG_BYTES = 1 << 20
SYNC_BYTES = 8 << 20
STREAM_EXTRA = 2  # [CLS] before and eos after each document, in the stream that the sampler cuts


@dataclass(frozen=True)
class Part:
    """One file: one of `of` equal ranges of `doc_id` within one language. `number` is unique over all languages."""

    number: int
    lang: str
    index: int
    of: int = 1

    @property
    def path(self) -> str:
        return f"lang={self.lang}/part-{self.index:05d}.arrow"

    @property
    def hashes(self) -> HashRange:
        return HashRange(self.index * HASHES // self.of, (self.index + 1) * HASHES // self.of)


@dataclass(frozen=True)
class PartRow:
    """What was written of a part; no file where it has no documents.

    `n_bytes` counts the UTF-8 bytes of its documents, `bytes` those of the file. `limit` is where it was to be cut,
    `whole` whether all documents of its range are in it.
    """

    number: int
    path: str
    lang: str
    rows: int
    tokens: int
    n_bytes: int
    bytes: int
    sha256: str
    limit: int | None
    whole: bool

    @property
    def stream(self) -> int:
        """Tokens that it adds to the language's stream."""
        return self.tokens + STREAM_EXTRA * self.rows


def plan_parts(text_bytes: dict[str, int], bytes_per_part: int) -> list[Part]:
    """How many files each language gets: a function of its size alone, so cluster and laptop write the same files."""
    parts: list[Part] = []
    for lang, size in sorted(text_bytes.items()):
        count = max(1, -(-size // bytes_per_part))
        parts += [Part(len(parts) + index, lang, index, count) for index in range(count)]
    return parts


def write_part(
    batches: Iterable[pa.RecordBatch],
    tokenizer: Tokenizer,
    part: Part,
    output: Path,
    journal: Path,
    *,
    limit: int | None = None,
) -> PartRow:
    """Encodes and writes the documents of a part (columns doc_id and text, in the order of doc_id).

    With a `limit` it ends with the document by which its stream reaches so many tokens.

    Raises:
        MGLMError: the file cannot be written, for instance on a full disk. Nothing of it is left.
    """
    writer = _PartWriter(part, output, tokenizer, limit)
    try:
        whole = all(writer.write(documents) for documents in _regular(batches))
        row = writer.finish(whole)
        _note(journal / f"{part.number:08d}.json", row)
    except OSError as error:
        action = "make room and run the same command again: files that are finished are kept"
        raise MGLMError(f"{output / part.path}", found=str(error), expected="room to write", action=action) from None
    finally:
        writer.abandon()
    return row


def finished_parts(output: Path, journal: Path) -> list[PartRow]:
    """The parts that an interrupted job completed, as far as their files are there in full length."""
    rows = []
    for path in sorted(journal.glob("*.json")):
        with suppress(ValueError):  # half a note, after a power cut: its part is written again
            rows.append(PartRow(**json.loads(path.read_text("utf-8"))))
    return [row for row in rows if not row.rows or _size(output / row.path) == row.bytes]


def stretches(text: bytes) -> list[bytes]:
    """A text in UTF-8, cut into stretches of at most `LONG_BYTES` as the module says."""
    cut, start = [], 0
    while len(text) - start > LONG_BYTES:
        stop = _end_of_stretch(text, start, start + LONG_BYTES)
        cut.append(text[start:stop])
        start = stop
    return [*cut, text[start:]]


def _end_of_stretch(text: bytes, start: int, limit: int) -> int:
    middle = (start + limit) // 2
    if (newline := text.rfind(b"\n", middle, limit)) > 0:
        return newline
    space = text.rfind(b" ", middle, limit)
    while space > middle and text[space - 1 : space] == b" ":
        space -= 1
    if space > middle:
        return space
    while text[limit] & 0xC0 == 0x80:  # inside a character
        limit -= 1
    return limit


class HashedFile(io.FileIO):
    """A new file whose sha256 is known when it is written: it need not be read again."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "x")
        self.sha256 = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        left = memoryview(data)
        while left:  # a write of the system may take less
            left = left[super().write(left) :]
        return len(data)


class _PartWriter:
    def __init__(self, part: Part, output: Path, tokenizer: Tokenizer, limit: int | None) -> None:
        self.part, self._path, self._tokenizer, self._limit = part, output / part.path, tokenizer, limit
        self._temporary = self._path.with_name(f"_{self._path.name}.{uuid.uuid4().hex}.tmp")
        self._file: Any = None
        self._arrow: Any = None
        self._rows = self._tokens = self._n_bytes = 0
        self._synced, self._syncs = 0, ThreadPoolExecutor(1)
        self._waits: list[Future[None]] = []

    def write(self, documents: pa.RecordBatch) -> bool:
        """Adds documents; False when the limit is reached and no more are wanted."""
        texts = documents.column("text")
        lengths, values = self._encode(texts)
        wanted = len(lengths)
        if self._limit is not None:
            stream = self._tokens + STREAM_EXTRA * self._rows + np.cumsum(lengths + STREAM_EXTRA)
            wanted = min(wanted, int(np.searchsorted(stream, self._limit)) + 1)
        reached = self._limit is not None and stream[wanted - 1] >= self._limit
        offsets = np.zeros(wanted + 1, np.int32)
        np.cumsum(lengths[:wanted], out=offsets[1:])
        values = values[: offsets[-1]]
        tokens = pa.ListArray.from_arrays(offsets, pa.array(values), type=SHARDS_TABLE.field("tokens").type)
        n_bytes = pc.binary_length(texts).to_numpy()[:wanted].astype(np.int64)
        # Made anew: a column that came in slices carries buffers that depend on the slicing.
        doc_ids = pa.array(documents.column("doc_id").to_pylist()[:wanted], pa.string())
        self._open()
        self._arrow.write_batch(
            pa.RecordBatch.from_arrays([doc_ids, tokens, pa.array(n_bytes)], schema=self._arrow_schema)
        )
        self._rows += wanted
        self._tokens += len(values)
        self._n_bytes += int(n_bytes.sum())
        if self._file.tell() - self._synced >= SYNC_BYTES:  # else all of the file waits for the disk at its end
            self._synced = self._file.tell()
            self._waits.append(self._syncs.submit(os.fsync, self._file.fileno()))
        return not reached

    def _encode(self, texts: pa.StringArray) -> tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]:
        """Token counts of the texts, and all their ids one after another."""
        encoded = texts.cast(pa.binary()).to_pylist()
        cut = [stretches(text) if len(text) > LONG_BYTES else [text] for text in encoded]
        ids = self._tokenizer.encode_arrays([stretch for stretches_ in cut for stretch in stretches_])
        counts = np.array([len(array) for array in ids], np.int64)
        firsts = np.cumsum([0, *(len(stretches_) for stretches_ in cut[:-1])])
        return np.add.reduceat(counts, firsts), np.concatenate(ids)

    def _open(self) -> None:
        if self._file is None:
            identity = {"lang": self.part.lang, "part": str(self.part.index), "tokenizer": self._tokenizer.sha256}
            self._arrow_schema = SHARDS_TABLE.with_metadata({**SHARDS_TABLE.metadata, **identity})
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = HashedFile(self._temporary)
            self._arrow = pa.ipc.new_file(self._file, self._arrow_schema)

    def finish(self, whole: bool) -> PartRow:
        if self._file is not None:
            self._arrow.close()
            for wait in self._waits:
                wait.result()  # Linux tells a failed write to one fsync: the last would be told nothing
            os.fsync(self._file.fileno())
            self._file.close()
            self._temporary.replace(self._path)
        return PartRow(
            number=self.part.number,
            path=self.part.path,
            lang=self.part.lang,
            rows=self._rows,
            tokens=self._tokens,
            n_bytes=self._n_bytes,
            bytes=self._path.stat().st_size if self._rows else 0,
            sha256=self._file.sha256.hexdigest() if self._rows else "",
            limit=self._limit,
            whole=whole,
        )

    def abandon(self) -> None:
        """Leaves nothing of a file that is not finished."""
        self._syncs.shutdown()
        if self._file is not None:
            with suppress(OSError):  # what is still to be written has no room either
                self._file.close()
            self._temporary.unlink(missing_ok=True)


def _regular(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same documents in batches whose size depends on the documents alone."""
    held: list[pa.RecordBatch] = []
    held_rows = held_bytes = 0
    for batch in batches:
        sizes = pc.binary_length(batch.column("text")).to_numpy()
        start = 0
        while start < len(sizes):
            filled = held_bytes + np.cumsum(sizes[start : start + BATCH_DOCUMENTS - held_rows])
            count = min(len(filled), int(np.searchsorted(filled, BATCH_BYTES)) + 1)
            held.append(batch.slice(start, count))
            held_rows, held_bytes, start = held_rows + count, int(filled[count - 1]), start + count
            if held_rows == BATCH_DOCUMENTS or held_bytes >= BATCH_BYTES:
                yield pa.concat_batches(held)
                held, held_rows, held_bytes = [], 0, 0
    if held:
        yield pa.concat_batches(held)


def _note(path: Path, row: PartRow) -> None:
    """By rename, but without waiting for the disk: a note that is lost costs a part, not the shards."""
    temporary = path.with_suffix(f".{uuid.uuid4().hex}.tmp")
    temporary.write_text(json.dumps(asdict(row)), encoding="utf-8")
    temporary.replace(path)


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None
