"""Shares of training: by a power of the counts, by a user's weights, and limited to so many epochs. They sum to 1.

In: logarithms of counts, weights, tokens. Out: shares, and the resource group of a language. Knows no files.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import MGLMError

# Resource groups, by a language's share of the counts: high from 1 %, low below 0.1 %, middle between. Shares, not
# ranks or thirds, so that the groups mean the same with 4 languages and with 2,000.
HIGH_FROM, LOW_BELOW = 0.01, 0.001
GROUPS = ("high", "middle", "low")


def group_of(raw_share: float) -> str:
    return "high" if raw_share >= HIGH_FROM else "low" if raw_share < LOW_BELOW else "middle"


def epochs_in_words(epochs: float) -> str:
    return f"{epochs:g} epoch{'' if epochs == 1 else 's'}"


def power_shares(counts: Sequence[float], alpha: float) -> list[float]:
    """Shares proportional to count to the power alpha, for counts above 0."""
    return log_shares([math.log(count) for count in counts], alpha)


def log_shares(logs: Sequence[float], alpha: float) -> list[float]:
    """The same of ln(count), which neither overflows nor divides by 0 at any exponent."""
    exponents = [alpha * log for log in logs]
    largest = max(exponents)
    return normalised([math.exp(exponent - largest) for exponent in exponents])


def normalised(weights: Sequence[float]) -> list[float]:
    largest = max(weights)  # first, so that the sum is finite
    scaled = [weight / largest for weight in weights]
    total = math.fsum(scaled)
    return [weight / total for weight in scaled]


def limit_epochs(
    codes: Sequence[str],
    shares: Sequence[float],
    budget: float,
    available: Mapping[str, float],
    max_epochs: float,
) -> tuple[list[float], dict[str, Any]]:
    """Shares such that no language is seen more than `max_epochs` times; the others take the rest in proportion.

    `budget` and `available` are in the same unit. A language of which `available` says nothing is not limited. The
    result is min(limit, λ · share) with the λ for which all sum to 1; of equal shares that is UniMax (Chung et al.
    2023, Algorithm 1).

    Raises:
        MGLMError: all languages with a share, together, fall short of the budget.
    """
    most = [max_epochs * available[code] / budget if code in available else math.inf for code in codes]
    reach = math.fsum(limit for limit, share in zip(most, shares, strict=True) if share > 0)
    if reach < 1 - 1e-12:
        raise MGLMError(
            f"a budget of {budget:.4g}",
            found=f"{reach * budget:.4g} in all languages seen {max_epochs:g} times",
            expected="as much at least",
            action="lower the budget or raise --max-epochs",
        )
    # Languages reach their limits in the order of limit / share, as λ grows. Only quotients of shares by limits and by
    # other shares are taken, never the other way round: a share may be so small that a limit by it is no number.
    order = sorted((index for index, share in enumerate(shares) if share > 0), key=lambda i: (-shares[i] / most[i], i))
    # What those behind have together: summed up from the end, for a difference would keep no digit of small ones.
    rest = [0.0] * (len(order) + 1)
    for place in reversed(range(len(order))):
        rest[place] = rest[place + 1] + shares[order[place]]
    free, reached = 1.0, 0
    while reached < len(order) and free * (shares[order[reached]] / rest[reached]) > most[order[reached]]:
        free, reached = free - most[order[reached]], reached + 1
    limited, others = order[:reached], order[reached:]
    # What is free once more, from the numbers themselves and not from running differences.
    free = max(1 - math.fsum(most[index] for index in limited), 0.0)
    parts = normalised([shares[index] for index in others]) if others else []
    result = [0.0] * len(shares)
    for index in limited:
        result[index] = most[index]
    for index, part in zip(others, parts, strict=True):
        result[index] = min(free * part, most[index])
    moved = math.fsum(max(old - new, 0.0) for old, new in zip(shares, result, strict=True))
    return result, {"limit": max_epochs, "limited": [codes[index] for index in sorted(limited)], "share_moved": moved}
