"""A translator plugged in by its user; none ships. It turns one side of a monolingual data set into another language.

The paper (§4.1) translates SciTLDR's summaries into Chinese and its articles, so that a model learns to summarise from
and into both. `eval.translator = "package.module:function"` names a function of the user's:

    def translate(texts: list[str], source: str, target: str) -> list[str]: ...
"""

import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

from core.errors import MGLMError
from eval.records import Record, Rejected

Translator = Callable[[list[str], str, str], list[str]]

_BATCH = 64  # texts handed over at once


def load_translator(name: str) -> Translator:
    """The function that `package.module:function` names.

    Raises:
        MGLMError: there is none, or it does not take texts and two languages.
    """
    module, _, function = name.partition(":")
    where = f"eval.translator {name!r}"
    expected = "package.module:function, a function of (texts, source, target)"
    try:
        found = getattr(importlib.import_module(module), function)
        inspect.signature(found).bind([], "en", "zh")
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise MGLMError(where, found=str(error), expected=expected, action="check the name and PYTHONPATH") from None
    translator: Translator = found
    return translator


def translated(records: Iterator[Record | Rejected], side: str, translate: Translator) -> Iterator[Record | Rejected]:
    """Records whose `side` (`text` or `target`) is translated from the other side's language.

    Raises:
        MGLMError: the translator gave another number of texts.
    """
    while batch := list(islice(records, _BATCH)):
        sound = [record for record in batch if isinstance(record, Record)]
        done = iter(_translate(sound, side, translate))
        for record in batch:
            yield next(done) if isinstance(record, Record) else record


def _translate(records: list[Record], side: str, translate: Translator) -> list[Record]:
    if not records:
        return []
    first = records[0]
    source, target = (first.target_lang, first.lang) if side == "text" else (first.lang, first.target_lang)
    texts = [record.texts["text"] if side == "text" else record.targets[0] for record in records]
    results = translate(texts, source, target)
    if len(results) != len(texts) or not all(isinstance(result, str) for result in results):
        found = f"{len(results)} results for {len(texts)} texts"
        raise MGLMError("eval.translator", found=found, expected="one text for each")
    if side == "text":
        return [
            replace(record, texts=record.texts | {"text": result}, targets=record.targets[:1])
            for record, result in zip(records, results, strict=True)
        ]
    return [replace(record, targets=(result,)) for record, result in zip(records, results, strict=True)]
