"""Reads documents/1 by language and range of hash, in the order of the hash, and text only where it is wanted.

Of every row group Parquet says the smallest and the largest doc_id, and each column lies apart. So whoever wants a
range of hashes opens only the row groups that touch it, reads doc_id and split there, and text only if a row is left.
`mglm corpus build` sorts its files by doc_id, which makes these row groups few; without that order the result is the
same, but the documents of a range are held and sorted in memory.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.errors import MGLMError
from core.manifest import MADE_BY, Manifest
from core.schemas import DOCUMENTS, DOCUMENTS_TABLE, check_table

HASHES = 1 << 64  # positions are the first 64 bits of doc_id
_DIGITS = 16  # of a doc_id that spell its position
BATCH_ROWS = 1_000
BATCH_BYTES = 16 << 20  # of text, as far as a row group's mean tells
_FOLDER = "documents/lang="


@dataclass(frozen=True, slots=True)  # a driver holds one for each 16 MB of a corpus
class RowGroup:
    """One row group and its documents of the train split: how many, their UTF-8 bytes, the sum of their squares."""

    path: str  # relative to the documents directory
    lang: str
    index: int
    rows: int
    low: str  # smallest and largest doc_id
    high: str
    documents: int
    n_bytes: int
    squared_bytes: float
    stored_text_bytes: int  # what its text takes in the file


@dataclass(frozen=True)
class HashRange:
    """low ≤ first 64 bits of doc_id < high; low < 2⁶⁴, high ≤ 2⁶⁴."""

    low: int
    high: int

    def within(self, doc_ids: pa.Array) -> pa.Array:
        """Which doc_ids lie in the range; hex digits of equal length compare as the numbers they spell."""
        inside = pc.greater_equal(doc_ids, f"{self.low:016x}")
        return inside if self.high >= HASHES else pc.and_(inside, pc.less(doc_ids, f"{self.high:016x}"))

    def touches(self, group: RowGroup) -> bool:
        """Whether a document of the row group may lie in the range."""
        return self.overlaps(group.low, group.high)

    def overlaps(self, low: str, high: str) -> bool:
        """Whether a doc_id from `low` to `high`, both included, may lie in the range."""
        return f"{self.low:016x}" <= high and (self.high >= HASHES or low < f"{self.high:016x}")

    def cut(self, parts: int) -> list["HashRange"]:
        """`parts` ranges of equal width, in order."""
        size = self.high - self.low
        bounds = [self.low + index * size // parts for index in range(parts + 1)]
        return [HashRange(low, high) for low, high in itertools.pairwise(bounds)]


EVERY_HASH = HashRange(0, HASHES)


def groups_of_parts(groups: Sequence[RowGroup], parts: int) -> list[list[RowGroup]]:
    """Of each of `EVERY_HASH.cut(parts)` the row groups that touch it, as they stand.

    In one pass: a language of terabytes has ten thousand parts and a hundred thousand groups.
    """
    found: list[list[RowGroup]] = [[] for _ in range(parts)]
    for group in groups:
        first, last = (((int(bound[:_DIGITS], 16) + 1) * parts - 1) // HASHES for bound in (group.low, group.high))
        for index in range(first, last + 1):
            found[index].append(group)
    return found


def files_of_languages(manifest: Manifest, languages: set[str]) -> list[str]:
    """Paths of the files that hold these languages' documents, relative to the documents directory."""
    paths = [entry.path for entry in manifest.files if entry.path.startswith(_FOLDER)]
    return [path for path in paths if _language_of(path) in languages]


def survey_file(directory: Path, path: str) -> list[RowGroup]:
    """The row groups of one file, from its footer and its columns n_bytes and split.

    Raises:
        MGLMError: the file is missing, broken or has other columns.
    """
    groups = []
    with _Opened(directory / path) as file:
        check_table(file.schema_arrow, DOCUMENTS_TABLE, f"{directory / path}", MADE_BY[DOCUMENTS])
        names = file.schema_arrow.names
        id_column, text_column = names.index("doc_id"), names.index("text")
        for index in range(file.num_row_groups):
            described = file.metadata.row_group(index)
            if not described.num_rows:
                continue
            columns = file.read_row_group(index, columns=["n_bytes", "split"], use_threads=False)
            sizes = columns.column("n_bytes").filter(pc.equal(columns.column("split"), "train")).to_numpy()
            statistics = described.column(id_column).statistics
            if statistics is not None and statistics.has_min_max:
                low, high = statistics.min, statistics.max
            else:
                ids = file.read_row_group(index, columns=["doc_id"], use_threads=False).column(0)
                low, high = (bound.as_py() for bound in pc.min_max(ids).values())
            groups.append(
                RowGroup(
                    path=path,
                    lang=_language_of(path),
                    index=index,
                    rows=described.num_rows,
                    low=low,
                    high=high,
                    documents=len(sizes),
                    n_bytes=int(sizes.sum()),
                    squared_bytes=float((sizes.astype(np.float64) ** 2).sum()),
                    stored_text_bytes=described.column(text_column).total_compressed_size,
                )
            )
    return groups


def by_language(groups: Sequence[RowGroup], manifest: Manifest, directory: Path) -> dict[str, list[RowGroup]]:
    """The row groups of each language.

    Raises:
        MGLMError: a language has more or fewer documents than the manifest counted.
    """
    found: dict[str, list[RowGroup]] = {}
    for group in groups:
        found.setdefault(group.lang, []).append(group)
    for lang, of_language in sorted(found.items()):
        rows, counted = sum(group.rows for group in of_language), manifest.counts[lang]["documents"]
        if rows != counted:
            raise MGLMError(
                f"{directory / _FOLDER}{lang}",
                found=f"{rows} documents",
                expected=f"{counted}, as the manifest counts them",
                action=f"remove {directory} and run {MADE_BY[DOCUMENTS]} again",
            )
    return dict(sorted(found.items()))


def train_documents(directory: Path, groups: Sequence[RowGroup], wanted: HashRange) -> Iterator[pa.RecordBatch]:
    """Columns doc_id and text of the train documents in a range, in the order of doc_id.

    `groups` are row groups of one language; those that do not touch the range are not opened.

    Raises:
        MGLMError: a file is missing or broken.
    """
    chosen = []
    for group in sorted((group for group in groups if wanted.touches(group)), key=lambda group: group.low):
        with _Opened(directory / group.path) as file:
            columns = file.read_row_group(group.index, columns=["doc_id", "split"], use_threads=False).combine_chunks()
        mask = pc.and_(pc.equal(columns.column("split"), "train"), wanted.within(columns.column("doc_id")))
        keep = mask.to_numpy()
        if keep.any():
            chosen.append((group, keep, columns.column("doc_id").filter(mask)))
    ids = pa.chunked_array([chunk for *_, ids in chosen for chunk in ids.chunks], pa.string())
    if _ascending(ids):
        for group, keep, _ in chosen:
            yield from _wanted_rows(directory, group, keep)
        return
    held = [batch for group, keep, _ in chosen for batch in _wanted_rows(directory, group, keep)]
    yield from pa.Table.from_batches(held).sort_by("doc_id").to_batches(max_chunksize=BATCH_ROWS)


def _wanted_rows(
    directory: Path, group: RowGroup, keep: "np.ndarray[Any, np.dtype[np.bool_]]"
) -> Iterator[pa.RecordBatch]:
    mean = max(1, group.n_bytes // max(1, group.documents))
    size = min(BATCH_ROWS, max(1, BATCH_BYTES // mean))
    last = int(np.flatnonzero(keep)[-1])
    with _Opened(directory / group.path) as file:
        batches = file.iter_batches(size, row_groups=[group.index], columns=["doc_id", "text"], use_threads=False)
        start = 0
        for batch in batches:
            rows = keep[start : start + batch.num_rows]
            if rows.all():
                yield batch
            elif rows.any():
                yield batch.filter(pa.array(rows))
            start += batch.num_rows
            if start > last:
                return


def _ascending(ids: pa.ChunkedArray) -> bool:
    return len(ids) < 2 or bool(pc.all(pc.less_equal(ids.slice(0, len(ids) - 1), ids.slice(1))).as_py())


class _Opened:
    """A Parquet file read in small pieces; what goes wrong inside names it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Any:
        try:
            # A buffer: else the whole column of a row group is loaded, though only its beginning may be wanted.
            self._file = pq.ParquetFile(self._path, buffer_size=1 << 20)
        except (OSError, pa.ArrowInvalid) as error:
            raise self._broken(error) from None
        return self._file

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._file.close()
        if isinstance(error, OSError | pa.ArrowException):
            raise self._broken(error) from None

    def _broken(self, error: BaseException) -> MGLMError:
        found = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        action = f"remove the documents' directory and run {MADE_BY[DOCUMENTS]} again"
        return MGLMError(f"{self._path}", found=found, expected="a whole Parquet file", action=action)


def _language_of(path: str) -> str:
    return path.removeprefix(_FOLDER).split("/")[0]
