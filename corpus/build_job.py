"""The Spark side of `mglm corpus build`: wiring alone, no decision about a record is taken here.

Tasks read their own bytes in Python, so raw text never crosses the JVM, and write parsed and detected records to a work
table. From its keys comes the stock: counts, duplicates, the documents held out. Then text is shuffled once, by
language and hash, which puts duplicates side by side and sorts every file.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark.errors import PythonException
from pyspark.sql import Column, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType, DoubleType, FloatType, LongType, StringType, StructField, StructType

from core.detector import LanguageDetector
from core.documents import HELDOUT_MINIMUM_DOCUMENTS, document_id, split_of, uniform
from core.errors import MGLMError
from core.schemas import DOCUMENTS_TABLE, REJECTED_TABLE
from core.scripts import script_of
from core.spark import path_to_read, path_to_write
from corpus.config import CorpusConfig
from corpus.inputs import Split
from corpus.lines import read_lines
from corpus.records import Rejected, is_blank, parse_record

BATCH_ROWS = 1_000
BATCH_BYTES = 16 * 1024 * 1024

# One row per record: a document where `reason` is null, else a rejected record. `number` decides the split.
RECORDS_TABLE = pa.schema(
    [
        *(field.with_nullable(True) for field in DOCUMENTS_TABLE),
        pa.field("lang", pa.string()),
        pa.field("number", pa.float64()),
        pa.field("invalid_utf8", pa.bool_()),
        *(field.with_nullable(True) for field in REJECTED_TABLE if field.name not in DOCUMENTS_TABLE.names),
    ]
)
_SPARK_TYPES = {
    pa.string(): StringType(),
    pa.int64(): LongType(),
    pa.float32(): FloatType(),
    pa.float64(): DoubleType(),
    pa.bool_(): BooleanType(),
}
_SPARK_RECORDS = StructType([StructField(field.name, _SPARK_TYPES[field.type]) for field in RECORDS_TABLE])


@dataclass(frozen=True)
class Tally:
    """The stock of a work table. `counts` by language as in the manifest; `heldout` the documents held out beyond
    the share, so that each language of some size has one; `examples` a detail for each reason of rejection."""

    records: int
    duplicates: int
    invalid_utf8: int
    rejected: dict[str, int]
    examples: dict[str, str]
    counts: dict[str, dict[str, int]]
    heldout: list[str]


def write_records(
    session: SparkSession, splits: list[Split], config: CorpusConfig, detector: Path, target: Path, *, tasks: int
) -> None:
    """Reads, parses and detects every record of `splits` into the work table `target`."""
    rows = [(split.path, split.start, split.end, split.compression) for split in splits]
    sizes = sum(split.end - split.start if split.end else config.split_bytes for split in splits)
    slices = min(len(rows), max(tasks, -(-sizes // config.split_bytes)))
    frame = session.createDataFrame(
        session.sparkContext.parallelize(rows, slices), "path string, start long, end long, compression string"
    )
    try:
        frame.mapInArrow(_reader(config, str(detector)), _SPARK_RECORDS).write.mode("overwrite").parquet(
            path_to_write(target)
        )
    except (PythonException, Py4JJavaError) as error:
        raise _as_user_error(error) from error


def take_stock(session: SparkSession, records: Path) -> Tally:
    """Counts the work table by columns, without touching text."""
    table = session.read.parquet(path_to_read(records))
    verdicts = (
        table.groupBy("reason")
        .agg(
            F.count("*").alias("records"),
            F.sum(F.col("invalid_utf8").cast("long")).alias("invalid"),
            F.min("detail").alias("example"),
        )
        .collect()
    )
    first = F.struct("number", "doc_id")
    distinct = (
        table.where("reason IS NULL")
        .groupBy("lang", "doc_id", "number", "split", "n_chars", "n_bytes")
        .agg(F.count("*").alias("records"))
    )
    languages = (
        distinct.groupBy("lang")
        .agg(
            F.count("*").alias("documents"),
            F.sum((F.col("split") == "heldout").cast("long")).alias("heldout"),
            F.sum("n_chars").alias("characters"),
            F.sum("n_bytes").alias("bytes"),
            F.sum("records").alias("records"),
            F.min(first).alias("first"),
        )
        .orderBy("lang")
        .collect()
    )
    counts, heldout = {}, []
    for row in languages:
        lone = row.heldout == 0 and row.documents >= HELDOUT_MINIMUM_DOCUMENTS
        if lone:
            heldout.append(row["first"].doc_id)
        counts[row.lang] = {
            "documents": row.documents,
            "heldout_documents": row.heldout + lone,
            "characters": row.characters,
            "bytes": row.bytes,
        }
    return Tally(
        records=sum(row.records for row in verdicts),
        duplicates=sum(row.records - row.documents for row in languages),
        invalid_utf8=sum(row.invalid for row in verdicts),
        rejected={row.reason: row.records for row in verdicts if row.reason is not None},
        examples={row.reason: row.example for row in verdicts if row.reason is not None},
        counts=counts,
        heldout=heldout,
    )


def write_documents(session: SparkSession, records: Path, tally: Tally, target: Path, *, file_bytes: int) -> None:
    """Writes one document of each hash, that of the smallest source and offset, by language and sorted by hash."""
    table = session.read.parquet(path_to_read(records)).where("reason IS NULL")
    same = Window.partitionBy("lang", "bucket", "doc_id").orderBy("source", "offset")
    held = F.col("doc_id").isin(tally.heldout)
    (
        table.withColumn("bucket", _bucket(tally.counts, file_bytes))
        .repartition("lang", "bucket")
        .withColumn("copy", F.row_number().over(same))
        .where("copy = 1")
        .withColumn("split", F.when(held, "heldout").otherwise(F.col("split")))
        .sortWithinPartitions("lang", "bucket", "doc_id")
        .select(*DOCUMENTS_TABLE.names, "lang")
        .write.mode("overwrite")
        .partitionBy("lang")
        .parquet(path_to_write(target))
    )


def write_rejected(session: SparkSession, records: Path, target: Path) -> None:
    """Writes the rejected records, in the order of the input."""
    table = session.read.parquet(path_to_read(records)).where("reason IS NOT NULL")
    table.select(*REJECTED_TABLE.names).orderBy("source", "offset").write.mode("overwrite").parquet(
        path_to_write(target)
    )


def _reader(config: CorpusConfig, detector_path: str) -> Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]:
    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        detector = LanguageDetector(Path(detector_path), max_characters=config.lid_max_characters)
        splits = (Split(**row) for batch in batches for row in batch.to_pylist())
        return _batches(row for split in splits for row in _rows(split, detector, config))

    return read


def _rows(split: Split, detector: LanguageDetector, config: CorpusConfig) -> Iterator[dict[str, Any]]:
    for line in read_lines(split, config.max_record_bytes):
        if is_blank(line):
            continue
        verdict = parse_record(line, config)
        row = {"source": split.path, "offset": line.offset, "invalid_utf8": verdict.invalid_utf8}
        if isinstance(verdict, Rejected):
            yield row | {"reason": verdict.reason, "detail": verdict.detail, "raw": verdict.raw}
        else:
            yield row | {"url": verdict.url} | _describe(verdict.text, detector, config)


def _batches(rows: Iterable[dict[str, Any]]) -> Iterator[pa.RecordBatch]:
    """Batches bounded in rows and in text, so that long documents do not fill the memory of a worker."""
    held: list[dict[str, Any]] = []
    held_bytes = 0
    for row in rows:
        held.append(row)
        held_bytes += row.get("n_bytes", 0)
        if len(held) >= BATCH_ROWS or held_bytes >= BATCH_BYTES:
            yield pa.RecordBatch.from_pylist(held, schema=RECORDS_TABLE)
            held, held_bytes = [], 0
    if held:
        yield pa.RecordBatch.from_pylist(held, schema=RECORDS_TABLE)


def _describe(text: str, detector: LanguageDetector, config: CorpusConfig) -> dict[str, Any]:
    detection = detector.detect(text, config.lid_threshold)
    doc_id = document_id(text)
    return {
        "doc_id": doc_id,
        "text": text,
        "lang": detection.lang,
        "script": script_of(text),
        "lid_label": detection.label,
        "lid_score": detection.score,
        "n_chars": len(text),
        "n_bytes": len(text.encode("utf-8")),
        "number": uniform(doc_id, "split"),
        "split": split_of(doc_id, config.heldout_share),
    }


def _bucket(counts: dict[str, dict[str, int]], file_bytes: int) -> Column:
    """Which file of its language a document goes to: an even range of hashes, as many as the text fills files."""
    files = [item for code, count in counts.items() for item in (F.lit(code), F.lit(count["bytes"] // file_bytes + 1))]
    fraction = F.conv(F.substring("doc_id", 1, 8), 16, 10).cast("double") / F.lit(2.0**32)
    return F.floor(fraction * F.create_map(*files)[F.col("lang")])


def _as_user_error(error: Exception) -> Exception:
    """A file that a worker cannot open is the user's to mend, and deserves one line; the rest is ours."""
    match = re.search(r"^(?:FileNotFoundError|PermissionError): (.+)$", str(error), re.MULTILINE)
    if match is None:
        return error
    return MGLMError(
        "a Spark worker",
        found=match[1],
        expected="the inputs at the same path on every machine, until the work is done",
    )
