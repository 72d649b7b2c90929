"""Documents cut into snippets: detectors learn from lines as short as those they will be asked about.

Out: prepared lines of whole words (of characters where words are not spaced), the same ones for the same document,
round and lengths, whatever the order of documents.
"""

import math
import random
from collections.abc import Iterator

from core.detector import prepare

LONGEST_WORD = 40  # characters; a longer one is text that does not space its words, and may be cut


def snippets(text: str, key: str, shortest: int, longest: int) -> Iterator[str]:
    """Cuts `text` into consecutive snippets whose lengths in characters are drawn log-uniformly, seeded by `key`."""
    draw = random.Random(key)

    def length() -> int:
        return round(math.exp(draw.uniform(math.log(shortest), math.log(longest))))

    wanted, held, held_characters = length(), list[str](), 0
    for word in _pieces(prepare(text)):
        held.append(word)
        held_characters += len(word)
        if held_characters >= wanted:
            yield _joined(held)
            wanted, held, held_characters = length(), [], 0
    if held_characters >= shortest:
        yield _joined(held)


def _pieces(line: str) -> Iterator[str]:
    """Words, each with the space before it; single characters of what is no word."""
    for word in line.split():
        if len(word) <= LONGEST_WORD:
            yield " " + word
        else:
            yield " " + word[0]
            yield from word[1:]


def _joined(pieces: list[str]) -> str:
    return "".join(pieces).strip()
