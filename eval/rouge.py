"""ROUGE-1, ROUGE-2 and ROUGE-L: the mean F-measure between 0 and 1 (Lin, 2004), by Google's `rouge-score`.

The words come from `eval.words`, since `rouge-score`'s own drop every character outside ASCII.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rouge_score.rouge_scorer import RougeScorer

from core.errors import MGLMError
from eval.words import words_of

MEASURES = ("rouge1", "rouge2", "rougeL")


@dataclass(frozen=True)
class RougeScores:
    """Mean F-measure by measure's name, over how many examples, and what counted as words."""

    means: dict[str, float]
    examples: int
    tokenization: str


def rouge(references: Sequence[str], predictions: Sequence[str], language: str) -> RougeScores:
    """Scores predictions against as many references, both in `language`. An empty prediction scores 0.

    Raises:
        MGLMError: there is nothing to score.
    """
    if not references:
        raise MGLMError("ROUGE", found="no references", expected="at least one")
    words = words_of(language)
    scorer = RougeScorer(list(MEASURES), tokenizer=words)
    sums = dict.fromkeys(MEASURES, 0.0)
    for reference, prediction in zip(references, predictions, strict=True):
        scores = scorer.score(reference, prediction)
        for measure in MEASURES:
            sums[measure] += float(scores[measure].fmeasure)
    return RougeScores({name: total / len(references) for name, total in sums.items()}, len(references), words.name)
