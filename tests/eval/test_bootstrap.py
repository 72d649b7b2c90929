"""Intervals hold the mean and shrink with more items; a paired test sees a difference that is there."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from eval.bootstrap import Items, Scores, interval, paired_p


def apart(groups: Sequence[Scores]) -> list[Items]:
    """Every example is about something else."""
    sizes = np.cumsum([0, *map(len, groups)])
    return [np.arange(start, end) for start, end in pairwise(sizes)]


def test_an_interval_is_that_of_the_normal_approximation_where_that_holds() -> None:
    scores = np.random.default_rng(0).normal(0.4, 0.1, size=(400, 2))
    low, high = interval([scores], apart([scores]), 2000)
    error = 1.96 * scores.std(axis=0) / np.sqrt(400)
    assert low == pytest.approx(scores.mean(axis=0) - error, abs=2e-3)
    assert high == pytest.approx(scores.mean(axis=0) + error, abs=2e-3)


def test_groups_weigh_the_same_whatever_their_size() -> None:
    groups = [np.zeros((1000, 1)), np.ones((3, 1))]
    assert interval(groups, apart(groups), 200)[:, 0] == pytest.approx([0.5, 0.5])


def test_one_question_in_several_languages_is_no_surer_than_one_question() -> None:
    random = np.random.default_rng(3)
    questions, languages = 400, 11
    hard, noise = random.normal(0.5, 0.3, size=questions), random.normal(0, 0.1, size=(languages, questions))
    items: list[Items] = [random.permutation(questions) for _ in range(languages)]  # each file has its own order
    groups = [(hard[order] + noise[number]).reshape(-1, 1) for number, order in enumerate(items)]
    error = 1.96 * float(np.hypot(0.3, 0.1 / np.sqrt(languages))) / np.sqrt(questions)
    low, high = interval(groups, items, 2000)[:, 0]
    assert (high - low) / 2 == pytest.approx(error, rel=0.1)
    low, high = interval([np.concatenate(groups)], [np.concatenate(items)], 2000)[:, 0]
    assert (high - low) / 2 == pytest.approx(error, rel=0.1)
    low, high = interval(groups, apart(groups), 2000)[:, 0]
    assert (high - low) / 2 < error / 3


def test_the_same_seed_gives_the_same_interval() -> None:
    scores = np.random.default_rng(1).random((50, 3))
    (items,) = apart([scores])
    assert np.array_equal(interval([scores], [items], 300), interval([scores], [items], 300))
    assert not np.array_equal(interval([scores], [items], 300), interval([scores], [items], 300, seed=1))


def test_a_clear_difference_is_significant_and_none_is_not() -> None:
    random = np.random.default_rng(2)
    noise = random.normal(0, 0.1, size=(200, 1))
    (items,) = apart([noise])
    assert paired_p([noise + 0.05], [items], 1000)[0] < 0.01
    assert paired_p([noise - noise.mean()], [items], 1000)[0] > 0.5
    assert paired_p([np.zeros((5, 1))], [np.arange(5)], 1000)[0] == 1


def test_a_difference_on_one_question_in_many_languages_is_that_of_one_question() -> None:
    noise = np.random.default_rng(4).normal(0, 0.1, size=(30, 1))
    differences = noise - noise.mean() + 0.02
    one = paired_p([differences], [np.arange(30)], 2000)[0]
    assert paired_p([differences] * 20, [np.arange(30)] * 20, 2000)[0] == pytest.approx(one, abs=0.02)
    assert paired_p([differences] * 20, apart([differences] * 20), 2000)[0] < one / 10
