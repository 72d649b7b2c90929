"""Shares sum to 1, and no limit is passed by more than rounding."""

import math

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from balancing.shares import group_of, limit_epochs, log_shares, normalised, power_shares
from core.errors import MGLMError

AMOUNTS = st.lists(st.floats(1e-3, 1e12), min_size=1, max_size=60)


def unimax(available: list[float], budget: float, epochs: float) -> list[float]:
    """Chung et al. 2023, Algorithm 1, line by line."""
    order = sorted(range(len(available)), key=lambda index: available[index])
    left, used = budget, [0.0] * len(available)
    for done, index in enumerate(order):
        each = left / (len(available) - done)
        used[index] = available[index] * epochs if each > available[index] * epochs else each
        left -= used[index]
    return [value / math.fsum(used) for value in used]


def codes_of(values: list[float]) -> list[str]:
    return [f"x{index}" for index in range(len(values))]


@settings(deadline=None)
@given(AMOUNTS, st.floats(0.5, 20), st.floats(0.001, 0.999))
def test_limited_equal_shares_are_unimax(available: list[float], epochs: float, part: float) -> None:
    codes, budget = codes_of(available), part * epochs * math.fsum(available)
    equal = [1 / len(codes)] * len(codes)
    shares, _ = limit_epochs(codes, equal, budget, dict(zip(codes, available, strict=True)), epochs)
    assert shares == pytest.approx(unimax(available, budget, epochs), rel=1e-6, abs=1e-12)


@settings(deadline=None)
@given(AMOUNTS, AMOUNTS, st.floats(0.5, 20), st.floats(0.001, 1.0))
@example([173951318169.0, 0.25], [1.0, 1.0], 1.0, 0.99999)
def test_the_limit_holds_nothing_is_lost_and_the_others_keep_their_proportions(
    weights: list[float], available: list[float], epochs: float, part: float
) -> None:
    size = min(len(weights), len(available))
    codes, shares = codes_of(weights[:size]), normalised(weights[:size])
    have = dict(zip(codes, available[:size], strict=True))
    budget = part * epochs * math.fsum(have.values())
    result, told = limit_epochs(codes, shares, budget, have, epochs)
    assert math.fsum(result) == pytest.approx(1, abs=1e-9)
    assert all(share * budget <= epochs * have[code] * (1 + 1e-9) for code, share in zip(codes, result, strict=True))
    limited = set(told["limited"])
    for code, share in zip(codes, result, strict=True):
        assert (code not in limited) or share * budget == pytest.approx(epochs * have[code])
    factors = [new / old for code, old, new in zip(codes, shares, result, strict=True) if code not in limited]
    assert factors == pytest.approx(factors[:1] * len(factors), rel=1e-6)
    assert all(factor >= 1 - 1e-9 for factor in factors)
    moved = math.fsum(max(old - new, 0) for old, new in zip(shares, result, strict=True))
    assert told["share_moved"] == pytest.approx(moved)


def test_a_small_limit_by_hand() -> None:
    # 100 tokens: sw may have 10, so en and de share 90 as 3 : 2, which is 54 and 36; de's 30 leave en 60.
    shares, told = limit_epochs(["en", "de", "sw"], [0.5, 1 / 3, 1 / 6], 100, {"en": 500, "de": 15, "sw": 5}, 2)
    assert shares == pytest.approx([0.6, 0.3, 0.1])
    assert told["limited"] == ["de", "sw"]
    assert told["share_moved"] == pytest.approx(0.1)


def test_a_language_of_unknown_size_is_not_limited_and_takes_the_rest() -> None:
    shares, _ = limit_epochs(["en", "de"], [0.5, 0.5], 100, {"de": 10}, 1)
    assert shares == pytest.approx([0.9, 0.1])


def test_the_smallest_shares_that_numbers_hold_are_limited_as_others_are() -> None:
    shares, told = limit_epochs(["en", "de", "sw"], [1.0, 1e-310, 2e-310], 100, {"en": 50, "de": 90, "sw": 30}, 1)
    assert shares == pytest.approx([0.5, 0.2, 0.3])
    assert told["limited"] == ["en", "sw"]


def test_a_budget_that_cannot_be_filled_is_told_also_when_the_rest_has_no_share() -> None:
    with pytest.raises(MGLMError, match="Lower the budget or raise --max-epochs"):
        limit_epochs(["en", "de"], [0.5, 0.5], 100, {"en": 20, "de": 20}, 2)
    with pytest.raises(MGLMError, match="found 40 in all languages"):
        limit_epochs(["en", "de"], [1.0, 0.0], 100, {"en": 20, "de": 2000}, 2)


def test_exactly_the_budget_is_enough() -> None:
    shares, told = limit_epochs(["en", "de", "sw"], [0.7, 0.2, 0.1], 30, {"en": 3, "de": 3, "sw": 9}, 2)
    assert shares == pytest.approx([0.2, 0.2, 0.6])
    assert told["limited"][:2] == ["en", "de"]


@settings(deadline=None)
@given(AMOUNTS, st.floats(-60, 60))
def test_any_exponent_gives_shares_that_sum_to_one(counts: list[float], alpha: float) -> None:
    shares = power_shares(counts, alpha)
    assert math.fsum(shares) == pytest.approx(1)
    assert all(0 <= share <= 1 for share in shares)


@settings(deadline=None)
@given(AMOUNTS, st.floats(0.05, 2))
def test_shares_against_plain_arithmetic(counts: list[float], alpha: float) -> None:
    assume(max(counts) / min(counts) < 1e9)
    powers = [count**alpha for count in counts]
    assert power_shares(counts, alpha) == pytest.approx([power / math.fsum(powers) for power in powers], rel=1e-9)


def test_logarithms_beyond_every_number_are_shared_all_the_same() -> None:
    assert log_shares([800.0, 800.0, -800.0], 1.0) == [0.5, 0.5, 0.0]
    assert normalised([1e308, 1e308]) == [0.5, 0.5]


@pytest.mark.parametrize(
    ("share", "group"), [(0.5, "high"), (0.01, "high"), (0.00999, "middle"), (0.001, "middle"), (0.00099, "low")]
)
def test_groups_by_share(share: float, group: str) -> None:
    assert group_of(share) == group
