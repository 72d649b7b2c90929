"""Two-stage language sampling (paper, section 3.2) and its alternatives: counts per language → shares of training.

Stage 1 puts every count on a straight line (`balancing.line`): the largest languages lose, those in the middle gain.
Stage 2 raises what stage 1 left to the power alpha. The other strategies come through the same function and give the
same plan. docs/balancing.md has the formulas and their sources.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from balancing.config import Curve, Regression, Strategy
from balancing.counts import Columns, Counts, counts_of
from balancing.line import fit_line
from balancing.notes import note_epochs, notes_on_languages, number_of, some
from balancing.shares import epochs_in_words, group_of, limit_epochs, log_shares, normalised
from core.errors import MGLMError
from core.languages import UNKNOWN
from core.log import get_logger
from core.plan import Plan, PlanLanguage

if TYPE_CHECKING:
    from balancing.counts import CountsLike

EPOCHS_OF_UNIMAX = 1.0  # Chung et al. 2023, section 5.3, who found no repetition best

log = get_logger("balancing")


def fit_plan(
    counts: "CountsLike",
    *,
    strategy: Strategy = "two-stage",
    alpha: float = 0.3,
    curve: Curve = "log-linear",
    regression: Regression = "ols",
    fit_ranks: str | None = None,
    fit_min_count: float | None = None,
    table: "CountsLike | None" = None,
    budget_tokens: float | None = None,
    available_tokens: Mapping[str, float] | None = None,
    available_source: Literal["measured", "estimated"] = "measured",
    max_epochs: float | None = None,
    sequence_tokens: int = 512,
    count_unit: str | None = None,
    column: str = "documents",
    tokens_column: str | None = None,
) -> Plan:
    """The plan for languages with `counts`: a mapping of code to count, or a pandas or pyarrow table.

    A table has a column `code` or `language`, the counts in `column` and, if named, the tokens that each language has
    in `tokens_column`; a mapping takes these as `available_tokens`. `count_unit` says what is counted, for the reader.

    `alpha`, any number, is used by the strategies two-stage and alpha; `curve`, `regression`, `fit_ranks` ("A:B") and
    `fit_min_count` by two-stage (see `balancing.line.fit_line`); `table`, code to weight (or a table with a column
    `share`), by the strategy table. Languages are ranked by falling count, equal counts by code. With `budget_tokens`
    every language is told its tokens, with known tokens its epochs too; `max_epochs` then limits these and gives what
    is cut to the others, in proportion. UniMax needs a budget and limits epochs to 1 unless told otherwise. What should
    be known of the plan stands in its `notes`, and is logged.

    Raises:
        MGLMError: no language, a count that is negative or no number, a code given twice, values outside their range,
            or a budget that is smaller than one sequence of each language or that `max_epochs` cannot fill.
    """
    given = counts_of(counts, Columns(count=column, tokens=tokens_column))
    if available_tokens is not None:
        known = counts_of(available_tokens, Columns()).counts
        given = replace(given, available_tokens=known, available_source=available_source)
    if count_unit is not None:
        given = replace(given, unit=count_unit)
    plan = build_plan(
        given,
        strategy=strategy,
        alpha=alpha,
        curve=curve,
        regression=regression,
        fit_ranks=fit_ranks,
        fit_min_count=fit_min_count,
        weights=counts_of(table, Columns(count="share")).counts if table is not None else None,
        budget_tokens=budget_tokens,
        max_epochs=max_epochs,
        sequence_tokens=sequence_tokens,
    )
    for note in plan.notes:
        log.warning("%s", note)
    return plan


def build_plan(
    given: Counts,
    *,
    strategy: Strategy = "two-stage",
    alpha: float = 0.3,
    curve: Curve = "log-linear",
    regression: Regression = "ols",
    fit_ranks: str | None = None,
    fit_min_count: float | None = None,
    weights: Mapping[str, float] | None = None,
    budget_tokens: float | None = None,
    max_epochs: float | None = None,
    sequence_tokens: int = 512,
) -> Plan:
    """`fit_plan` for counts that are read and checked; says nothing but what the plan's notes say."""
    _check_options(strategy, alpha, curve, regression, budget_tokens, max_epochs)
    ranked, left_out = rank_languages(given)
    notes = notes_on_languages(ranked, left_out)
    codes, counts = [code for code, _ in ranked], [count for _, count in ranked]
    logs, fit = [math.log(count) for count in counts], dict[str, Any]()
    fitted = logs
    if strategy == "two-stage":
        fitted, fit = fit_line(codes, counts, curve, regression, fit_ranks=fit_ranks, fit_min_count=fit_min_count)
        if fit.get("languages", len(codes)) < len(codes):
            notes.append(f"the line is fitted through ranks {fit['ranks'][0]} to {fit['ranks'][1]}; all are put on it")
    if strategy == "table":
        shares = _table_shares(codes, weights, notes)
    else:
        exponent = {"two-stage": alpha, "alpha": alpha, "raw": 1.0, "uniform": 0.0, "unimax": 0.0}[strategy]
        shares = log_shares(fitted, exponent)
    available = {code: given.available_tokens[code] for code in codes if code in given.available_tokens}
    budget_in_tokens = budget_tokens
    if strategy == "unimax":
        max_epochs = EPOCHS_OF_UNIMAX if max_epochs is None else max_epochs
        if not available and budget_tokens is not None:
            budget_in_tokens, available = None, dict(ranked)
            notes.append(f"no tokens are known: UniMax takes the budget of {budget_tokens:g} for one in {given.unit}")
    if budget_in_tokens is not None:
        _check_budget(budget_in_tokens, shares, sequence_tokens)
    if max_epochs is not None:
        shares, fit["max_epochs"] = _limit(strategy, codes, shares, budget_tokens, available, max_epochs, notes)
    if left_out:
        fit["left_out"] = left_out
    plan = Plan(
        strategy=strategy,
        alpha=alpha if strategy in ("two-stage", "alpha") else None,
        curve=curve if strategy == "two-stage" else None,
        count_unit=given.unit,
        budget_tokens=budget_tokens,
        fit=fit,
        notes=notes,
        languages=_rows(ranked, logs, fitted, shares, budget_in_tokens, given),
    )
    if budget_in_tokens is not None:
        note_epochs(plan, max_epochs, sequence_tokens)
    return plan


def rank_languages(given: Counts) -> tuple[list[tuple[str, float]], dict[str, str]]:
    """(code, count) by falling count, equal ones by code; and what was left out, with the reason."""
    left_out: dict[str, str] = {}
    kept = []
    for code, count in given.counts.items():
        if code == UNKNOWN:
            left_out[code] = "no language"
        elif count == 0:
            left_out[code] = "count 0"
        elif given.available_tokens.get(code) == 0:
            left_out[code] = "no tokens"
        else:
            kept.append((code, count))
    if not kept:
        raise MGLMError("the counts", found="no language with a count above 0", expected="at least one")
    return sorted(kept, key=lambda item: (-item[1], item[0])), left_out


def _rows(
    ranked: Sequence[tuple[str, float]],
    logs: Sequence[float],
    fitted: Sequence[float],
    shares: Sequence[float],
    budget: float | None,
    given: Counts,
) -> list[PlanLanguage]:
    raw, stage1 = log_shares(logs, 1.0), log_shares(fitted, 1.0)
    rows = []
    for index, (code, count) in enumerate(ranked):
        have = given.available_tokens.get(code)
        tokens = shares[index] * budget if budget is not None else None
        rows.append(
            PlanLanguage(
                code=code,
                count=count,
                rank=index + 1,
                fitted_count=count if fitted is logs else math.exp(fitted[index]),
                raw_share=raw[index],
                stage1_share=stage1[index],
                share=shares[index],
                residual=None if fitted is logs else logs[index] - fitted[index],
                ratio=shares[index] / raw[index] if raw[index] > 0 else None,
                group=group_of(raw[index]),
                tokens=tokens,
                epochs=tokens / have if tokens is not None and have else None,
                available_tokens=have,
                available_source=given.available_source if have is not None else None,
            )
        )
    return rows


def _limit(
    strategy: Strategy,
    codes: Sequence[str],
    shares: Sequence[float],
    budget: float | None,
    available: Mapping[str, float],
    max_epochs: float,
    notes: list[str],
) -> tuple[list[float], dict[str, Any]]:
    if budget is None or not available:
        raise MGLMError(
            "UniMax" if strategy == "unimax" else "max_epochs",
            found=f"no {'budget' if budget is None else 'token count of any language'}",
            expected="a budget in tokens and the tokens that each language has",
            action="give --budget-tokens" if budget is None else "name the column with --tokens-column",
        )
    shares, told = limit_epochs(codes, shares, budget, available, max_epochs)
    if limited := told["limited"]:
        notes.append(
            f"{number_of(len(limited))} limited to {epochs_in_words(max_epochs)}, "
            f"{100 * told['share_moved']:.2g} % of the training given to the others: {some(limited)}"
        )
    return shares, told


def _check_options(
    strategy: str, alpha: float, curve: str, regression: str, budget_tokens: float | None, max_epochs: float | None
) -> None:
    kinds = (("strategy", strategy, Strategy), ("curve", curve, Curve), ("regression", regression, Regression))
    for name, value, kind in kinds:
        if value not in get_args(kind):
            raise MGLMError(f"{name} {value}", expected=f"one of {', '.join(get_args(kind))}")
    if not math.isfinite(alpha):
        raise MGLMError("alpha", found=str(alpha), expected="a number: 0 is uniform, 1 as counted")
    for name, limit in (("budget_tokens", budget_tokens), ("max_epochs", max_epochs)):
        if limit is not None and not (math.isfinite(limit) and limit > 0):
            raise MGLMError(name, found=str(limit), expected="a number above 0")


def _table_shares(codes: Sequence[str], weights: Mapping[str, float] | None, notes: list[str]) -> list[float]:
    """The user's weights of the counted languages, scaled to 1; a language without a weight gets nothing."""
    if weights is None:
        raise MGLMError("strategy table", found="no table", expected="a CSV of shares", action="give --table FILE")
    wanted = {code: weight for code, weight in weights.items() if weight > 0}
    shares = [wanted.get(code, 0.0) for code in codes]
    if not any(shares):
        raise MGLMError("the table", found="no weight for any counted language", expected="one at least")
    if strangers := sorted(wanted.keys() - set(codes)):
        part = 1 - math.fsum(shares) / math.fsum(wanted.values())
        notes.append(
            f"{number_of(len(strangers))} of the table without a count, {100 * part:.2g} % of its weight, "
            f"left out and the others scaled up: {some(strangers)}"
        )
    if missing := [code for code, share in zip(codes, shares, strict=True) if share == 0]:
        notes.append(f"{number_of(len(missing))} without a weight in the table, not trained on: {some(missing)}")
    return normalised(shares)


def _check_budget(budget_tokens: float, shares: Sequence[float], sequence_tokens: int) -> None:
    trained = sum(share > 0 for share in shares)
    if budget_tokens < trained * sequence_tokens:
        raise MGLMError(
            f"a budget of {budget_tokens:g} tokens",
            found=f"{budget_tokens / sequence_tokens:.4g} sequences of {sequence_tokens} for {number_of(trained)}",
            expected="one sequence of each language at least",
            action="raise --budget-tokens (it counts single tokens), or lower balancing.sequence_tokens",
        )
