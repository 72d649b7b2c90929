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

_IS_UNWANTED, _MAY_COMPOSE = 1, 2


def normalise(text: str) -> str:
    """`text` normalised as the module says; may be empty. `core.documents.document_id` takes the result."""
    unwanted, composable = _found(text)
    if unwanted:
        text = _LONE_SURROGATE.sub("\ufffd", text)
        text = _SPACE.sub(" ", _BREAK.sub("\n", text))
        text = _REMOVED.sub("", text)
    if composable:
        text = unicodedata.normalize("NFC", text)
    return "\n".join([line.rstrip() for line in text.split("\n")]).strip()


def _found(text: str) -> tuple[bool, bool]:
    """Whether steps 1 to 4 would change anything, and whether step 5 could: most text needs neither."""
    if text.isascii():
        return not text.replace("\n", "").isprintable() and _UNWANTED.search(text) is not None, False
    found = int(np.bitwise_or.reduce(_table().look_up(text)))
    return bool(found & _IS_UNWANTED), bool(found & _MAY_COMPOSE)


@cache
def _table() -> CharacterTable:
    return CharacterTable(_judge)


def _judge(character: str) -> int:
    unwanted = _IS_UNWANTED if _UNWANTED.match(character) else 0
    # Only marks and Hangul's letters combine with what stands before them (NFC_Quick_Check "maybe" in UAX #15).
    combines = unicodedata.category(character).startswith("M") or "\u1100" <= character <= "\u11ff"
    return unwanted | (_MAY_COMPOSE if combines or unicodedata.normalize("NFC", character) != character else 0)
