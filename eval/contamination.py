"""`mglm eval contamination`: how much of evaluation sets stands in the documents that a model was trained on.

The field's measure: an example whose text shares a stretch of 13 words with a training document may have been seen
(Brown et al. 2020, appendix C); here for languages without word spaces too, by characters. Source and target are told
apart: an article that was seen is no answer that was seen.
"""

import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from core.spark import SparkConfig, spark_session
from core.stage import open_stage
from core.word_runs import Hashes
from eval.config import EvalConfig
from eval.ngrams import hashes_of, length_of, union

CONTAMINATION = "contamination/1"
Field = Literal["source", "target"]

log = get_logger("eval")


@dataclass(frozen=True)
class Stretches:
    """The stretches of an example's source or target; none where it is shorter than one."""

    set_name: str
    id: str
    field: Field
    lang: str
    hashes: Hashes


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
    evaluated = [stretches for path in example_sets for stretches in stretches_of_set(path, config)]
    if not evaluated:
        names = ", ".join(map(str, example_sets))
        raise MGLMError(names, found="no held-out example", expected="some", action="give sets that are evaluated")
    stage = open_stage(output, schema=CONTAMINATION, config=settings, inputs=inputs, overwrite=overwrite)
    if stage.manifest is not None:
        log.info("already made: %s", output)
        return stage.manifest
    journal, wanted = stage.work / "searched", stage.work / "wanted.npy"
    journal.mkdir(exist_ok=True)
    np.save(wanted, union([stretches.hashes for stretches in evaluated]))
    sizes = {entry.path: entry.bytes for entry in made.files if entry.path.startswith("documents/")}
    lengths = {lang: length_of(lang, **settings) for lang in made.counts}
    from eval.contamination_job import search

    with spark_session("contamination", spark) as session:
        tasks = session.sparkContext.defaultParallelism * max(1, spark.partitions_per_core)
        seen = merged(search(session, documents, sizes, lengths, wanted, journal, tasks))
    rows = [row_of(stretches, seen) for stretches in evaluated]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_atomically(output / "examples.jsonl", text)
    facts = {"sets": summary(rows), "documents": sum(count["documents"] for count in made.counts.values())}
    write_atomically(output / "contamination.json", json.dumps(facts["sets"], indent=1, ensure_ascii=False) + "\n")
    manifest = stage.finish(rows={"examples.jsonl": len(rows)}, facts=facts)
    log.info("%s: %d texts searched, %.1f s", output, len(rows), time.monotonic() - started)
    return manifest


def stretches_of_set(path: Path, config: EvalConfig) -> Iterator[Stretches]:
    """Source and target of every held-out example; of a source, what came from outside and not the prompt."""
    for example in read_examples(path / "heldout.jsonl"):
        for field, lang, texts in (
            ("source", example.lang, [segment.value for segment in example.source if segment.kind == "text"]),
            ("target", example.target_lang, example.answers),
        ):
            length = length_of(lang, config.contamination_words, config.contamination_characters)
            hashes = union([hashes_of(text, length) for text in texts])
            yield Stretches(_name(path), example.id, "source" if field == "source" else "target", lang, hashes)


def _name(path: Path) -> str:
    """What the figures of a set go by."""
    return path.resolve().name


def merged(found: Iterable[Mapping[int, tuple[int, Sequence[str]]]]) -> dict[int, tuple[str, ...]]:
    """Of what all files have, the three documents with the smallest doc_id."""
    together: dict[int, tuple[str, ...]] = {}
    for of_file in found:
        for hash_, (_, ids) in of_file.items():  # a document is that of many stretches, and held once
            together[hash_] = tuple(sorted([*together.get(hash_, ()), *map(sys.intern, ids)])[:3])
    return together


def row_of(stretches: Stretches, seen: Mapping[int, Sequence[str]]) -> dict[str, Any]:
    """What is known of one text: how many of its stretches were seen, and in which documents."""
    hits = [seen[hash_] for hash_ in stretches.hashes.tolist() if hash_ in seen]
    ids = Counter(doc_id for first in hits for doc_id in first)
    return {
        "set": stretches.set_name,
        "id": stretches.id,
        "field": stretches.field,
        "lang": stretches.lang,
        "stretches": len(stretches.hashes),
        "seen": len(hits),
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
