"""A text too long for the model as passages that fit, each of whole sentences, in any script.

Together the passages are the text, token for token. A sentence longer than a passage is cut between words, or where a
script spaces none between characters.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from tokenizer.encoding import Tokenizer
from tokenizer.sentences import SentenceEnds


def passages(tokens: Sequence[int], room: int, sentences: SentenceEnds, tokenizer: Tokenizer) -> list[list[int]]:
    """At most `room` tokens each, of about the same size, as few as sentences allow; none for no tokens."""
    if not tokens:
        return []
    array = np.array(tokens)
    begins = np.arange(array.size) == 0
    starts, words = sentences.starts(array, begins)
    bounds = [*np.flatnonzero(starts).tolist(), array.size]
    pieces = [
        piece
        for start, stop in itertools.pairwise(bounds)
        for piece in _short_enough(start, stop, room, words, tokens, tokenizer)
    ]
    ends, begun = [], 0
    for (_, stop), following in zip(pieces, [*pieces[1:], None], strict=True):
        left = array.size - begun
        aim = left / -(-left // room)  # what is left in equal parts
        if following is None or following[1] - begun > room or _nearer(stop - begun, following[1] - begun, aim):
            ends.append((begun, stop))
            begun = stop
    return [list(tokens[start:stop]) for start, stop in ends]


def _nearer(now: int, later: int, aim: float) -> bool:
    return abs(now - aim) <= abs(later - aim)


def _short_enough(
    start: int, stop: int, room: int, words: np.ndarray, tokens: Sequence[int], tokenizer: Tokenizer
) -> list[tuple[int, int]]:
    """One sentence in pieces of at most `room` tokens: whole where it fits."""
    cut = []
    while stop - start > room:
        last = start + room
        between = np.flatnonzero(words[start + 1 : last + 1])
        end = start + 1 + int(between[-1]) if between.size else _between_characters(tokens, start, last, tokenizer)
        cut.append((start, end))
        start = end
    return [*cut, (start, stop)]


def _between_characters(tokens: Sequence[int], start: int, last: int, tokenizer: Tokenizer) -> int:
    """The last place up to `last` that is not inside a character spelled in bytes."""
    for place in range(last, max(start, last - 4), -1):
        if not 0x80 <= tokenizer.piece_byte(tokens[place]) < 0xC0:
            return place
    return last
