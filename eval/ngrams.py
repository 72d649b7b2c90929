"""Stretches of n words as 64-bit hashes, and which of many texts' stretches stand among given ones.

Text is compared as a reader would: compatibility forms, case, punctuation and spaces do not count. Two of a million
evaluated stretches and 10¹² of a corpus would meet by accident in one run out of twenty.
"""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.word_runs import Counts, Hashes, hashed_words, runs_of
from tokenizer.fertility import word_unit

# Places of the bit table: 32 or more for each hash, between 2 and 256 MB of memory.
_PLACES_FOR_EACH = 32
_LEAST_BITS, _MOST_BITS = 24, 31
_CHUNK = 1 << 20  # hashes looked at at once
_UNION_BITS = 4


def length_of(lang: str, words: int, characters: int) -> int:
    """How many units a stretch has: words, or characters where the language spaces no words."""
    return characters if word_unit(lang) == "character" else words


def hashes_of(text: str, length: int) -> Hashes:
    """[units − length + 1] of uint64: the hash of every stretch of `length` units in order; none of a shorter text."""
    return hashes_of_texts([text], length)[0]


def hashes_of_texts(texts: Sequence[str], length: int) -> tuple[Hashes, Counts]:
    """The same of many texts, one after the other; and how many stretches each of them has."""
    folded = [text if text.isascii() else unicodedata.normalize("NFKC", text).casefold() for text in texts]
    return runs_of(*hashed_words(folded), length)


class Wanted:
    """A set of hashes that many are looked up in: a bit table says no to nearly all of them, a search decides."""

    def __init__(self, hashes: Hashes) -> None:
        """`hashes`: sorted, each once. May be a memory map."""
        self._hashes = hashes
        bits = (_PLACES_FOR_EACH * len(hashes)).bit_length()
        self._shift = np.uint64(64 - min(max(bits, _LEAST_BITS), _MOST_BITS))
        self._table = np.zeros(1 << (61 - int(self._shift)), np.uint8)
        for start in range(0, len(hashes), _CHUNK):
            byte, bit = self._place(hashes[start : start + _CHUNK])
            first = np.flatnonzero(np.diff(byte, prepend=byte[0] + np.uint64(1)))  # of each byte: they are in order
            self._table[byte[first]] |= np.bitwise_or.reduceat(bit, first)

    def likely(self, hashes: Hashes) -> NDArray[np.bool_]:
        """Which of `hashes` may be wanted; hardly any other."""
        byte, bit = self._place(hashes)
        found: NDArray[np.bool_] = (self._table[byte] & bit) != 0
        return found

    def places_in(self, hashes: Hashes) -> NDArray[np.int64]:
        """Where in `hashes` wanted ones stand, ascending."""
        places = np.flatnonzero(self.likely(hashes))
        if not len(places):
            return places
        asked = hashes[places]
        nearest = np.minimum(np.searchsorted(self._hashes, asked), len(self._hashes) - 1)
        found: NDArray[np.int64] = places[self._hashes[nearest] == asked]
        return found

    def among(self, hashes: Hashes) -> Hashes:
        """Those of `hashes` that are wanted, each once, sorted."""
        return np.unique(hashes[self.places_in(hashes)])

    def _place(self, hashes: Hashes) -> tuple[Hashes, NDArray[np.uint8]]:
        """The byte of the table and the bit in it that stand for each hash."""
        places = hashes >> self._shift
        return places >> np.uint64(3), np.left_shift(np.uint8(1), (places & np.uint64(7)).astype(np.uint8))


def union(parts: Sequence[Hashes]) -> Hashes:
    """All hashes, sorted, each once."""
    return np.unique(np.concatenate([np.empty(0, np.uint64), *parts]))


def write_union(source: Path, target: Path) -> None:
    """The same of the hashes in a file, into another, one range of them after the other: memory holds a sixteenth."""
    hashes = read_hashes(source)
    with target.open("wb") as file:
        for part in range(1 << _UNION_BITS):
            chunks = (hashes[start : start + _CHUNK] for start in range(0, len(hashes), _CHUNK))
            union([chunk[chunk >> np.uint64(64 - _UNION_BITS) == part] for chunk in chunks]).tofile(file)


def read_hashes(path: Path) -> Hashes:
    """A file of hashes, eight bytes each, as it lies there."""
    return np.memmap(path, np.uint64, "r") if path.stat().st_size else np.empty(0, np.uint64)
