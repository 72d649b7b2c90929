"""`mglm corpus build`: checks everything, runs the Spark job, accounts for every record, writes the manifest."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.detector import LanguageDetector
from core.errors import MGLMError
from core.languages import UNKNOWN, language_name
from core.log import get_logger
from core.manifest import Manifest, Stage, inputs_of_files, open_stage, sha256_file
from core.parquet import publish
from core.schemas import DOCUMENTS
from core.spark import SparkConfig, spark_session
from corpus.config import CorpusConfig
from corpus.inputs import LARGE_COMPRESSED_BYTES, InputFile, find_inputs, plan_splits
from corpus.records import NO_TEXT, UNREADABLE

if TYPE_CHECKING:
    from corpus.build_job import Tally

LANGUAGES_SHOWN = 10

log = get_logger("corpus")


def build(
    inputs: Sequence[str],
    output: Path,
    *,
    config: CorpusConfig,
    spark: SparkConfig,
    lid_model: Path | None = None,
    overwrite: bool = False,
) -> Manifest:
    """Makes documents/1 in `output` and returns its manifest.

    A killed run continues: what was read and detected in full is not read again.

    Raises:
        MGLMError: an input, the detector or the output directory will not do, or no record is a document.
    """
    started = time.monotonic()
    files = find_inputs(inputs)
    detector = LanguageDetector(lid_model, max_characters=config.lid_max_characters)
    detector_facts = {
        "file": detector.path.name,
        "sha256": sha256_file(detector.path),
        "labels": len(detector.labels),
        "cannot_emit": detector.cannot_emit(),
    }
    stage = open_stage(
        output,
        schema=DOCUMENTS,
        config=config.identity() | {"detector_sha256": detector_facts["sha256"]},
        inputs=inputs_of_files([Path(file.path) for file in files]),
        overwrite=overwrite,
    )
    if stage.manifest is not None:
        log.info("%s: already made, %d documents", output, stage.manifest.facts["documents"])
        return stage.manifest
    _announce(files, detector)
    tally = _run(stage, files, detector.path, config, spark)
    rows = publish(stage, "documents") | publish(stage, "rejected")
    facts = _account(tally, rows) | {"detector": detector_facts}
    manifest = stage.finish(rows=rows, counts=tally.counts, facts=facts)
    _report(manifest, output, time.monotonic() - started)
    return manifest


def _run(stage: Stage, files: list[InputFile], detector: Path, config: CorpusConfig, spark: SparkConfig) -> "Tally":
    from corpus.build_job import take_stock, write_documents, write_records, write_rejected

    work, started = stage.work, time.monotonic()
    with spark_session("corpus build", spark) as session:
        if stage.resumed and (work / "records" / "_SUCCESS").exists():
            log.info("continuing: all records were read and detected before")
        else:
            tasks = session.sparkContext.defaultParallelism * spark.partitions_per_core
            splits = plan_splits(files, split_bytes=config.split_bytes, tasks=tasks)
            write_records(session, splits, config, detector, work / "records", tasks=tasks)
            log.info("all records read and detected, %.0f s", time.monotonic() - started)
        tally = take_stock(session, work / "records")
        _check_any_document(tally, config)
        write_documents(session, work / "records", tally, work / "documents", file_bytes=config.file_bytes)
        write_rejected(session, work / "records", work / "rejected")
    return tally


def _announce(files: list[InputFile], detector: LanguageDetector) -> None:
    megabytes = sum(file.size_bytes for file in files) / 1e6
    log.info(
        "%d input files, %.1f MB; detector %s, %d labels",
        len(files),
        megabytes,
        detector.path.name,
        len(detector.labels),
    )
    if missing := detector.cannot_emit():
        names = ", ".join(f"{code} ({language_name(code)})" for code in missing)
        log.warning("this detector cannot find %d of the 101 languages: %s", len(missing), names)
    for file in files:
        if file.compression and file.size_bytes > LARGE_COMPRESSED_BYTES:
            log.warning(
                "%s is compressed and large: one task reads it all; smaller or plain files go faster", file.path
            )


def _check_any_document(tally: "Tally", config: CorpusConfig) -> None:
    if tally.counts:
        return
    if not tally.records:
        raise MGLMError("the input", found="blank lines alone", expected="a JSON object on each line")
    reason, number = max(tally.rejected.items(), key=lambda item: item[1])
    raise MGLMError(
        f"none of the {tally.records} records is a document",
        found=f"{reason} in {number} of them, e.g. {tally.examples[reason]}",
        expected=f"a JSON object with a text in the field {config.text_field}",
        action="set corpus.text_field to the field that holds the text" if reason == NO_TEXT else "",
    )


def _account(tally: "Tally", rows: dict[str, int]) -> dict[str, object]:
    """The facts of the manifest. What was read is counted apart from what was written, and both must agree."""
    documents = sum(number for path, number in rows.items() if path.startswith("documents/"))
    rejected = sum(number for path, number in rows.items() if path.startswith("rejected/"))
    assert tally.records == documents + rejected + tally.duplicates, (tally, documents, rejected)
    assert documents == sum(count["documents"] for count in tally.counts.values())
    return {
        "records_in": tally.records,
        "documents": documents,
        "duplicates": tally.duplicates,
        "rejected": dict(sorted(tally.rejected.items())),
        "invalid_utf8": tally.invalid_utf8,
    }


def _report(manifest: Manifest, output: Path, seconds: float) -> None:
    facts, counts = manifest.facts, manifest.counts
    ordered = sorted(counts, key=lambda code: (code == UNKNOWN, -counts[code]["documents"], code))
    for code in ordered[:LANGUAGES_SHOWN]:
        count = counts[code]
        megabytes = count["bytes"] / 1e6
        log.info("  %-4s %-12s %9d documents %10.2f MB", code, language_name(code), count["documents"], megabytes)
    if len(ordered) > LANGUAGES_SHOWN:
        log.info("  … and %d more, all in manifest.json", len(ordered) - LANGUAGES_SHOWN)
    if broken := facts["rejected"].get(UNREADABLE):
        log.warning("%d input files could not be read to their end: see %s/rejected", broken, output)
    log.info(
        "%s: %d documents of %d languages (%d undetermined) from %d records, %d duplicates, %d rejected, %.0f s",
        output,
        facts["documents"],
        len(set(counts) - {UNKNOWN}),
        counts.get(UNKNOWN, {}).get("documents", 0),
        facts["records_in"],
        facts["duplicates"],
        sum(facts["rejected"].values()),
        seconds,
    )
