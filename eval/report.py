"""The report: scores of one system or of several, beside the paper's, and bits per byte; as Markdown or as a page.

Every figure stands with its scorer's name, its 95 % interval by bootstrap and how its words were cut.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import MGLMError
from core.languages import language_name
from eval.bits_per_byte import read_bits_per_byte
from eval.bootstrap import Items, paired_p
from eval.paper import filled
from eval.report_parts import Part, Table, markdown
from eval.score import items_of, read_example_scores, read_scores

TITLE = "Evaluation"
_LABELS = {
    "rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L", "f1": "F1", "exact_match": "exact match",
    "accuracy": "accuracy",
}  # fmt: skip
_SIGNIFICANT = 0.05


def report(
    scores: Sequence[Path], bits_per_byte: Path | None, *, names: Sequence[str] = (), html: bool = False,
    resamples: int = 1000,
) -> str:  # fmt: skip
    """The report on scores/1 directories and, if given, a bits_per_byte/1 directory.

    `names` are what the systems are called, in the order of `scores`; without them, the directories' names.

    Raises:
        MGLMError: a directory is missing, unfinished or of another schema, or names that do not fit.
    """
    if names and len(names) != len(scores):
        found = f"{len(names)} names for {len(scores)} directories"
        raise MGLMError("--name", found=found, expected="one for each --scores, in their order")
    called = list(names) or _names(scores)
    systems = [(name, read_scores(path)) for name, path in zip(called, scores, strict=True)]
    parts = [_system(f"scores-{number}", name, entry) for number, (name, entry) in enumerate(systems)]
    if beside := _paper(systems):
        parts.append(beside)
    if tests := _paired(list(zip(called, scores, strict=True)), dict(enumerate(systems)), resamples):
        parts.append(tests)
    if bits_per_byte is not None:
        parts.append(_bits(read_bits_per_byte(bits_per_byte)))
    if html:
        from eval.report_page import as_page

        return as_page(TITLE, parts, systems)
    return markdown(TITLE, parts)


def _names(scores: Sequence[Path]) -> list[str]:
    """The directories' names; with their parents' where two are called alike."""
    short = [path.resolve().name for path in scores]
    return short if len(set(short)) == len(short) else ["/".join(path.resolve().parts[-2:]) for path in scores]


def _system(key: str, name: str, scores: Mapping[str, Any]) -> Part:
    task = scores.get("task", {})
    title = task.get("title") or task.get("name") or "Summaries"
    part = Part(key, f"{title}: {name}")
    if task.get("remark"):
        part.content.append(task["remark"])
    for entry in (scores, *scores.get("others", [])):
        part.content.append(_score_table(entry))
    if any("writing" in row for row in scores["pairs"]):
        part.content.append(_writing_table(scores["pairs"]))
    part.content.append("Decoding: " + ", ".join(f"{k} {v}" for k, v in scores["decoding"].items()) + ".")
    return part


def _score_table(entry: Mapping[str, Any]) -> Table:
    measures = entry["measures"]
    unit = "in percent" if entry["scale"] == 100 else "F-measures between 0 and 1, no stemming"
    caption = (
        f"Scorer: {entry['scorer']}, {unit}; in brackets 95 % intervals by bootstrap. Few examples say little: see "
        "their number."
    )
    rows = [
        [_name(row["lang"]), _name(row["target_lang"]), row["tokenization"], f"{row['examples']:,}",
         *_cells(entry, row, measures)]
        for row in entry["pairs"]
    ]  # fmt: skip
    several = [
        row for row in entry["targets"] if sum(p["target_lang"] == row["target_lang"] for p in entry["pairs"]) > 1
    ]
    totals = [
        ["all languages", _name(row["target_lang"]), row["tokenization"], f"{row['examples']:,}",
         *_cells(entry, row, measures)]
        for row in several
    ]  # fmt: skip
    overall = entry["overall"]
    totals.append(["all languages", "all", "", f"{overall['examples']:,}", *_cells(entry, overall, measures)])
    count = len(entry["pairs"])
    means = entry["averages"] or [{"name": "all pairs", "pairs": count, **overall["macro"]}]
    for mean in means:
        name = f"mean of {mean['pairs']}, each weighing the same"
        totals.append([mean["name"], name, "", "", *_cells(entry, mean, measures)])
    heads = ["from", "to", "words by", "examples", *(_LABELS[measure] for measure in measures)]
    return Table(caption, heads, rows, 3, totals)


def _cells(entry: Mapping[str, Any], row: Mapping[str, Any], measures: Sequence[str]) -> list[str]:
    digits = 2 if entry["scale"] == 100 else 4

    def cell(measure: str) -> str:
        low, high = row["interval"][measure]
        return f"{row[measure]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"

    return [cell(measure) for measure in measures]


def _writing_table(pairs: Sequence[Mapping[str, Any]]) -> Table:
    def shown(value: float | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    rows = []
    for pair in pairs:
        w = pair["writing"]
        rows.append(
            [_name(pair["lang"]), _name(pair["target_lang"]), shown(w["language_rate"], ".1%"), f"{w['words']:.1f}",
             shown(w["length_ratio"], ".2f"), shown(w["repetition"], ".1%"), shown(w["copied"], ".1%"), str(w["empty"])]
        )  # fmt: skip
    caption = (
        "What ROUGE does not see: the share of summaries in the language asked for (of those where it can be told), "
        "their length in words and beside the reference's, trigrams that repeat, and trigrams copied from the source."
    )
    heads = ["from", "to", "right language", "words", "length / reference", "repeated", "copied", "empty"]
    return Table(caption, heads, rows, 2)


def _paper(systems: Sequence[tuple[str, Mapping[str, Any]]]) -> Part | None:
    tables = filled([(name, scores) for name, scores in systems if "others" in scores])
    if not tables:
        return None
    part = Part("paper", "Beside the paper")
    part.content.append(
        "The paper's figures come from its authors' scorers: answers are compared in Latin letters, and a word of "
        "ROUGE is a piece of their tokenizer. Only rows of ours that say so are scored like them."
    )
    for entry in tables:
        table = entry.table
        caption = f"Table {table.number} of the paper: {table.title}. {'/'.join(_LABELS[m] for m in table.measures)}."
        rows = [[f"paper: {row.model}", "the paper's", *(cell or "–" for cell in row.cells)] for row in table.rows]
        ours = [[name, way, *(cell or "–" for cell in cells)] for name, way, cells in entry.ours]
        heads = ["model", "scorer", *(column.name for column in table.columns)]
        part.content.append(Table(f"{caption} {table.remark}".strip(), heads, rows, 2, ours))
        tasks = {column.task for column in table.columns}
        part.content.append("; ".join(_basis(*system) for system in systems if _task(system[1]) in tasks) + ".")
    return part


def _basis(name: str, scores: Mapping[str, Any]) -> str:
    """How much our figures rest on: the paper's are of whole test sets."""
    pairs = len(scores["pairs"])
    of_pairs = f"{pairs} pairs of languages" if pairs > 1 else "1 pair of languages"
    return f"{name} has {scores['overall']['examples']:,} examples of {_task(scores)}, {of_pairs}"


def _task(scores: Mapping[str, Any]) -> str:
    return str(scores.get("task", {}).get("name", ""))


def _paired(
    called: Sequence[tuple[str, Path]], systems: Mapping[int, tuple[str, Mapping[str, Any]]], resamples: int
) -> Part | None:
    """Every two systems with the same task, on the examples that both have."""
    rows: dict[tuple[str, ...], list[list[str]]] = {}
    for one, two in combinations(range(len(called)), 2):
        first, second = systems[one][1], systems[two][1]
        if _task(first) != _task(second) or first["scorer"] != second["scorer"]:
            continue
        groups, items = _differences(called[one][1], called[two][1], first)
        shared = sum(map(len, groups))
        cells = ["no example in common"] * len(first["measures"])
        if shared:
            p = paired_p(groups, items, resamples)
            means = np.mean([group.mean(axis=0) for group in groups], axis=0) * first["scale"]
            digits = 2 if first["scale"] == 100 else 4
            cells = [
                f"{mean:+.{digits}f}, p {value:.3f}{' *' if value < _SIGNIFICANT else ''}"
                for mean, value in zip(means, p, strict=True)
            ]
        title = first.get("task", {}).get("title") or "Summaries"
        row = [title, called[one][0], called[two][0], f"{shared:,}", *cells]
        rows.setdefault(tuple(first["measures"]), []).append(row)
    if not rows:
        return None
    caption = (
        "The first system's mean over language pairs less the second's, on the examples both have, with the two-sided "
        f"p of a paired bootstrap ({resamples} resamples). * below {_SIGNIFICANT}; nothing is corrected for many tests."
    )
    tables: list[str | Table] = [
        Table(caption, ["task", "system", "against", "examples", *(_LABELS[name] for name in measures)], lines, 3)
        for measures, lines in rows.items()
    ]
    return Part("tests", "One system beside another", tables)


def _differences(one: Path, two: Path, scores: Mapping[str, Any]) -> tuple[list[Any], list[Items]]:
    """For each pair of languages the differences by example, and what these are about."""
    scorer, measures = scores["scorer"], scores["measures"]
    second = {row["id"]: row for row in read_example_scores(two)}
    rows = [row for row in read_example_scores(one) if row["id"] in second]
    items = items_of((row["id"], row["target_lang"]) for row in rows)
    groups: dict[tuple[str, str], list[int]] = {}
    for number, row in enumerate(rows):
        groups.setdefault((row["lang"], row["target_lang"]), []).append(number)
    values = np.array([[row[scorer][m] - second[row["id"]][scorer][m] for m in measures] for row in rows])
    return [values[group] for group in groups.values()], [items[group] for group in groups.values()]


def _bits(result: Mapping[str, Any]) -> Part:
    rows = sorted(result["languages"].values(), key=lambda row: (row["bits_per_byte"], row["lang"]))
    overall = result["overall"]
    caption = (
        "Of held-out documents, lower is better; 8 would be guessing bytes blindly. Comparable between tokenizers, but "
        "between languages only with care: a character takes one byte in Latin script, three in most Asian ones."
    )

    def cells(name: str, row: Mapping[str, Any]) -> list[str]:
        return [name, str(row["documents"]), str(row["bytes"]), f"{row['bits_per_byte']:.3f}"]

    heads = ["language", "documents", "bytes", "bits per byte"]
    table = Table(caption, heads, [cells(_name(row["lang"]), row) for row in rows], 1, [cells("all", overall)])
    mean = f"Mean over {len(rows)} languages, each weighing the same: {overall['macro']:.3f}."
    return Part("bits", "Bits per byte", [table, mean])


def _name(code: str) -> str:
    name = language_name(code)
    return f"{name} ({code})" if name != code else code
