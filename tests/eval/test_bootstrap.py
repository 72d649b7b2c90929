"""Intervals hold the mean and shrink with more examples; a paired test sees a difference that is there."""

import numpy as np
import pytest

from eval.bootstrap import interval, paired_p


def test_an_interval_is_that_of_the_normal_approximation_where_that_holds() -> None:
    scores = np.random.default_rng(0).normal(0.4, 0.1, size=(400, 2))
    low, high = interval([scores], 2000)
    error = 1.96 * scores.std(axis=0) / np.sqrt(400)
    assert low == pytest.approx(scores.mean(axis=0) - error, abs=2e-3)
    assert high == pytest.approx(scores.mean(axis=0) + error, abs=2e-3)


def test_groups_weigh_the_same_whatever_their_size() -> None:
    large, small = np.zeros((1000, 1)), np.ones((3, 1))
    assert interval([large, small], 200)[:, 0] == pytest.approx([0.5, 0.5])


def test_the_same_seed_gives_the_same_interval() -> None:
    scores = np.random.default_rng(1).random((50, 3))
    assert np.array_equal(interval([scores], 300), interval([scores], 300))
    assert not np.array_equal(interval([scores], 300), interval([scores], 300, seed=1))


def test_a_clear_difference_is_significant_and_none_is_not() -> None:
    random = np.random.default_rng(2)
    noise = random.normal(0, 0.1, size=(200, 1))
    assert paired_p([noise + 0.05], 1000)[0] < 0.01
    assert paired_p([noise - noise.mean()], 1000)[0] > 0.5
    assert paired_p([np.zeros((5, 1))], 1000)[0] == 1
