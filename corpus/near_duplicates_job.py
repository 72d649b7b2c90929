"""The Spark side of near-duplicates: keys to links, links to groups, groups to the documents that go.

Nothing here grows with the square of anything: of the documents that share a key each is linked to the smallest, so a
million copies of a notice make a million links. Groups are the connected components, found by large and small stars in
turn (Kiveris et al. 2014, Connected Components in MapReduce and Beyond). Of each group the document of the smallest
source and offset stays. The outcome depends on the documents alone, not on partitions; and with more documents groups
only grow, so what went stays gone.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from core.spark import path_to_read, path_to_write
from corpus.near_duplicates import keys_of_languages

DRIVER_LINKS = 1_000_000  # some hundred megabytes of the driver's Python


def write_near_duplicates(documents: DataFrame, work: Path, target: Path) -> None:
    """Writes lang, doc_id and kept (the doc_id that stays) of every document that goes, to `target`.

    `documents` has columns lang, doc_id, source, offset and keys (`packed_keys`), rows of one doc_id in any number;
    `work` is a directory for what is needed on the way.
    """
    nodes = _through_file(
        documents.where("keys IS NOT NULL")
        .groupBy("lang", "doc_id")
        .agg(F.min(F.struct("source", "offset")).alias("first"), F.min("keys").alias("keys"))
        .withColumn("node", F.concat_ws("/", "lang", "doc_id")),  # nothing is linked across languages
        work / "nodes",
    )
    links = _through_file(_links(nodes), work / "links")
    groups = components(documents.sparkSession, links, work)
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


def components(session: SparkSession, links: DataFrame, work: Path, *, driver_links: int = DRIVER_LINKS) -> DataFrame:
    """node → group, the smallest node it is connected with; nodes without a link are left out.

    Up to `driver_links` links are solved in the driver's memory: a dozen small jobs would cost more than the answer.
    """
    state = _state(links)
    if state[0] <= driver_links:
        return _components_here(session, links, work / "groups.parquet")
    for turn in range(1, 1_000):
        links = _through_file(_small_star(_large_star(links)), work / f"links-{turn % 2}")
        before, state = state, _state(links)
        if state == before:
            break
    else:
        raise AssertionError("components do not settle")
    stars = links.select(F.col("b").alias("node"), F.col("a").alias("group"))
    return stars.union(stars.select(F.col("group").alias("node"), "group")).distinct()


def _components_here(session: SparkSession, links: DataFrame, target: Path) -> DataFrame:
    """The same by SciPy."""
    rows = np.array(links.select("a", "b").collect(), dtype=object).reshape(-1, 2)
    nodes, places = np.unique(rows.T.ravel(), return_inverse=True)
    ends = places.reshape(2, -1)
    graph = coo_array((np.ones(ends.shape[1], np.int8), (ends[0], ends[1])), shape=(len(nodes), len(nodes)))
    _, labels = connected_components(graph, directed=False)
    smallest = np.full(labels.max(initial=-1) + 1, len(nodes))
    np.minimum.at(smallest, labels, np.arange(len(nodes)))  # nodes are sorted: the first of a group is its smallest
    columns = {"node": pa.array(nodes, pa.string()), "group": pa.array(nodes[smallest[labels]], pa.string())}
    pq.write_table(pa.table(columns), target)
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
