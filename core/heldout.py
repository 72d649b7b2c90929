"""Held-out documents of documents/1: a fixed few of each language, the same whatever machine wrote the files."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.document_ranges import files_of_languages
from core.errors import MGLMError
from core.languages import UNKNOWN
from core.manifest import MADE_BY, Manifest
from core.schemas import DOCUMENTS, DOCUMENTS_TABLE, check_table

_OPEN_AT_ONCE = 16  # files whose footers are read at once


def heldout_languages(manifest: Manifest) -> list[str]:
    """Codes of the languages of documents/1 that have held-out documents, without the undetermined."""
    return sorted(
        lang for lang, counts in manifest.counts.items() if lang != UNKNOWN and counts["heldout_documents"] > 0
    )


def heldout_texts(documents: Path, manifest: Manifest, language: str, limit: int) -> list[str]:
    """At most `limit` held-out texts of a language: those with the smallest doc_id, which is a hash.

    Row groups are read from the smallest doc_id on, until none can hold a smaller one, and texts of the chosen alone:
    a large corpus in the order of its hash, as the corpus stage writes it, costs little more than its footers. A large
    language has a hundred thousand of those on storage that takes its time for each, while a run's processes wait: some
    are read at once. No more files are open.

    Raises:
        MGLMError: a file is missing, broken, or not of the documents/1 schema.
    """
    paths = [documents / path for path in files_of_languages(manifest, {language})]
    with ThreadPoolExecutor(_OPEN_AT_ONCE) as pool:
        smallest_ids = list(pool.map(_smallest_ids, paths))
    groups = [
        (smallest, number, group) for number, ids in enumerate(smallest_ids) for group, smallest in enumerate(ids)
    ]
    chosen: list[tuple[str, int, int]] = []  # doc_id, file, row group
    for smallest, number, group in sorted(groups):
        if len(chosen) == limit and smallest > chosen[-1][0]:
            break
        with _opened(paths[number]) as file:
            table = file.read_row_group(group, columns=["doc_id", "split"])
        ids = table.filter(pc.equal(table["split"], "heldout"))["doc_id"].to_pylist()
        chosen = sorted([*chosen, *((doc_id, number, group) for doc_id in ids)])[:limit]
    texts: dict[str, str] = {}
    for number, group in sorted({(number, group) for _, number, group in chosen}):
        with _opened(paths[number]) as file:
            table = file.read_row_group(group, columns=["doc_id", "text"])
        wanted = pa.array([doc_id for doc_id, *place in chosen if place == [number, group]])
        table = table.filter(pc.is_in(table["doc_id"], value_set=wanted))
        texts.update(zip(table["doc_id"].to_pylist(), table["text"].to_pylist(), strict=True))
    return [texts[doc_id] for doc_id, _, _ in chosen]


def _opened(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        action = f"run {MADE_BY[DOCUMENTS]} again"
        raise MGLMError(f"{path}", found=str(error), expected="Parquet", action=action) from None
    check_table(file.schema_arrow, DOCUMENTS_TABLE, str(path), MADE_BY[DOCUMENTS])
    return file


def _smallest_ids(path: Path) -> list[str]:
    """Of each row group, by the footer; "" where it does not say."""
    with _opened(path) as file:
        place = file.schema_arrow.get_field_index("doc_id")
        found = [file.metadata.row_group(group).column(place).statistics for group in range(file.num_row_groups)]
    return [str(of_group.min) if of_group is not None and of_group.has_min_max else "" for of_group in found]
