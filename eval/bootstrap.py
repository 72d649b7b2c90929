"""How sure a mean is: percentile intervals and paired tests by bootstrap (Efron; Koehn, 2004, for paired systems).

Groups are resampled each by itself and their means averaged, so a mean over language pairs keeps its pairs.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]  # [examples, measures]

LEVEL = 0.95
_DRAWS_AT_ONCE = 2_000_000


def interval(groups: Sequence[Scores], resamples: int, seed: int = 0) -> Scores:
    """[2, measures]: the lower and upper end of the 95 % interval of the mean over groups."""
    drawn = np.concatenate(list(_means(groups, resamples, seed)))
    ends: Scores = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return ends


def paired_p(differences: Sequence[Scores], resamples: int, seed: int = 0) -> Scores:
    """[measures]: two-sided p of the mean difference between two systems on the same examples.

    How often the resampled difference lies on the other side of zero, twice; never below 1 / (resamples + 1).
    """
    drawn = np.concatenate(list(_means(differences, resamples, seed)))
    tail = np.minimum((drawn <= 0).sum(axis=0), (drawn >= 0).sum(axis=0))
    p: Scores = np.minimum(1.0, 2 * (tail + 1) / (resamples + 1))
    return p


def _means(groups: Sequence[Scores], resamples: int, seed: int) -> Iterator[Scores]:
    """Resampled means [some resamples, measures], until there are `resamples`."""
    assert groups
    assert all(len(group) for group in groups)
    random = np.random.default_rng(seed)
    at_once = max(1, _DRAWS_AT_ONCE // max(map(len, groups)))
    for start in range(0, resamples, at_once):
        count = min(at_once, resamples - start)
        total = np.zeros((count, groups[0].shape[1]))
        for group in groups:
            drawn = random.integers(0, len(group), size=(count, len(group)))
            for column in range(group.shape[1]):
                total[:, column] += group[:, column][drawn].mean(axis=1)
        yield total / len(groups)
