"""Which stretch of which language's stream training sample k is: computed from k alone, without a pass or a state.

Language: a Weyl rotation x_k = (a·k + c) mod 2⁶⁴ with a next to 2⁶⁴/φ falls into one of the languages' intervals, whose
lengths are their shares. After k samples each language has k·share of them up to O(log k), at every point of the
run (H. Weyl 1916; low discrepancy of the golden ratio: Knuth, TAOCP 3, 6.4).

Place: how many of the samples before k went to the same language is counted exactly by sums of floor((a·j + b)/m),
which Euclid's algorithm gives in O(log). That number n stands for a window of the language's stream, said to go round
and round without end: window n begins at n·sequence_length, in epoch n·sequence_length // stream length. Within an
epoch the windows are permuted, keyed by seed, language and epoch (a Feistel network with cycle walking; Black and
Rogaway 2002), but for the one that reaches into the next epoch, which comes last. So every token of a language comes
once before any comes twice, exactly, and the cuts move from epoch to epoch where the lengths do not divide. A stream
shorter than one window is one window: all of it, from its beginning.

Paper: sampling by share is stated (§3.2), how samples are drawn is not.
"""

import hashlib
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from core.errors import MGLMError

MODULUS = 1 << 64
# Odd, 3,518 below 2⁶⁴/φ, and chosen so that no partial quotient of MULTIPLIER/2⁶⁴ exceeds 5 (the nearest to 2⁶⁴/φ has
# one of 121): the discrepancy stays logarithmic to the end of the period, not only to 2³².
MULTIPLIER = 0x9E3779B97F4A6E57
_ROUNDS = 6


class Draw(NamedTuple):
    """Stream positions start … stop−1 of a language; `stop` past the stream's end goes on at its beginning."""

    lang: str
    epoch: int
    start: int
    stop: int


class Sampler:
    """Sample number → `Draw`. Depends on its arguments only; every rank makes its own and all agree."""

    def __init__(
        self, stream_lengths: Mapping[str, int], shares: Mapping[str, float], sequence_length: int, seed: int
    ) -> None:
        """Languages without a stream, or without a share, are left out and the other shares grow in proportion.

        `dropped` names the languages that have a share but no stream: the caller says so to its user.

        Raises:
            MGLMError: no language has both a share and a stream.
        """
        self.sequence_length, self.seed = sequence_length, seed
        wanted = {lang: Fraction(share) for lang, share in sorted(shares.items()) if share > 0}
        kept = {lang: share for lang, share in wanted.items() if stream_lengths.get(lang, 0) > 0}
        self.dropped = [lang for lang in wanted if lang not in kept]
        if not kept:
            raise MGLMError(
                "the plan and the shards",
                found=f"no language in common (plan: {', '.join(wanted)}; shards: {', '.join(sorted(stream_lengths))})",
                expected="one at least",
                action="use the plan that the shards were made with",
            )
        total = sum(kept.values())
        self.languages = list(kept)
        self.shares = {lang: float(share / total) for lang, share in kept.items()}
        self._lengths = [stream_lengths[lang] for lang in self.languages]
        # Interval of language i: [bounds[i], bounds[i+1]); the last bound is 2⁶⁴ exactly.
        bounds, passed = [0], Fraction(0)
        for share in kept.values():
            passed += share
            bounds.append(MODULUS if passed == total else min(round(passed / total * MODULUS), MODULUS - 1))
        self._bounds = bounds
        self._inner_bounds = np.array(bounds[1:-1], np.uint64)
        self._offset = _hash(seed, "rotation")
        self._epoch_key = lru_cache(4_096)(self._new_epoch_key)

    def language_counts(self, k: int) -> dict[str, int]:
        """How many of the samples 0 … k−1 each language gets."""
        return {lang: self._count_before(k, index) for index, lang in enumerate(self.languages)}

    def epochs(self, k: int) -> dict[str, float]:
        """How often the samples 0 … k−1 go through each language's stream: tokens drawn by tokens there are."""
        return {
            lang: count * min(self.sequence_length, length) / length
            for (lang, count), length in zip(self.language_counts(k).items(), self._lengths, strict=True)
        }

    def draw(self, k: int) -> Draw:
        """Sample `k` ≥ 0."""
        return self.draw_many(k, 1)[0]

    def draw_many(self, first: int, count: int) -> list[Draw]:
        """Samples first … first+count−1."""
        if first < 0:
            raise ValueError(f"sample numbers start at 0, not {first}")
        # NumPy's uint64 wraps at 2⁶⁴, which is the rotation's own modulus.
        steps = np.arange(count, dtype=np.uint64) * np.uint64(MULTIPLIER)
        rotation = steps + np.uint64((MULTIPLIER * first + self._offset) % MODULUS)
        languages = np.searchsorted(self._inner_bounds, rotation, side="right").tolist()
        counts: dict[int, int] = {}
        draws = []
        for language in languages:
            number = counts[language] if language in counts else self._count_before(first, language)
            counts[language] = number + 1
            draws.append(self._window(language, number))
        return draws

    def _count_before(self, k: int, language: int) -> int:
        """Samples j < k with bounds[language] ≤ x_j < bounds[language + 1].

        For 0 ≤ T ≤ M: [y mod M < T] = floor(y/M) − floor((y − T)/M).
        """
        low, high = self._bounds[language], self._bounds[language + 1]
        above_low = floor_sum(k, MODULUS, MULTIPLIER, self._offset + MODULUS - low)
        return above_low - floor_sum(k, MODULUS, MULTIPLIER, self._offset + MODULUS - high)

    def _window(self, language: int, number: int) -> Draw:
        lang, length, size = self.languages[language], self._lengths[language], self.sequence_length
        if length < size:
            return Draw(lang, number, 0, length)
        epoch = number * size // length
        first, end = -(-epoch * length // size), -(-(epoch + 1) * length // size)
        straddles = end * size > (epoch + 1) * length
        if not (straddles and number == end - 1):
            key = self._epoch_key(language, epoch)
            number = first + permute(number - first, end - first - straddles, key)
        start = number * size % length
        return Draw(lang, epoch, start, start + size)

    def _new_epoch_key(self, language: int, epoch: int) -> int:
        return _hash(self.seed, "windows", self.languages[language], epoch)


def floor_sum(n: int, m: int, a: int, b: int) -> int:
    """Σ floor((a·i + b)/m) over 0 ≤ i < n, for n, a, b ≥ 0 and m > 0, by Euclid's algorithm on (m, a)."""
    total = 0
    while True:
        total += n * (n - 1) // 2 * (a // m) + n * (b // m)
        a, b = a % m, b % m
        last = a * n + b
        if last < m:
            return total
        # Count lattice points under the line by columns of the other axis.
        n, b = divmod(last, m)
        m, a = a, m


def permute(index: int, size: int, key: int) -> int:
    """A permutation of 0 … size−1 chosen by `key`.

    A balanced Feistel network permutes the next even power of two, at most 4·size; walking on from values outside
    stays inside the cycle, so it ends at one inside, and two indices never meet.
    """
    bits = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << bits) - 1
    while True:
        left, right = index >> bits, index & mask
        for turn in range(_ROUNDS):
            left, right = right, left ^ (_mix(right + key + turn * MULTIPLIER) & mask)
        index = left << bits | right
        if index < size:
            return index


def _mix(value: int) -> int:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014)."""
    value &= MODULUS - 1
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & MODULUS - 1
    value = (value ^ value >> 27) * 0x94D049BB133111EB & MODULUS - 1
    return value ^ value >> 31


def _hash(*parts: object) -> int:
    text = ":".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, person=b"mglm-sampler").digest(), "big")
