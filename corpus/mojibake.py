"""Text that was decoded with the wrong code page, "â€™" for "’", put right with ftfy.

Of 17,772 clean documents in 101 languages it changes 8, all of them rightly, so the rule is on by default. Only the
encoding is mended: quotes, widths, ligatures and HTML entities stay as the author has them.
"""

import re
from functools import cache

import ftfy
from ftfy.chardata import CHARMAP_ENCODINGS

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
    suspect = _suspect()
    if suspect.search(text) is None:
        return text
    lines = text.split("\n")
    mended = [ftfy.fix_text(line, _CONFIG) if suspect.search(line) else line for line in lines]
    return "\n".join(mended)


@cache
def _suspect() -> re.Pattern[str]:
    """Matches wherever ftfy could find something: a lead byte of UTF-8 and a continuation, seen through a code page.

    ftfy itself looks at every character in a dozen ways; this leaves it a few lines of most texts.
    """
    leads = [_characters(encoding, 0xC2, 0xF5) for encoding in CHARMAP_ENCODINGS]
    continuations = [_characters(encoding, 0x80, 0xC0) for encoding in CHARMAP_ENCODINGS]
    pairs = "|".join(f"(?<=[{lead}])[{after}]" for lead, after in zip(leads, continuations, strict=True))
    # Two plain classes first: `re` runs over text that has neither without trying the pairs.
    return re.compile(f"[{''.join(leads)}](?=[{''.join(continuations)}])(?:{pairs})")


def _characters(encoding: str, first: int, stop: int) -> str:
    return re.escape("".join(bytes([byte]).decode(encoding) for byte in range(first, stop)))
