"""`mglm corpus lid-quality`: how well detectors do on labelled text, as a report with figures.

In: labelled JSON Lines, or JSON Lines with a table of gold labels. Out: `OUTPUT.md` for people, `OUTPUT.json` with
every number, `OUTPUT_*.svg`. A detector of `mglm corpus train-lid` has its split beside it and is measured on documents
held out from it alone, and so are the others that it is compared with.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.detector import Detection, LanguageDetector
from core.errors import MGLMError
from core.languages import UNKNOWN, code_of_label
from core.log import get_logger
from core.manifest import git_revision, sha256_file, write_atomically
from corpus.labelled import LabelledDocument, read_gold, read_labelled
from corpus.lid_config import LidConfig
from corpus.lid_measure import GRAINS, cut
from corpus.lid_quality_page import markdown
from corpus.lid_quality_plot import plot_caps, plot_languages, plot_thresholds
from corpus.lid_scores import Scores, score

SCHEMA = "lid_quality/1"
THRESHOLDS = (0.0, 0.3, 0.5, 0.65, 0.7, 0.8, 0.9, 0.95)
CAPS = (20, 50, 100, 200, 400, 1_000, 10_000)

log = get_logger("corpus")


@dataclass(frozen=True)
class Judged:
    """A detector, and the documents whose languages it never saw."""

    name: str
    detector: LanguageDetector
    documents: list[LabelledDocument]


def lid_quality(
    inputs: Sequence[str], output: Path, *, models: Sequence[Path], gold: Path | None, config: LidConfig
) -> dict[str, Any]:
    """Measures lid.176 and `models` and writes the report; returns what OUTPUT.json holds.

    Raises:
        MGLMError: an input, a model or a split cannot be read, or no document is left to measure on.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MGLMError(f"output {output}", found=str(error), expected="a place to write files to") from None
    detectors = {detector.path.name: detector for detector in (LanguageDetector(path) for path in (None, *models))}
    if len(detectors) < len(models) + 1:
        raise MGLMError(
            "--lid-model", found="two models of the same name", expected="names that a table can tell apart"
        )
    table = read_gold(gold, id_field=config.id_field, lang_field=config.lang_field) if gold else None
    labelled = read_labelled(
        inputs, text_field=config.text_field, lang_field=config.lang_field, gold=table, id_field=config.id_field
    )
    splits = {name: _seen(detector) for name, detector in detectors.items()}
    seen = set().union(*splits.values())
    common = [document for document in labelled.documents if document.doc_id not in seen]
    if not any(code_of_label(document.lang) != UNKNOWN for document in common):
        raise MGLMError(
            f"input {', '.join(inputs)}",
            found=f"{len(labelled.documents)} documents, none both in one of the 101 languages and held out",
            expected="documents that the models were not trained on",
        )
    judged = [Judged(name, detector, common) for name, detector in detectors.items()]
    log.info("%d labelled documents, %d held out from every model", len(labelled.documents), len(common))
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "git_revision": git_revision(),
        "inputs": {file.name: sha256_file(file) for file in [*labelled.files, *([gold] if gold else [])]},
        "documents": len(labelled.documents),
        "compared_on": len(common),
        "skipped": dict(sorted(labelled.skipped.items())),
        "lid176_lacks": LanguageDetector().cannot_emit(),
        "detectors": {entry.name: _facts(entry.detector) | _measure(entry) for entry in judged},
    }
    result["all_documents"] = _whole(Judged("", LanguageDetector(), labelled.documents))
    figures = {"caps": plot_caps, "thresholds": plot_thresholds, "languages": plot_languages}
    names = {}
    for kind, draw in figures.items():
        path = output.with_name(f"{output.name}_{kind}.svg")
        draw(result, path)
        names[kind] = path.name
    write_atomically(output.with_name(output.name + ".md"), markdown(result, names))
    write_atomically(output.with_name(output.name + ".json"), json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return result


def _facts(detector: LanguageDetector) -> dict[str, Any]:
    return {
        "labels": len(detector.labels),
        "bytes": sum(file.stat().st_size for file in detector.files),
        "sha256": sha256_file(detector.path),
        "cannot_emit": detector.cannot_emit(),
    }


def _measure(entry: Judged) -> dict[str, Any]:
    found = _whole(entry)
    for grain, characters in GRAINS.items():
        if characters is not None:
            texts = cut(entry.documents, characters)
            scores = _scores([lang for lang, _ in texts], [entry.detector.detect(text) for _, text in texts])
            found[grain] = {key: value for key, value in scores.to_json().items() if key != "languages"}
    gold = [document.lang for document in entry.documents]
    found["caps"] = []
    for cap in CAPS:
        detector = LanguageDetector(entry.detector.path, max_characters=cap)
        scores = _scores(gold, [detector.detect(document.text) for document in entry.documents])
        found["caps"].append({"characters": cap, "macro_f1": round(scores.macro_f1(), 4)})
    return found


def _whole(entry: Judged) -> dict[str, Any]:
    gold = [document.lang for document in entry.documents]
    answers = [entry.detector.detect(document.text) for document in entry.documents]
    return {
        "documents": _scores(gold, answers).to_json(),
        "thresholds": [_at_threshold(gold, answers, threshold) for threshold in THRESHOLDS],
    }


def _scores(gold: Sequence[str], answers: Sequence[Detection]) -> Scores:
    return score(gold, [answer.lang for answer in answers])


def _at_threshold(gold: Sequence[str], answers: Sequence[Detection], threshold: float) -> dict[str, float]:
    """`kept`: share of the texts of the 101 that get one of the 101; `precision`: of all that get one, those right."""
    langs = [answer.lang if answer.score >= threshold else UNKNOWN for answer in answers]
    scores = score(gold, langs)
    inside = [lang for truth, lang in zip(gold, langs, strict=True) if code_of_label(truth) != UNKNOWN]
    accepted = sum(lang != UNKNOWN for lang in langs)
    return {
        "threshold": threshold,
        "kept": round(sum(lang != UNKNOWN for lang in inside) / len(inside), 4),
        "precision": round(scores.right / accepted, 4) if accepted else 0.0,
        "macro_f1": round(scores.macro_f1(), 4),
        "outside_accepted": scores.outside_accepted,
    }


def _seen(detector: LanguageDetector) -> set[str]:
    """Documents that a model of ours was trained or tuned on, by the split beside any of its files."""
    seen = set()
    for file in detector.files:
        split = file.with_name(file.stem + ".split.tsv.gz")
        if split.exists():
            try:
                rows = csv.DictReader(io.StringIO(gzip.decompress(split.read_bytes()).decode("utf-8")), delimiter="\t")
                seen |= {row["doc_id"] for row in rows if row["split"] != "heldout"}
            except (OSError, EOFError, zlib.error, KeyError, UnicodeDecodeError) as error:
                raise MGLMError(f"split {split}", found=str(error), expected="what train-lid wrote there") from None
    return seen
