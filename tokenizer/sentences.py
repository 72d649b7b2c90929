"""Where sentences end, on tokens, in every script: what sentence blanks are cut by.

A token ends a sentence when its piece contains an end mark: Unicode's property Sentence_Terminal (. ! ? 。 ！ ？ । ॥ ؟
۔ ። ፧ ។ ៕ ။ ։), a few marks it leaves out, or a newline. Closing quotes and brackets, and further marks, go with the
sentence before them. A mark of ASCII counts only where white space follows, so 3.14 and example.org stay whole.
Marks too rare to be in the vocabulary are read from their byte pieces.

Thai and Lao have no end marks, and Khmer and Burmese often go without: there a stretch without a mark of its own is cut
at its spaces, which stand between sentences and clauses.

The authors' code knows Latin and Chinese marks only; in other scripts the whole sample is one sentence to it.
"""

import itertools
from functools import cache

import numpy as np
import regex

from tokenizer.encoding import Tokenizer

# Sentence_Terminal lacks the ellipsis, Greek's question mark, Tibetan's shad and Sinhala's kunddaliya. It has Burmese's
# little section ၊, which is a comma.
_MARKS = r"[[\p{STerm}…\u037E།༎෴]--[.!?၊]]"
_CLOSERS = r"[\p{Pe}\p{Pf}\"'”’」』»]"
# What a piece's text may be: columns of the table.
_TRAITS = {
    "hard": regex.compile(rf"{_MARKS}|\n", regex.VERSION1),  # contains a mark that ends whatever follows
    "soft": regex.compile(rf"[.!?]{_CLOSERS}*$", regex.VERSION1),  # ends in a mark that needs white space after it
    "closes": regex.compile(rf"^{_CLOSERS}+$", regex.VERSION1),  # nothing but closing quotes and brackets
    "follows": regex.compile(rf"^(?:{_CLOSERS}|{_MARKS}|[.!?\n])+$", regex.VERSION1),  # goes with the sentence before
    "spaced": regex.compile(r"^\s"),  # begins with white space
    "blank": regex.compile(r"^\s+$"),
    "unspaced": regex.compile(r"[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"),  # scripts that space no words
    "newline": regex.compile(r"^\n$"),
}
_HARD, _SOFT, _CLOSES, _FOLLOWS, _SPACED, _BLANK, _UNSPACED, _NEWLINE = range(len(_TRAITS))


@cache
def _traits(text: str) -> tuple[bool, ...]:
    return tuple(pattern.search(text) is not None for pattern in _TRAITS.values())


class SentenceEnds:
    """A table over the vocabulary, made once; `spans` then looks tokens up."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._table = np.zeros((tokenizer.vocab_size, len(_TRAITS)), bool)
        self._byte = np.full(tokenizer.vocab_size, -1, np.int16)
        for index in range(tokenizer.pieces):
            self._table[index] = _traits(tokenizer.piece_text(index))
            self._byte[index] = tokenizer.piece_byte(index)
        _traits.cache_clear()  # a large vocabulary's texts are not needed again
        # End of a document; and a command, e.g. [CLS], is no part of the word before it.
        self._table[tokenizer.eos_id, _HARD] = True
        self._table[tokenizer.pieces :, _SPACED] = True

    def spans(self, tokens: np.ndarray) -> list[tuple[int, int]]:
        """Sentences as (start, stop) token indices: in order, none empty, together all of `tokens` (1-D)."""
        count = len(tokens)
        if count == 0:
            return []
        traits = self._table[tokens]
        self._read_bytes(tokens, traits)
        spaced_next, follows_next = np.ones(count, bool), np.zeros(count, bool)
        spaced_next[:-1], follows_next[:-1] = traits[1:, _SPACED], traits[1:, _FOLLOWS]
        # The last token that is not a mere closing quote says whether a sentence has ended here.
        last = np.maximum.accumulate(np.where(traits[:, _CLOSES], -1, np.arange(count)))
        ended = (last >= 0) & (traits[last, _HARD] | traits[last, _SOFT] & spaced_next) & ~follows_next
        ended[-1] = True
        stops = (np.flatnonzero(ended) + 1).tolist()
        spans: list[tuple[int, int]] = []
        for start, stop in itertools.pairwise([0, *stops]):
            inside = traits[start:stop]
            marked = (inside[:, _HARD] & ~inside[:, _NEWLINE]).any()
            if not marked and 2 * int(inside[:, _UNSPACED].sum()) > stop - start:
                spans += _at_spaces(inside, start)
            else:
                spans.append((start, stop))
        return spans

    def _read_bytes(self, tokens: np.ndarray, traits: np.ndarray) -> None:
        """Gives byte pieces the traits of the character that they spell together."""
        values = self._byte[tokens]
        for start in np.flatnonzero(values >= 0xC2).tolist():  # the first byte of a character beyond ASCII
            length = 2 if values[start] < 0xE0 else 3 if values[start] < 0xF0 else 4
            stop = start + length
            if stop > len(tokens) or (values[start + 1 : stop] < 0).any():
                continue  # cut off at the window's edge
            character = values[start:stop].astype(np.uint8).tobytes().decode("utf-8", "replace")
            found = _traits(character)
            traits[start:stop, _CLOSES] = found[_CLOSES]
            traits[start:stop, _FOLLOWS] = found[_FOLLOWS]
            traits[start:stop, _UNSPACED] = found[_UNSPACED]
            traits[stop - 1, _HARD] = found[_HARD]
            traits[start, _SPACED] = found[_SPACED]


def _at_spaces(traits: np.ndarray, offset: int) -> list[tuple[int, int]]:
    """A stretch cut before its spaces, of a run of them before the first."""
    cut = traits[1:, _SPACED] & ~traits[1:, _NEWLINE] & ~traits[:-1, _BLANK]
    bounds = [0, *(np.flatnonzero(cut) + 1).tolist(), len(traits)]
    return [(offset + start, offset + stop) for start, stop in itertools.pairwise(bounds)]
