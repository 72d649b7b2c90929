"""How sure a mean is: percentile intervals and paired tests by bootstrap (Efron; Koehn, 2004, for paired systems).

Drawn is what examples are about, each item with a weight of its own (the Bayesian bootstrap; Rubin, 1981). Examples of
one item weigh alike in every group that has them: a question in eleven languages is one question, and hard in all of
them. Groups' means are averaged, so a mean over language pairs keeps its pairs.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]  # [examples, measures]
Items = NDArray[np.int64]  # [examples]: equal numbers are one item, also over groups

LEVEL = 0.95
_DRAWS_AT_ONCE = 2_000_000


def interval(groups: Sequence[Scores], items: Sequence[Items], resamples: int, seed: int = 0) -> Scores:
    """[2, measures]: the lower and upper end of the 95 % interval of the mean over groups; `items` says what their
    examples are about."""
    drawn = np.concatenate(list(_means(groups, items, resamples, seed)))
    ends: Scores = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return ends


def paired_p(differences: Sequence[Scores], items: Sequence[Items], resamples: int, seed: int = 0) -> Scores:
    """[measures]: two-sided p of the mean difference between two systems on the same examples.

    How often the resampled difference lies on the other side of zero, twice; never below 1 / (resamples + 1).
    """
    drawn = np.concatenate(list(_means(differences, items, resamples, seed)))
    tail = np.minimum((drawn <= 0).sum(axis=0), (drawn >= 0).sum(axis=0))
    p: Scores = np.minimum(1.0, 2 * (tail + 1) / (resamples + 1))
    return p


def _means(groups: Sequence[Scores], items: Sequence[Items], resamples: int, seed: int) -> Iterator[Scores]:
    """Resampled means [some resamples, measures], until there are `resamples`."""
    assert groups
    assert all(len(group) for group in groups)
    assert [len(group) for group in groups] == [len(of_group) for of_group in items]
    random = np.random.default_rng(seed)
    different, numbered = np.unique(np.concatenate(items), return_inverse=True)
    places = np.split(numbered, np.cumsum([len(group) for group in groups])[:-1])
    at_once = max(1, _DRAWS_AT_ONCE // len(numbered))
    for start in range(0, resamples, at_once):
        weights = random.standard_exponential((min(at_once, resamples - start), len(different)))
        total = np.zeros((len(weights), groups[0].shape[1]))
        for group, of_group in zip(groups, places, strict=True):
            drawn = weights[:, of_group]
            total += drawn @ group / drawn.sum(axis=1, keepdims=True)
        yield total / len(groups)
