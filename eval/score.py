"""Makes scores/1 of a predictions/1 directory.

scores.json holds the task's measures for each pair of source and target language, for each target language over all its
examples, overall, and for the means that the task declares, with 95 % intervals by bootstrap. `macro` is the mean over
pairs, in which a language of few examples weighs as much as English. `others` has the same for further scorers, such as
the authors' own. examples.jsonl holds every example's scores, for tests of one system beside another.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import MGLMError
from core.languages import canonical_code
from core.log import get_logger
from core.manifest import read_manifest, sha256_file, write_atomically
from core.stage import open_stage
from eval.bootstrap import Items, interval
from eval.predictions import PREDICTIONS, Prediction, read_predictions
from eval.records import item_of
from eval.scorers import AUTHORS, Scorer, scorer_of
from tokenizer.encoding import MODEL_NAME

SCORES = "scores/1"
FILE_NAME = "scores.json"
EXAMPLES_FILE = "examples.jsonl"

_log = get_logger("eval")

Matrix = NDArray[np.float64]


def score_directory(
    predictions: Path,
    output: Path,
    *,
    tokenizer: Path | None = None,
    resamples: int = 1000,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Scores a predictions/1 directory into scores/1 and returns what scores.json holds.

    `tokenizer` adds the authors' ROUGE; their way with answers is added where unidecode is installed.

    Raises:
        MGLMError: no predictions there, doubled ids, or a tokenizer that is none.
    """
    manifest = read_manifest(predictions, PREDICTIONS)
    inputs = {"predictions": manifest.content_hash()}
    given = read_predictions(predictions)
    if not given:
        raise MGLMError(
            f"{predictions}", found="no prediction", expected="at least one", action="run mglm eval predict"
        )
    task: dict[str, Any] = manifest.facts.get("task", {})
    scorers = _scorers(task.get("scorer", "rouge"), tokenizer)
    settings: dict[str, Any] = {"scorers": [scorer.name for scorer in scorers], "resamples": resamples}
    if tokenizer is not None:
        settings["tokenizer"] = sha256_file(tokenizer if tokenizer.is_file() else tokenizer / MODEL_NAME)
    stage = open_stage(output, schema=SCORES, config=settings, inputs=inputs, overwrite=overwrite)
    if stage.done:
        _log.info("already made: %s", output)
        return read_scores(output)
    matrices = [_matrix(scorer, given) for scorer in scorers]
    scores = {"decoding": manifest.config, **_summary(given, task, scorers, matrices, resamples)}
    with (output / EXAMPLES_FILE).open("w", encoding="utf-8") as file:
        for index, item in enumerate(given):
            row: dict[str, Any] = {"id": item.id, "lang": item.lang, "target_lang": item.target_lang}
            for scorer, matrix in zip(scorers, matrices, strict=True):
                row[scorer.name] = dict(zip(scorer.measures, matrix[index].tolist(), strict=True))
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    write_atomically(output / FILE_NAME, json.dumps(scores, indent=1, ensure_ascii=False))
    overall = scores["overall"]
    made = stage.finish(rows={EXAMPLES_FILE: len(given)}, facts={"examples": overall["examples"]}).made
    _log.info(
        "scored %d predictions in %d language pairs, %s, in %.1f s: %s",
        overall["examples"], len(scores["pairs"]),
        ", ".join(f"{name} {overall[name]:.3f}" for name in scores["measures"]), made["wall_s"], output,
    )  # fmt: skip
    if empty := sum(not item.prediction.strip() for item in given):
        _log.warning("%d of %d predictions are empty and score 0", empty, len(given))
    return scores


def read_scores(directory: Path) -> dict[str, Any]:
    """scores.json of a finished scores/1 directory."""
    read_manifest(directory, SCORES)
    scores: dict[str, Any] = json.loads((directory / FILE_NAME).read_text("utf-8"))
    return scores


def read_example_scores(directory: Path) -> list[dict[str, Any]]:
    """Rows of examples.jsonl: id, languages and, by scorer's name, each measure."""
    read_manifest(directory, SCORES)
    path = directory / EXAMPLES_FILE
    if not path.exists():
        raise MGLMError(
            f"{path}", found="no such file", expected="scores by example", action="run mglm eval score again"
        )
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def _scorers(name: str, tokenizer: Path | None) -> list[Scorer]:
    scorers = [scorer_of(name)]
    if name == "rouge" and tokenizer is not None:
        scorers.append(scorer_of(name, AUTHORS, tokenizer))
    if name in ("squad", "mlqa"):
        try:
            scorers.append(scorer_of(name, AUTHORS))
        except MGLMError as error:
            _log.info("%s", error)
    return scorers


def _matrix(scorer: Scorer, predictions: Sequence[Prediction]) -> Matrix:
    """[examples, measures] in the order given, worked out language by language."""
    matrix = np.zeros((len(predictions), len(scorer.measures)))
    by_target: dict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(predictions):
        by_target[item.target_lang].append(index)
    for target_lang, indices in by_target.items():
        group = [predictions[index] for index in indices]
        accepted = [item.accepted() for item in group]
        matrix[indices] = scorer.each(accepted, [item.prediction for item in group], target_lang)
    return matrix


def _summary(
    predictions: Sequence[Prediction],
    task: Mapping[str, Any],
    scorers: Sequence[Scorer],
    matrices: Sequence[Matrix],
    resamples: int,
) -> dict[str, Any]:
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, item in enumerate(predictions):
        groups[item.lang, item.target_lang].append(index)
    items = items_of((item.id, item.target_lang) for item in predictions)
    tables = [
        _table(scorer, matrix, items, dict(sorted(groups.items())), task.get("averages", []), resamples)
        for scorer, matrix in zip(scorers, matrices, strict=True)
    ]
    if task.get("kind", "summary") == "summary":
        from eval.writing import writing

        for row in tables[0]["pairs"]:
            chosen = [predictions[index] for index in groups[row["lang"], row["target_lang"]]]
            row["writing"] = writing(chosen, row["target_lang"])
    return {"schema": SCORES, "task": dict(task), **tables[0], "others": tables[1:]}


def _table(
    scorer: Scorer,
    matrix: Matrix,
    items: Items,
    groups: Mapping[tuple[str, str], list[int]],
    averages: Sequence[Mapping[str, Any]],
    resamples: int,
) -> dict[str, Any]:
    pairs = [
        {
            "lang": lang,
            "target_lang": target_lang,
            "examples": len(indices),
            **_row(scorer, [matrix[indices]], [items[indices]], resamples),
            "tokenization": scorer.tokenization(canonical_code(target_lang)),
        }
        for (lang, target_lang), indices in groups.items()
    ]

    def over(chosen: Sequence[tuple[str, str]]) -> dict[str, Any]:
        parts, about = [matrix[groups[pair]] for pair in chosen], [items[groups[pair]] for pair in chosen]
        macro = _row(scorer, parts, about, resamples)
        micro = _row(scorer, [np.concatenate(parts)], [np.concatenate(about)], resamples)
        return {"examples": sum(map(len, parts)), **micro, "macro": macro}

    targets = []
    for target_lang in sorted({target for _, target in groups}):
        named = over([pair for pair in groups if pair[1] == target_lang])
        targets.append(
            {"target_lang": target_lang, **named, "tokenization": scorer.tokenization(canonical_code(target_lang))}
        )
    declared = []
    for average in averages:
        chosen = [pair for pair in groups if _counts(average, *pair)]
        if chosen:
            about = [items[groups[pair]] for pair in chosen]
            row = _row(scorer, [matrix[groups[pair]] for pair in chosen], about, resamples)
            declared.append({"name": average["name"], "pairs": len(chosen), **row})
    return {
        "scorer": scorer.name,
        "measures": list(scorer.measures),
        "scale": scorer.scale,
        "pairs": pairs,
        "targets": targets,
        "overall": over(list(groups)),
        "averages": declared,
    }


def _counts(average: Mapping[str, Any], lang: str, target_lang: str) -> bool:
    """Whether a pair belongs to a declared mean."""
    if average.get("same_language") and lang != target_lang:
        return False
    return lang not in average.get("without", []) and (not average.get("only") or lang in average["only"])


def items_of(examples: Iterable[tuple[str, str]]) -> Items:
    """Numbers for what examples, given by id and target language, are about."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(item_of(*one), len(numbers)) for one in examples], dtype=np.int64)


def _row(scorer: Scorer, parts: Sequence[Matrix], items: Sequence[Items], resamples: int) -> dict[str, Any]:
    """The measures' means over `parts`, each part weighing the same, and their intervals."""
    each = [scorer.means(part) for part in parts]
    row: dict[str, Any] = {name: sum(one[name] for one in each) / len(each) for name in scorer.measures}
    ends = interval(parts, items, resamples) * scorer.scale
    row["interval"] = {name: ends[:, column].tolist() for column, name in enumerate(scorer.measures)}
    return row
