"""The one normalisation of text from outside, so that a document has the same hash wherever it is read.

In: any Python string. Out: NFC text whose lines end in `\\n` and in no space. Words are never touched. Done in this
order, and doing it twice changes nothing:

1. a lone surrogate (half of a pair, which UTF-8 cannot hold) becomes U+FFFD;
2. every line or paragraph break (`\\r\\n`, `\\r`, vertical tab, form feed, U+0085, U+2028, U+2029) becomes `\\n`;
3. a tab becomes a space, and so does U+2581, which SentencePiece would give back as a space anyway;
4. other control characters, byte-order marks and non-characters go. Format characters stay: joiners shape Persian
   and Indic words, and direction marks belong to the text;
5. NFC;
6. white space goes at the end of each line and at both ends of the text.
"""

import re
import unicodedata
from functools import cache

import numpy as np

from core.character_table import CharacterTable

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_BREAK = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_SPACE = re.compile("[\t\u2581]")
_REMOVED_CHARACTERS = "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufdd0-\ufdef" + "".join(
    f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)
)
_REMOVED = re.compile(f"[{_REMOVED_CHARACTERS}]")
_UNWANTED = re.compile(f"[\ud800-\udfff\t\r\v\f\x85\u2028\u2029\u2581{_REMOVED_CHARACTERS}]")

_IS_UNWANTED, _MAY_COMPOSE, _IS_MARK = 1, 2, 4
_LONG_RUN = 30  # marks on a letter: more than any language has (UAX #15, stream-safe text)


def normalise(text: str) -> str:
    """`text` normalised as the module says; may be empty. `core.documents.document_id` takes the result."""
    found = _found(text)
    if found & _IS_UNWANTED:
        text = _LONE_SURROGATE.sub("\ufffd", text)
        text = _SPACE.sub(" ", _BREAK.sub("\n", text))
        text = _REMOVED.sub("", text)
    if found & _IS_MARK:
        text = _put_long_runs_in_order(text)
    if found & _MAY_COMPOSE:
        text = unicodedata.normalize("NFC", text)
    return "\n".join([line.rstrip() for line in text.split("\n")]).strip()


def _put_long_runs_in_order(text: str) -> str:
    """The same to NFC, which would sort the marks of a letter one by one, each past all before it: 160 KB in 6 s."""
    others = np.flatnonzero((_table().look_up(text) & _IS_MARK) == 0)
    bounds = np.concatenate([[-1], others, [len(text)]])
    runs = np.flatnonzero(np.diff(bounds) > _LONG_RUN + 1)
    pieces, position = [], 0
    for start, end in zip((bounds[runs] + 1).tolist(), bounds[runs + 1].tolist(), strict=True):
        apart = "".join([unicodedata.normalize("NFD", mark) for mark in text[start:end]])
        pieces += [text[position:start], *sorted(apart, key=unicodedata.combining)]  # equal ones stay as they stand
        position = end
    return "".join([*pieces, text[position:]]) if pieces else text


def _found(text: str) -> int:
    """Whether steps 1 to 4 would change anything, whether step 5 could, or has marks to sort: most text has none."""
    if text.isascii():
        return _IS_UNWANTED if not text.replace("\n", "").isprintable() and _UNWANTED.search(text) is not None else 0
    return int(np.bitwise_or.reduce(_table().look_up(text)))


@cache
def _table() -> CharacterTable:
    return CharacterTable(_judge)


def _judge(character: str) -> int:
    unwanted = _IS_UNWANTED if _UNWANTED.match(character) else 0
    # Only marks and Hangul's letters combine with what stands before them (NFC_Quick_Check "maybe" in UAX #15).
    combines = unicodedata.category(character).startswith("M") or "\u1100" <= character <= "\u11ff"
    composes = combines or unicodedata.normalize("NFC", character) != character
    # Here a mark is what stands on a letter in all of its parts (canonical combining class other than 0).
    is_mark = all(map(unicodedata.combining, unicodedata.normalize("NFD", character)))
    return unwanted | (_MAY_COMPOSE if composes else 0) | (_IS_MARK if is_mark else 0)
