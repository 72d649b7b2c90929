"""Words of texts and runs of them as 64-bit hashes, all in numpy and many texts at once: a hash in Python for every
run, or numpy called for every text, would cost more than what is done with them.

A word is a run of letters, marks and digits in lower case; in scripts that put no space between words (Chinese,
Japanese, Thai, Lao, Khmer, Burmese) every character is one. Punctuation and spaces do not count. A hash is of the words
alone, so it is the same on every machine.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache

import numpy as np
import regex
from numpy.typing import NDArray

from core.character_table import CharacterTable, codes_of

Hashes = NDArray[np.uint64]
Counts = NDArray[np.int64]

BLOCK_CHARACTERS = 131_072  # of texts at once: enough to spare calls, few enough for the processor's cache
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]")
_ALONE = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
_CHARACTERS = 0x110000


def blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    """The texts in their order, as many together as are best hashed at once; a long one alone."""
    block: list[str] = []
    characters = 0
    for text in texts:
        if block and characters + len(text) > BLOCK_CHARACTERS:
            yield block
            block, characters = [], 0
        block.append(text)
        characters += len(text)
    if block:
        yield block


def hashed_words(texts: Sequence[str]) -> tuple[Hashes, Counts]:
    """[words] of uint64: the words of all texts in their order; and [texts]: how many of them each has."""
    lowered = [text.lower() for text in texts]
    codes = codes_of("\n".join(lowered))
    kinds = _kinds().of_codes(codes)
    begins = kinds == 1
    begins[1:] &= kinds[:-1] != 1
    begins |= kinds == 2
    kept = np.flatnonzero(kinds)
    starts = np.flatnonzero(begins[kept])
    ends = np.cumsum([len(text) + 1 for text in lowered])  # of each text with the line break that follows
    counts: Counts = np.diff(np.searchsorted(kept[starts], ends), prepend=0)
    if not starts.size:
        return np.zeros(0, np.uint64), counts
    place = np.arange(kept.size) - np.repeat(starts, np.diff(starts, append=kept.size))
    characters: Hashes = place.view(np.uint64)
    characters *= np.uint64(_CHARACTERS)
    characters += codes[kept]
    words: Hashes = np.add.reduceat(mix(characters), starts)
    return words, counts


def runs_of(words: Hashes, counts: Counts, length: int) -> tuple[Hashes, Counts]:
    """[runs] of uint64: the hash of every run of `length` words of a text, in order; and how many of them each text
    has, words − length + 1 or none. `words` are those of texts with so many each."""
    runs = np.zeros(max(0, words.size - length + 1), np.uint64)
    for index in range(length if runs.size else 0):
        runs = mix(runs + words[index : index + runs.size])
    of_text = np.maximum(counts - length + 1, 0)
    if len(counts) > 1:  # runs that reach into the next text go
        inside = np.zeros(words.size + 1, np.int8)
        ends = np.cumsum(counts)
        some = of_text > 0
        inside[ends[some] - counts[some]] = 1
        inside[ends[some] - length + 1] -= 1
        runs = runs[np.cumsum(inside[: runs.size], dtype=np.int8).view(np.bool_)]
    return runs, of_text


def mix(values: Hashes) -> Hashes:
    """splitmix64's finaliser (Steele, Lea and Flood 2014): a bijection that spreads every bit over all."""
    values = values + np.uint64(0x9E3779B97F4A6E57)
    shifted = values >> np.uint64(30)
    values ^= shifted
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= np.right_shift(values, np.uint64(27), out=shifted)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= np.right_shift(values, np.uint64(31), out=shifted)
    return values


@cache
def _kinds() -> CharacterTable:
    """Of every character: 0 between words, 1 part of a word, 2 a word by itself."""
    return CharacterTable(lambda character: 2 if _ALONE.match(character) else 1 if _WORD.match(character) else 0)
