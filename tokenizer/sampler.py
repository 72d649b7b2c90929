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
from numpy.typing import NDArray

from core.errors import MGLMError

MODULUS = 1 << 64
# Odd, 3,518 below 2⁶⁴/φ, and chosen so that no partial quotient of MULTIPLIER/2⁶⁴ exceeds 5 (the nearest to 2⁶⁴/φ has
# one of 121): the discrepancy stays logarithmic to the end of the period, not only to 2³².
MULTIPLIER = 0x9E3779B97F4A6E57
_ROUNDS = 6
_NEAR = 1 << 17  # samples counted one by one rather than by a sum over all: tens of steps of a large batch

IntArray = NDArray[np.int64]


class Draw(NamedTuple):
    """Stream positions start … stop−1 of a language; `stop` past the stream's end goes on at its beginning."""

    lang: str
    epoch: int
    start: int
    stop: int


class Sampler:
    """Sample number → `Draw`. Depends on its arguments only; every rank makes its own and all agree."""

    def __init__(
        self,
        stream_lengths: Mapping[str, int],
        shares: Mapping[str, float],
        sequence_length: int,
        seed: int,
        begun: Mapping[str, int] | None = None,
    ) -> None:
        """Languages without a stream, or without a share, are left out and the other shares grow in proportion.

        `dropped` names the languages that have a share but no stream: the caller says so to its user. `begun` windows
        of a language were gone through before sample 0, under another plan: it goes on with the next.

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
        self._lengths = np.array([stream_lengths[lang] for lang in self.languages], dtype=np.int64)
        # Interval of language i: [bounds[i], bounds[i+1]); the last bound is 2⁶⁴ exactly.
        bounds, passed = [0], Fraction(0)
        for share in kept.values():
            passed += share
            bounds.append(MODULUS if passed == total else min(round(passed / total * MODULUS), MODULUS - 1))
        self._bounds = bounds
        self._inner_bounds = np.array(bounds[1:-1], np.uint64)
        self._offset = _hash(seed, "rotation")
        self._begun = np.array([(begun or {}).get(lang, 0) for lang in self.languages], dtype=np.int64)
        self._epoch_key = lru_cache(4_096)(self._new_epoch_key)
        self._counted, self._counts = 0, np.zeros(len(self.languages), np.int64)  # of the samples before that number

    def language_counts(self, k: int) -> dict[str, int]:
        """How many of the samples 0 … k−1 each language gets."""
        return {lang: self._count_before(k, index) for index, lang in enumerate(self.languages)}

    def windows_begun(self, k: int) -> dict[str, int]:
        """Windows that each language has gone through before sample k, those before sample 0 included."""
        counts = self.language_counts(k).values()
        return dict(zip(self.languages, (self._begun + np.fromiter(counts, np.int64)).tolist(), strict=True))

    def epochs(self, k: int) -> dict[str, float]:
        """How often each language's stream has been gone through before sample k: tokens drawn by tokens there are."""
        return {
            lang: count * min(self.sequence_length, length) / length
            for (lang, count), length in zip(self.windows_begun(k).items(), self._lengths.tolist(), strict=True)
        }

    def draw(self, k: int) -> Draw:
        """Sample `k` ≥ 0."""
        return self.draw_many(k, 1)[0]

    def draw_many(self, first: int, count: int) -> list[Draw]:
        """Samples first … first+count−1."""
        if first < 0:
            raise ValueError(f"sample numbers start at 0, not {first}")
        languages_K = self._languages(first, count)
        # The number of a sample within its language: those before `first`, and those of this call before it.
        order_K = np.argsort(languages_K, kind="stable")
        ranked_K = np.arange(count) - np.searchsorted(languages_K[order_K], languages_K[order_K])
        numbers_K = (self._begun + self._counts_before(first))[languages_K]
        numbers_K[order_K] += ranked_K
        return self._windows(languages_K, numbers_K)

    def _languages(self, first: int, count: int) -> IntArray:
        """Which language each of the samples first … first+count−1 is of."""
        # NumPy's uint64 wraps at 2⁶⁴, which is the rotation's own modulus.
        steps_K = np.arange(count, dtype=np.uint64) * np.uint64(MULTIPLIER)
        rotation_K = steps_K + np.uint64((MULTIPLIER * first + self._offset) % MODULUS)
        return np.searchsorted(self._inner_bounds, rotation_K, side="right")

    def _counts_before(self, k: int) -> IntArray:
        """How many of the samples 0 … k−1 each language gets: counted on from the last call where that is near."""
        if not 0 <= k - self._counted <= _NEAR:
            self._counts = np.array([self._count_before(k, index) for index in range(len(self.languages))])
        elif k > self._counted:
            passed_K = self._languages(self._counted, k - self._counted)
            self._counts = self._counts + np.bincount(passed_K, minlength=len(self.languages))
        self._counted = k
        return self._counts

    def _count_before(self, k: int, language: int) -> int:
        """Samples j < k with bounds[language] ≤ x_j < bounds[language + 1].

        For 0 ≤ T ≤ M: [y mod M < T] = floor(y/M) − floor((y − T)/M).
        """
        low, high = self._bounds[language], self._bounds[language + 1]
        above_low = floor_sum(k, MODULUS, MULTIPLIER, self._offset + MODULUS - low)
        return above_low - floor_sum(k, MODULUS, MULTIPLIER, self._offset + MODULUS - high)

    def _windows(self, languages_K: IntArray, numbers_K: IntArray) -> list[Draw]:
        """The windows of samples that are number `numbers_K` of their languages."""
        length_K, size = self._lengths[languages_K], self.sequence_length
        epoch_K = numbers_K * size // length_K
        first_K, end_K = -(-epoch_K * length_K // size), -(-(epoch_K + 1) * length_K // size)
        straddles_K = end_K * size > (epoch_K + 1) * length_K
        inner_K = ~(straddles_K & (numbers_K == end_K - 1)) & (length_K >= size)
        keys = map(self._epoch_key, languages_K.tolist(), epoch_K.tolist())
        key_K = np.fromiter(keys, np.uint64, numbers_K.size)
        place_K = permute((numbers_K - first_K)[inner_K], (end_K - first_K - straddles_K)[inner_K], key_K[inner_K])
        start_K = numbers_K.copy()
        start_K[inner_K] = first_K[inner_K] + place_K
        start_K = start_K * size % length_K
        short_K = length_K < size  # one window, whole
        epoch_K, start_K = np.where(short_K, numbers_K, epoch_K), np.where(short_K, 0, start_K)
        stop_K = start_K + np.minimum(size, length_K)
        langs = [self.languages[language] for language in languages_K.tolist()]
        return list(map(Draw, langs, epoch_K.tolist(), start_K.tolist(), stop_K.tolist()))

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


def permute(index: IntArray, size: IntArray, key: NDArray[np.uint64]) -> IntArray:
    """For each element the place of `index` in the permutation of 0 … size−1 chosen by `key`.

    A balanced Feistel network permutes the next even power of two, at most 4·size; walking on from values outside
    stays inside the cycle, so it ends at one inside, and two indices never meet.
    """
    bits = np.maximum((np.frexp((size - 1).astype(np.float64))[1] + 1) // 2, 1).astype(np.uint64)
    mask = (np.uint64(1) << bits) - np.uint64(1)
    placed = index.astype(np.uint64)
    outside = np.arange(placed.size)
    while outside.size:
        own_bits, own_mask, own_key = bits[outside], mask[outside], key[outside]
        left, right = placed[outside] >> own_bits, placed[outside] & own_mask
        for turn in range(_ROUNDS):
            left, right = right, left ^ (_mix(right + own_key + np.uint64(turn * MULTIPLIER % MODULUS)) & own_mask)
        placed[outside] = left << own_bits | right
        outside = outside[placed[outside] >= size[outside].astype(np.uint64)]
    return placed.astype(np.int64)


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014). NumPy's uint64 wraps."""
    value = (value ^ value >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ value >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = value ^ value >> np.uint64(31)
    return mixed


def _hash(*parts: object) -> int:
    text = ":".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, person=b"mglm-sampler").digest(), "big")
