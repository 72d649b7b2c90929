"""Where sentences end, on tokens, in every script: what sentence blanks are cut by.

A token ends a sentence when its piece contains an end mark: Unicode's property Sentence_Terminal (. ! ? 。 ！ ？ । ॥ ؟
۔ ። ፧ ។ ៕ ။ ։), a few marks it leaves out, or a newline. Closing quotes and brackets, and further marks, go with the
sentence before them. A mark of ASCII counts only where white space follows, so 3.14 and example.org stay whole.
Marks too rare to be in the vocabulary are read from their byte pieces.

Thai and Lao have no end marks, and Khmer and Burmese often go without: there a stretch without a mark of its own is cut
at its spaces, which stand between sentences and clauses.

The authors' code knows Latin and Chinese marks only; in other scripts the whole sample is one sentence to it.
`AuthorsSentenceEnds` does as it does, to be measured against.
"""

import itertools
from functools import cache

import numpy as np
import regex

from core.sentence_marks import CLOSERS, SENTENCE_MARKS
from tokenizer.encoding import Tokenizer

AUTHORS_MARKS = tuple(".?!;:。？！；…")  # theirs has the newline too, which their tokenizer makes a space

_MARKS = rf"[{SENTENCE_MARKS}--[.!?]]"  # those of ASCII are another matter
_CLOSERS = CLOSERS
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
        starts, _ = self.starts(tokens, np.arange(count) == 0)
        bounds = [*np.flatnonzero(starts).tolist(), count]
        return list(itertools.pairwise(bounds))

    def starts(self, tokens: np.ndarray, begins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where sentences begin, and where words do, as masks over `tokens` (1-D).

        `tokens` are stretches of text side by side, as of many rows; `begins` marks the first token of each.
        """
        count = len(tokens)
        if count == 0:
            return np.zeros(0, bool), np.zeros(0, bool)
        traits, place = self._table[tokens], np.arange(count)
        self._read_bytes(tokens, begins, traits)
        ends = np.ones(count, bool)  # of stretches
        ends[:-1] = begins[1:]
        spaced_next, follows_next = ends.copy(), np.zeros(count, bool)
        spaced_next[:-1] |= traits[1:, _SPACED]
        follows_next[:-1] = traits[1:, _FOLLOWS] & ~ends[:-1]
        # The last token that is not a mere closing quote says whether a sentence has ended here.
        last = np.maximum.accumulate(np.where(traits[:, _CLOSES], -1, place))
        in_stretch = last >= np.maximum.accumulate(np.where(begins, place, 0))
        ended = in_stretch & (traits[last, _HARD] | traits[last, _SOFT] & spaced_next) & ~follows_next
        starts = begins.copy()
        starts[1:] |= ended[:-1]
        # Stretches without a mark of their own in scripts that space no words are cut at their spaces.
        first = np.flatnonzero(starts)
        sizes = np.diff(first, append=count)
        marked = np.logical_or.reduceat(traits[:, _HARD] & ~traits[:, _NEWLINE], first)
        unspaced = 2 * np.add.reduceat(traits[:, _UNSPACED].astype(np.int64), first) > sizes
        at_spaces = np.repeat(~marked & unspaced, sizes)
        # Before its spaces, of a run of them before the first.
        starts[1:] |= at_spaces[1:] & (traits[1:, _SPACED] & ~traits[1:, _NEWLINE] & ~traits[:-1, _BLANK])
        return starts, traits[:, _SPACED] | begins

    def _read_bytes(self, tokens: np.ndarray, begins: np.ndarray, traits: np.ndarray) -> None:
        """Gives byte pieces the traits of the character that they spell together."""
        values = self._byte[tokens]
        heads = np.flatnonzero(values >= 0xC2)  # the first byte of a character beyond ASCII
        if not heads.size:
            return
        sizes = 2 + (values[heads] >= 0xE0) + (values[heads] >= 0xF0)
        for size in (2, 3, 4):
            found = heads[(sizes == size) & (heads + size <= len(tokens))]
            if not found.size:
                continue
            places = found[:, None] + np.arange(size)
            whole = (values[places] >= 0).all(1) & ~begins[places[:, 1:]].any(1)  # not cut off at the window's edge
            places = places[whole]
            # Each character that occurs is looked up once.
            numbers = values[places].astype(np.int64) @ (1 << 8 * np.arange(size)[::-1])
            spelled, which = np.unique(numbers, return_inverse=True)
            known = [_traits(number.to_bytes(size).decode("utf-8", "replace")) for number in spelled.tolist()]
            of_character = np.array(known, dtype=bool).reshape(-1, len(_TRAITS))[which]
            for trait in (_CLOSES, _FOLLOWS, _UNSPACED):
                traits[places, trait] = of_character[:, trait, None]
            traits[places[:, -1], _HARD] = of_character[:, _HARD]
            traits[places[:, 0], _SPACED] = of_character[:, _SPACED]


class AuthorsSentenceEnds:
    """Sentence ends as the authors' code has them: after a piece that contains one of its marks, and nowhere else."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._ends = np.zeros(tokenizer.vocab_size, bool)
        for index in range(tokenizer.pieces):
            self._ends[index] = any(mark in tokenizer.piece_text(index) for mark in AUTHORS_MARKS)
        self._ends[tokenizer.eos_id] = True

    def starts(self, tokens: np.ndarray, begins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`SentenceEnds.starts`; words are not looked for, since whole sentences are taken."""
        starts = begins.copy()
        starts[1:] |= self._ends[tokens[:-1]]
        return starts, starts
