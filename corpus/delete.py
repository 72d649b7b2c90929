"""`mglm corpus delete`: takes documents out of a finished documents/1, by id or by URL.

The manifest's account grows by `deleted`, and `deleted/` keeps the doc_ids with their languages: hashes, no text. A
corpus that is built anew leaves them out with `corpus.rules.blocked_ids`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.deletion import Rewriting, Sought, next_name, read_ids, read_lines, rewriting
from core.errors import MGLMError
from core.log import get_logger
from core.manifest import FileEntry, read_manifest, sha256_file
from core.schemas import DOCUMENTS
from core.spark import SparkConfig, into_bins, run_tasks, spark_session
from core.text import normalise
from corpus.counts import write_counts
from corpus.merge import DELETED, content_of, write_documents

DELETED_TABLE = pa.schema(
    [pa.field("doc_id", pa.string(), nullable=False), pa.field("lang", pa.string(), nullable=False)]
)

log = get_logger("corpus")


@dataclass(frozen=True)
class Left:
    """What a file came to: its new entry (None without rows, the old one untouched), and the documents that went."""

    path: str
    entry: FileEntry | None
    doc_ids: list[str]
    heldout: int
    characters: int
    n_bytes: int
    content: int


@dataclass(frozen=True)
class Deleting:
    """What a task needs to know: which documents go."""

    directory: Path
    ids: Sought

    def rewrite(self, path: str) -> Left:
        """Writes what is left of a file under its next name, if anything in it goes."""
        lang = path.split("/")[1].removeprefix("lang=")
        file = pq.ParquetFile(self.directory / path)
        goes = self.ids.among(file.read(columns=["doc_id"]).column(0))
        if not pc.any(goes).as_py():
            return Left(path, None, [], 0, 0, 0, 0)
        table = file.read()
        gone, left = table.filter(goes), table.filter(pc.invert(goes))
        entry = None
        if len(left):
            place = self.directory / next_name(path)
            write_documents(left, place)
            entry = FileEntry(
                path=next_name(path), rows=len(left), bytes=place.stat().st_size, sha256=sha256_file(place)
            )
        return Left(
            path,
            entry,
            gone.column("doc_id").to_pylist(),
            int(pc.sum(pc.equal(gone.column("split"), "heldout")).as_py()),
            int(pc.sum(gone.column("n_chars")).as_py()),
            int(pc.sum(gone.column("n_bytes")).as_py()),
            content_of(gone, lang),
        )


def delete_documents(documents: Path, *, ids: set[str], spark: SparkConfig) -> list[str]:
    """Deletes and returns the doc_ids that were there, sorted. Doing it again deletes nothing.

    Raises:
        MGLMError: no finished documents/1, or nothing would be left of it.
    """
    with rewriting(documents, DOCUMENTS) as stage, spark_session("corpus delete", spark) as session:
        sizes = {entry.path: entry.bytes for entry in stage.manifest.files if entry.path.startswith("documents/lang=")}
        tasks = session.sparkContext.defaultParallelism * spark.partitions_per_core
        deleting = Deleting(documents.resolve(), Sought(ids))
        results = run_tasks(session, into_bins(sizes, tasks), deleting.rewrite)
        changed = [left for left in results if left.doc_ids]
        if changed:
            _commit(stage, changed)
        write_counts(documents, stage.manifest.counts)  # also after one that was killed before it came to this
    deleted = sorted(doc_id for left in changed for doc_id in left.doc_ids)
    log.info("%s: %d documents deleted, of %d asked for", documents, len(deleted), len(ids))
    return deleted


def wanted_ids(documents: Path, ids: Path | None, urls: Path | None, spark: SparkConfig) -> set[str]:
    """The doc_ids that a list of ids or of URLs means; a URL may be that of several documents, or of none.

    Raises:
        MGLMError: not one of `ids` and `urls`, or a broken list.
    """
    if (ids is None) == (urls is None):
        raise MGLMError(
            "what to delete", found="both" if ids else "nothing", expected="either --ids FILE or --urls FILE"
        )
    if urls is None:
        assert ids is not None
        return read_ids(ids)
    addresses = {normalise(url) for url in read_lines(urls, "URLs")}
    values = pa.array(sorted(addresses), pa.string())
    files = [entry for entry in read_manifest(documents, DOCUMENTS).files if entry.path.startswith("documents/lang=")]
    with spark_session("corpus delete", spark) as session:
        tasks = session.sparkContext.defaultParallelism * spark.partitions_per_core
        bins = into_bins({entry.path: entry.bytes for entry in files}, tasks)
        rows = run_tasks(session, bins, partial(_with_urls, documents.resolve(), values))
    found = {doc_id for of_file in rows for doc_id, _ in of_file}
    if missing := sorted(addresses - {url for of_file in rows for _, url in of_file}):
        log.warning("%d of %d URLs are those of no document, e.g. %s", len(missing), len(addresses), missing[0])
    return found


def _with_urls(documents: Path, urls: pa.Array, path: str) -> list[tuple[str, str]]:
    """Of the documents of a file that have one of these URLs, doc_id and URL."""
    table = pq.ParquetFile(documents / path).read(columns=["doc_id", "url"])
    table = table.filter(pc.is_in(table.column("url"), urls))
    return list(zip(table.column("doc_id").to_pylist(), table.column("url").to_pylist(), strict=True))


def _commit(stage: Rewriting, changed: Sequence[Left]) -> None:
    manifest = stage.manifest
    counts = {code: dict(count) for code, count in manifest.counts.items()}
    content = int(manifest.content or "0", 16)
    rows = []
    for left in changed:
        lang = left.path.split("/")[1].removeprefix("lang=")
        count = counts[lang]
        count["documents"] -= len(left.doc_ids)
        count["heldout_documents"] -= left.heldout
        count["characters"] -= left.characters
        count["bytes"] -= left.n_bytes
        content -= left.content
        rows += [{"doc_id": doc_id, "lang": lang} for doc_id in left.doc_ids]
    counts = {code: count for code, count in counts.items() if count["documents"]}
    if not counts:
        raise MGLMError(
            f"{stage.directory}", found="no document that would be left", action="remove the directory instead"
        )
    gone = {left.path for left in changed}
    files = [entry for entry in manifest.files if entry.path not in gone]
    files += [left.entry for left in changed if left.entry is not None]
    files.append(_list_deleted(stage, rows))
    facts = dict(manifest.facts)
    facts["documents"] = facts["documents"] - len(rows)
    facts["deleted"] = facts.get("deleted", 0) + len(rows)
    assert facts["documents"] == sum(entry.rows or 0 for entry in files if entry.path.startswith("documents/"))
    assert facts["records_in"] == facts["documents"] + facts["duplicates"] + facts["deleted"] + facts.get(
        "near_duplicates", 0
    ) + sum(facts["rejected"].values())
    sign = f"{content % (1 << 128):032x}" if manifest.content is not None else None
    stage.commit(files, counts=counts, facts=facts, content=sign)


def _list_deleted(stage: Rewriting, rows: list[dict[str, str]]) -> FileEntry:
    number = sum(entry.path.startswith(f"{DELETED}/") for entry in stage.manifest.files)
    path = f"{DELETED}/part-{number:05d}.parquet"
    place = stage.directory / path
    place.parent.mkdir(exist_ok=True)
    table = pa.Table.from_pylist(sorted(rows, key=lambda row: row["doc_id"]), DELETED_TABLE)
    pq.write_table(table, place, compression="zstd")
    return FileEntry(path=path, rows=len(rows), bytes=place.stat().st_size, sha256=sha256_file(place))
