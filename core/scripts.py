"""Which script a text is written in, by Unicode."""

from collections import Counter
from functools import cache

import regex

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

_LOOKED_AT = 1_000  # characters: enough to tell, and no document costs more


@cache
def _script_of_character(character: str) -> str:
    for code, name in SCRIPTS.items():
        if regex.match(rf"\p{{Script={name}}}", character):
            return code
    return OTHER_SCRIPT if character.isalpha() else NO_SCRIPT


def script_of(text: str) -> str:
    """ISO 15924 code of most letters among the first thousand characters.

    Han with any kana is Japanese (`Jpan`); Han alone is `Hani`; a text without letters is `Zyyy`.
    """
    counts = Counter(_script_of_character(character) for character in text[:_LOOKED_AT])
    counts.pop(NO_SCRIPT, None)
    if not counts:
        return NO_SCRIPT
    japanese = counts["Hira"] + counts["Kana"]
    if japanese and japanese + counts["Hani"] > sum(counts.values()) / 2:
        return "Jpan"
    return counts.most_common(1)[0][0]
