"""One raw line → a verdict: the text and address of a document, or why it is none. Pure, without Spark.

Invalid UTF-8 is replaced, never fatal, and told. Nothing here raises because of what a line holds.
"""

import codecs
import json
from dataclasses import dataclass
from typing import Any

from core.text import normalise
from corpus.config import CorpusConfig
from corpus.lines import BYTE_ORDER_MARK, Line

RAW_CHARACTERS = 200  # of a rejected record's beginning, enough to recognise it

# Why a record is no document, as `rejected/` has it.
TOO_LONG = "too_long"
NOT_JSON = "not_json"
NOT_OBJECT = "not_an_object"
NO_TEXT = "no_text_field"
TEXT_NOT_STRING = "text_not_a_string"
EMPTY = "empty_text"
UNREADABLE = "unreadable"  # the rest of a file, from the offset on: a truncated download, a broken disk
REASONS = (TOO_LONG, NOT_JSON, NOT_OBJECT, NO_TEXT, TEXT_NOT_STRING, EMPTY, UNREADABLE)


@dataclass(frozen=True)
class Accepted:
    """A document to be: normalised text, never empty, and its address if the record gave one."""

    text: str
    url: str | None
    invalid_utf8: bool


@dataclass(frozen=True)
class Rejected:
    """A record that is no document: one of `REASONS`, the particulars, and the record's beginning."""

    reason: str
    detail: str
    raw: str
    invalid_utf8: bool


def is_blank(line: Line) -> bool:
    """Blank lines are no records and are not counted."""
    return line.broken is None and line.length == len(line.data) and not line.data.strip()


def parse_record(line: Line, config: CorpusConfig) -> Accepted | Rejected:
    """The verdict on one line."""
    data = line.data.removeprefix(BYTE_ORDER_MARK) if line.offset == 0 else line.data
    text, invalid = _decode(data, whole=line.length == len(line.data) and line.broken is None)

    def reject(reason: str, detail: str) -> Rejected:
        return Rejected(reason, normalise(detail)[:RAW_CHARACTERS], text[:RAW_CHARACTERS], invalid)

    if line.broken is not None:
        return reject(UNREADABLE, line.broken)
    if line.length > config.max_record_bytes:
        return reject(TOO_LONG, f"{line.length} bytes, more than {config.max_record_bytes}")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of too many digits
        return reject(NOT_JSON, str(error))
    if not isinstance(record, dict):
        return reject(NOT_OBJECT, _json_type(record))
    if config.text_field not in record:
        names = ", ".join(list(record)[:10])
        return reject(NO_TEXT, f"wanted {config.text_field}, found {names or 'no field'}")
    value = record[config.text_field]
    if not isinstance(value, str):
        return reject(TEXT_NOT_STRING, _json_type(value))
    normalised = normalise(value)
    if not normalised:
        return reject(EMPTY, f"{len(value)} characters, none left after normalisation")
    url = record.get(config.url_field)
    return Accepted(normalised, normalise(url) if isinstance(url, str) else None, invalid)


def _decode(data: bytes, *, whole: bool) -> tuple[str, bool]:
    """The text and whether bytes had to be replaced; a character cut in two at the end of a part is left out."""
    decoder = codecs.getincrementaldecoder("utf-8")
    try:
        return decoder("strict").decode(data, final=whole), False
    except UnicodeDecodeError:
        return decoder("replace").decode(data, final=whole), True


def _json_type(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
