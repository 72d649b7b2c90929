"""The task `summaries`: an article in any language, a summary in English, in Chinese, or one of each.

In: JSONL records `{"id", "text", "lang"?, "summary_en"?, "summary_zh"?}`. Out: an example for each summary, its id the
record's with `:en` or `:zh`, prompted as the paper's section 3.3.2. All examples of one text are in one split, the
split its text has as a document of the corpus. (The corpus may hold out one document more of a language of which the
share alone would hold out none; such a text can be trained on here.)
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from core.detector import LanguageDetector
from core.documents import document_id, split_of
from core.errors import MGLMError
from core.examples import Example
from core.languages import canonical_code, languages
from core.text import normalise
from eval.records import RAW_CHARACTERS, Outcome, Rejected, Unsummarised
from tokenizer.prompts import summary_source

NAME = "summaries"
TARGETS = ("en", "zh")  # the columns are summary_en and summary_zh


def read_summaries(paths: list[Path], heldout_share: float) -> Iterator[Outcome]:
    """Yields for each record, in order, its examples, or why there are none. Blank lines are not records.

    Raises:
        MGLMError: a file cannot be read to its end.
    """
    seen: set[str] = set()
    for path in paths:
        try:
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
                for number, raw in enumerate(file, start=1):
                    text = raw.decode("utf-8", "replace")  # as corpus does: the same document must come out
                    if number == 1:
                        text = text.removeprefix("\ufeff")
                    if not text.strip():
                        continue
                    outcome = _examples(text, heldout_share, seen)
                    if isinstance(outcome, str):
                        yield Rejected(str(path), number, outcome, text[:RAW_CHARACTERS].strip())
                    else:
                        yield outcome
        except (OSError, EOFError, zlib.error) as error:
            raise MGLMError(f"input {path}", found=str(error), expected="a JSONL file, or .gz of one") from None


def _examples(line: str, heldout_share: float, seen: set[str]) -> list[Example] | Unsummarised | str:
    """The examples of one record, or the reason to reject it. `seen` holds the ids so far."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # ValueError also for an integer of thousands of digits
        return "not_json"
    if not isinstance(record, dict):
        return "not_an_object"
    record_id = record.get("id")
    if not isinstance(record_id, str | int) or isinstance(record_id, bool) or not normalise(str(record_id)):
        return "no_id"
    text = _normalised(record.get("text"))
    if not text:
        return "no_text"
    if any(not isinstance(record.get(f"summary_{target}"), str | None) for target in TARGETS):
        return "summary_not_a_string"
    summaries = {target: _normalised(record.get(f"summary_{target}")) for target in TARGETS}
    key = normalise(str(record_id))
    if key in seen:
        return "doubled_id"
    seen.add(key)
    split = split_of(document_id(text), heldout_share)
    lang = _language(record.get("lang"), text)
    examples = [
        Example(
            id=f"{key}:{target}",
            task=NAME,
            lang=lang,
            target_lang=target,
            split="heldout" if split == "heldout" else "train",
            source=summary_source(text, target),
            target=summary,
        )
        for target, summary in summaries.items()
        if summary
    ]
    return examples or Unsummarised()


def _normalised(value: Any) -> str:
    return normalise(value) if isinstance(value, str) else ""


def _language(stated: Any, text: str) -> str:
    """What the record says, if it is one of the 101, else what the detector says; it only groups the scores."""
    if isinstance(stated, str) and canonical_code(stated) in languages():
        return canonical_code(stated)
    return _detector().detect(text).lang


@cache
def _detector() -> LanguageDetector:
    return LanguageDetector()
