"""Scores of plain files: references and predictions that no stage of ours made."""

from pathlib import Path
from typing import Any

from core.errors import MGLMError
from core.log import get_logger
from eval.language_check import check_references, languages_in
from eval.mlqa import normaliser
from eval.qa_files import read_answers, read_predictions
from eval.scorers import STANDARD, known_language, scorer_of
from eval.texts import check_ids, read_pairs

TASKS = ("rouge", "squad", "mlqa")

_log = get_logger("eval")


def score_files(
    task: str,
    language: str | None,
    references: Path,
    predictions: Path,
    way: str = STANDARD,
    tokenizer: Path | None = None,
) -> dict[str, Any]:
    """`{"f1", "exact_match"}` in percent for `squad` and `mlqa`; `{"rouge1", "rouge2", "rougeL"}` between 0 and 1 for
    `rouge`; with counts of what a reader of the figures should know.

    Raises:
        MGLMError: an unknown task or language, files that do not match, or references of another language.
    """
    if task not in TASKS:
        raise MGLMError("--task", found=task, expected=f"one of {', '.join(TASKS)}")
    scorer = scorer_of(task, way, tokenizer)
    if task == "rouge":
        lang = known_language(language)
        wanted, given = read_pairs(references, predictions)
        accepted = [[text] for text in wanted]
        passages, unit = wanted, "examples"
    else:
        if task == "mlqa":
            normaliser(language or "")  # refuses a language that MLQA does not have
        lang = known_language(language) if language is not None else ""
        answers, by_id = read_answers(references), read_predictions(predictions)
        check_ids(answers.by_id, by_id, str(predictions))
        accepted, given = list(answers.by_id.values()), [by_id[key] for key in answers.by_id]
        passages, unit = answers.contexts, "questions"
    counted: dict[str, Any] = {"empty_predictions": sum(not text.strip() for text in given)}
    if counted["empty_predictions"]:
        _log.warning("%d of %d predictions are empty", counted["empty_predictions"], len(given))
    if lang:
        counted["references_in_another_language"] = check_references(passages, lang, str(references)).other
        if task == "rouge":
            counted["predictions_in_another_language"] = languages_in(given, lang).other
        for name in ("references", "predictions"):
            if counted.get(f"{name}_in_another_language"):
                _log.warning("%d %s are not in %s", counted[f"{name}_in_another_language"], name, lang)
    scores = scorer.each(accepted, given, lang)
    return {
        **scorer.means(scores), unit: len(given), "scorer": scorer.name, "tokenization": scorer.tokenization(lang),
        **counted,
    }  # fmt: skip
