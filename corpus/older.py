"""What was made before, read by ranges of hashes: the documents of a build that grows, and those that must stay out.

Files lie in the order of their hashes, so the few that touch a range are found by halving; footers say which groups.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.document_ranges import HashRange
from core.documents import split_of
from core.manifest import write_atomically
from core.schemas import DOCUMENTS_TABLE
from corpus.runs import RUN_TABLE

_INDEX_NAME = "_index.json"  # no reader of a directory of Parquet looks at such names
_OPEN_AT_ONCE = 16  # files whose footers are read at once


def in_order(paths: Sequence[str]) -> list[str]:
    """Files of one language by their number, which may have more digits than others': that of their hashes."""
    return sorted(paths, key=lambda path: (int(Path(path).stem.split("-")[1]), path))


class OlderDocuments:
    """Documents of a finished build, by language its files in order; with the split that their hash alone gives."""

    def __init__(self, base: Path, files: Mapping[str, Sequence[str]], heldout_share: float) -> None:
        self._base, self._files, self._heldout_share = base, files, heldout_share
        self._ends: dict[str, tuple[str, str]] = {}

    def within(self, lang: str, hashes: HashRange) -> Iterator[pa.RecordBatch]:
        """Rows of RUN_TABLE."""
        paths = self._files.get(lang, ())
        low, high = 0, len(paths)
        while low < high:
            middle = (low + high) // 2
            if self._ends_of(paths[middle])[1] < f"{hashes.low:016x}":
                low = middle + 1
            else:
                high = middle
        for path in paths[low:]:
            if not hashes.overlaps(*self._ends_of(path)):
                return
            yield from self._read(path, lang, hashes)

    def _ends_of(self, path: str) -> tuple[str, str]:
        if path not in self._ends:
            metadata = pq.read_metadata(self._base / path)
            groups = [_ends_of_column(metadata, number, "doc_id") for number in range(metadata.num_row_groups)]
            self._ends[path] = (groups[0][0], groups[-1][1])
        return self._ends[path]

    def _read(self, path: str, lang: str, hashes: HashRange) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(self._base / path, buffer_size=1 << 20) as file:
            for number in range(file.num_row_groups):
                if not hashes.overlaps(*_ends_of_column(file.metadata, number, "doc_id")):
                    continue
                table = file.read_row_group(number, use_threads=False).cast(DOCUMENTS_TABLE)
                table = table.filter(hashes.within(table.column("doc_id")))
                held = pc.equal(table.column("split"), "heldout").to_numpy()
                ids = table.column("doc_id").to_pylist()
                split = [
                    split_of(ids[row], self._heldout_share) if is_held else "train" for row, is_held in enumerate(held)
                ]
                index = table.schema.get_field_index("split")
                table = table.set_column(index, DOCUMENTS_TABLE.field("split"), pa.array(split, pa.string()))
                yield from table.append_column(RUN_TABLE.field("lang"), pa.repeat(lang, len(table))).to_batches()


def index_refused(near: Path) -> int:
    """Notes what each row group of a directory of near-duplicates holds, since every task would else open every file;
    returns how many rows they have."""

    def groups_of(path: Path) -> list[tuple[int, str, int, tuple[str, str], tuple[str, str]]]:
        metadata = pq.read_metadata(path)
        return [
            (rows, path.name, number, *(_ends_of_column(metadata, number, name) for name in ("lang", "doc_id")))
            for number in range(metadata.num_row_groups)
            if (rows := metadata.row_group(number).num_rows)  # of nothing there is no least and no greatest
        ]

    with ThreadPoolExecutor(_OPEN_AT_ONCE) as pool:
        groups = [group for of_file in pool.map(groups_of, sorted(near.glob("*.parquet"))) for group in of_file]
    write_atomically(near / _INDEX_NAME, json.dumps([place for _, *place in groups]))
    return sum(rows for rows, *_ in groups)


class Refused:
    """doc_ids that stay out: near-duplicates, in files sorted by lang and doc_id, and lists of deleted documents."""

    def __init__(self, near: Path | None, deleted: Sequence[Path]) -> None:
        """`near`: a directory for which `index_refused` has been called."""
        listed = json.loads((near / _INDEX_NAME).read_text("utf-8")) if near else []
        self._groups = [(near / name, number, langs, ids) for name, number, langs, ids in listed if near]
        tables = [pq.read_table(path, columns=["lang", "doc_id"]) for path in deleted]
        self._deleted = pa.concat_tables(tables).combine_chunks() if tables else None

    def within(self, lang: str, hashes: HashRange) -> pa.Array | None:
        """Those of a language in a range, None where there are none."""
        tables = []
        for path, number, langs, ids in self._groups:
            if langs[0] <= lang <= langs[1] and (langs[0] < langs[1] or hashes.overlaps(*ids)):
                with pq.ParquetFile(path) as file:
                    tables.append(file.read_row_group(number, columns=["lang", "doc_id"], use_threads=False))
        if self._deleted is not None:
            tables.append(self._deleted)
        found = []
        for table in tables:
            of_lang = table.filter(pc.equal(table.column("lang"), lang)).column("doc_id").cast(pa.string())
            found += of_lang.filter(hashes.within(of_lang)).chunks
        refused = pa.chunked_array(found, pa.string()).combine_chunks()
        return refused if len(refused) else None


def _ends_of_column(metadata: pq.FileMetaData, group: int, name: str) -> tuple[str, str]:
    described = metadata.row_group(group)
    columns = (described.column(index) for index in range(described.num_columns))
    statistics = next(column.statistics for column in columns if column.path_in_schema == name)
    assert statistics is not None  # these files are our own
    return str(statistics.min), str(statistics.max)
