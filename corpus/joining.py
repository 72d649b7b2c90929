"""Small tables of consecutive parts joined into few files: rejected records, and the keys of near-duplicates."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from core.manifest import FileEntry, replace_durably, sha256_file
from corpus.runs import temporary_beside

ROWS_OF_FILE = 1_000_000
PARTS_OF_FILE = 2_000  # a task opens no more


@dataclass(frozen=True)
class Joining:
    """What a task needs besides its group: the parts' directory, which of their files, where they go, their columns."""

    work: Path
    ending: str
    folder: str
    table: pa.Schema

    def join(self, group: tuple[int, Sequence[str]]) -> FileEntry:
        """Makes the file of a group; of none at all an empty one."""
        number, names = group
        path = f"{self.folder}/part-{number:05d}.parquet"
        place = self.work / path
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_beside(place, "join")
        rows = 0
        with pq.ParquetWriter(temporary, self.table, compression="zstd") as writer:
            for name in names:
                with pq.ParquetFile(self.work / "parts" / f"{name}.{self.ending}") as file:
                    for batch in file.iter_batches():
                        writer.write_batch(batch.cast(self.table))
                        rows += len(batch)
        entry = FileEntry(path=path, rows=rows, bytes=temporary.stat().st_size, sha256=sha256_file(temporary))
        replace_durably(temporary, place)
        return entry


def group_parts(names: Sequence[str], rows: Sequence[int], first: int) -> list[tuple[int, list[str]]]:
    """Parts of together about ROWS_OF_FILE rows, those without any left out; groups are numbered from `first`."""
    groups: list[list[str]] = []
    filled = ROWS_OF_FILE
    for name, of_part in zip(names, rows, strict=True):
        if not of_part:
            continue
        if filled >= ROWS_OF_FILE or len(groups[-1]) >= PARTS_OF_FILE:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += of_part
    return list(enumerate(groups, first))
