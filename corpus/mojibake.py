"""Text that was decoded with the wrong code page, "â€™" for "’", put right with ftfy.

Of 17,772 clean documents in 101 languages it changes 8, all of them rightly, so the rule is on by default. Only the
encoding is mended: quotes, widths, ligatures and HTML entities stay as the author has them.
"""

from functools import cache

import ftfy
import numpy as np
from ftfy.badness import is_bad
from ftfy.chardata import CHARMAP_ENCODINGS, UTF8_DETECTOR_RE, possible_encoding

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


_PAGES = len(CHARMAP_ENCODINGS)
_ALL = (1 << _PAGES) - 1
_LEAD, _FOLLOWS, _OUTSIDE, _PLAIN, _C1 = 0, _PAGES, 2 * _PAGES, 3 * _PAGES, 3 * _PAGES + 1  # first bits


def mend(text: str) -> str:
    """`text` with its mojibake repaired line by line; most texts come back as they are, and quickly.

    ftfy looks at every character in a dozen ways. It is asked of lines where a lead byte of UTF-8 and a continuation
    stand together as seen through one code page, and where what it does to bad lines could change something: another
    code page made all of the line, or parts of it that are bad themselves, or there are control characters of Latin-1.
    """
    if text.isascii():
        return text
    bits = _bits().look_up(text)
    pairs = bits[1:] >> _FOLLOWS
    pairs &= bits[:-1]
    pairs &= _ALL
    if not pairs.any():
        return text
    lead, follows = bits & _ALL, bits >> _FOLLOWS & _ALL
    plain = (bits >> _PLAIN & 1) * _ALL
    # Of each place the code pages whose bytes cannot be UTF-8 there.
    not_utf8 = bits >> _OUTSIDE & _ALL
    not_utf8[1:] |= (lead[:-1] & (lead | plain)[1:]) | (plain[:-1] & follows[1:])
    pieces: list[str] = []
    done = seen = 0
    for place in np.flatnonzero(pairs).tolist():
        if place < seen:  # on a line that was looked at
            continue
        start, end = text.rfind("\n", 0, place) + 1, text.find("\n", place)
        seen = len(text) if end < 0 else end
        line = text[start:seen]
        whole = len(line) > _CONFIG.max_decode_length or np.bitwise_or.reduce(not_utf8[start:seen]) != _ALL
        controls = np.bitwise_or.reduce(bits[start:seen]) >> _C1 & 1
        parts = UTF8_DETECTOR_RE.finditer(line)
        if (whole or controls or any(is_bad(part.group()) for part in parts)) and is_bad(line):
            pieces += [text[done:start], ftfy.fix_text(line, _CONFIG)]
            done = seen
    return "".join([*pieces, text[done:]])


@cache
def _bits() -> CharacterTable:
    """Of every character a bit for each code page in which it is a lead byte, in which it is a continuation, in which
    it is not; whether it is ASCII that ftfy takes for nothing else; whether it is a control character of Latin-1."""
    return CharacterTable(_bits_of, bits=32)


def _bits_of(character: str) -> int:
    bits = 0
    for number, encoding in enumerate(CHARMAP_ENCODINGS):
        byte = character.encode(encoding, "replace")[0] if possible_encoding(character, encoding) else None
        kinds = {_LEAD: byte in range(0xC2, 0xF5), _FOLLOWS: byte in range(0x80, 0xC0), _OUTSIDE: byte is None}
        bits |= sum(1 << kind + number for kind, is_kind in kinds.items() if is_kind)
    bits |= (character.isascii() and character not in " ?\x1a") << _PLAIN
    return bits | ("\x80" <= character <= "\x9f") << _C1
