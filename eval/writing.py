"""What ROUGE does not see in summaries: their language, length, repetition and what they copy.

Words are those of `eval.words` for the summary's language. Shares lie between 0 and 1.
"""

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

from core.languages import UNKNOWN, languages
from eval.language_check import detector
from eval.predictions import Prediction
from eval.words import words_of

N = 3  # n-grams of so many words count as repeated or copied


def writing(predictions: Sequence[Prediction], target_lang: str) -> dict[str, float | int | None]:
    """Means over summaries of one language.

    `language_rate`: of those in a language that can be told, the share in the right one. `words` and `length_ratio`:
    of the summary and beside its reference. `repetition`: trigrams that stood before in it. `copied`: trigrams that
    stand in the source, which needs predictions that hold it.
    """
    words = words_of(target_lang)
    told, right = 0, 0
    lengths, ratios, repeated, copied = [], [], [], []
    for item in predictions:
        said = words.tokenize(item.prediction)
        reference = words.tokenize(item.reference)
        lengths.append(len(said))
        if reference:
            ratios.append(len(said) / len(reference))
        trigrams = _ngrams(said)
        if trigrams:
            repeated.append(1 - len(set(trigrams)) / len(trigrams))
            if item.source:
                there = set(_ngrams(words.tokenize(item.source)))
                copied.append(sum(trigram in there for trigram in trigrams) / len(trigrams))
        if target_lang not in languages():
            continue  # the detector cannot name it
        lang = detector().detect(item.prediction).lang
        told += lang != UNKNOWN
        right += lang == target_lang
    return {
        "empty": sum(not item.prediction.strip() for item in predictions),
        "language_rate": right / told if told else None,
        "words": fmean(lengths),
        "length_ratio": fmean(ratios) if ratios else None,
        "repetition": fmean(repeated) if repeated else None,
        "copied": fmean(copied) if copied else None,
    }


def _ngrams(words: Sequence[str]) -> list[tuple[str, ...]]:
    assert N == 3
    return [(first, second, third) for (first, second), (_, third) in pairwise(pairwise(words))]
