"""The Spark job that makes `shards/1`: training documents in, one tokenised Arrow file per language and hash range out.

Within a language documents are ordered by `doc_id`, a hash, so every stretch of a stream is a fair mixture. Which file
a document belongs to follows from its hash and the sizes in the documents' manifest: the files are the same bytes
whatever the number of partitions, a retried or speculative task writes the same file again, and a killed job goes on
with the files that are missing. Output and tokenizer must lie on a file system that driver and workers share.

The Arrow file is written inside the task; only its manifest row comes back to the driver.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from core.errors import MGLMError
from core.log import get_logger
from core.manifest import MADE_BY, FileEntry, Manifest, Stage, describe_files, open_stage, read_manifest
from core.plan import Plan, read_plan
from core.schemas import DOCUMENTS, SHARDS
from core.spark import SparkConfig, spark_session
from tokenizer.config import TokenizerConfig
from tokenizer.encoding import TOKENIZER, Tokenizer
from tokenizer.shard_writer import Part, PartRow, finished_parts, plan_parts, write_parts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

TOKENIZER_DIRECTORY = "tokenizer"  # inside the shards
_ROW_SCHEMA = "number long, path string, lang string, rows long, tokens long, n_bytes long, bytes long, sha256 string"


def shard(
    documents: Path,
    plan_path: Path,
    tokenizer_directory: Path,
    output: Path,
    config: TokenizerConfig,
    spark: SparkConfig,
    *,
    overwrite: bool = False,
) -> Manifest:
    """Tokenises the train split of the plan's languages. Finished work is returned as it is, begun work is continued.

    Of the plan only the list of languages matters here: another plan over the same languages needs no new shards.

    Raises:
        MGLMError: documents, plan or tokenizer are missing or unfinished, or share no language.
    """
    log, started = get_logger("tokenizer"), time.monotonic()
    plan = read_plan(plan_path)
    made = read_manifest(documents, DOCUMENTS)
    read_manifest(tokenizer_directory, TOKENIZER)
    tokenizer = Tokenizer.load(tokenizer_directory)
    sizes = _sizes_of_plan_languages(plan, made, documents)
    stage = open_stage(
        output,
        schema=SHARDS,
        config={"shard_text_bytes": config.shard_text_bytes, "languages": sorted(plan.shares())},
        inputs={"documents": made.content_hash(), "tokenizer": tokenizer.sha256},
        overwrite=overwrite,
    )
    if stage.manifest is not None:
        log.info("%s: already made", output)
        return stage.manifest
    journal = (stage.work / "parts").resolve()
    journal.mkdir(exist_ok=True)
    _remove_unfinished_files(output)
    tokenizer.save(output / TOKENIZER_DIRECTORY)
    parts = plan_parts(sizes, config.shard_text_bytes)
    rows = finished_parts(output, journal)
    if rows:
        log.info("continuing: %d of at most %d files are there", len(rows), len(parts))
    rows += _run(documents, output, parts, {row.number for row in rows}, journal, spark)
    manifest = _finish(stage, rows, tokenizer)
    for lang in sorted(plan.shares().keys() - manifest.counts.keys()):
        log.warning("plan language %s has no training documents: it gets no shards", lang)
    message = "%s: %d documents, %d tokens, %d languages, %d files, %.1f s"
    totals = [sum(count[key] for count in manifest.counts.values()) for key in ("documents", "tokens")]
    log.info(message, output, *totals, len(manifest.counts), len(rows), time.monotonic() - started)
    return manifest


def _sizes_of_plan_languages(plan: Plan, made: Manifest, documents: Path) -> dict[str, int]:
    """Language → bytes of text, for the languages that both the plan and the documents know."""
    named = plan.shares()
    left_out = sorted(made.counts.keys() - named.keys())
    if left_out:
        get_logger("tokenizer").info("not in the plan, so not sharded: %s", ", ".join(left_out))
    sizes = {lang: counts["bytes"] for lang, counts in made.counts.items() if lang in named}
    if not sizes:
        raise MGLMError(
            f"documents {documents}",
            found=f"languages {', '.join(sorted(made.counts)) or 'none'}",
            expected=f"some of the plan's: {', '.join(sorted(named))}",
            action=f"run {MADE_BY['plan/1']} on these documents",
        )
    return sizes


def _remove_unfinished_files(output: Path) -> None:
    for path in output.glob("lang=*/_*.tmp"):
        path.unlink(missing_ok=True)


def _run(
    documents: Path, output: Path, parts: list[Part], done: set[int], journal: Path, config: SparkConfig
) -> list[PartRow]:
    missing = {part.number: part for part in parts if part.number not in done}
    if not missing:
        return []
    with spark_session("shards", config) as session:
        # Explicit schema: Spark would guess numbers in partition names and look into every footer.
        frame = (
            session.read.schema("doc_id string, text string, split string, lang string")
            .option("basePath", str((documents / "documents").resolve()))
            .parquet(str((documents / "documents").resolve()))
        )
        frame = _with_part(frame, parts)
        if done:
            from pyspark.sql import functions

            frame = frame.where(~functions.col("part").isin(sorted(done)))
        cores = session.sparkContext.defaultParallelism
        tasks = min(len(missing), max(config.shuffle_partitions, cores * config.partitions_per_core))
        written = (
            frame.repartition(tasks, "part")
            .sortWithinPartitions("part", "doc_id")
            .mapInArrow(_task(missing, output.resolve(), journal), _ROW_SCHEMA)
            .collect()
        )
    return [PartRow(**row.asDict()) for row in written]


def _with_part(frame: "DataFrame", parts: list[Part]) -> "DataFrame":
    """Train documents of the planned languages as part, doc_id, text; the same arithmetic as `part_index`."""
    from pyspark.sql import functions

    first: dict[str, int] = {}
    count: dict[str, int] = {}
    for part in parts:
        first.setdefault(part.lang, part.number)
        count[part.lang] = part.index + 1
    first_of = functions.create_map(*[functions.lit(item) for pair in first.items() for item in pair])
    count_of = functions.create_map(*[functions.lit(item) for pair in count.items() for item in pair])
    prefix = functions.conv(functions.substring("doc_id", 1, 8), 16, 10).cast("long")
    index = functions.shiftright(prefix * count_of[functions.col("lang")], 32)
    return frame.where((functions.col("split") == "train") & functions.col("lang").isin(sorted(first))).select(
        (first_of[functions.col("lang")] + index).cast("long").alias("part"), "doc_id", "text"
    )


def _task(
    parts: dict[int, Part], output: Path, journal: Path
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        tokenizer = _tokenizer_of_worker(output / TOKENIZER_DIRECTORY)
        for row in write_parts(batches, tokenizer, parts, output, journal):
            yield pa.RecordBatch.from_pylist([asdict(row)])

    return run


@cache
def _tokenizer_of_worker(directory: Path) -> Tokenizer:
    """Loaded once in each Python worker."""
    return Tokenizer.load(directory)


def _finish(stage: Stage, rows: list[PartRow], tokenizer: Tokenizer) -> Manifest:
    counts: dict[str, dict[str, int]] = {}
    for row in rows:
        count = counts.setdefault(row.lang, {"documents": 0, "tokens": 0, "bytes": 0})
        count["documents"] += row.rows
        count["tokens"] += row.tokens
        count["bytes"] += row.n_bytes
    if not counts:
        raise MGLMError(
            f"{stage.output}", found="no training document", expected="some", action=f"run {MADE_BY[DOCUMENTS]} on more"
        )
    files = [FileEntry(path=row.path, rows=row.rows, bytes=row.bytes, sha256=row.sha256) for row in rows]
    files += [
        entry.model_copy(update={"path": f"{TOKENIZER_DIRECTORY}/{entry.path}"})
        for entry in describe_files(stage.output / TOKENIZER_DIRECTORY, {})
    ]
    return stage.finish(
        files=files,
        counts=dict(sorted(counts.items())),
        facts={
            "tokenizer_sha256": tokenizer.sha256,
            "tokens_of_file": {row.path: row.tokens for row in sorted(rows, key=lambda row: row.path)},
        },
    )
