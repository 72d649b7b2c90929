"""`mglm corpus build`: checks everything, runs the Spark job, accounts for every record, writes the manifest."""

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.detector import LanguageDetector
from core.documents import HELDOUT_MINIMUM_DOCUMENTS
from core.errors import MGLMError
from core.languages import UNKNOWN, language_name
from core.log import get_logger
from core.manifest import FileEntry, Manifest, hash_of, sha256_file, write_atomically
from core.schemas import DOCUMENTS, REJECTED_TABLE
from core.spark import SparkConfig, spark_session
from core.stage import Stage, open_stage
from corpus import merge
from corpus.config import CorpusConfig
from corpus.counts import write_counts
from corpus.inputs import (
    EXPANSION,
    LARGE_COMPRESSED_BYTES,
    InputFile,
    Split,
    find_inputs,
    pack_parts,
    plan_parts,
    unpack_parts,
)
from corpus.joining import Joining, group_parts
from corpus.merge import Merged, Merging, Piece, plan_pieces
from corpus.older import in_order
from corpus.parts import KEYS_TABLE, Summary, finished_parts, part_name
from corpus.passes import Passes, plan_passes
from corpus.records import NO_RECORD, NO_TEXT, UNREADABLE
from corpus.rules import Rules
from corpus.runs import ROW_BYTES

if TYPE_CHECKING:
    from corpus.build_job import Session

LANGUAGES_SHOWN = 10
NOTABLE_SHARE = 0.1  # of undetermined documents: worth a word
PLAN_NAME, MERGING_NAME, RESULT_NAME = "plan.json", "merging.json", "result.json"

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
    files = find_inputs(inputs, config, output)
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
    lists = config.rules.lists_and_models()
    Rules(config.rules)  # what is wrong with them is said now, not by a worker
    stage = open_stage(
        output,
        schema=DOCUMENTS,
        config=config.identity() | {"detector_sha256": detector_facts["sha256"], "rules_files": lists},
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
        _run(stage, files, model, config, spark, detector_facts, hash_of(lists))
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
    lid_model: Path | None,
    config: CorpusConfig,
    spark: SparkConfig,
    detector_facts: dict[str, Any],
    lists_sha256: str,
) -> None:
    """Everything up to what the manifest will say, which is left in the scratch directory."""
    from corpus import build_job

    work, started = stage.work.resolve(), time.monotonic()
    (work / "parts").mkdir(exist_ok=True)
    with spark_session("corpus build", spark) as session:
        tasks = session.sparkContext.defaultParallelism * max(1, spark.partitions_per_core)
        parts = _plan(stage, files, config, tasks)
        model = lid_model.resolve() if lid_model else None
        reading = build_job.Reading(work / "parts", config, model, detector_facts["sha256"], lists_sha256)
        summary = build_job.read_parts(session, parts, reading, tasks=tasks)
        log.info("all records read and detected, %.0f s", time.monotonic() - started)
        _check_any_document(summary, stage.base, config)
        names = [part_name(number) for number in range(len(parts))]
        keys, near = _near_duplicates(session, stage, config, names, summary)
        refused = work / "refused" if near is not None else None
        older = _older(stage.base)
        base = stage.output.resolve() if stage.base else None
        merging = Merging(
            work, base, config.heldout_share, refused, tuple(e.path for e in older.deleted), older.documents
        )
        pieces, passes = _plan_merging(stage, names, summary, older, config, tasks)
        passed = build_job.pass_on(session, passes, work)
        merged = build_job.merge_pieces(session, passes, pieces, merging)
        merged = _hold_out(session, merged, merging)
        groups = group_parts(names, summary.rejected_rows, older.rejected) or ([] if older.rejected else [(0, [])])
        joining = Joining(work, "rejected.parquet", merge.REJECTED, REJECTED_TABLE)
        rejected = build_job.join_parts(session, groups, joining)
    kept = _link_older(stage, merge.REJECTED)
    files_made = [*(piece.file for piece in merged if piece.file), *rejected, *kept, *keys, *older.deleted]
    counts = _counts(merged)
    facts = _account(stage.base, summary, passed, merged, near, files_made) | {"detector": detector_facts}
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
        write_atomically(path, json.dumps(pack_parts(parts), ensure_ascii=False))
    parts = unpack_parts(json.loads(path.read_text("utf-8")))
    if done := len(finished_parts(stage.work / "parts")):
        log.info("continuing: %d of %d parts of the input were read before", done, len(parts))
    return parts


def _near_duplicates(
    session: "Session", stage: Stage, config: CorpusConfig, names: Sequence[str], summary: Summary
) -> tuple[list[FileEntry], int | None]:
    """Files of keys, those of earlier builds and of the parts, and how many documents are too much alike."""
    from corpus import build_job

    if not config.near_duplicates.enabled:
        return [], None
    work = stage.work.resolve()
    older = _link_older(stage, merge.KEYS)
    groups = group_parts(names, summary.key_rows, len(older))
    joining = Joining(work, "keys.parquet", merge.KEYS, KEYS_TABLE)
    keys = [*older, *build_job.join_parts(session, groups, joining)]
    if not keys:
        return [], 0
    count_path = work / "refused.json"
    if not count_path.exists():
        scratch = work / "near_duplicates"
        scratch.mkdir(exist_ok=True)
        deleted = [stage.output.resolve() / entry.path for entry in _older(stage.base).deleted]
        found = build_job.find_near_duplicates(session, work / merge.KEYS, scratch, work / "refused", deleted)
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


@dataclass(frozen=True)
class _Older:
    """Of the build before: its documents by language in the order of hashes, their text, its lists of deleted ones,
    and how many files of rejected records it has."""

    documents: dict[str, list[str]]
    n_bytes: dict[str, int]
    deleted: list[FileEntry]
    rejected: int


def _older(base: Manifest | None) -> _Older:
    of_folder: dict[str, list[FileEntry]] = {}
    for entry in base.files if base is not None else []:
        of_folder.setdefault(entry.path.split("/")[0], []).append(entry)
    documents: dict[str, list[str]] = {}
    for entry in of_folder.get(merge.DOCUMENTS, []):
        documents.setdefault(entry.path.split("/")[1].removeprefix("lang="), []).append(entry.path)
    return _Older(
        {lang: in_order(paths) for lang, paths in documents.items()},
        {lang: count["bytes"] + ROW_BYTES * count["documents"] for lang, count in base.counts.items()} if base else {},
        of_folder.get(merge.DELETED, []),
        len(of_folder.get(merge.REJECTED, [])),
    )


def _plan_merging(
    stage: Stage, names: Sequence[str], summary: Summary, older: _Older, config: CorpusConfig, tasks: int
) -> tuple[list[Piece], Passes]:
    """The files to make and the way to them, as the first run of this work had it: what it left must fit."""
    path = stage.work / MERGING_NAME
    if not path.exists():
        write_atomically(path, json.dumps({"file_bytes": config.file_bytes, "fan_in": config.fan_in, "tasks": tasks}))
    given = json.loads(path.read_text("utf-8"))
    pieces = plan_pieces(summary.text_bytes, older.documents, older.n_bytes, given["file_bytes"])
    sources = [f"parts/{name}" for name in names]
    passes = plan_passes(sources, summary.runs, pieces, fan_in=given["fan_in"], tasks=given["tasks"])
    for number, groups in enumerate(passes.groups, start=1):
        log.info("pass %d of %d before merging: %d tasks", number, len(passes.groups), len(groups))
    return pieces, passes


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
        log.warning(
            "this detector cannot find %d of the 101 languages: %s. With text of them: mglm corpus train-lid",
            len(missing),
            names,
        )
    for file in files:
        if file.compression and file.size_bytes > LARGE_COMPRESSED_BYTES:
            log.warning(
                "%s is compressed and large: about %.0f GB of text that one task reads alone. In pieces of 256 MB, "
                "or as Parquet, many read it: see docs/corpus.md",
                file.path,
                file.size_bytes * EXPANSION / 1e9,
            )


def _check_any_document(summary: Summary, base: Manifest | None, config: CorpusConfig) -> None:
    if base is not None or any(summary.runs):
        return
    if not summary.records:
        raise MGLMError("the input", found="no record", expected="a JSON object on each line, or text")
    reason, number = max(summary.rejected.items(), key=lambda item: item[1])
    raise MGLMError(
        f"none of the {summary.records} records is a document",
        found=f"{reason} in {number} of them, e.g. {summary.examples[reason]}",
        expected=f"a JSON object with a text in the field {config.text_field}"
        if reason in NO_RECORD
        else "one at least",
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
    summary: Summary,
    passed: int,
    merged: Sequence[Merged],
    near_duplicates: int | None,
    files: Sequence[FileEntry],
) -> dict[str, object]:
    """The facts of the manifest. What was read is counted apart from what was written, and both must agree."""
    before: Mapping[str, Any] = base.facts if base else {}
    near_before, near = before.get("near_duplicates", 0), near_duplicates or 0
    records = before.get("records_in", 0) + summary.records
    rejected = summary.rejected + Counter(before.get("rejected", {}))
    documents = sum(piece.rows for piece in merged)
    refused = sum(piece.refused for piece in merged)
    duplicates = (
        before.get("duplicates", 0)
        + summary.duplicates
        + passed
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
        "invalid_utf8": before.get("invalid_utf8", 0) + summary.invalid_utf8,
        "skipped": dict(sorted((summary.skipped + Counter(before.get("skipped", {}))).items())),
        "changes": dict(sorted((summary.changes + Counter(before.get("changes", {}))).items())),
    }
    facts |= {"near_duplicates": near} if near_duplicates is not None else {}
    return facts | ({"deleted": deleted} if deleted else {})


def _report(manifest: Manifest, output: Path, seconds: float) -> None:
    facts, counts = manifest.facts, manifest.counts
    ordered = sorted(counts, key=lambda code: (code == UNKNOWN, -counts[code]["documents"], code))
    for code in ordered[:LANGUAGES_SHOWN]:
        count = counts[code]
        megabytes = count["bytes"] / 1e6
        name = language_name(code) if code != UNKNOWN else "undetermined"
        log.info("  %-4s %-16s %9d documents %10.2f MB", code, name, count["documents"], megabytes)
    if len(ordered) > LANGUAGES_SHOWN:
        log.info("  … and %d more, all in manifest.json", len(ordered) - LANGUAGES_SHOWN)
    if broken := facts["rejected"].get(UNREADABLE):
        log.warning("%d input files could not be read to their end: see %s/rejected", broken, output)
    if nameless := facts["rejected"].get(NO_TEXT):
        field = manifest.config["text_field"]
        log.warning("%d records have no text in the field %s; corpus.text_field names another", nameless, field)
    undetermined = counts.get(UNKNOWN, {}).get("documents", 0)
    if undetermined > NOTABLE_SHARE * facts["documents"]:
        log.warning(
            "%d of %d documents are undetermined, and later stages leave them out: the detector does not know their "
            "language, or is less sure than corpus.lid_threshold (docs/corpus.md, Language detection)",
            undetermined,
            facts["documents"],
        )
    log.info(
        "%s: %d documents of %d languages (%d undetermined) from %d records, %d duplicates, %d rejected, %.0f s",
        output,
        facts["documents"],
        len(set(counts) - {UNKNOWN}),
        undetermined,
        facts["records_in"],
        facts["duplicates"],
        sum(facts["rejected"].values()),
        seconds,
    )
