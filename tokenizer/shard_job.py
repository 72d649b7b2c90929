"""The Spark job that makes `shards/1`: training documents in, one tokenised Arrow file per language and hash range out.

Within a language documents are ordered by `doc_id`, a hash, so every stretch of a stream is a fair mixture. Which file
a document belongs to follows from its hash and the size of its language: the files are the same bytes whatever the
number of partitions, a retried or speculative task writes the same file again, and a killed job goes on with the files
that are missing. Documents, output and tokenizer must lie on a file system that driver and workers share.

A task reads its documents from Parquet and writes its Arrow file itself: text does not cross the JVM.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.document_ranges import (
    RowGroup,
    by_language,
    files_of_languages,
    groups_of_parts,
    survey_file,
    train_documents,
)
from core.errors import MGLMError
from core.log import get_logger
from core.manifest import MADE_BY, FileEntry, Manifest, describe_files, read_manifest, sync_file
from core.plan import Plan, read_plan
from core.schemas import DOCUMENTS, SHARDS
from core.spark import SparkConfig, into_bins, run_tasks, spark_session
from core.stage import Stage, open_stage
from tokenizer.config import TokenizerConfig
from tokenizer.encoding import TOKENIZER, Tokenizer
from tokenizer.shard_budget import kept_parts, needed_tokens, next_parts
from tokenizer.shard_writer import Part, PartRow, finished_parts, plan_parts, write_part

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TOKENIZER_DIRECTORY = "tokenizer"  # inside the shards
TASKS_FINER = 8  # a task takes minutes of a core, its start milliseconds: with many, all cores end together

log = get_logger("tokenizer")


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

    Without a budget only the plan's list of languages matters: another plan over the same languages needs no new
    shards. With one, its shares say how far each language is tokenised.

    Raises:
        MGLMError: documents, plan or tokenizer are missing, unfinished or broken, share no language, or a worker
            cannot read or write.
    """
    started = time.monotonic()
    plan = read_plan(plan_path)
    made = read_manifest(documents, DOCUMENTS)
    read_manifest(tokenizer_directory, TOKENIZER)
    tokenizer = Tokenizer.load(tokenizer_directory)
    languages = _languages_to_shard(plan, made, documents)
    identity: dict[str, Any] = {"shard_text_bytes": config.shard_text_bytes, "languages": sorted(plan.shares())}
    if config.budget_tokens is not None:
        identity |= {"budget_tokens": config.budget_tokens, "shares": plan.shares()}
    stage = open_stage(
        output,
        schema=SHARDS,
        config=identity,
        inputs={"documents": made.content_hash(), "tokenizer": tokenizer.sha256},
        overwrite=overwrite,
    )
    if stage.manifest is not None:
        log.info("%s: already made", output)
        return stage.manifest
    for path in output.glob("lang=*/_*.tmp"):  # of a killed job
        path.unlink(missing_ok=True)
    tokenizer.save(output / TOKENIZER_DIRECTORY)
    journal = (stage.work / "parts").resolve()
    journal.mkdir(exist_ok=True)
    with spark_session("shards", spark) as session:
        tasks = session.sparkContext.defaultParallelism * max(1, spark.partitions_per_core)
        groups = by_language(_survey(session, documents, made, languages, tasks), made, documents)
        available = {lang: sum(group.documents for group in of_lang) for lang, of_lang in groups.items()}
        available = {lang: count for lang, count in available.items() if count}
        if not available:
            action = f"run {MADE_BY[DOCUMENTS]} on more"
            raise MGLMError(f"{documents}", found="no training document", expected="some", action=action)
        needed = None
        if config.budget_tokens is not None:
            needed = needed_tokens(plan.shares(), available, config.budget_tokens)
            if not needed:
                found = f"no share for any of {', '.join(sorted(available))}"
                expected = "one for a language with training documents at least"
                raise MGLMError("the plan, with a budget of tokens", found=found, expected=expected)
        work = _Work(documents.resolve(), output.resolve(), journal, tokenizer.sha256)
        rows = _write_parts(session, work, groups, needed, config.shard_text_bytes, tasks, sorted(needed or available))
    manifest = _finish(stage, rows, tokenizer, available, needed, config.budget_tokens)
    if absent := sorted(plan.shares().keys() - manifest.counts.keys()):
        log.warning("in the plan, but without training documents, so without shards: %s", ", ".join(absent))
    message = "%s: %d documents, %d tokens, %d languages, %d files, %.1f s"
    totals = [sum(count[key] for count in manifest.counts.values()) for key in ("documents", "tokens")]
    log.info(message, output, *totals, len(manifest.counts), len(rows), time.monotonic() - started)
    return manifest


@dataclass(frozen=True)
class _Work:
    """What a worker needs to know for every part."""

    documents: Path
    output: Path
    journal: Path
    tokenizer_sha256: str

    def write(self, item: tuple[Part, int | None, list[RowGroup]]) -> PartRow:
        """Writes one part: the whole of a task's work."""
        part, limit, groups = item
        tokenizer = _tokenizer_of_worker(self.output / TOKENIZER_DIRECTORY, self.tokenizer_sha256)
        texts = train_documents(self.documents, groups, part.hashes)
        return write_part(texts, tokenizer, part, self.output, self.journal, limit=limit)


@cache
def _tokenizer_of_worker(directory: Path, sha256: str) -> Tokenizer:
    """Loaded once in each Python worker."""
    tokenizer = Tokenizer.load(directory)
    if tokenizer.sha256 != sha256:
        action = "let no other process write there, and run the same command again"
        raise MGLMError(f"{directory}", found="another tokenizer than the job began with", action=action)
    return tokenizer


def _languages_to_shard(plan: Plan, made: Manifest, documents: Path) -> set[str]:
    named = plan.shares()
    if left_out := sorted(made.counts.keys() - named.keys()):
        log.info("not in the plan, so not sharded: %s", ", ".join(left_out))
    languages = made.counts.keys() & named.keys()
    if not languages:
        raise MGLMError(
            f"documents {documents}",
            found=f"languages {', '.join(sorted(made.counts)) or 'none'}",
            expected=f"some of the plan's: {', '.join(sorted(named))}",
            action=f"run {MADE_BY['plan/1']} on these documents",
        )
    return languages


def _survey(
    session: "SparkSession", documents: Path, made: Manifest, languages: set[str], tasks: int
) -> list[RowGroup]:
    size_of = {entry.path: entry.bytes for entry in made.files}
    sizes = {path: size_of[path] for path in files_of_languages(made, languages)}
    found = run_tasks(session, into_bins(sizes, tasks), partial(survey_file, documents.resolve()))
    return [group for groups in found for group in groups]


def _write_parts(
    session: "SparkSession",
    work: _Work,
    groups: Mapping[str, list[RowGroup]],
    needed: Mapping[str, int] | None,
    bytes_per_part: int,
    tasks: int,
    languages: list[str],
) -> list[PartRow]:
    """Writes what is missing, in rounds where there is a budget; the rows of all parts that belong to the shards."""
    text_bytes = {lang: sum(group.n_bytes for group in groups[lang]) for lang in languages}
    parts_of: dict[str, list[Part]] = {lang: [] for lang in languages}
    for part in plan_parts(text_bytes, bytes_per_part):
        parts_of[part.lang].append(part)
    touching = {lang: groups_of_parts(groups[lang], len(parts)) for lang, parts in parts_of.items()}
    rows = {row.number: row for row in finished_parts(work.output, work.journal)}
    if rows:
        log.info("continuing: %d of at most %d files are there", len(rows), sum(map(len, parts_of.values())))
    while True:
        wanted = [
            (part, limit)
            for lang, parts in parts_of.items()
            for part, limit in next_parts(parts, rows, needed[lang] if needed is not None else None)
        ]
        if not wanted:
            break
        items = {number: (part, limit, touching[part.lang][part.index]) for number, (part, limit) in enumerate(wanted)}
        sizes = {number: text_bytes[part.lang] // part.of for number, (part, *_) in items.items()}
        bins = [[items[number] for number in numbers] for numbers in into_bins(sizes, TASKS_FINER * tasks)]
        rows |= {row.number: row for row in run_tasks(session, bins, work.write)}
    return [
        row
        for lang, parts in parts_of.items()
        for row in kept_parts(parts, rows, needed[lang] if needed is not None else None)
    ]


def _finish(
    stage: Stage,
    rows: list[PartRow],
    tokenizer: Tokenizer,
    available: Mapping[str, int],
    needed: Mapping[str, int] | None,
    budget_tokens: float | None,
) -> Manifest:
    counts: dict[str, dict[str, int]] = {}
    for row in rows:
        count = counts.setdefault(row.lang, {"documents": 0, "tokens": 0, "bytes": 0})
        count["documents"] += row.rows
        count["tokens"] += row.tokens
        count["bytes"] += row.n_bytes
    if needed is None:
        written = {lang: count["documents"] for lang, count in counts.items()}
        assert written == available, f"not every document is in the shards: {written} of {available}"
    paths = {row.path for row in rows}
    for path in stage.output.glob("lang=*/part-*.arrow"):  # of rounds that wrote more than was needed
        if path.relative_to(stage.output).as_posix() not in paths:
            path.unlink()
    files = [FileEntry(path=row.path, rows=row.rows, bytes=row.bytes, sha256=row.sha256) for row in rows]
    for path in (stage.output / TOKENIZER_DIRECTORY).iterdir():
        sync_file(path)
    files += [
        entry.model_copy(update={"path": f"{TOKENIZER_DIRECTORY}/{entry.path}"})
        for entry in describe_files(stage.output / TOKENIZER_DIRECTORY, {})
    ]
    facts: dict[str, Any] = {
        "tokenizer_sha256": tokenizer.sha256,
        "tokens_of_file": {row.path: row.tokens for row in sorted(rows, key=lambda row: row.path)},
        "available_documents": dict(sorted(available.items())),
    }
    if needed is not None:
        facts |= {"budget_tokens": budget_tokens, "needed_tokens": dict(sorted(needed.items()))}
    return stage.finish(files=files, counts=dict(sorted(counts.items())), facts=facts)
