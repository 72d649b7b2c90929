"""Scorers by name: the standard one of a task and the authors' own, behind one shape."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import MGLMError
from core.languages import canonical_code, languages

STANDARD, AUTHORS = "standard", "authors"
WAYS = (STANDARD, AUTHORS)


@dataclass(frozen=True)
class Scorer:
    """`each` gives [examples, measures] between 0 and 1 for (right answers, predictions, language); means are
    multiplied by `scale`: percent for answers, as their papers have it. `tokenization` says what counted as a word, or
    how answers were normalised."""

    name: str
    measures: tuple[str, ...]
    scale: float
    each: Callable[[Sequence[Sequence[str]], Sequence[str], str], NDArray[np.float64]]
    tokenization: Callable[[str], str]

    def means(self, scores: NDArray[np.float64]) -> dict[str, float]:
        """Each measure's mean over the examples, in the scorer's scale."""
        from eval.rouge import sums

        return {name: self.scale * total / len(scores) for name, total in zip(self.measures, sums(scores), strict=True)}


def scorer_of(task: str, way: str = STANDARD, tokenizer: Path | None = None) -> Scorer:
    """The scorer `task` (rouge, squad, mlqa or accuracy) in a way of `WAYS`.

    Raises:
        MGLMError: an unknown name, or the authors' ROUGE without a tokenizer.
    """
    if way not in WAYS:
        raise MGLMError("--scorer", found=way, expected=f"one of {', '.join(WAYS)}")
    if task == "rouge":
        return _authors_rouge(tokenizer) if way == AUTHORS else _rouge()
    if task in ("squad", "mlqa"):
        return _authors_answers() if way == AUTHORS else _answers(task)
    if task == "accuracy":
        return Scorer("accuracy", ("accuracy",), 100.0, _accuracy, lambda language: "labels")
    raise MGLMError("a scorer", found=task, expected="rouge, squad, mlqa or accuracy")


def known_language(language: str | None) -> str:
    """The code of one of the 101 languages.

    Raises:
        MGLMError: none given, or an unknown one.
    """
    if language is None or canonical_code(language) not in languages():
        expected = "the language of the texts, one of the 101, e.g. zh: it decides what a word is"
        raise MGLMError("--language", found=language or "none", expected=expected)
    return canonical_code(language)


def _rouge() -> Scorer:
    from eval.rouge import MEASURES, rouge_each
    from eval.words import words_of

    return Scorer(
        "rouge",
        MEASURES,
        1.0,
        lambda accepted, predictions, language: rouge_each(accepted, predictions, words_of(language)),
        lambda language: words_of(language).name,
    )


def _authors_rouge(tokenizer: Path | None) -> Scorer:
    from eval.authors import piece_words, without_repetition
    from eval.rouge import MEASURES, rouge_each

    if tokenizer is None:
        expected = "the SentencePiece model whose ids count as words, or a directory of mglm tokenizer train"
        raise MGLMError("--scorer authors for summaries", found="no --tokenizer", expected=expected)
    words = piece_words(tokenizer)
    return Scorer(
        "rouge, the authors' way",
        MEASURES,
        1.0,
        lambda accepted, predictions, _: rouge_each(
            [answers[-1:] for answers in accepted], [without_repetition(text) for text in predictions], words
        ),
        lambda language: words.name,
    )


def _answers(task: str) -> Scorer:
    from eval import mlqa, squad

    def each(accepted: Sequence[Sequence[str]], predictions: Sequence[str], language: str) -> NDArray[np.float64]:
        normalise = mlqa.normaliser(language) if task == "mlqa" else squad.normalised
        return squad.squad_each(accepted, predictions, normalise)

    return Scorer(task, squad.MEASURES, 100.0, each, lambda language: f"{task} {language}" if task == "mlqa" else task)


def _authors_answers() -> Scorer:
    from eval.authors import answer_normaliser
    from eval.squad import MEASURES, squad_each

    normalise = answer_normaliser()
    return Scorer(
        "squad after unidecode, the authors' way",
        MEASURES,
        100.0,
        lambda accepted, predictions, _: squad_each(accepted, predictions, normalise),
        lambda language: "authors-unidecode",
    )


def _accuracy(accepted: Sequence[Sequence[str]], predictions: Sequence[str], _: str) -> NDArray[np.float64]:
    return np.array([[float(given in right)] for right, given in zip(accepted, predictions, strict=True)])
