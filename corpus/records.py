"""One raw record → a verdict: the text and address of a document, or why it is none. Pure, without Spark.

Invalid UTF-8 is replaced, never fatal, and told. Nothing here raises because of what a record holds.
"""

import codecs
import json
from dataclasses import dataclass
from typing import Any

from core.text import normalise
from corpus.config import CorpusConfig
from corpus.lines import BYTE_ORDER_MARK, Line
from corpus.mojibake import mend

_DECODER = codecs.getincrementaldecoder("utf-8")

RAW_CHARACTERS = 200  # of a rejected record's beginning, enough to recognise it

# Why a record is no document, as `rejected/` has it.
TOO_LONG = "too_long"
NOT_JSON = "not_json"
NOT_OBJECT = "not_an_object"
NO_TEXT = "no_text_field"
TEXT_NOT_STRING = "text_not_a_string"
EMPTY = "empty_text"
UNREADABLE = "unreadable"  # the rest of a file, from the offset on: a truncated download, overwritten bytes, a zip bomb
NOT_HTML = "not_html"  # a page of a WARC that is no HTML and no text
HTTP_STATUS = "http_status"  # an answer of a WARC other than 200
NOT_DECODED = "not_decoded"  # a page in a content encoding that is broken or not known, or that grows too far
TOO_DEEP = "too_deep"  # a page of elements nested as no author does, to make its reader take long
REASONS = (
    TOO_LONG,
    NOT_JSON,
    NOT_OBJECT,
    NO_TEXT,
    TEXT_NOT_STRING,
    EMPTY,
    UNREADABLE,
    NOT_HTML,
    HTTP_STATUS,
    NOT_DECODED,
    TOO_DEEP,
)
NO_RECORD = (NOT_JSON, NOT_OBJECT, NO_TEXT, TEXT_NOT_STRING)  # these have no text that could be judged


@dataclass(frozen=True)
class Accepted:
    """A document to be: normalised text, never empty, and its address if the record gave one."""

    text: str
    url: str | None
    invalid_utf8: bool
    mended: bool = False  # it was mojibake


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
    """The verdict on one line of JSON Lines."""
    verdict = check_line(line, config)
    if isinstance(verdict, Rejected):
        return verdict
    text, invalid = verdict
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of too many digits
        return reject(NOT_JSON, str(error), text, invalid)
    if not isinstance(record, dict):
        return reject(NOT_OBJECT, _json_type(record), text, invalid)
    if config.text_field not in record:
        names = ", ".join(list(record)[:10])
        return reject(NO_TEXT, f"wanted {config.text_field}, found {names or 'no field'}", text, invalid)
    value = record[config.text_field]
    if not isinstance(value, str):
        return reject(TEXT_NOT_STRING, _json_type(value), text, invalid)
    url = record.get(config.url_field)
    return accept(value, url if isinstance(url, str) else None, text, invalid, config)


def check_line(line: Line, config: CorpusConfig) -> tuple[str, bool] | Rejected:
    """The text of a line and whether bytes had to be replaced, unless it is broken or too long."""
    data = line.data.removeprefix(BYTE_ORDER_MARK) if line.offset == 0 else line.data
    text, invalid = decode(data, whole=line.length == len(line.data) and line.broken is None)
    if line.broken is not None:
        return reject(UNREADABLE, line.broken, text, invalid)
    if line.length > config.max_record_bytes:
        return reject(TOO_LONG, too_long(line.length, config), text, invalid)
    return text, invalid


def accept(value: str, url: str | None, raw: str, invalid: bool, config: CorpusConfig) -> Accepted | Rejected:
    """A document of `value` mended and normalised, unless nothing is left; `raw` is the record it stood in."""
    # Before normalisation, which takes out control characters: half of the mojibake of Latin-1 are those.
    mended = mend(value) if config.rules.mojibake else value
    normalised = normalise(mended)
    if not normalised:
        return reject(EMPTY, f"{len(value)} characters, none left after normalisation", raw, invalid)
    return Accepted(normalised, normalise(url) if url is not None else None, invalid, mended != value)


def reject(reason: str, detail: str, raw: str, invalid: bool) -> Rejected:
    """A rejected record with the beginnings of its particulars and of itself."""
    return Rejected(reason, normalise(detail)[:RAW_CHARACTERS], raw[:RAW_CHARACTERS], invalid)


def too_long(length: int, config: CorpusConfig) -> str:
    """The particulars of a record that is."""
    return f"{length} bytes, more than {config.max_record_bytes}"


def decode(data: bytes, *, whole: bool = True) -> tuple[str, bool]:
    """The text and whether bytes had to be replaced; a character cut in two at the end of a part is left out."""
    try:
        if whole:
            return data.decode("utf-8"), False
        return _DECODER("strict").decode(data), False
    except UnicodeDecodeError:
        return _DECODER("replace").decode(data, final=whole), True


def _json_type(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
