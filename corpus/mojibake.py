"""Text that was decoded with the wrong code page, "â€™" for "’", put right with ftfy.

Of 17,772 clean documents in 101 languages it changes 8, all of them rightly, so the rule is on by default. Only the
encoding is mended: quotes, widths, ligatures and HTML entities stay as the author has them.
"""

from functools import cache

import ftfy
import numpy as np
from ftfy.badness import is_bad
from ftfy.chardata import CHARMAP_ENCODINGS

from core.character_table import CharacterTable

MOJIBAKE = "mojibake_repaired"  # as the build counts it

_CONFIG = ftfy.TextFixerConfig(
    unescape_html=False,
    remove_terminal_escapes=False,
    uncurl_quotes=False,
    fix_latin_ligatures=False,
    fix_character_width=False,
    fix_line_breaks=False,
    fix_surrogates=False,
    remove_control_chars=False,
    normalization=None,
)


def mend(text: str) -> str:
    """`text` with its mojibake repaired line by line; most texts come back as they are, and quickly."""
    if text.isascii():
        return text
    suspects = _suspects(text)
    if not suspects:
        return text
    pieces: list[str] = []
    done = seen = 0
    for place in suspects:
        if place < seen:  # on a line that was looked at
            continue
        start, end = text.rfind("\n", 0, place) + 1, text.find("\n", place)
        seen = len(text) if end < 0 else end
        line = text[start:seen]
        if is_bad(line):  # what ftfy itself asks first, without the rest that it does to any line
            pieces += [text[done:start], ftfy.fix_text(line, _CONFIG)]
            done = seen
    return "".join([*pieces, text[done:]])


def _suspects(text: str) -> list[int]:
    """Places where ftfy could find something: a lead byte of UTF-8 before a continuation, seen through a code page.

    ftfy itself looks at every character in a dozen ways; this leaves it a few lines of most texts.
    """
    bits = _bits().look_up(text)
    pairs = bits[:-1] & (bits[1:] >> len(CHARMAP_ENCODINGS))
    pairs &= (1 << len(CHARMAP_ENCODINGS)) - 1
    places: list[int] = np.flatnonzero(pairs).tolist()
    return places


@cache
def _bits() -> CharacterTable:
    """Of every character a bit for each code page in which it is a lead byte, then one in which it is a continuation."""
    bits: dict[str, int] = {}
    for number, encoding in enumerate(CHARMAP_ENCODINGS):
        for first, stop, shift in ((0xC2, 0xF5, 0), (0x80, 0xC0, len(CHARMAP_ENCODINGS))):
            for byte in range(first, stop):
                character = bytes([byte]).decode(encoding)
                bits[character] = bits.get(character, 0) | 1 << number + shift
    return CharacterTable(lambda character: bits.get(character, 0), bits=32)
