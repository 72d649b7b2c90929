"""Stage 1: a straight line through ln(count) over rank, and every language's count on it (paper, section 3.2, Fig. 3).

In: counts by falling size. Out: ln of the counts on the line, and what is known of the line. A line over rank is an
exponential in rank; the paper calls it a power law. A power law proper, a line over ln(rank), is `curve="zipf"`. Paper:
unstated which of the two. We: the one that moves languages as it reports.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from balancing.config import Curve, Regression
from core.errors import MGLMError

MOST_MOVED = 5  # languages named, in each direction
MOST_LANGUAGES_OF_THEIL_SEN = 4_000  # it looks at every pair: 64 million slopes twice over, in memory
LN_LARGEST = math.log(1e300)  # what a count on the line may be


def fit_line(
    codes: Sequence[str],
    counts: Sequence[float],
    curve: Curve = "log-linear",
    regression: Regression = "ols",
    *,
    fit_ranks: str | None = None,
    fit_min_count: float | None = None,
) -> tuple[list[float], dict[str, Any]]:
    """ln of the counts on the line, and the line's description: slope, intercept, R², standard errors, who moves most.

    Counts fall; ranks are 1, 2, … in the order given. `fit_ranks` ("A:B", either end may be empty) and `fit_min_count`
    choose the languages that the line is fitted through. The others are put on it all the same: were they to keep their
    counts, a language just outside the range could overtake those inside. One language has no line and keeps its count.

    Ordinary least squares gives standard errors; Theil–Sen, the median of the slopes of all pairs, gives the 95 %
    bounds of the slope instead.

    Raises:
        MGLMError: a range that holds fewer than two languages, too many languages for Theil–Sen, or a line that leaves
            the numbers a computer holds.
    """
    logs = [math.log(count) for count in counts]
    if len(counts) == 1:
        return logs, {"note": "one language: no line to fit"}
    positions = [float(rank) if curve == "log-linear" else math.log(rank) for rank in range(1, len(counts) + 1)]
    first, last = fit_range(counts, fit_ranks, fit_min_count)
    x, y = positions[first - 1 : last], logs[first - 1 : last]
    slope, intercept, quality = _least_squares(x, y) if regression == "ols" else _theil_sen(x, y)
    fitted = [intercept + slope * position for position in positions]
    if max(fitted) > LN_LARGEST:
        raise MGLMError(
            f"the line through ranks {first} to {last}",
            found=f"a count of e^{max(fitted):.0f} on it",
            expected="counts below 1e300",
            action="widen --fit-ranks",
        )
    return fitted, {
        "line": f"ln(count) on {'rank' if curve == 'log-linear' else 'ln(rank)'}",
        "regression": regression,
        "languages": last - first + 1,
        "ranks": [first, last],
        "slope": slope,
        "intercept": intercept,
        **quality,
        **_moves(codes, logs, fitted),
    }


def fit_range(counts: Sequence[float], fit_ranks: str | None, fit_min_count: float | None) -> tuple[int, int]:
    """First and last rank of those the line is fitted through, of falling counts.

    Raises:
        MGLMError: not of the form A:B, or fewer than two languages.
    """
    first, last = 1, len(counts)
    if fit_ranks is not None:
        start, colon, end = fit_ranks.partition(":")
        try:
            first, stop = int(start or 1), int(end) if end.strip() else None
        except ValueError:
            first, stop = 0, 0
        if not colon or first < 1 or (stop is not None and stop <= first):
            raise MGLMError("fit_ranks", found=repr(fit_ranks), expected="A:B with 1 ≤ A < B, e.g. 1:50 or 3:")
        last = last if stop is None else min(last, stop)
    if fit_min_count is not None:
        last = min(last, sum(count >= fit_min_count for count in counts))
    if last - first < 1:
        raise MGLMError(
            "the range of the fit",
            found=f"{max(last - first + 1, 0)} of {len(counts)} languages",
            expected="two at least",
            action="widen --fit-ranks or lower --fit-min-count",
        )
    return first, last


def _least_squares(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, dict[str, float | None]]:
    if len(set(y)) == 1:  # R² is undefined and the slope 0 without asking
        return 0.0, y[0], {"r2": None, "slope_stderr": None, "intercept_stderr": None}
    from scipy import stats  # here: it takes a second, and `--help` imports this module

    line = stats.linregress(x, y)
    several = len(x) > 2  # two points leave nothing to estimate an error from
    return (
        float(line.slope),
        float(line.intercept),
        {
            "r2": float(line.rvalue) ** 2,
            "slope_stderr": float(line.stderr) if several else None,
            "intercept_stderr": float(line.intercept_stderr) if several else None,
        },
    )


def _theil_sen(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, dict[str, float | None]]:
    if len(x) > MOST_LANGUAGES_OF_THEIL_SEN:
        raise MGLMError(
            "--regression theil-sen",
            found=f"{len(x)} languages",
            expected=f"{MOST_LANGUAGES_OF_THEIL_SEN} at most: it compares all pairs",
            action="fit fewer with --fit-ranks, or use ols",
        )
    from scipy import stats

    line = stats.theilslopes(y, x, method="separate")
    slope, intercept = float(line.slope), float(line.intercept)
    mean = math.fsum(y) / len(y)
    total = math.fsum((value - mean) ** 2 for value in y)
    unexplained = math.fsum((value - intercept - slope * position) ** 2 for position, value in zip(x, y, strict=True))
    several = len(x) > 2
    return (
        slope,
        intercept,
        {
            "r2": 1 - unexplained / total if len(set(y)) > 1 else None,
            "slope_low": float(line.low_slope) if several else None,
            "slope_high": float(line.high_slope) if several else None,
        },
    )


def _moves(codes: Sequence[str], logs: Sequence[float], fitted: Sequence[float]) -> dict[str, Mapping[str, float]]:
    """The languages that the line moves most: by residual in either direction, and by factor in each."""
    residuals = [(old - new, code) for old, new, code in zip(logs, fitted, codes, strict=True)]
    furthest = sorted(residuals, key=lambda item: (-abs(item[0]), item[1]))[:MOST_MOVED]
    falling = sorted(residuals, key=lambda item: (-item[0], item[1]))
    return {
        "furthest_from_line": {code: residual for residual, code in furthest},
        "most_reduced": {code: math.exp(-residual) for residual, code in falling[:MOST_MOVED] if residual > 0},
        "most_raised": {code: math.exp(-residual) for residual, code in falling[::-1][:MOST_MOVED] if residual < 0},
    }
