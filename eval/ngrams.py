"""Stretches of n words as 64-bit hashes, and which of many texts' stretches stand among given ones.

Text is compared as a reader would: compatibility forms, case, punctuation and spaces do not count. Two of a million
evaluated stretches and 10¹² of a corpus would meet by accident in one run out of twenty.
"""

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.word_runs import Counts, Hashes, hashed_words, runs_of
from tokenizer.fertility import word_unit

_FILTER_BITS = 24
_FILTER_SHIFT = np.uint64(64 - _FILTER_BITS)


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
        self._table = np.zeros(1 << _FILTER_BITS, np.bool_)
        self._table[hashes >> _FILTER_SHIFT] = True

    def likely(self, hashes: Hashes) -> NDArray[np.bool_]:
        """Which of `hashes` may be wanted; hardly any other."""
        found: NDArray[np.bool_] = self._table[hashes >> _FILTER_SHIFT]
        return found

    def among(self, hashes: Hashes) -> Hashes:
        """Those of `hashes` that are wanted, each once, sorted."""
        likely: Hashes = np.unique(hashes[self.likely(hashes)])
        if not len(likely) or not len(self._hashes):
            return likely[:0]
        places = np.minimum(np.searchsorted(self._hashes, likely), len(self._hashes) - 1)
        found: Hashes = likely[self._hashes[places] == likely]
        return found


def union(parts: Sequence[Hashes]) -> Hashes:
    """All hashes, sorted, each once."""
    return np.unique(np.concatenate([np.empty(0, np.uint64), *parts]))
