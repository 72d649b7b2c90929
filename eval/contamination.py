"""`mglm eval contamination`: how much of evaluation sets stands in the documents that a model was trained on.

The field's measure: an example whose text shares a stretch of 13 words with a training document may have been seen
(Brown et al. 2020, appendix C); here for languages without word spaces too, by characters. Source and target are told
apart: an article that was seen is no answer that was seen.
"""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np

from core.errors import MGLMError
from core.examples import EXAMPLES, read_examples
from core.log import get_logger
from core.manifest import Manifest, read_manifest, write_atomically
from core.schemas import DOCUMENTS
from core.scripts import script_of
from core.sentence_marks import UNSPACED_SCRIPTS
from core.spark import SparkConfig, spark_session
from core.stage import open_stage
from core.word_runs import Hashes
from eval.config import EvalConfig
from eval.ngrams import hashes_of, length_of, read_hashes, union, write_union

CONTAMINATION = "contamination/1"
HELDOUT = "heldout.jsonl"
DOCUMENTS_SHOWN = 3  # doc_ids noted for each stretch; how many documents have it is always counted
Field = Literal["source", "target"]

log = get_logger("eval")


@dataclass(frozen=True, slots=True)
class Text:
    """An example's source or target, and how many stretches it has: none where it is shorter than one."""

    set_name: str
    id: str
    field: Field
    lang: str
    stretches: int


class Seen:
    """Which of the wanted stretches training documents have, and of these documents the three with the smallest doc_id.

    Of each that was seen it holds twelve bytes: all stretches of a hundred thousand articles may be.
    """

    def __init__(self, wanted: Hashes) -> None:
        """`wanted`: sorted, each once. May be a memory map."""
        self._wanted = wanted
        self._documents_NK = np.zeros((len(wanted), DOCUMENTS_SHOWN), np.int32)  # places in `_ids`, 0 for none
        self._ids = [""]
        self._places: dict[str, int] = {}

    def add(self, found: Mapping[int, tuple[int, Sequence[str]]]) -> None:
        """What one file of documents has: hash → how many of its documents, and the first of them."""
        places = np.searchsorted(self._wanted, np.fromiter(found, np.uint64, len(found)))
        for place, (_, ids) in zip(places.tolist(), found.values(), strict=True):
            known = [self._ids[number] for number in self._documents_NK[place].tolist() if number]
            first = sorted([*known, *ids])[:DOCUMENTS_SHOWN]
            self._documents_NK[place, : len(first)] = [self._number(doc_id) for doc_id in first]

    def of(self, stretches: Hashes) -> list[list[str]]:
        """For each of these, all of them wanted, that was seen the documents, the smallest doc_id first."""
        rows_NK = self._documents_NK[np.searchsorted(self._wanted, stretches)]
        seen = rows_NK[rows_NK[:, 0] > 0].tolist()
        return [[self._ids[number] for number in row if number] for row in seen]

    def _number(self, doc_id: str) -> int:
        if doc_id not in self._places:
            self._places[doc_id] = len(self._ids)
            self._ids.append(doc_id)
        return self._places[doc_id]


def contamination(
    documents: Path,
    example_sets: Sequence[Path],
    output: Path,
    config: EvalConfig,
    spark: SparkConfig,
    *,
    overwrite: bool = False,
) -> Manifest:
    """Searches the training documents for the held-out examples, writes examples.jsonl and contamination.json.

    Raises:
        MGLMError: documents or examples are missing, unfinished or broken, or there is no held-out example.
    """
    started = time.monotonic()
    made = read_manifest(documents, DOCUMENTS)
    inputs = {"documents": made.content_hash()}
    for index, path in enumerate(example_sets):
        inputs[f"examples {index} {_name(path)}"] = read_manifest(path, EXAMPLES).content_hash()
    if doubled := [name for name, times in Counter(map(_name, example_sets)).items() if times > 1]:
        found, action = f"two directories called {doubled[0]}", "search them apart, or rename one"
        raise MGLMError("--examples", found=found, expected="a name for each set", action=action)
    settings = {"words": config.contamination_words, "characters": config.contamination_characters}
    if not any(True for path in example_sets for _ in read_examples(path / HELDOUT)):
        names = ", ".join(map(str, example_sets))
        raise MGLMError(names, found="no held-out example", expected="some", action="give sets that are evaluated")
    stage = open_stage(output, schema=CONTAMINATION, config=settings, inputs=inputs, overwrite=overwrite)
    if stage.manifest is not None:
        log.info("already made: %s", output)
        return stage.manifest
    journal, stretches, wanted = (stage.work / name for name in ("searched", "stretches", "wanted"))
    journal.mkdir(exist_ok=True)
    texts = write_stretches(example_sets, config, stretches)
    write_union(stretches, wanted)
    sizes = {entry.path: entry.bytes for entry in made.files if entry.path.startswith("documents/")}
    lengths = {lang: length_of(lang, **settings) for lang in made.counts}
    from eval.contamination_job import search

    seen = Seen(read_hashes(wanted))
    with spark_session("contamination", spark) as session:
        tasks = session.sparkContext.defaultParallelism * max(1, spark.partitions_per_core)
        for of_file in search(session, documents, sizes, lengths, wanted, journal, tasks):
            seen.add(of_file)
    rows, start, hashes = [], 0, read_hashes(stretches)
    for text in texts:
        rows.append(row_of(text, seen.of(hashes[start : start + text.stretches])))
        start += text.stretches
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_atomically(output / "examples.jsonl", lines)
    facts = {"sets": summary(rows), "documents": sum(count["documents"] for count in made.counts.values())}
    write_atomically(output / "contamination.json", json.dumps(facts["sets"], indent=1, ensure_ascii=False) + "\n")
    manifest = stage.finish(rows={"examples.jsonl": len(rows)}, facts=facts)
    log.info("%s: %d texts searched, %.1f s", output, len(rows), time.monotonic() - started)
    return manifest


def write_stretches(example_sets: Sequence[Path], config: EvalConfig, target: Path) -> list[Text]:
    """The texts of all held-out examples; the hashes of their stretches go to a file, one text's after the other's."""
    texts = []
    with target.open("wb") as file:
        for path in example_sets:
            for text, hashes in stretches_of_set(path, config):
                texts.append(text)
                hashes.tofile(file)
    return texts


def stretches_of_set(path: Path, config: EvalConfig) -> Iterator[tuple[Text, Hashes]]:
    """Source and target of every held-out example with their stretches, each once; of a source, what came from outside
    and not the prompt."""
    for example in read_examples(path / HELDOUT):
        languages = (example.lang, example.target_lang)
        parts = [segment.value for segment in example.source if segment.kind == "text"]
        source = union([hashes_of(part, _length(part, languages, config)) for part in parts])
        yield Text(_name(path), example.id, "source", example.lang, len(source)), source
        length = _length("", languages[1:], config)
        target = union([hashes_of(answer, length) for answer in example.answers])
        yield Text(_name(path), example.id, "target", example.target_lang, len(target)), target


def _length(text: str, languages: Sequence[str], config: EvalConfig) -> int:
    """Of a text's stretches, as documents in its language are cut. A source may be of two: a question in one about a
    context in the other, with answers shown before it; where their stretches differ, each text's letters decide."""
    lengths = [length_of(lang, config.contamination_words, config.contamination_characters) for lang in languages]
    if len(set(lengths)) == 1:
        return lengths[0]
    return config.contamination_characters if script_of(text) in UNSPACED_SCRIPTS else config.contamination_words


def _name(path: Path) -> str:
    """What the figures of a set go by."""
    return path.resolve().name


def row_of(text: Text, seen: Sequence[Sequence[str]]) -> dict[str, Any]:
    """What is known of one text: how many of its stretches were seen, and in which documents."""
    ids = Counter(doc_id for documents in seen for doc_id in documents)
    return {
        "set": text.set_name,
        "id": text.id,
        "field": text.field,
        "lang": text.lang,
        "stretches": text.stretches,
        "seen": len(seen),
        "documents": [doc_id for doc_id, _ in sorted(ids.items(), key=lambda item: (-item[1], item[0]))[:3]],
    }


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Set → field → figures over all languages and for each: texts, those too short to tell, those of which any
    stretch, half of them, or all were seen."""
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    ordered = sorted(rows, key=lambda row: (row["set"], row["field"]))
    for (set_name, field), group in groupby(ordered, key=lambda row: (row["set"], row["field"])):
        of_field = list(group)
        languages = sorted({row["lang"] for row in of_field})
        found[set_name][field] = figures(of_field) | {
            "languages": {lang: figures([row for row in of_field if row["lang"] == lang]) for lang in languages}
        }
    return dict(found)


def figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    told = [row for row in rows if row["stretches"]]
    return {
        "texts": len(rows),
        "too_short": len(rows) - len(told),
        "any": sum(row["seen"] > 0 for row in told),
        "half": sum(2 * row["seen"] >= row["stretches"] for row in told),
        "all": sum(row["seen"] == row["stretches"] for row in told),
    }


def table(sets: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """The figures as a Markdown table, a row for each set and field."""
    lines = [
        "| set | field | texts | too short | any seen | half seen | all seen |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for set_name, fields in sets.items():
        for field, of_field in fields.items():
            told = max(1, of_field["texts"] - of_field["too_short"])
            shares = " | ".join(f"{of_field[key]} ({of_field[key] / told:.1%})" for key in ("any", "half", "all"))
            lines.append(f"| {set_name} | {field} | {of_field['texts']} | {of_field['too_short']} | {shares} |")
    return "\n".join(lines)
