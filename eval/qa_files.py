"""Questions with their answers, and predicted answers, as files: SQuAD-style JSON, and JSON `{id: text}`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import MGLMError
from eval.texts import check_unique, read_text


@dataclass(frozen=True)
class Answers:
    """Right answers by question's id; `contexts` are the first characters of what they stand in, to tell a language."""

    by_id: dict[str, list[str]]
    contexts: list[str]


def read_answers(path: Path) -> Answers:
    """The answers of a SQuAD-style file (`data` → `paragraphs` → `qas`).

    Raises:
        MGLMError: not JSON, another structure, a question without answers, or a doubled id.
    """
    document = _read_json(path)
    pairs: list[tuple[str, list[str]]] = []
    contexts: list[str] = []
    try:
        for article in document["data"]:
            for paragraph in article["paragraphs"]:
                contexts.append(str(paragraph.get("context", "")))
                for question in paragraph["qas"]:
                    texts = [str(answer["text"]) for answer in question["answers"]]
                    pairs.append((str(question["id"]), texts))
    except (KeyError, TypeError, AttributeError) as error:
        expected = "a SQuAD v1.1 file: data, paragraphs, qas with id and answers"
        raise MGLMError(f"{path}", found=f"no {error}", expected=expected) from None
    if not pairs:
        raise MGLMError(f"{path}", found="no questions", expected="at least one")
    for key, texts in pairs:
        if not texts:
            raise MGLMError(f"{path}, question {key}", found="no answers", expected="at least one, as in SQuAD v1.1")
    check_unique((key for key, _ in pairs), str(path))
    return Answers(dict(pairs), contexts)


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
    except (ValueError, RecursionError) as error:  # ValueError also for an integer of thousands of digits
        raise MGLMError(f"{path}", found=str(error), expected="JSON") from None
