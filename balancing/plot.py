"""The plan as a picture, after the paper's Fig. 3: counts by rank with the line, and shares before and after.

In: a plan. Out: image files (.png, .svg). Direction is shown by colour, by arrows, and by hollow and
full marks.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from balancing.fit import power_shares
from core.figures import BLUE, INK, QUIET, TEXT, VERMILLION, new_figure, save_figure, tidy
from core.plan import Plan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LESS, MORE, LINE, BEFORE = VERMILLION, BLUE, INK, QUIET


def plot_plan(plan: Plan, paths: Sequence[Path]) -> None:
    """Draws `plan` once and writes it to every path; the same plan gives the same bytes."""
    with new_figure(min(max(7.5, 1.6 + 0.125 * len(plan.languages)), 18.0), 8.2) as figure:
        counts, shares = figure.subplots(2, 1, sharex=True, height_ratios=(1.15, 1))
        _draw_counts(counts, plan)
        _draw_shares(shares, plan)
        save_figure(figure, paths)


def _draw_counts(axes: "Axes", plan: Plan) -> None:
    ranks = [language.rank for language in plan.languages]
    before = [language.count for language in plan.languages]
    after = [language.fitted_count for language in plan.languages]
    if plan.curve:
        axes.plot(ranks, after, color=LINE, linewidth=1.4, zorder=2, label=_line_label(plan))
        for rank, old, new in zip(ranks, before, after, strict=True):
            if abs(math.log(new / old)) > 0.06:  # shorter than its own head
                arrow = {"arrowstyle": "-|>,head_width=0.14,head_length=0.28", "shrinkA": 3, "shrinkB": 0}
                arrow |= {"color": LESS if new < old else MORE, "linewidth": 1.1}
                axes.annotate("", (rank, new), (rank, old), arrowprops=arrow, zorder=3)
    axes.scatter(ranks, before, s=16, color=_colours(before, after), zorder=4, linewidths=0)
    axes.set_yscale("log")
    axes.set_ylabel(plan.count_unit, parse_math=False)  # a column's name, from outside
    _name_most_moved(axes, plan)
    tidy(axes)
    axes.margins(y=0.12)
    title = "Stage 1: counts move to the line" if plan.curve else "Counts by rank"
    axes.set_title(title, loc="left", fontweight="bold", color=TEXT)
    if plan.curve:
        axes.scatter([], [], s=16, color=LESS, label="reduced to the line")
        axes.scatter([], [], s=16, color=MORE, label="raised to the line")
        axes.legend(frameon=False, loc="upper right")


def _draw_shares(axes: "Axes", plan: Plan) -> None:
    ranks = [language.rank for language in plan.languages]
    before = [100 * language.raw_share for language in plan.languages]
    after = [100 * language.share for language in plan.languages]
    colours = _colours(before, after)
    axes.vlines(ranks, before, after, colors=colours, linewidth=1.1, alpha=0.45, zorder=2)
    if plan.curve and plan.alpha is not None:
        alone = [100 * share for share in power_shares([language.count for language in plan.languages], plan.alpha)]
        axes.plot(ranks, alone, color=LINE, linewidth=1, linestyle=(0, (4, 2)), zorder=3, label="stage 2 alone")
    axes.scatter(ranks, before, s=14, facecolors="white", edgecolors=BEFORE, linewidths=1, zorder=3, label="as counted")
    axes.scatter(ranks, after, s=18, color=colours, linewidths=0, zorder=4)
    axes.scatter([], [], s=18, color=LESS, label="in training: less")
    axes.scatter([], [], s=18, color=MORE, label="in training: more")
    axes.set_yscale("log")
    axes.set_ylabel("share of training, %")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    tidy(axes)
    axes.margins(y=0.12)
    axes.set_title(f"Share of training{_how(plan)}", loc="left", fontweight="bold", color=TEXT)
    axes.legend(frameon=False, loc="upper right")
    size = 7 if len(ranks) > 40 else 9
    labels = [language.code for language in plan.languages]
    axes.set_xticks(ranks, labels, rotation=90 if len(ranks) > 12 else 0, fontsize=size, parse_math=False)
    axes.set_xlim(0.3, len(ranks) + 0.7)
    axes.set_xlabel("language, by falling count")


def _name_most_moved(axes: "Axes", plan: Plan) -> None:
    moved = [*plan.fit.get("most_reduced", {}), *plan.fit.get("most_raised", {})] if plan.curve else []
    offset, last_rank = 5, 0
    for language in plan.languages:
        if language.code not in moved:
            continue
        crowded = len(plan.languages) > 20 and language.rank - last_rank == 1
        offset = 14 if crowded and offset == 5 else 5  # neighbours stand at two heights
        last_rank = language.rank
        up = language.count > language.fitted_count
        axes.annotate(
            language.code,
            (language.rank, language.count),
            (0, offset if up else -offset),
            textcoords="offset points",
            ha="center",
            va="bottom" if up else "top",
            fontsize=8,
            parse_math=False,
            color=LESS if up else MORE,
        )


def _how(plan: Plan) -> str:
    if plan.strategy == "uniform":
        return ", the same for each language"
    count = "fitted count" if plan.curve else "count"
    power = f"$^{{{plan.alpha:g}}}$" if plan.alpha is not None else ""
    limit = f", at most {plan.fit['max_epochs']['limit']:g} epochs" if "max_epochs" in plan.fit else ""
    return f" ∝ {count}{power}{limit}"


def _line_label(plan: Plan) -> str:
    ranks = "rank" if plan.curve == "log-linear" else "ln(rank)"
    if "slope" not in plan.fit:
        return "one language"
    r2 = f", R² = {plan.fit['r2']:.3f}" if plan.fit["r2"] is not None else ""
    return f"ln(count) = {plan.fit['intercept']:.2f} {'+' if plan.fit['slope'] > 0 else '−'} " + (
        f"{abs(plan.fit['slope']):.3f} · {ranks}{r2}"
    )


def _colours(before: Sequence[float], after: Sequence[float]) -> list[str]:
    return [LESS if new < old else MORE for old, new in zip(before, after, strict=True)]
