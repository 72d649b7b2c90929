"""`mglm balancing sample`: documents/1 and a plan → sample/1, text in the plan's shares.

Shares are of bytes. Every document of a language is taken as often as its language's weight w says: floor(w) times, and
once more if its place on the ring of hashes lies within w − floor(w) after a point that the seed sets. The place is the
document's hash itself, so neither partitions nor machines change the sample, a larger weight takes the same documents
and more, and what is taken lies together where documents are sorted by their hash: text between is not read.

What a hash decides is a Bernoulli draw. A language's bytes are the sum of its documents' draws times their sizes, a
weighted Poisson binomial variable of mean w·Σb and variance f(1 − f)·Σb², where f = w − floor(w). The bounds of the
shares are normal and two-sided, by first-order error propagation of B/ΣB: rough for a language of few documents.
"""

import csv
import io
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from balancing.config import BalancingConfig
from core.document_ranges import EVERY_HASH, HASHES, HashRange, RowGroup
from core.documents import uniform
from core.errors import MGLMError
from core.languages import language_name
from core.log import get_logger
from core.manifest import FileEntry, Manifest, read_manifest, sha256_file, write_atomically
from core.plan import read_plan
from core.schemas import DOCUMENTS, SAMPLE
from core.spark import SparkConfig, spark_session
from core.stage import open_stage

TABLE_NAME = "sample.csv"
CONFIDENCE = 0.95
_QUANTILE = 1.959964  # of the normal distribution, for CONFIDENCE on two sides
_SHOWN = 15  # languages in the log; the table has all

log = get_logger("balancing")


class Stock(NamedTuple):
    """What there is of a language to draw from: documents, their UTF-8 bytes, the sum of their squares."""

    documents: int
    n_bytes: int
    squared_bytes: float


def make_sample(
    documents: Path,
    plan_path: Path,
    output: Path,
    *,
    config: BalancingConfig,
    spark: SparkConfig,
    overwrite: bool = False,
) -> Manifest:
    """Draws and writes the sample of the train split; returns its manifest, with the shares that came out.

    Raises:
        MGLMError: documents, plan or output will not do, or no language of the plan has documents.
    """
    started = time.monotonic()
    source = read_manifest(documents, DOCUMENTS)
    plan = read_plan(plan_path)
    stage = open_stage(
        output,
        schema=SAMPLE,
        config=config.model_dump(include={"sample_bytes", "max_copies", "seed"}),
        inputs={"documents": source.content_hash(), "plan": plan.content_hash()},
        overwrite=overwrite,
    )
    if stage.manifest is not None:
        log.info("%s: already made", output)
        return stage.manifest
    from balancing.sample_job import draw, stock_of, survey

    shares = plan.shares()
    with spark_session("balancing sample", spark) as session:
        tasks = session.sparkContext.defaultParallelism * max(1, spark.partitions_per_core)
        groups = survey(session, documents, source, shares.keys(), tasks)
        stock = {code: stock_of(of_language) for code, of_language in groups.items()}
        available = {code: have.n_bytes for code, have in stock.items()}
        weights = weights_of(available, shares, target_bytes=config.sample_bytes, max_copies=config.max_copies)
        drawn = draw(session, documents, groups, weights, config.seed, stage, tasks)
    counts: dict[str, dict[str, int]] = {}
    for part in drawn:
        if part.rows:
            count = counts.setdefault(part.lang, {"rows": 0, "documents": 0, "bytes": 0})
            count["rows"] += part.rows
            count["documents"] += part.documents
            count["bytes"] += part.n_bytes
    if not counts:
        raise MGLMError(
            f"a sample of {config.sample_bytes} bytes", found="no document drawn", action="raise --target-bytes"
        )
    facts = describe(shares, stock, weights, counts, config.max_copies) | {
        "not_in_plan": sorted(source.counts.keys() - shares.keys()),
        "text_bytes_stored": sum(group.stored_text_bytes for of_language in groups.values() for group in of_language),
        "text_bytes_opened": opened_text_bytes(groups, weights, config.seed),
    }
    write_atomically(output / TABLE_NAME, as_csv(facts, counts))
    files = [part.file for part in drawn if part.file is not None]
    manifest = stage.finish(files=[*files, _entry(output / TABLE_NAME)], counts=counts, facts=facts)
    _report(manifest, output, time.monotonic() - started)
    return manifest


def weights_of(
    available_bytes: Mapping[str, int], shares: Mapping[str, float], *, target_bytes: int, max_copies: float
) -> dict[str, float]:
    """How often each document of a language is to be taken, at most `max_copies`; languages without text have none.

    The shares are the plan's among the languages that have text. The whole is as large as `target_bytes`, or as it must
    be for every document to be in it, whichever is less; a language at `max_copies` falls short of its share rather
    than fill it with repetition, and the others do not make up for it.

    Raises:
        MGLMError: no language of the plan has text.
    """
    present = {code: share for code, share in shares.items() if available_bytes.get(code) and share > 0}
    if not present:
        raise MGLMError(
            "the documents",
            found=f"languages {', '.join(sorted(available_bytes)) or 'none'}",
            expected="languages of the plan",
            action="fit the plan on these documents",
        )
    total = sum(present.values())
    whole = max(available_bytes[code] * total / share for code, share in present.items())
    target = min(target_bytes, whole)
    return {
        code: min(target * share / total / available_bytes[code], max_copies) for code, share in sorted(present.items())
    }


def once_more(weight: float, seed: int) -> list[HashRange]:
    """Where on the ring of hashes documents are taken once more than floor(weight) times: w − floor(w) of it."""
    start = int(uniform("", "sample", seed) * HASHES)
    stop = start + round((weight - math.floor(weight)) * HASHES)
    ranges = [HashRange(0, stop - HASHES), HashRange(start, HASHES)] if stop > HASHES else [HashRange(start, stop)]
    return [hashes for hashes in ranges if hashes.high > hashes.low]


def ranges_to_read(weight: float, seed: int) -> list[HashRange]:
    """Where documents are taken at all, in order."""
    return once_more(weight, seed) if weight < 1 else [EVERY_HASH]


def opened_text_bytes(groups: Mapping[str, Sequence[RowGroup]], weights: Mapping[str, float], seed: int) -> int:
    """What the text of the row groups takes on disk that have to be opened for a sample."""
    return sum(
        group.stored_text_bytes
        for code, weight in weights.items()
        for group in groups[code]
        if any(hashes.touches(group) for hashes in ranges_to_read(weight, seed))
    )


def describe(
    shares: Mapping[str, float],
    stock: Mapping[str, Stock],
    weights: Mapping[str, float],
    counts: Mapping[str, Mapping[str, int]],
    max_copies: float,
) -> dict[str, Any]:
    """The facts of a sample: for each language its share in the plan, expected, with its bounds, and as it came out."""
    mean = {code: weight * stock[code].n_bytes for code, weight in weights.items()}
    variance = {code: (weight % 1) * (1 - weight % 1) * stock[code].squared_bytes for code, weight in weights.items()}
    planned, expected, noise = sum(shares[code] for code in weights), sum(mean.values()), sum(variance.values())
    total = sum(count["bytes"] for count in counts.values())
    languages = {}
    for code, weight in weights.items():
        share = mean[code] / expected
        deviation = math.sqrt((1 - 2 * share) * variance[code] + share**2 * noise) / expected
        languages[code] = {
            "plan_share": shares[code] / planned,
            "expected_share": share,
            "low": max(0.0, share - _QUANTILE * deviation),
            "high": min(1.0, share + _QUANTILE * deviation),
            "share": counts.get(code, {}).get("bytes", 0) / total,
            "copies": weight,
            "available_documents": stock[code].documents,
        }
    return {
        "bytes": total,
        "expected_bytes": round(expected),
        "confidence": CONFIDENCE,
        "outside_bounds": [code for code, of in languages.items() if not of["low"] <= of["share"] <= of["high"]],
        "limited_to_max_copies": [code for code, weight in weights.items() if weight >= max_copies],
        "without_documents": sorted(code for code in shares if code not in weights),
        "languages": languages,
    }


def as_csv(facts: Mapping[str, Any], counts: Mapping[str, Mapping[str, int]]) -> str:
    """The languages of a sample, a row each, the largest first."""
    text = io.StringIO()
    measured = ["plan_share", "expected_share", "low", "high", "share", "copies", "available_documents"]
    counted = ["documents", "rows", "bytes"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["code", "name", *measured, *counted])
    for code, language in _by_share(facts):
        count = counts.get(code, {})
        row = [*(language[key] for key in measured), *(count.get(key, 0) for key in counted)]
        writer.writerow([code, language_name(code), *row])
    return text.getvalue()


def _entry(path: Path) -> FileEntry:
    return FileEntry(path=path.name, bytes=path.stat().st_size, sha256=sha256_file(path))


def _by_share(facts: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return sorted(facts["languages"].items(), key=lambda item: -item[1]["expected_share"])


def _report(manifest: Manifest, output: Path, seconds: float) -> None:
    facts, counts = manifest.facts, manifest.counts
    for key, what in (
        ("limited_to_max_copies", "%d languages repeat their text as often as max_copies allows and fall short: %s"),
        ("without_documents", "%d languages of the plan have no documents to train on: %s"),
        ("not_in_plan", "%d languages are not in the plan and left out: %s"),
    ):
        if facts[key]:
            log.warning(what, len(facts[key]), ", ".join(facts[key]))
    log.info("language  share in plan  expected   %.0f %% bounds            drawn     copies", 100 * CONFIDENCE)
    for code, language in _by_share(facts)[:_SHOWN]:
        log.info(
            "%-8s  %11.3f %%  %6.3f %%  %6.3f … %6.3f %%  %6.3f %%  %9.4f",
            code,
            *(100 * language[key] for key in ("plan_share", "expected_share", "low", "high", "share")),
            language["copies"],
        )
    if (more := len(facts["languages"]) - _SHOWN) > 0:
        log.info("… and %d more in %s", more, output / TABLE_NAME)
    log.info(
        "%d of %d languages lie outside their bounds; text of %.1f MB of %.1f MB of Parquet was opened",
        len(facts["outside_bounds"]),
        len(facts["languages"]),
        facts["text_bytes_opened"] / 1e6,
        facts["text_bytes_stored"] / 1e6,
    )
    log.info(
        "%s: %d rows, %.1f MB of %d languages, %.0f s",
        output,
        sum(count["rows"] for count in counts.values()),
        facts["bytes"] / 1e6,
        len(counts),
        seconds,
    )
