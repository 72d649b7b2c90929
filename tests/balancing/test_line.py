"""Stage 1's line is the textbook's, through the languages asked for."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancing.config import Curve
from balancing.line import MOST_LANGUAGES_OF_THEIL_SEN, fit_line, fit_range
from core.errors import MGLMError

COUNTS = [3000.0, 700.0, 650.0, 90.0, 40.0, 4.0, 2.0]
CODES = ["en", "ru", "es", "de", "it", "sw", "yo"]
FALLING = st.lists(st.floats(1e-3, 1e12), min_size=3, max_size=40).map(lambda counts: sorted(counts, reverse=True))


@pytest.mark.parametrize("curve", ["log-linear", "zipf"])
def test_least_squares_with_its_errors_against_numpy(curve: Curve) -> None:
    ranks = np.arange(1.0, len(COUNTS) + 1)
    x, y = ranks if curve == "log-linear" else np.log(ranks), np.log(COUNTS)
    # polyfit scales its covariance by χ²/(n − 2), which is the textbook's estimate of the errors.
    (slope, intercept), covariance = np.polyfit(x, y, 1, cov=True)
    fitted, fit = fit_line(CODES, COUNTS, curve)
    assert (fit["slope"], fit["intercept"]) == pytest.approx((slope, intercept))
    assert (fit["slope_stderr"], fit["intercept_stderr"]) == pytest.approx(np.sqrt(np.diag(covariance)).tolist())
    assert fit["r2"] == pytest.approx(1 - np.sum((y - slope * x - intercept) ** 2) / np.sum((y - y.mean()) ** 2))
    assert fitted == pytest.approx((slope * x + intercept).tolist())


@settings(deadline=None)
@given(FALLING)
def test_theil_sen_is_the_median_of_the_slopes_of_all_pairs(counts: list[float]) -> None:
    y = np.log(counts)
    slopes = [(y[j] - y[i]) / (j - i) for i in range(len(y)) for j in range(i + 1, len(y))]
    _, fit = fit_line([str(i) for i in range(len(counts))], counts, regression="theil-sen")
    assert fit["slope"] == pytest.approx(np.median(slopes), abs=1e-12)
    ranks = np.arange(1, len(y) + 1)
    assert fit["intercept"] == pytest.approx(np.median(y) - fit["slope"] * np.median(ranks), abs=1e-9)
    assert fit["slope_low"] <= fit["slope"] <= fit["slope_high"]


def test_an_outlier_pulls_least_squares_and_not_theil_sen() -> None:
    clean = [math.exp(10 - 0.5 * rank) for rank in range(1, 12)]
    spoilt = [1e9, *clean[1:]]
    codes = [str(rank) for rank in range(1, 12)]
    assert fit_line(codes, spoilt, regression="theil-sen")[1]["slope"] == pytest.approx(-0.5)
    assert fit_line(codes, spoilt)[1]["slope"] < -0.6


def test_the_line_goes_through_the_range_and_everyone_is_put_on_it() -> None:
    fitted, fit = fit_line(CODES, COUNTS, fit_ranks="2:5")
    slope, intercept = np.polyfit([2, 3, 4, 5], np.log(COUNTS[1:5]), 1)
    assert (fit["slope"], fit["ranks"], fit["languages"]) == (pytest.approx(slope), [2, 5], 4)
    assert fitted == pytest.approx([intercept + slope * rank for rank in range(1, 8)])
    assert all(after < before for before, after in pairwise(fitted))
    assert fit_line(CODES, COUNTS, fit_ranks="2:", fit_min_count=40)[0] == fitted


@pytest.mark.parametrize(
    ("fit_ranks", "least", "expected"),
    [(None, None, (1, 7)), ("2:4", None, (2, 4)), (":3", None, (1, 3)), ("5:99", None, (5, 7)), (None, 650, (1, 3))],
)
def test_ranges(fit_ranks: str | None, least: float | None, expected: tuple[int, int]) -> None:
    assert fit_range(COUNTS, fit_ranks, least) == expected


@pytest.mark.parametrize(
    ("fit_ranks", "least", "message"),
    [
        ("4", None, "expected A:B"),
        ("4:2", None, "expected A:B"),
        ("0:5", None, "expected A:B"),
        ("a:b", None, "expected A:B"),
        ("9:", None, "0 of 7 languages; expected two"),
        ("9:12", None, "0 of 7 languages; expected two"),
        (None, 2000, "1 of 7 languages"),
        ("3:", 700, "lower --fit-min-count"),
    ],
)
def test_ranges_that_will_not_do_are_told(fit_ranks: str | None, least: float | None, message: str) -> None:
    with pytest.raises(MGLMError, match=message):
        fit_range(COUNTS, fit_ranks, least)


def test_residuals_are_above_the_line_when_positive_and_the_furthest_are_named() -> None:
    fitted, fit = fit_line(CODES, COUNTS)
    residuals = {code: math.log(count) - value for code, count, value in zip(CODES, COUNTS, fitted, strict=True)}
    furthest = sorted(residuals, key=lambda code: -abs(residuals[code]))[:5]
    assert fit["furthest_from_line"] == pytest.approx({code: residuals[code] for code in furthest})
    assert list(fit["furthest_from_line"]) == furthest
    raised = fit["most_raised"]
    assert raised == pytest.approx({code: math.exp(-residuals[code]) for code in raised})
    assert all(factor > 1 for factor in raised.values())


def test_two_languages_lie_on_their_line_one_has_none_and_level_counts_have_no_r2() -> None:
    assert fit_line(["en"], [5.0]) == ([math.log(5)], {"note": "one language: no line to fit"})
    for regression in ("ols", "theil-sen"):
        fitted, fit = fit_line(["en", "sw"], [50.0, 5.0], regression=regression)  # type: ignore[arg-type]
        assert fitted == pytest.approx([math.log(50), math.log(5)])
        assert fit["r2"] == pytest.approx(1)
        assert not {fit.get("slope_stderr"), fit.get("slope_low")} - {None}
        level, flat = fit_line(["en", "sw", "yo"], [5.0, 5.0, 5.0], regression=regression)  # type: ignore[arg-type]
        assert level == pytest.approx([math.log(5)] * 3)
        assert (flat["slope"], flat["r2"]) == (0.0, None)


def test_a_line_that_leaves_the_numbers_and_too_many_pairs_are_told() -> None:
    with pytest.raises(MGLMError, match="Widen --fit-ranks"):
        fit_line([str(i) for i in range(300)], [1e9 - i for i in range(298)] + [1e9 - 299, 1e-9], fit_ranks="299:300")
    many = MOST_LANGUAGES_OF_THEIL_SEN + 1
    with pytest.raises(MGLMError, match="theil-sen; found 4001 languages"):
        fit_line([str(i) for i in range(many)], [float(many - i) for i in range(many)], regression="theil-sen")
