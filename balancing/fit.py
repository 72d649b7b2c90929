"""Two-stage language sampling (paper, section 3.2): counts per language → shares of training.

Stage 1 fits a straight line to ln(count) over rank by ordinary least squares and replaces every count by the line, as
in the paper's Fig. 3: the largest languages lose, those in the middle gain. (A line over rank is an exponential in
rank; the paper calls it a power law. A power law proper, a line over ln(rank), is `curve="zipf"`.) Stage 2 raises what
stage 1 left to the power alpha. Paper: unstated which of the two lines. We: the one that moves languages as it reports.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from balancing.config import Curve, Strategy
from core.errors import MGLMError
from core.languages import UNKNOWN, canonical_code
from core.log import get_logger
from core.plan import Plan, PlanLanguage

EPOCHS_TO_WARN_ABOVE = 4.0  # repeated more often, text is worth ever less (Muennighoff et al. 2023)
MOST_MOVED = 5  # languages named in the fit's summary, in each direction

log = get_logger("balancing")


def fit_plan(
    counts: Mapping[str, float],
    *,
    strategy: Strategy = "two-stage",
    alpha: float = 0.3,
    curve: Curve = "log-linear",
    budget_tokens: float | None = None,
    available_tokens: Mapping[str, float] | None = None,
    available_source: Literal["measured", "estimated"] = "measured",
    max_epochs: float | None = None,
    count_unit: str = "documents",
) -> Plan:
    """The plan for languages with `counts` (in any unit, named `count_unit`).

    `alpha` lies in [0, 1] and is used by the strategies two-stage and alpha, `curve` by two-stage. Languages are ranked
    by falling count, equal counts by code. Counts of 0 and the unknown language are left out, with a note. With
    `budget_tokens` every language is told its tokens, with `available_tokens` its epochs too; `max_epochs` then limits
    these and gives what is cut to the others, in proportion.

    Raises:
        MGLMError: no language, a count that is negative or no number, a code given twice, values outside their range,
            or a budget that `max_epochs` cannot fill.
    """
    if strategy not in get_args(Strategy):
        raise MGLMError(f"strategy {strategy}", expected=f"one of {', '.join(get_args(Strategy))}")
    if curve not in get_args(Curve):
        raise MGLMError(f"curve {curve}", expected=f"one of {', '.join(get_args(Curve))}")
    if not 0 <= alpha <= 1:
        raise MGLMError("alpha", found=str(alpha), expected="a number from 0 (uniform) to 1 (as counted)")
    ranked, left_out = rank_languages(counts)
    codes, values = [code for code, _ in ranked], [count for _, count in ranked]
    fitted, fit = fit_line(codes, values, curve) if strategy == "two-stage" else (values, {})
    exponent = {"two-stage": alpha, "alpha": alpha, "raw": 1.0, "uniform": 0.0}[strategy]
    shares = power_shares(fitted, exponent)
    available = {canonical_code(code): tokens for code, tokens in (available_tokens or {}).items()}
    if max_epochs is not None:
        shares, fit["max_epochs"] = limit_epochs(codes, shares, budget_tokens, available, max_epochs)
    if left_out:
        fit["left_out"] = left_out
    rows = zip(ranked, fitted, power_shares(values, 1.0), power_shares(fitted, 1.0), shares, strict=True)
    languages = []
    for rank, ((code, count), fitted_count, raw_share, stage1_share, share) in enumerate(rows, start=1):
        tokens = share * budget_tokens if budget_tokens is not None else None
        have = available.get(code)
        languages.append(
            PlanLanguage(
                code=code,
                count=count,
                rank=rank,
                fitted_count=fitted_count,
                raw_share=raw_share,
                stage1_share=stage1_share,
                share=share,
                tokens=tokens,
                epochs=tokens / have if tokens is not None and have else None,
                available_tokens=have,
                available_source=available_source if have is not None else None,
            )
        )
    if max_epochs is None:
        _warn_of_epochs(languages)
    return Plan(
        strategy=strategy,
        alpha=alpha if strategy in ("two-stage", "alpha") else None,
        curve=curve if strategy == "two-stage" else None,
        count_unit=count_unit,
        budget_tokens=budget_tokens,
        fit=fit,
        languages=languages,
    )


def rank_languages(counts: Mapping[str, float]) -> tuple[list[tuple[str, float]], dict[str, str]]:
    """(code, count) by falling count, equal ones by code; and what was left out, with the reason."""
    given: dict[str, str] = {}
    left_out: dict[str, str] = {}
    kept = []
    for name, count in counts.items():
        code = canonical_code(name)
        if not isinstance(count, (int, float)) or isinstance(count, bool) or not math.isfinite(count) or count < 0:
            raise MGLMError(f"the count of {name}", found=repr(count), expected="a number of at least 0")
        if code in given:
            raise MGLMError(
                f"language {code}", found=f"two counts, as {given[code]} and as {name}", action="add them up into one"
            )
        given[code] = name
        if code == UNKNOWN:
            left_out[code] = "no language"
        elif count == 0:
            left_out[code] = "count 0"
        else:
            kept.append((code, float(count)))
    if not kept:
        raise MGLMError("the counts", found="no language with a count above 0", expected="at least one")
    if left_out:
        log.warning("left out of the plan: %s", ", ".join(f"{code} ({why})" for code, why in left_out.items()))
    return sorted(kept, key=lambda item: (-item[1], item[0])), left_out


def fit_line(codes: Sequence[str], counts: Sequence[float], curve: Curve) -> tuple[list[float], dict[str, Any]]:
    """Counts on the least-squares line through ln(count) over rank (or ln(rank)), and what is known of the line.

    Ranks are 1, 2, … in the order given. One language has no line and keeps its count.
    """
    if len(counts) == 1:
        return list(counts), {"note": "one language: no line to fit"}
    from scipy import stats  # here: it takes a second, and `--help` imports this module

    positions = [float(rank) if curve == "log-linear" else math.log(rank) for rank in range(1, len(counts) + 1)]
    logs = [math.log(count) for count in counts]
    level = len(set(counts)) == 1  # R² is undefined and the slope 0 without asking
    line = stats.linregress(positions, logs) if not level else None
    slope, intercept = (float(line.slope), float(line.intercept)) if line else (0.0, logs[0])
    fitted = [math.exp(intercept + slope * position) for position in positions]
    moved = sorted(zip((math.log(new / old) for new, old in zip(fitted, counts, strict=True)), codes, strict=True))
    return fitted, {
        "regression": f"ln(count) on {'rank' if curve == 'log-linear' else 'ln(rank)'}",
        "languages": len(counts),
        "slope": slope,
        "intercept": intercept,
        "r2": float(line.rvalue) ** 2 if line else None,
        "slope_stderr": float(line.stderr) if line and len(counts) > 2 else None,
        "intercept_stderr": float(line.intercept_stderr) if line and len(counts) > 2 else None,
        "most_reduced": {code: math.exp(change) for change, code in moved[:MOST_MOVED] if change < 0},
        "most_raised": {code: math.exp(change) for change, code in moved[::-1][:MOST_MOVED] if change > 0},
    }


def power_shares(counts: Sequence[float], alpha: float) -> list[float]:
    """Shares proportional to count to the power alpha; they sum to 1."""
    largest = max(counts)
    weights = [(count / largest) ** alpha for count in counts]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def limit_epochs(
    codes: Sequence[str],
    shares: Sequence[float],
    budget_tokens: float | None,
    available: Mapping[str, float],
    max_epochs: float,
) -> tuple[list[float], dict[str, Any]]:
    """Shares such that no language is seen more than `max_epochs` times; the others take the rest in proportion.

    A language whose tokens are not known is not limited.

    Raises:
        MGLMError: no budget, no token counts, or all languages together fall short of the budget.
    """
    if budget_tokens is None or not available:
        missing = "budget" if budget_tokens is None else "token count of any language"
        raise MGLMError(
            "max_epochs", found=f"no {missing}", expected="a budget in tokens and the tokens that each language has"
        )
    most = [max_epochs * available[code] / budget_tokens if code in available else math.inf for code in codes]
    if math.fsum(most) < 1:
        raise MGLMError(
            f"a budget of {budget_tokens:.4g} tokens",
            found=f"{math.fsum(most) * budget_tokens:.4g} tokens in all languages seen {max_epochs:g} times",
            action="lower the budget or raise --max-epochs",
        )
    limited: set[int] = set()
    result = list(shares)
    while True:
        over = {index for index, share in enumerate(result) if index not in limited and share > most[index]}
        if not over:
            break
        limited |= over
        free = 1 - math.fsum(most[index] for index in limited)
        rest = math.fsum(share for index, share in enumerate(shares) if index not in limited)
        result = [
            most[index] if index in limited else share * max(free, 0.0) / rest for index, share in enumerate(shares)
        ]
    moved = math.fsum(max(old - new, 0.0) for old, new in zip(shares, result, strict=True))
    return result, {"limit": max_epochs, "limited": [codes[index] for index in sorted(limited)], "share_moved": moved}


def _warn_of_epochs(languages: Sequence[PlanLanguage]) -> None:
    often = [language for language in languages if (language.epochs or 0) > EPOCHS_TO_WARN_ABOVE]
    if often:
        often.sort(key=lambda language: -(language.epochs or 0))
        named = ", ".join(f"{language.code} {language.epochs:.1f}" for language in often[:MOST_MOVED])
        log.warning(
            "%d languages are seen more than %g times (%s%s): --max-epochs limits that",
            len(often),
            EPOCHS_TO_WARN_ABOVE,
            named,
            ", …" if len(often) > MOST_MOVED else "",
        )
