"""`mglm corpus train-lid`: a detector of one's own from labelled text, measured on documents that it never saw.

In: labelled JSON Lines. Out, beside one another, for `--output DIR/NAME.ftz`:

- `NAME.ftz`: the quantised fastText model;
- `NAME.split.tsv.gz`: doc_id, language and split of every document, so that others measure on the same ones;
- `NAME.toml`: the model combined with lid.176 (or another), each weighed as it earned on the dev documents;
- `NAME.json`: configuration, counts, per-language precision, recall and F1, confusions. Written last: without it the
  work is not done.
"""

import gzip
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.combined_model import combination_toml
from core.detector import LanguageDetector
from core.errors import MGLMError
from core.fasttext_model import import_fasttext
from core.languages import UNKNOWN, code_of_label, languages
from core.log import get_logger
from core.manifest import hash_of, inputs_of_files, sha256_file, write_atomically
from corpus.labelled import LabelledDocument, find_files, read_labelled
from corpus.lid_combination import FirstModel, find_first_model, fit_weights
from corpus.lid_config import LidConfig
from corpus.lid_measure import GRAINS, evaluate
from corpus.lid_training import DEV, HELDOUT, TRAIN, few_documents, split_documents, train, training_lines

SCHEMA = "lid_evaluation/1"

log = get_logger("corpus")


def train_lid(inputs: Sequence[str], output: Path, *, config: LidConfig, overwrite: bool = False) -> dict[str, Any]:
    """Trains, quantises, combines and evaluates; returns what NAME.json holds. Finished work is not redone.

    Raises:
        MGLMError: the inputs, the output or the configuration will not do, or there is nothing to tell apart.
    """
    started = time.monotonic()
    if output.suffix != ".ftz":
        raise MGLMError(f"output {output}", found="another kind of name", expected="a file name ending in .ftz")
    if output.is_dir():
        raise MGLMError(f"output {output}", found="a directory", expected="a file name ending in .ftz")
    import_fasttext()
    first = find_first_model(config.combine_with)
    files = find_files(inputs)
    identity = {
        "schema": SCHEMA,
        "config": config.model_dump(mode="json"),
        "inputs": inputs_of_files(files),
        "combined_with": first.sha256 if first else None,
    }
    identity["fingerprint"] = hash_of(identity)
    begun = output.with_name(f".{output.stem}.begun")  # whose work lies there, if it was killed before its report
    if (done := _finished(output, identity, begun, overwrite=overwrite)) is not None:
        log.info("%s: already made", output)
        return done
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MGLMError(f"output {output}", found=str(error), expected="a place to write files to") from None
    labelled = read_labelled(inputs, text_field=config.text_field, lang_field=config.lang_field)
    documents = labelled.documents
    _check(documents)
    splits = split_documents(documents, config)
    sides: dict[str, list[LabelledDocument]] = {TRAIN: [], DEV: [], HELDOUT: []}
    for document in documents:
        sides[splits[document.doc_id]].append(document)
    few = few_documents(documents)
    _announce(sides, few, labelled.skipped)

    write_atomically(begun, str(identity["fingerprint"]))
    lines = training_lines(sides[TRAIN], config)
    log.info("training on %d snippets, %.1f million characters", len(lines), sum(map(len, lines)) / 1e6)
    temporary = output.with_name(f".{output.stem}.{os.getpid()}.tmp.ftz")
    try:
        train(lines, config, temporary)
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)
    trained_s = time.monotonic() - started
    _write_split(_beside(output, ".split.tsv.gz"), documents, splits)
    detectors = {output.name: LanguageDetector(output)}
    if first is not None:
        combination = _beside(output, ".toml")
        weights = _combine(first, output, combination, sides[DEV])
        detectors = {
            first.name: LanguageDetector(first.path),
            **detectors,
            combination.name: LanguageDetector(combination),
        }
    result = identity | {
        "model": {"file": output.name, "bytes": output.stat().st_size, "sha256": sha256_file(output)},
        "combination_weights": list(weights) if first is not None else None,
        "split": {"file": _beside(output, ".split.tsv.gz").name, "documents": dict(Counter(splits.values()))},
        "skipped": dict(sorted(labelled.skipped.items())),
        "few_documents": few,
        "cannot_emit": detectors[output.name].cannot_emit(),
        "training": {"snippets": len(lines), "seconds": round(trained_s, 1)},
        "heldout": {name: evaluate(detector, sides[HELDOUT]) for name, detector in detectors.items()},
    }
    write_atomically(_beside(output, ".json"), json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    begun.unlink()
    log.info("%s: %d bytes, %.0f s", output, output.stat().st_size, time.monotonic() - started)
    return result


def summary(result: dict[str, Any]) -> str:
    """The evaluation in a few lines of Markdown, for the terminal."""
    lacking = LanguageDetector().cannot_emit()
    heads = ["detector", *(f"macro-F1, {grain}" for grain in GRAINS), f"the {len(lacking)} that lid.176 lacks"]
    rows = []
    for name, grains in result["heldout"].items():
        tables = [grains[grain]["languages"] for grain in GRAINS]
        hard = [tables[0][code]["f1"] for code in lacking if code in tables[0]]
        macro = [f"{grains[grain]['macro_f1']:.4f}" for grain in GRAINS]
        rows.append([name, *macro, f"{sum(hard) / len(hard):.4f}" if hard else "–"])
    count = next(iter(result["heldout"].values()))[next(iter(GRAINS))]["languages_with_texts"]
    return f"{result['split']['documents'].get(HELDOUT, 0)} held-out documents in {count} languages\n\n" + "\n".join(
        "| " + " | ".join(row) + " |" for row in [heads, ["---"] * len(heads), *rows]
    )


def _combine(
    first: FirstModel, output: Path, combination: Path, dev: Sequence[LabelledDocument]
) -> tuple[float, float]:
    weights = fit_weights(first.path, output, dev)
    members = [
        (first.written_as(combination), first.sha256, weights[0]),
        (output.name, sha256_file(output), weights[1]),
    ]
    write_atomically(combination, combination_toml(members, "Made by mglm corpus train-lid; give it as --lid-model."))
    log.info("combined with %s: weights %.2f and %.2f", first.name, *weights)
    return weights


def _finished(output: Path, identity: dict[str, Any], begun: Path, *, overwrite: bool) -> dict[str, Any] | None:
    report = _beside(output, ".json")
    if overwrite or not output.exists():
        return None
    if begun.exists() and begun.read_text("utf-8") == identity["fingerprint"]:
        return None
    try:
        made = json.loads(report.read_text("utf-8"))
        same = made["fingerprint"] == identity["fingerprint"] and made["model"]["sha256"] == sha256_file(output)
    except (OSError, ValueError, KeyError, TypeError):
        made, same = None, False
    if not same:
        raise MGLMError(
            f"output {output}",
            found="a model of other inputs or settings" if made else "a file that no finished training made",
            expected="a new name",
            action="choose another, or pass --overwrite",
        )
    return dict(made)


def _check(documents: Sequence[LabelledDocument]) -> None:
    counts = Counter(document.lang for document in documents)
    if sum(1 for number in counts.values() if number > 1) < 2:
        raise MGLMError(
            "the labelled text",
            found=f"{len(documents)} documents of {len(counts)} languages",
            expected="two languages at least, with two documents or more each: one to train on, one to measure by",
            action="add labelled text of other languages, e.g. --input examples/documents.jsonl",
        )


def _announce(sides: dict[str, list[LabelledDocument]], few: Sequence[str], skipped: Counter[str]) -> None:
    log.info(
        "%s; %d languages",
        ", ".join(f"{len(documents)} documents to {name}" for name, documents in sides.items()),
        len({document.lang for documents in sides.values() for document in documents}),
    )
    for reason, number in skipped.most_common():
        log.warning("%d records left out: %s", number, reason)
    labels = {document.lang for document in sides[TRAIN]}
    if missing := [code for code in languages() if code not in labels]:
        log.warning("no text of %d of the 101 languages: %s", len(missing), ", ".join(missing))
    if outside := sorted(label for label in labels if code_of_label(label) == UNKNOWN):
        log.info("%d labels outside the 101, which will come out as und: %s", len(outside), ", ".join(outside[:20]))
    if few:
        log.warning("few documents, so little is learned and measured of: %s", ", ".join(few))


def _write_split(path: Path, documents: Sequence[LabelledDocument], splits: dict[str, str]) -> None:
    rows = ["doc_id\tlang\tsplit", *(f"{d.doc_id}\t{d.lang}\t{splits[d.doc_id]}" for d in documents)]
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    # No time and no name in the header, so that equal splits are equal files.
    temporary.write_bytes(gzip.compress(("\n".join(rows) + "\n").encode("utf-8"), mtime=0))
    temporary.replace(path)


def _beside(output: Path, suffix: str) -> Path:
    return output.with_name(output.stem + suffix)
