"""SQuAD v1.1: exact match and F1 in percent, as its published scorer defines them (Rajpurkar et al., 2016).

XQuAD and TyDiQA-GoldP are scored with it in every language, English articles and ASCII punctuation included: that is
what published figures do, however ill it fits a language without spaces.
"""

import json
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import MGLMError
from eval.texts import check_ids, check_unique, read_text

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def squad(answers: Mapping[str, Sequence[str]], predictions: Mapping[str, str]) -> dict[str, float]:
    """`{"exact_match": …, "f1": …}`: for each question the best over its answers, then the mean over questions.

    Raises:
        MGLMError: the two do not hold the same ids.
    """
    check_ids(answers, predictions, "predictions")
    exact = [max(float(normalised(predictions[key]) == normalised(gold)) for gold in answers[key]) for key in answers]
    f1 = [max(token_f1(predictions[key], gold) for gold in answers[key]) for key in answers]
    return {"exact_match": 100 * sum(exact) / len(exact), "f1": 100 * sum(f1) / len(f1)}


def normalised(answer: str) -> str:
    """Lower case without ASCII punctuation, English articles and surplus white space, in this order."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_NO_PUNCTUATION)).split())


def token_f1(prediction: str, gold: str) -> float:
    """Harmonic mean of precision and recall over the words of both as bags; 0 when they share none."""
    predicted, wanted = normalised(prediction).split(), normalised(gold).split()
    common = sum((Counter(predicted) & Counter(wanted)).values())
    if common == 0:
        return 0.0
    return 2 * common / (len(predicted) + len(wanted))


def read_answers(path: Path) -> dict[str, list[str]]:
    """Question id → its answers, from a SQuAD-style file (`data` → `paragraphs` → `qas`).

    Raises:
        MGLMError: not JSON, another structure, a question without answers, or a doubled id.
    """
    document = _read_json(path)
    pairs: list[tuple[str, list[str]]] = []
    try:
        for article in document["data"]:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    texts = [str(answer["text"]) for answer in question["answers"]]
                    pairs.append((str(question["id"]), texts))
    except (KeyError, TypeError) as error:
        expected = "a SQuAD v1.1 file: data, paragraphs, qas with id and answers"
        raise MGLMError(f"{path}", found=f"no {error}", expected=expected) from None
    if not pairs:
        raise MGLMError(f"{path}", found="no questions", expected="at least one")
    for key, texts in pairs:
        if not texts:
            raise MGLMError(f"{path}, question {key}", found="no answers", expected="at least one, as in SQuAD v1.1")
    check_unique((key for key, _ in pairs), str(path))
    return dict(pairs)


def read_predictions(path: Path) -> dict[str, str]:
    """Question id → predicted text, from a JSON object.

    Raises:
        MGLMError: not JSON, not an object of strings, or a doubled id.
    """
    document = _read_json(path)
    if not isinstance(document, dict):
        raise MGLMError(f"{path}", found=type(document).__name__, expected="a JSON object {id: text}")
    for key, text in document.items():
        if not isinstance(text, str):
            raise MGLMError(f"{path}, id {key}", found=json.dumps(text)[:60], expected="a text")
    return document


def _read_json(path: Path) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        check_unique((key for key, _ in pairs), str(path))
        return dict(pairs)

    try:
        return json.loads(read_text(path), object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise MGLMError(f"{path}", found=str(error), expected="JSON") from None
