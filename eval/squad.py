"""SQuAD v1.1: exact match and F1 in percent, as its published scorer defines them (Rajpurkar et al., 2016).

XQuAD and TyDiQA-GoldP are scored with it in every language, English articles and ASCII punctuation included: that is
what published figures do, however ill it fits a language without spaces. MLQA and the authors normalise otherwise
(`eval.mlqa`, `eval.authors`); what follows is theirs too.
"""

import re
import string
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from eval.rouge import shared_items, sums
from eval.texts import check_ids

MEASURES = ("f1", "exact_match")

Normaliser = Callable[[str], str]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(answer: str) -> str:
    """Lower case without ASCII punctuation, English articles and surplus white space, in this order."""
    return without_articles(answer.lower().translate(_NO_PUNCTUATION))


def without_articles(text: str) -> str:
    """Without English articles and surplus white space."""
    words = text.split()
    if "".join(words).isalnum():  # words end at spaces alone, so the slow search for boundaries can be spared
        return " ".join([word for word in words if word not in ("a", "an", "the")])
    return " ".join(_ARTICLES.sub(" ", text).split())


def squad(
    answers: Mapping[str, Sequence[str]], predictions: Mapping[str, str], normalise: Normaliser = normalised
) -> dict[str, float]:
    """`{"exact_match": …, "f1": …}` in percent: for each question the best over its answers, then the mean over
    questions.

    Raises:
        MGLMError: the two do not hold the same ids.
    """
    check_ids(answers, predictions, "predictions")
    scores = squad_each(list(answers.values()), [predictions[key] for key in answers], normalise)
    f1, exact = sums(scores)
    return {"exact_match": 100.0 * exact / len(scores), "f1": 100.0 * f1 / len(scores)}


def squad_each(
    answers: Sequence[Sequence[str]], predictions: Sequence[str], normalise: Normaliser = normalised
) -> NDArray[np.float64]:
    """[questions, 2]: F1 and exact match between 0 and 1, each the best over the question's answers."""
    scores = []
    for accepted, prediction in zip(answers, predictions, strict=True):
        said = normalise(prediction)
        wanted = [normalise(answer) for answer in accepted]
        words = said.split()
        scores.append((max([word_f1(words, one.split()) for one in wanted]), float(said in wanted)))
    return np.array(scores).reshape(-1, len(MEASURES))


def word_f1(prediction: Sequence[str], answer: Sequence[str]) -> float:
    """Harmonic mean of precision and recall over the words of both as bags; 0 when they share none."""
    shared = shared_items(answer, prediction)
    if shared == 0:
        return 0.0
    precision, recall = shared / len(prediction), shared / len(answer)
    return (2 * precision * recall) / (precision + recall)
