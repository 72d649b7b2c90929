"""Which script a text is written in, by Unicode; and which of its two for Chinese, by the characters of one alone."""

from collections import Counter
from functools import cache
from importlib import resources

import numpy as np
import regex

from core.character_table import CharacterTable

# ISO 15924 code → the regex module's Unicode script property. Ordered as they are likely in a crawl.
SCRIPTS = {
    "Latn": "Latin",
    "Cyrl": "Cyrillic",
    "Arab": "Arabic",
    "Hani": "Han",
    "Hira": "Hiragana",
    "Kana": "Katakana",
    "Hang": "Hangul",
    "Deva": "Devanagari",
    "Grek": "Greek",
    "Thai": "Thai",
    "Hebr": "Hebrew",
    "Beng": "Bengali",
    "Taml": "Tamil",
    "Telu": "Telugu",
    "Gujr": "Gujarati",
    "Mlym": "Malayalam",
    "Knda": "Kannada",
    "Guru": "Gurmukhi",
    "Sinh": "Sinhala",
    "Geor": "Georgian",
    "Armn": "Armenian",
    "Ethi": "Ethiopic",
    "Khmr": "Khmer",
    "Mymr": "Myanmar",
    "Laoo": "Lao",
    "Mong": "Mongolian",
    "Tibt": "Tibetan",
    "Orya": "Oriya",
}
NO_SCRIPT = "Zyyy"  # ISO 15924 for "common": no letter at all
OTHER_SCRIPT = "Zzzz"  # ISO 15924 for "unknown": letters of a script not in the table

_CODES = (*SCRIPTS, OTHER_SCRIPT, NO_SCRIPT)
_LOOKED_AT = 1_000  # characters: enough to tell, and no document costs more


def script_of(text: str) -> str:
    """ISO 15924 code of most letters among the first thousand characters.

    Han with any kana is Japanese (`Jpan`). Han alone is `Hans` or `Hant`, whichever has more characters that the other
    never writes, and `Hani` where neither has (`人口`). A text without letters is `Zyyy`.
    """
    beginning = text[:_LOOKED_AT]
    found = np.bincount(_table().look_up(beginning), minlength=len(_CODES)).tolist()
    counts = {code: count for code, count in zip(_CODES, found, strict=True) if count and code != NO_SCRIPT}
    if not counts:
        return NO_SCRIPT
    japanese = counts.get("Hira", 0) + counts.get("Kana", 0)
    if japanese and japanese + counts.get("Hani", 0) > sum(counts.values()) / 2:
        return "Jpan"
    most = max(counts.values())
    tied = [code for code, count in counts.items() if count == most]
    script = tied[0] if len(tied) == 1 else next(code for code in map(_script_of_character, beginning) if code in tied)
    return _chinese_script(Counter(beginning)) if script == "Hani" else script


@cache
def _table() -> CharacterTable:
    """Of each character the place of its script in `_CODES`."""
    return CharacterTable(lambda character: _CODES.index(_script_of_character(character)))


@cache
def _script_of_character(character: str) -> str:
    match = _pattern().match(character)
    if match is not None:
        return str(match.lastgroup)
    return OTHER_SCRIPT if character.isalpha() else NO_SCRIPT


@cache
def _pattern() -> regex.Pattern[str]:
    return regex.compile("|".join(rf"(?P<{code}>\p{{Script={name}}})" for code, name in SCRIPTS.items()))


def _chinese_script(characters: Counter[str]) -> str:
    votes = Counter({"Hans": 0, "Hant": 0})
    for character, times in characters.items():
        if (script := _script_of_variant().get(character)) is not None:
            votes[script] += times
    if votes["Hans"] == votes["Hant"]:
        return "Hani"
    return max(votes, key=votes.__getitem__)


@cache
def _script_of_variant() -> dict[str, str]:
    """Characters that only one of the two scripts writes, by OpenCC's tables; 后, 里 and 台 belong to both."""
    lines = resources.files("core").joinpath("han_variants.txt").read_text("utf-8").splitlines()
    rows = (line.split(" ") for line in lines if not line.startswith("#"))
    return {character: script for script, characters in rows for character in characters}
