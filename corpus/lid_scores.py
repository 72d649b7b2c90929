"""Precision, recall, F1 and confusions of a detector's answers against gold labels.

A gold label outside the 101 counts as `und`: answering it with one of the 101 is an error of that language's precision.
Codes for local use (qaa to qtz) are languages like the 101.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.languages import UNKNOWN, code_of_label, languages


@dataclass(frozen=True)
class LanguageScore:
    """Of one language: texts whose gold it is, and shares between 0 and 1. None where nothing can be divided."""

    texts: int
    answered: int
    right: int

    @property
    def precision(self) -> float | None:
        return self.right / self.answered if self.answered else None

    @property
    def recall(self) -> float | None:
        return self.right / self.texts if self.texts else None

    @property
    def f1(self) -> float:
        return 2 * self.right / (self.texts + self.answered) if self.texts + self.answered else 0.0

    def rounded(self) -> dict[str, Any]:
        precision, recall = (None if x is None else round(x, 4) for x in (self.precision, self.recall))
        return {"texts": self.texts, "precision": precision, "recall": recall, "f1": round(self.f1, 4)}


@dataclass(frozen=True)
class Scores:
    """`languages`: those of the 101 with gold texts. `confusions`: (gold, answer) → texts, without the right ones.
    `outside`: texts outside the 101; `outside_accepted`: those that were taken for one of the 101."""

    texts: int
    right: int
    languages: dict[str, LanguageScore]
    confusions: Counter[tuple[str, str]]
    outside: int
    outside_accepted: int

    @property
    def accuracy(self) -> float:
        """Share of the texts of the 101 that were recognised."""
        return self.right / self.texts if self.texts else 0.0

    def macro_f1(self, codes: Sequence[str] | None = None) -> float:
        """The mean F1 of those of `codes` (none: of all) that have gold texts."""
        chosen = [s.f1 for code, s in self.languages.items() if codes is None or code in codes]
        return sum(chosen) / len(chosen) if chosen else 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "texts": self.texts,
            "accuracy": round(self.accuracy, 4),
            "macro_f1": round(self.macro_f1(), 4),
            "languages_with_texts": len(self.languages),
            "outside": {"texts": self.outside, "taken_for_one_of_the_101": self.outside_accepted},
            "languages": {code: score.rounded() for code, score in self.languages.items()},
            "confusions": [
                {"gold": gold, "answer": answer, "texts": n} for (gold, answer), n in ranked(self.confusions)
            ],
        }


def score(gold: Sequence[str], answers: Sequence[str]) -> Scores:
    """`gold`: a code of the 101 or any other label; `answers`: a code of the 101 or `und`; as many of each."""
    texts, answered, right = Counter[str](), Counter[str](), Counter[str]()
    confusions = Counter[tuple[str, str]]()
    outside_accepted = 0
    for truth, answer in zip(gold, answers, strict=True):
        answered[answer] += 1
        inside = truth == code_of_label(truth) != UNKNOWN
        if inside:
            texts[truth] += 1
            right[truth] += truth == answer
        if truth != answer and (inside or answer != UNKNOWN):
            confusions[truth, answer] += 1
            outside_accepted += not inside
    known_codes = [*languages(), *sorted(texts.keys() - languages().keys())]
    table = {code: LanguageScore(texts[code], answered[code], right[code]) for code in known_codes if texts[code]}
    known = sum(texts.values())
    return Scores(known, sum(right.values()), table, confusions, len(gold) - known, outside_accepted)


def ranked(confusions: Counter[tuple[str, str]]) -> list[tuple[tuple[str, str], int]]:
    """Most frequent first, ties by name."""
    return sorted(confusions.items(), key=lambda item: (-item[1], item[0]))
