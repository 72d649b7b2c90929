"""ROUGE-1, ROUGE-2 and ROUGE-L: the F-measure between 0 and 1 (Lin, 2004), as Google's `rouge-score` works it out.

The words come from `eval.words`, since `rouge-score`'s own drop every character outside ASCII. The arithmetic is its
own to the last bit; the longest common subsequence is rapidfuzz's, bit-parallel and in C.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq

from core.errors import MGLMError
from eval.words import Words, words_of

MEASURES = ("rouge1", "rouge2", "rougeL")
_FEW = 1500


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
    scores = rouge_each([[reference] for reference in references], predictions, words)
    means = [total / len(scores) for total in sums(scores)]
    return RougeScores(dict(zip(MEASURES, means, strict=True)), len(references), words.name)


def rouge_each(references: Sequence[Sequence[str]], predictions: Sequence[str], words: Words) -> NDArray[np.float64]:
    """[examples, measures]: each prediction against the reference, of those of its example, with the most ROUGE-1.

    Source of the choice: SciTLDR's script. The first wins a tie.
    """
    scores = []
    for accepted, prediction in zip(references, predictions, strict=True):
        said = words.tokenize(prediction)
        each = [f_measures(words.tokenize(reference), said) for reference in accepted]
        scores.append(each[0] if len(each) == 1 else max(each, key=lambda measures: measures[0]))
    return np.array(scores).reshape(-1, len(MEASURES))


def f_measures(reference: Sequence[str], prediction: Sequence[str]) -> tuple[float, float, float]:
    """ROUGE-1, -2 and -L of two lists of words."""
    if not reference or not prediction:
        return 0.0, 0.0, 0.0
    shared = shared_items(reference, prediction)
    if shared == 0:  # no word in common: no pair and no subsequence either
        return 0.0, 0.0, 0.0
    wanted, given = len(reference), len(prediction)
    pairs = shared_items(list(pairwise(reference)), list(pairwise(prediction)))
    longest = int(LCSseq.similarity(reference, prediction))
    return _f(shared, wanted, given), _f(pairs, wanted - 1, given - 1), _f(longest, wanted, given)


def sums(scores: NDArray[np.float64]) -> list[float]:
    """The sum of each column, added up one after another as the official loops do: numpy's last digit may differ."""
    return [float(total) for total in np.cumsum(scores, axis=0)[-1]]


def shared_items(reference: Sequence[Hashable], prediction: Sequence[Hashable]) -> int:
    """How many of the prediction's items the reference has, each as often as there at most."""
    common = set(reference).intersection(prediction)
    if len(common) * (len(reference) + len(prediction)) <= _FEW:  # counting in C is quicker while texts are short
        return sum(min(reference.count(item), prediction.count(item)) for item in common)
    wanted, given = Counter(reference), Counter(prediction)
    return sum(min(wanted[item], given[item]) for item in common)


def _f(shared: int, wanted: int, given: int) -> float:
    if shared == 0:
        return 0.0
    precision, recall = shared / given, shared / wanted
    return 2 * precision * recall / (precision + recall)
