"""Random numbers that depend on a seed, a sample's index and their own number alone, for many samples at once.

SplitMix64 (Steele, Lea and Flood 2014) as a function: number n of a sample is the mix of its key plus n steps, so that
no state is kept and no sample knows of the others in its batch.
"""

import numpy as np
from numpy.typing import NDArray

_STEP = np.uint64(0x9E3779B97F4A6E57)
_LANE = 1 << 20  # numbers that one call of `take` may use, however many it does


class Draws:
    """Uniform numbers for the samples `index_B`; two calls of `take` never give the same ones."""

    def __init__(self, seed: int, index_B: NDArray[np.int64]) -> None:
        start = _mix(np.array([seed], dtype=np.uint64) * _STEP)
        self._key_B = _mix(start + index_B.astype(np.uint64) * _STEP)
        self._calls = 0

    def take(self, count: int, chosen: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """The next `count` numbers of each sample, or of those `chosen`, 0 ≤ u < 1: shape [B, count].

        Which they are does not depend on how many an earlier call took, or for whom.
        """
        assert count <= _LANE
        first = np.uint64(self._calls * _LANE)
        self._calls += 1
        numbers = (first + np.arange(count, dtype=np.uint64)) * _STEP
        keys_B = self._key_B if chosen is None else self._key_B[chosen]
        mixed = _mix(keys_B[:, None] + numbers)
        return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64. NumPy's uint64 arrays wrap."""
    value = (value ^ value >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ value >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = value ^ value >> np.uint64(31)
    return mixed
