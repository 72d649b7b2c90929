"""Words of a text and runs of them as 64-bit hashes, all in numpy: a hash in Python for every run would cost more
than what is done with it.

A word is a run of letters, marks and digits in lower case; in scripts that put no space between words (Chinese,
Japanese, Thai, Lao, Khmer, Burmese) every character is one. Punctuation and spaces do not count. A hash is of the words
alone, so it is the same on every machine.
"""

from functools import cache

import numpy as np
import regex
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_WORD = r"[\p{L}\p{M}\p{N}]+"
_ALONE = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]+"
_CHARACTERS = 0x110000


def hashed_words(text: str) -> Hashes:
    """[words] of uint64: the words in their order."""
    codes = np.frombuffer(text.lower().encode("utf-32-le", "replace"), np.uint32)
    kinds = _kinds()[codes]
    before = np.concatenate([np.zeros(1, np.uint8), kinds[:-1]])
    begins = (kinds == 2) | (kinds == 1) & (before != 1)
    kept = kinds > 0
    codes, begins = codes[kept], begins[kept]
    if not codes.size:
        return np.zeros(0, np.uint64)
    starts = np.flatnonzero(begins)
    place = (np.arange(codes.size) - np.repeat(starts, np.diff(starts, append=codes.size))).astype(np.uint64)
    characters: Hashes = codes.astype(np.uint64) + place * np.uint64(_CHARACTERS)
    words: Hashes = np.add.reduceat(mix(characters), starts)
    return words


def runs_of(words: Hashes, length: int) -> Hashes:
    """[words − length + 1] of uint64: the hash of every run of `length` words; none where there are fewer."""
    runs = np.zeros(max(0, words.size - length + 1), np.uint64)
    for index in range(length if runs.size else 0):
        runs = mix(runs + words[index : index + runs.size])
    return runs


def mix(values: Hashes) -> Hashes:
    """splitmix64's finaliser (Steele, Lea and Flood 2014): a bijection that spreads every bit over all."""
    values = values + np.uint64(0x9E3779B97F4A6E57)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@cache
def _kinds() -> NDArray[np.uint8]:
    """Of every character: 0 between words, 1 part of a word, 2 a word by itself."""
    surrogates = range(0xD800, 0xE000)
    characters = "".join(" " if code in surrogates else chr(code) for code in range(_CHARACTERS))
    kinds = np.zeros(_CHARACTERS, np.uint8)
    for kind, pattern in ((1, _WORD), (2, _ALONE)):
        for match in regex.finditer(pattern, characters):
            kinds[match.start() : match.end()] = kind
    return kinds
