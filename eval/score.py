"""Scores: two files scored against one another, or a predictions/1 directory made into scores/1.

scores.json holds ROUGE for each pair of source and target language, for each target language over all its examples,
and overall. `macro` is the mean over pairs, in which a language of few examples weighs as much as English.
"""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from core.errors import MGLMError
from core.languages import canonical_code, languages
from core.log import get_logger
from core.manifest import open_stage, read_manifest, write_atomically
from eval.predictions import PREDICTIONS, Prediction, read_predictions
from eval.texts import read_pairs

SCORES = "scores/1"
FILE_NAME = "scores.json"
TASKS = ("rouge", "squad")

_log = get_logger("eval")


def score_files(task: str, language: str | None, references: Path, predictions: Path) -> dict[str, Any]:
    """`{"exact_match", "f1"}` in percent for `squad`; `{"rouge1", "rouge2", "rougeL"}` between 0 and 1 for `rouge`.

    Raises:
        MGLMError: an unknown task, no known language for ROUGE, or files that do not match.
    """
    if task == "squad":
        from eval import squad

        answers = squad.read_answers(references)
        predicted = squad.read_predictions(predictions)
        return {**squad.squad(answers, predicted), "questions": len(answers)}
    if task == "rouge":
        if language is None or canonical_code(language) not in languages():
            found = language or "none"
            expected = "the language of the texts, one of the 101, e.g. zh: it decides what a word is"
            raise MGLMError("--language", found=found, expected=expected)
        from eval.rouge import rouge

        wanted, given = read_pairs(references, predictions)
        scores = rouge(wanted, given, language)
        return {**scores.means, "examples": scores.examples, "tokenization": scores.tokenization}
    raise MGLMError("--task", found=task, expected=f"one of {', '.join(TASKS)}")


def score_directory(predictions: Path, output: Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Scores a predictions/1 directory into scores/1 and returns what scores.json holds."""
    manifest = read_manifest(predictions, PREDICTIONS)
    inputs = {"predictions": manifest.content_hash()}
    given = read_predictions(predictions)
    stage = open_stage(output, schema=SCORES, config={"measure": "rouge"}, inputs=inputs, overwrite=overwrite)
    if stage.done:
        _log.info("already made: %s", output)
        return read_scores(output)
    scores = {"decoding": manifest.config, **score_predictions(given)}
    write_atomically(output / FILE_NAME, json.dumps(scores, indent=1, ensure_ascii=False))
    made = stage.finish(facts={"examples": scores["overall"]["examples"]}).made
    overall = scores["overall"]
    _log.info(
        "scored %d predictions in %d language pairs, ROUGE-1/2/L %.3f/%.3f/%.3f, in %.1f s: %s",
        overall["examples"], len(scores["pairs"]), *(overall[name] for name in ("rouge1", "rouge2", "rougeL")),
        made["wall_s"], output,
    )  # fmt: skip
    return scores


def score_predictions(predictions: list[Prediction]) -> dict[str, Any]:
    """The content of scores.json: `pairs`, `targets` and `overall`, each with ROUGE and the number of examples."""
    if not predictions:
        raise MGLMError("predictions", found="none", expected="at least one", action="run mglm eval predict")
    from eval.rouge import MEASURES, rouge

    groups: dict[tuple[str, str], list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        groups[prediction.lang, prediction.target_lang].append(prediction)
    pairs: list[dict[str, Any]] = []
    for (lang, target_lang), group in sorted(groups.items()):
        scores = rouge([item.reference for item in group], [item.prediction for item in group], target_lang)
        pairs.append(
            {
                "lang": lang,
                "target_lang": target_lang,
                "examples": scores.examples,
                **scores.means,
                "tokenization": scores.tokenization,
            }
        )

    def mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
        examples = sum(row["examples"] for row in rows)
        micro = {name: sum(row[name] * row["examples"] for row in rows) / examples for name in MEASURES}
        return {"examples": examples, **micro, "macro": {n: sum(r[n] for r in rows) / len(rows) for n in MEASURES}}

    targets = []
    for target_lang in sorted({row["target_lang"] for row in pairs}):
        rows = [row for row in pairs if row["target_lang"] == target_lang]
        targets.append({"target_lang": target_lang, **mean(rows), "tokenization": rows[0]["tokenization"]})
    return {"schema": SCORES, "pairs": pairs, "targets": targets, "overall": mean(pairs)}


def read_scores(directory: Path) -> dict[str, Any]:
    """scores.json of a finished scores/1 directory."""
    read_manifest(directory, SCORES)
    scores: dict[str, Any] = json.loads((directory / FILE_NAME).read_text("utf-8"))
    return scores
