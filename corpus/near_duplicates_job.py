"""The Spark side of near-duplicates: keys to links, links to groups, groups to the documents that go.

Nothing here grows with the square of anything: of the documents that share a key each is linked to the smallest, so a
million copies of a notice make a million links. Groups are the connected components, found by large and small stars in
turn (Kiveris et al. 2014, Connected Components in MapReduce and Beyond). Of each group the document of the smallest
source and offset stays. The outcome depends on the documents alone, not on partitions; and with more documents groups
only grow, so what went stays gone. Few documents are searched without Spark (near_duplicates_here.py), to the same end.
"""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from core.spark import path_to_read, path_to_write
from corpus.near_duplicates import keys_of_languages
from corpus.near_duplicates_here import find_here
from corpus.older import index_refused

HERE_DOCUMENTS = 500_000  # half a gigabyte of the driver's Python, as a million links are
DRIVER_LINKS = 1_000_000
DOCUMENTS_OF_PARTITION, MOST_PARTITIONS = 150_000, 20_000  # 100 MB of keys; Spark counts partitions by partitions
GROUP_ROWS, GROUP_BYTES = 50_000, 4 * 1024 * 1024  # of a row group: what a piece reads to find what stays out


def write_near_duplicates(
    session: SparkSession,
    keys: Path,
    work: Path,
    target: Path,
    *,
    deleted: Sequence[Path] = (),
    here_documents: int = HERE_DOCUMENTS,
) -> int:
    """Writes lang, doc_id and kept (the doc_id that stays) of every document that goes, to the directory `target`,
    sorted by lang and doc_id, with an index; returns their number.

    `keys` is a directory of Parquet files with columns lang, doc_id, source, offset and keys (`packed_keys`), rows of
    one doc_id in any number; `work` is a directory for what is needed on the way. Up to `here_documents` rows are
    searched in the driver's memory. Those in the lists `deleted` keep others out, but are gone already.
    """
    columns = ["lang", "doc_id", "source", "offset", "keys"]
    paths = sorted(keys.glob("*.parquet"))
    rows = sum(pq.read_metadata(path).num_rows for path in paths)
    if rows <= here_documents:
        found = find_here(pa.concat_tables([pq.read_table(path, columns=columns) for path in paths]))
        for path in deleted:
            gone = pq.read_table(path, columns=["doc_id"]).column(0).combine_chunks()
            found = found.filter(pc.invert(pc.is_in(found.column("doc_id"), gone)))
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        pq.write_table(found, target / "part-00000.parquet", row_group_size=GROUP_ROWS, compression="zstd")
        return index_refused(target)
    given = int(session.conf.get("spark.sql.shuffle.partitions") or 1)
    session.conf.set("spark.sql.shuffle.partitions", str(max(given, partitions_for(rows))))
    found_path = work / "found"
    _find(session.read.parquet(path_to_read(keys)).select(columns), work, found_path)
    frame = session.read.parquet(path_to_read(found_path))
    if deleted:
        frame = frame.join(session.read.parquet(*map(path_to_read, deleted)).select("doc_id"), "doc_id", "left_anti")
    writer = frame.select("lang", "doc_id", "kept").sort("lang", "doc_id").write
    writer.option("parquet.block.size", GROUP_BYTES).mode("overwrite").parquet(path_to_write(target))
    return index_refused(target)


def partitions_for(rows: int) -> int:
    """Parts into which the keys of so many documents are sorted anew, so that an executor of 1 GB can hold some."""
    return min(-(-rows // DOCUMENTS_OF_PARTITION), MOST_PARTITIONS)


def _find(documents: DataFrame, work: Path, target: Path) -> None:
    nodes = _through_file(
        documents.where("keys IS NOT NULL")
        .groupBy("lang", "doc_id")
        .agg(F.min(F.struct("source", "offset")).alias("first"), F.min("keys").alias("keys"))
        .withColumn("node", F.concat_ws("/", "lang", "doc_id")),  # nothing is linked across languages
        work / "nodes",
    )
    _through_file(_links(nodes), work / "links")
    groups = components(documents.sparkSession, work / "links", work)
    members = groups.join(nodes.select("node", "lang", "doc_id", "first"), "node")
    kept = F.min(F.struct("first", "doc_id")).over(Window.partitionBy("group"))
    (
        members.withColumn("kept", kept["doc_id"])
        .where("kept <> doc_id")
        .select("lang", "doc_id", "kept")
        .write.mode("overwrite")
        .parquet(path_to_write(target))
    )


def _links(nodes: DataFrame) -> DataFrame:
    """Links a < b from the smallest node of a key to each of the others."""

    def keys(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if not batch.num_rows:
                continue
            found = keys_of_languages(batch.column("keys").to_pylist(), batch.column("lang").to_pylist())
            rows = pa.array(np.repeat(np.arange(batch.num_rows), found.shape[1]))
            yield pa.RecordBatch.from_arrays([pa.array(found.ravel()), batch.column("node").take(rows)], ["key", "b"])

    keyed = nodes.select("node", "lang", "keys").mapInArrow(keys, "key long, b string")
    linked = keyed.withColumn("a", F.min("b").over(Window.partitionBy("key")))
    return linked.where("a < b").select("a", "b").distinct()


def components(session: SparkSession, links: Path, work: Path, *, driver_links: int = DRIVER_LINKS) -> DataFrame:
    """node → group, the smallest node it is connected with; nodes without a link are left out.

    `links` is a directory of Parquet files with columns a < b. Up to `driver_links` are solved in the driver's memory:
    a dozen small jobs would cost more than the answer.
    """
    paths = sorted(links.glob("*.parquet"))
    if sum(pq.read_metadata(path).num_rows for path in paths) <= driver_links:
        return _components_here(session, paths, work / "groups.parquet")
    frame = session.read.parquet(path_to_read(links))
    state = _state(frame)
    for turn in range(1, 1_000):
        frame = _through_file(_small_star(_large_star(frame)), work / f"links-{turn % 2}")
        before, state = state, _state(frame)
        if state == before:
            break
    else:
        raise AssertionError("components do not settle")
    stars = frame.select(F.col("b").alias("node"), F.col("a").alias("group"))
    return stars.union(stars.select(F.col("group").alias("node"), "group")).distinct()


def _components_here(session: SparkSession, paths: Sequence[Path], target: Path) -> DataFrame:
    """The same by SciPy."""
    table = pa.concat_tables([pq.read_table(path, columns=["a", "b"]) for path in paths]).combine_chunks()
    ends = pa.chunked_array([*table.column("a").chunks, *table.column("b").chunks], pa.string()).dictionary_encode()
    ends = ends.combine_chunks()
    nodes = ends.dictionary
    left, right = ends.indices.to_numpy().reshape(2, -1)
    graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(len(nodes), len(nodes)))
    _, labels = connected_components(graph, directed=False)
    rank = pc.rank(nodes).to_numpy() - 1
    smallest = np.full(labels.max(initial=-1) + 1, len(nodes))
    np.minimum.at(smallest, labels, rank.astype(np.int64))
    in_order = nodes.take(pc.sort_indices(nodes))
    pq.write_table(pa.table({"node": nodes, "group": in_order.take(pa.array(smallest[labels]))}), target)
    return session.read.parquet(path_to_read(target))


def _large_star(links: DataFrame) -> DataFrame:
    """Links every greater neighbour of a node to the smallest of its neighbourhood."""
    both = links.select("a", "b").union(links.select(F.col("b").alias("a"), F.col("a").alias("b")))
    smallest = F.least("a", F.min("b").over(Window.partitionBy("a")))
    found = both.withColumn("smallest", smallest).where("b > a")
    return found.select(F.col("smallest").alias("a"), "b").distinct()


def _small_star(links: DataFrame) -> DataFrame:
    """Links a node and its smaller neighbours to the smallest of these."""
    found = links.withColumn("smallest", F.min("a").over(Window.partitionBy("b")))
    others = found.select(F.col("smallest").alias("a"), F.explode(F.array("a", "b")).alias("b"))
    return others.where("a < b").distinct()


def _state(links: DataFrame) -> tuple[int, int]:
    """Number and a hash of a set of links: equal when nothing has changed."""
    row = links.agg(F.count("*").alias("links"), F.bit_xor(F.xxhash64("a", "b")).alias("hash")).collect()[0]
    return row.links, row.hash or 0


def _through_file(frame: DataFrame, path: Path) -> DataFrame:
    """The frame, computed now and read back: what follows does not compute it again, whatever dies."""
    frame.write.mode("overwrite").parquet(path_to_write(path))
    return frame.sparkSession.read.parquet(path_to_read(path))
