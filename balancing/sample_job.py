"""The Spark side of `mglm balancing sample`: wiring alone."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from balancing.sample import copies_of
from core.schemas import SAMPLE_TABLE
from core.spark import path_to_read, path_to_write


def train_bytes(session: SparkSession, documents: Path) -> dict[str, int]:
    """UTF-8 bytes of the train split by language."""
    table = session.read.parquet(path_to_read(documents)).where("split = 'train'")
    return {row.lang: row.bytes for row in table.groupBy("lang").agg(F.sum("n_bytes").alias("bytes")).collect()}


def draw(session: SparkSession, documents: Path, weights: Mapping[str, float], seed: int, target: Path) -> None:
    """Writes every copy of every document drawn, in no particular order."""
    table = (
        session.read.parquet(path_to_read(documents)).where("split = 'train'").where(F.col("lang").isin(list(weights)))
    )
    drawn = table.select("doc_id", "lang", "text").mapInArrow(
        _drawer(dict(weights), seed), "doc_id string, lang string, copy int, text string"
    )
    drawn.write.mode("overwrite").parquet(path_to_write(target))


def sort_sample(session: SparkSession, drawn: Path, target: Path) -> None:
    """Writes the sample by language and hash, so that it is the same however it was drawn."""
    session.read.parquet(path_to_read(drawn)).orderBy("lang", "doc_id", "copy").write.mode("overwrite").parquet(
        path_to_write(target)
    )


def count_sample(session: SparkSession, sample: Path) -> dict[str, dict[str, int]]:
    """Rows, different documents and UTF-8 bytes of the sample by language."""
    counted = (
        session.read.parquet(path_to_read(sample))
        .groupBy("lang")
        .agg(
            F.count("*").alias("rows"),
            F.sum((F.col("copy") == 0).cast("long")).alias("documents"),
            F.sum(F.octet_length("text").cast("long")).alias("bytes"),
        )
        .orderBy("lang")
    )
    return {row.lang: {"rows": row.rows, "documents": row.documents, "bytes": row.bytes} for row in counted.collect()}


def _drawer(weights: dict[str, float], seed: int) -> Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]:
    def draw_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            pairs = zip(batch.column("doc_id").to_pylist(), batch.column("lang").to_pylist(), strict=True)
            copies = [copies_of(doc_id, weights[lang], seed) for doc_id, lang in pairs]
            rows = pa.array([row for row, number in enumerate(copies) for _ in range(number)], pa.int64())
            numbers = pa.array([copy for number in copies for copy in range(number)], pa.int32())
            columns = {name: pc.take(batch.column(name), rows) for name in ("doc_id", "lang", "text")}
            yield pa.RecordBatch.from_arrays(
                [numbers if name == "copy" else columns[name] for name in SAMPLE_TABLE.names], SAMPLE_TABLE.names
            )

    return draw_batches
