"""`mglm balancing sample`: documents/1 and a plan → sample/1, text in the plan's shares.

Shares are of bytes. Every document of a language is taken as often as its language's weight says; the fraction is drawn
from the document's hash, so neither partitions nor machines change the sample.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from balancing.config import BalancingConfig
from core.documents import uniform
from core.errors import MGLMError
from core.log import get_logger
from core.manifest import Manifest, open_stage, read_manifest
from core.parquet import publish
from core.plan import read_plan
from core.schemas import DOCUMENTS, SAMPLE
from core.spark import SparkConfig, spark_session

log = get_logger("balancing")


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
    from balancing.sample_job import count_sample, draw, sort_sample, train_bytes

    with spark_session("balancing sample", spark) as session:
        available = train_bytes(session, documents / "documents")
        shares = plan.shares()
        weights = weights_of(available, shares, target_bytes=config.sample_bytes, max_copies=config.max_copies)
        if not (stage.resumed and (stage.work / "drawn" / "_SUCCESS").exists()):
            draw(session, documents / "documents", weights, config.seed, stage.work / "drawn")
        sort_sample(session, stage.work / "drawn", stage.work / "sample")
        counts = count_sample(session, stage.work / "sample")
    if not counts:
        raise MGLMError(
            f"a sample of {config.sample_bytes} bytes", found="no document drawn", action="raise --target-bytes"
        )
    facts = _describe(shares, available, weights, counts, config)
    manifest = stage.finish(rows=publish(stage, "sample"), counts=counts, facts=facts)
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


def copies_of(doc_id: str, weight: float, seed: int) -> int:
    """How often this document is in the sample: the weight, its fraction rounded up or down by the document's hash."""
    whole = int(weight)
    return whole + (uniform(doc_id, "sample", seed) < weight - whole)


def _describe(
    shares: Mapping[str, float],
    available: Mapping[str, int],
    weights: Mapping[str, float],
    counts: Mapping[str, Mapping[str, int]],
    config: BalancingConfig,
) -> dict[str, Any]:
    total = sum(count["bytes"] for count in counts.values())
    planned = sum(shares[code] for code in weights)
    limited = [code for code, weight in weights.items() if weight >= config.max_copies]
    return {
        "bytes": total,
        "limited_to_max_copies": limited,
        "without_documents": sorted(code for code in shares if code not in weights),
        "not_in_plan": sorted(code for code in available if code not in shares),
        "languages": {
            code: {
                "expected_share": shares[code] / planned,
                "share": counts.get(code, {}).get("bytes", 0) / total,
                "copies": weight,
            }
            for code, weight in weights.items()
        },
    }


def _report(manifest: Manifest, output: Path, seconds: float) -> None:
    facts, counts = manifest.facts, manifest.counts
    for key, what in (
        ("limited_to_max_copies", "%d languages repeat their text as often as max_copies allows and fall short: %s"),
        ("without_documents", "%d languages of the plan have no documents to train on: %s"),
        ("not_in_plan", "%d languages are not in the plan and left out: %s"),
    ):
        if facts[key]:
            log.warning(what, len(facts[key]), ", ".join(facts[key]))
    log.info(
        "%s: %d rows, %.1f MB of %d languages, %.0f s",
        output,
        sum(count["rows"] for count in counts.values()),
        facts["bytes"] / 1e6,
        len(counts),
        seconds,
    )
