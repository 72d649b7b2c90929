"""Strategies side by side: the same counts, a plan of each strategy, and what distinguishes the plans.

In: counts and a configuration. Out: plans by strategy, summaries, and what could not be made, with the reason. Knows no
files.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from balancing.counts import Counts
from balancing.fit import EPOCHS_OF_UNIMAX, build_plan
from balancing.notes import EPOCHS_TO_WARN_ABOVE
from balancing.shares import GROUPS
from core.errors import MGLMError
from core.plan import Plan, PlanLanguage

ALPHA_OF_MBERT = 0.7
MOST_MOVED = 5


@dataclass(frozen=True)
class Summary:
    """One strategy's plan in a few numbers. Shares lie between 0 and 1.

    `moved` is the share of training that lies with other languages than as counted (total variation distance).
    `reduced` and `raised` are the languages that lose and gain most, in share of training. Epochs are None where budget
    or tokens are not known; those of a group are its tokens at the budget by the tokens it has.
    """

    strategy: str
    groups: dict[str, float]
    largest: PlanLanguage
    smallest: PlanLanguage
    moved: float
    reduced: dict[str, float]
    raised: dict[str, float]
    most_repeated: PlanLanguage | None
    repeated: int | None
    epochs: dict[str, float | None]
    limited: int


def compare_strategies(
    counts: Counts, options: Mapping[str, Any], weights: Mapping[str, float] | None
) -> tuple[dict[str, Plan], dict[str, str]]:
    """Plans by the name of their strategy, and why others could not be made. `options` are those of `build_plan`.

    Raises:
        MGLMError: counts or options will not do for any strategy.
    """
    alpha = options["alpha"]
    variants: dict[str, dict[str, Any]] = {"raw": {"strategy": "raw"}}
    for exponent in sorted({ALPHA_OF_MBERT, alpha}, reverse=True):
        variants[f"alpha {exponent:g}"] = {"strategy": "alpha", "alpha": exponent}
    variants[f"two-stage {alpha:g}"] = {"strategy": "two-stage", "curve": "log-linear"}
    variants[f"two-stage {alpha:g}, zipf"] = {"strategy": "two-stage", "curve": "zipf"}
    variants[f"unimax {options['max_epochs'] or EPOCHS_OF_UNIMAX:g}"] = {"strategy": "unimax"}
    variants["uniform"] = {"strategy": "uniform"}
    if weights is not None:
        variants["table"] = {"strategy": "table", "weights": weights}
    plans: dict[str, Plan] = {}
    failed: dict[str, str] = {}
    for name, variant in variants.items():
        try:
            plans[name] = build_plan(counts, **(dict(options) | {"weights": None} | variant))
        except MGLMError as error:
            if variant["strategy"] not in ("unimax", "table"):  # these alone may want what the others do without
                raise
            failed[name] = str(error)
    return plans, failed


def summarise(name: str, plan: Plan) -> Summary:
    rows = plan.languages
    moves = {row.code: row.share - row.raw_share for row in rows}
    reduced, raised = most_moved(moves)
    repeated = [row for row in rows if row.epochs is not None]
    often = EPOCHS_TO_WARN_ABOVE * (1 + 1e-9)  # a limit of just so many is not above it
    return Summary(
        strategy=name,
        groups={group: math.fsum(row.share for row in rows if row.group == group) for group in GROUPS},
        largest=max(rows, key=lambda row: row.share),
        smallest=min(rows, key=lambda row: row.share),
        moved=math.fsum(max(move, 0.0) for move in moves.values()),
        reduced=reduced,
        raised=raised,
        most_repeated=max(repeated, key=lambda row: row.epochs or 0.0, default=None),
        repeated=sum((row.epochs or 0.0) > often for row in rows) if repeated else None,
        epochs={group: _epochs([row for row in repeated if row.group == group]) for group in GROUPS},
        limited=len(plan.fit.get("max_epochs", {}).get("limited", [])),
    )


def most_moved(moves: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """The languages that lose most and those that gain most, of changes by code."""
    falling = sorted(moves.items(), key=lambda item: (item[1], item[0]))
    rising = sorted(moves.items(), key=lambda item: (-item[1], item[0]))
    reduced = {code: move for code, move in falling[:MOST_MOVED] if move < 0}
    return reduced, {code: move for code, move in rising[:MOST_MOVED] if move > 0}


def _epochs(rows: Sequence[PlanLanguage]) -> float | None:
    """Passes over the languages of `rows` together."""
    available = math.fsum(row.available_tokens or 0.0 for row in rows)
    return math.fsum(row.tokens or 0.0 for row in rows) / available if available else None
