"""`mglm corpus build`: checks everything, runs the Spark job, accounts for every record, writes the manifest."""

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.detector import LanguageDetector
from core.documents import HELDOUT_MINIMUM_DOCUMENTS
from core.errors import MGLMError
from core.languages import UNKNOWN, language_name
from core.log import get_logger
from core.manifest import FileEntry, Manifest, Stage, open_stage, sha256_file, write_atomically
from core.schemas import DOCUMENTS
from core.spark import SparkConfig, spark_session
from corpus import merge
from corpus.config import CorpusConfig
from corpus.counts import write_counts
from corpus.inputs import EXPANSION, LARGE_COMPRESSED_BYTES, InputFile, Split, find_inputs, plan_parts
from corpus.merge import Merged, Merging, Piece, plan_pieces
from corpus.parts import PartJournal, part_name
from corpus.records import NO_TEXT, UNREADABLE
from corpus.rules import Rules

if TYPE_CHECKING:
    from corpus.build_job import Session

LANGUAGES_SHOWN = 10
PLAN_NAME, RESULT_NAME = "parts.json", "result.json"

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

    A killed run continues: no part of the input that was finished is read again. Where the same configuration has made
    documents of some of these inputs before, only the others are read.

    Raises:
        MGLMError: an input, the detector or the output directory will not do, or no record is a document.
    """
    started = time.monotonic()
    files = find_inputs(inputs, config)
    model = lid_model or (Path(config.lid_model) if config.lid_model else None)
    detector = LanguageDetector(
        model, max_characters=config.lid_max_characters, minimum_letters=config.lid_minimum_letters
    )
    detector_facts = {
        "file": detector.path.name,
        "sha256": sha256_file(detector.path),
        "labels": len(detector.labels),
        "cannot_emit": detector.cannot_emit(),
    }
    rules_files = {"rules_files": config.rules.lists_and_models()}
    Rules(config.rules)  # what is wrong with them is said now, not by a worker
    stage = open_stage(
        output,
        schema=DOCUMENTS,
        config=config.identity() | {"detector_sha256": detector_facts["sha256"]} | rules_files,
        inputs={file.path: file.identity for file in files},
        overwrite=overwrite,
        grows=True,
    )
    if stage.manifest is not None:
        log.info("%s: already made, %d documents", output, stage.manifest.facts["documents"])
        return stage.manifest
    _announce(files, detector)
    if stage.base is not None:
        log.info("adding to %d documents of %d files", stage.base.facts["documents"], len(stage.base.inputs))
    if not (stage.work / RESULT_NAME).exists():
        _run(stage, files, detector, config, spark, detector_facts)
    result = json.loads((stage.work / RESULT_NAME).read_text("utf-8"))
    stage.put_in_place([merge.DOCUMENTS, merge.REJECTED, merge.KEYS])
    result["files"] = [FileEntry(**entry) for entry in result["files"]]
    write_counts(stage.output, result["counts"])
    manifest = stage.finish(**result)
    _report(manifest, output, time.monotonic() - started)
    return manifest


def _run(
    stage: Stage,
    files: list[InputFile],
    detector: LanguageDetector,
    config: CorpusConfig,
    spark: SparkConfig,
    detector_facts: dict[str, Any],
) -> None:
    """Everything up to what the manifest will say, which is left in the scratch directory."""
    from corpus import build_job

    work, started = stage.work.resolve(), time.monotonic()
    for name in ("parts", "merged"):
        (work / name).mkdir(exist_ok=True)
    with spark_session("corpus build", spark) as session:
        tasks = session.sparkContext.defaultParallelism * max(1, spark.partitions_per_core)
        parts = _plan(stage, files, config, tasks)
        reading = build_job.Reading(work / "parts", config, detector.path)
        journals = build_job.read_parts(session, parts, reading, tasks=tasks)
        log.info("all records read and detected, %.0f s", time.monotonic() - started)
        _check_any_document(journals, stage.base, config)
        keys, near = _near_duplicates(session, stage, config, len(parts))
        refused = work / "refused" if near is not None else None
        deleted = (
            [entry for entry in stage.base.files if entry.path.startswith(f"{merge.DELETED}/")] if stage.base else []
        )
        base = stage.output.resolve() if stage.base else None
        merging = Merging(work, base, config.heldout_share, refused, tuple(entry.path for entry in deleted))
        pieces, sizes = _pieces(stage, journals, config)
        merged = build_job.merge_pieces(session, pieces, sizes, merging, tasks=tasks)
        merged = _hold_out(session, merged, merging)
        rejected = build_job.merge_rejected(session, _rejected_groups(stage, journals), work)
    kept = _link_older(stage, merge.REJECTED)
    files_made = [*(piece.file for piece in merged if piece.file), *rejected, *kept, *keys, *deleted]
    counts = _counts(merged)
    facts = _account(stage.base, journals, merged, near, files_made) | {"detector": detector_facts}
    content = f"{sum(int(piece.content, 16) for piece in merged) % (1 << 128):032x}"
    entries = [entry.model_dump() for entry in files_made]
    result = {"files": entries, "counts": counts, "facts": facts, "content": content}
    write_atomically(work / RESULT_NAME, json.dumps(result, ensure_ascii=False))


def _plan(stage: Stage, files: list[InputFile], config: CorpusConfig, tasks: int) -> list[list[Split]]:
    """The parts, as the first run of this work cut them: a later one may have other cores and settings."""
    path = stage.work / PLAN_NAME
    if not path.exists():
        # More parts than tasks at once: the last of them then keep no core waiting for long.
        parts = plan_parts(files, config, tasks=2 * tasks, known=stage.base.inputs if stage.base else {})
        write_atomically(path, json.dumps([[asdict(split) for split in splits] for splits in parts]))
    parts = [[Split(**split) for split in splits] for splits in json.loads(path.read_text("utf-8"))]
    done = sum((stage.work / "parts" / f"{part_name(number)}.json").exists() for number in range(len(parts)))
    if done:
        log.info("continuing: %d of %d parts of the input were read before", done, len(parts))
    return parts


def _near_duplicates(
    session: "Session", stage: Stage, config: CorpusConfig, parts: int
) -> tuple[list[FileEntry], int | None]:
    """Files of keys, those of earlier builds and of the parts, and how many documents are too much alike."""
    from corpus import build_job

    if not config.near_duplicates.enabled:
        return [], None
    work = stage.work.resolve()
    older = _link_older(stage, merge.KEYS)
    made = [work / "parts" / f"{part_name(number)}.keys.parquet" for number in range(parts)]
    items = [
        (str(path.relative_to(work)), f"{merge.KEYS}/part-{number:06d}.parquet")
        for number, path in enumerate((path for path in made if path.exists()), len(older))
    ]
    keys = [*older, *build_job.keep_all_keys(session, items, work)]
    if not keys:
        return [], 0
    count_path = work / "refused.json"
    if not count_path.exists():
        scratch = work / "near_duplicates"
        scratch.mkdir(exist_ok=True)
        found = build_job.find_near_duplicates(
            session, [work / entry.path for entry in keys], config, scratch, work / "refused"
        )
        write_atomically(count_path, json.dumps(found))
    return keys, int(json.loads(count_path.read_text("utf-8")))


def _link_older(stage: Stage, folder: str) -> list[FileEntry]:
    """Takes over the files of a folder from the build before, as they are."""
    entries = [entry for entry in stage.base.files if entry.path.startswith(f"{folder}/")] if stage.base else []
    for entry in entries:
        place = stage.work / entry.path
        place.parent.mkdir(parents=True, exist_ok=True)
        merge.link(stage.output.resolve() / entry.path, place)
    return entries


def _pieces(stage: Stage, journals: Sequence[PartJournal], config: CorpusConfig) -> tuple[list[Piece], dict[str, int]]:
    new: dict[str, dict[str, int]] = {}
    for number, journal in enumerate(journals):
        for lang, size in journal.bytes_by_language().items():
            new.setdefault(lang, {})[part_name(number)] = size
    older: dict[str, list[str]] = {}
    older_bytes: dict[str, int] = {}
    if stage.base is not None:
        older_bytes = {lang: count["bytes"] for lang, count in stage.base.counts.items()}
        for entry in stage.base.files:
            if entry.path.startswith(f"{merge.DOCUMENTS}/"):
                older.setdefault(entry.path.split("/")[1].removeprefix("lang="), []).append(entry.path)
    pieces = plan_pieces(new, older, older_bytes, config.file_bytes)
    of_lang = Counter(piece.lang for piece in pieces)
    total = {lang: older_bytes.get(lang, 0) + sum(new.get(lang, {}).values()) for lang in of_lang}
    return pieces, {piece.name: total[piece.lang] // of_lang[piece.lang] + 1 for piece in pieces}


def _hold_out(session: "Session", merged: list[Merged], merging: Merging) -> list[Merged]:
    """Each language of some size has a document held out: the one of the smallest number where the share gave none."""
    from corpus import build_job

    lone = []
    for lang, count in _counts(merged).items():
        if not count["heldout_documents"] and count["documents"] >= HELDOUT_MINIMUM_DOCUMENTS:
            of_lang = [piece for piece in merged if piece.lang == lang and piece.first is not None]
            first = min(of_lang, key=lambda piece: piece.first or (1.0, ""))
            assert first.first is not None
            lone.append((first, first.first[1]))
    again = {piece.path: piece for piece in build_job.hold_out(session, lone, merging)}
    return [again.get(piece.path, piece) for piece in merged]


def _rejected_groups(stage: Stage, journals: Sequence[PartJournal]) -> list[tuple[int, list[str]]]:
    """Parts whose rejected records make a file, numbered after those that are there."""
    older = sum(entry.path.startswith(f"{merge.REJECTED}/") for entry in stage.base.files) if stage.base else 0
    groups: list[list[str]] = [] if older else [[]]
    rows = merge.REJECTED_ROWS_OF_FILE if older else 0
    for number, journal in enumerate(journals):
        if not (of_part := sum(journal.rejected.values())):
            continue
        if rows >= merge.REJECTED_ROWS_OF_FILE:
            groups.append([])
            rows = 0
        groups[-1].append(part_name(number))
        rows += of_part
    return list(enumerate(groups, older))


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
                "%s is compressed and large: about %.0f GB of text that one task reads alone. In pieces of 256 MB, "
                "or as Parquet, many read it: see docs/corpus.md",
                file.path,
                file.size_bytes * EXPANSION / 1e9,
            )


def _check_any_document(journals: Sequence[PartJournal], base: Manifest | None, config: CorpusConfig) -> None:
    if base is not None or any(journal.batches for journal in journals):
        return
    records = sum(journal.records for journal in journals)
    if not records:
        raise MGLMError("the input", found="no record", expected="a JSON object on each line, or text")
    rejected = _sum(journal.rejected for journal in journals)
    reason, number = max(rejected.items(), key=lambda item: item[1])
    example = min(journal.examples[reason] for journal in journals if reason in journal.examples)
    raise MGLMError(
        f"none of the {records} records is a document",
        found=f"{reason} in {number} of them, e.g. {example}",
        expected=f"a JSON object with a text in the field {config.text_field}",
        action="set corpus.text_field to the field that holds the text" if reason == NO_TEXT else "",
    )


def _counts(merged: Sequence[Merged]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for piece in merged:
        if piece.rows:
            count = counts.setdefault(piece.lang, {"documents": 0, "heldout_documents": 0, "characters": 0, "bytes": 0})
            count["documents"] += piece.rows
            count["heldout_documents"] += piece.heldout
            count["characters"] += piece.characters
            count["bytes"] += piece.n_bytes
    return dict(sorted(counts.items()))


def _account(
    base: Manifest | None,
    journals: Sequence[PartJournal],
    merged: Sequence[Merged],
    near_duplicates: int | None,
    files: Sequence[FileEntry],
) -> dict[str, object]:
    """The facts of the manifest. What was read is counted apart from what was written, and both must agree."""
    before: Mapping[str, Any] = base.facts if base else {}
    near_before, near = before.get("near_duplicates", 0), near_duplicates or 0
    records = before.get("records_in", 0) + sum(journal.records for journal in journals)
    rejected = _sum([before.get("rejected", {}), *(journal.rejected for journal in journals)])
    documents = sum(piece.rows for piece in merged)
    refused = sum(piece.refused for piece in merged)
    duplicates = (
        before.get("duplicates", 0)
        + sum(journal.duplicates for journal in journals)
        + sum(piece.rows_in - piece.rows - piece.refused for piece in merged)
        + (refused + near_before - near)  # again the text of a document that was left out before
    )
    written = {
        name: sum(entry.rows or 0 for entry in files if entry.path.startswith(f"{name}/"))
        for name in (merge.DOCUMENTS, merge.REJECTED)
    }
    assert written == {merge.DOCUMENTS: documents, merge.REJECTED: sum(rejected.values())}, (written, rejected)
    deleted = before.get("deleted", 0)
    went = documents + sum(rejected.values()) + duplicates + near + deleted
    assert records == went, (records, documents, rejected, duplicates, near, deleted)
    facts = {
        "records_in": records,
        "documents": documents,
        "duplicates": duplicates,
        "rejected": dict(sorted(rejected.items())),
        "invalid_utf8": before.get("invalid_utf8", 0) + sum(journal.invalid_utf8 for journal in journals),
        "skipped": dict(sorted(_sum([before.get("skipped", {}), *(journal.skipped for journal in journals)]).items())),
        "changes": dict(sorted(_sum([before.get("changes", {}), *(journal.changes for journal in journals)]).items())),
    }
    facts |= {"near_duplicates": near} if near_duplicates is not None else {}
    return facts | ({"deleted": deleted} if deleted else {})


def _sum(counts: Any) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return total


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
