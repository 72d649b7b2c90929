"""The plan as a picture, after the paper's Fig. 3: counts by rank with the line, and shares before and after.

In: a plan. Out: image files (.png, .svg). Direction is shown by colour, by arrows, and by hollow and full marks.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from balancing.shares import epochs_in_words, power_shares
from core.figures import BLUE, INK, QUIET, TEXT, VERMILLION, new_figure, save_figure, tidy
from core.plan import Plan, PlanLanguage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LESS, MORE, LINE, BEFORE = VERMILLION, BLUE, INK, QUIET
MOST_NAMED_ON_AXIS = 130  # languages; more would print over one another
SMALLEST_SHOWN = 1e-300  # what a logarithmic axis takes for nothing


def plot_plan(plan: Plan, paths: Sequence[Path]) -> None:
    """Draws `plan` once and writes it to every path; the same plan gives the same bytes."""
    with new_figure(width_of(len(plan.languages)), 8.2) as figure:
        counts, shares = figure.subplots(2, 1, sharex=True, height_ratios=(1.15, 1))
        _draw_counts(counts, plan)
        _draw_shares(shares, plan)
        save_figure(figure, paths)


def width_of(languages: int) -> float:
    """Inches of a figure with a place for each language."""
    return min(max(7.5, 1.6 + 0.125 * languages), 18.0)


def draw_languages(axes: "Axes", codes: Sequence[str]) -> None:
    """The axis of languages: their codes, or their ranks where codes would not fit."""
    if len(codes) <= MOST_NAMED_ON_AXIS:
        size, turn = (7 if len(codes) > 40 else 9), (90 if len(codes) > 12 else 0)
        axes.set_xticks(range(1, len(codes) + 1), codes, rotation=turn, fontsize=size, parse_math=False)
        axes.set_xlabel("language, by falling count")
    else:
        axes.set_xlabel("rank of the language, by falling count")
    space = 0.7 if len(codes) <= MOST_NAMED_ON_AXIS else 0.01 * len(codes)
    axes.set_xlim(1 - space, len(codes) + space)


def plain_log_axis(axes: "Axes") -> None:
    """A logarithmic axis with plain numbers."""
    log_axis(axes)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def log_axis(axes: "Axes") -> None:
    """A logarithmic axis that has numbers between the powers of ten too, where it spans less than one of them."""

    def between(value: float, _: object) -> str:
        low, high = sorted(axes.get_ylim())
        return f"{value:.3g}" if high < 10 * low else ""

    axes.set_yscale("log")
    axes.yaxis.set_minor_formatter(between)


def _draw_counts(axes: "Axes", plan: Plan) -> None:
    ranks = [language.rank for language in plan.languages]
    before = [language.count for language in plan.languages]
    after = [max(language.fitted_count, SMALLEST_SHOWN) for language in plan.languages]
    if plan.curve:
        _draw_line(axes, plan, ranks, after)
        _draw_moves(axes, ranks, before, after)
    colours = _colours(before, after) if plan.curve else [INK] * len(ranks)
    axes.scatter(ranks, before, s=16 if len(ranks) <= 500 else 5, color=colours, zorder=4, linewidths=0)
    log_axis(axes)
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


def _draw_line(axes: "Axes", plan: Plan, ranks: Sequence[int], after: Sequence[float]) -> None:
    """The line, full where it was fitted and dotted where it goes on."""
    first, last = plan.fit.get("ranks", (1, len(ranks)))
    inside = slice(first - 1, last)
    axes.plot(ranks[inside], after[inside], color=LINE, linewidth=1.4, zorder=2, label=_line_label(plan))
    outside = [(ranks[:first], after[:first]), (ranks[last - 1 :], after[last - 1 :])]
    for x, y in outside:
        if len(x) > 1:
            axes.plot(x, y, color=LINE, linewidth=1.4, linestyle=(0, (1, 1.5)), zorder=2)


def _draw_moves(axes: "Axes", ranks: Sequence[int], before: Sequence[float], after: Sequence[float]) -> None:
    if len(ranks) > MOST_NAMED_ON_AXIS:  # closer together than arrow heads are wide
        axes.vlines(ranks, before, after, colors=_colours(before, after), linewidth=0.4, alpha=0.5, zorder=3)
        return
    for rank, old, new in zip(ranks, before, after, strict=True):
        if abs(math.log(new / old)) > 0.06:  # shorter than its own head
            arrow = {"arrowstyle": "-|>,head_width=0.14,head_length=0.28", "shrinkA": 3, "shrinkB": 0}
            arrow |= {"color": LESS if new < old else MORE, "linewidth": 1.1}
            axes.annotate("", (rank, new), (rank, old), arrowprops=arrow, zorder=3)


def _draw_shares(axes: "Axes", plan: Plan) -> None:
    ranks = [language.rank for language in plan.languages]
    before = [100 * language.raw_share for language in plan.languages]
    trained = [language for language in plan.languages if language.share > 0]
    shares = [100 * language.share for language in trained]
    raw = [100 * language.raw_share for language in trained]
    colours = _colours(raw, shares)
    places, size = [language.rank for language in trained], 18 if len(ranks) <= 500 else 5
    axes.vlines(places, raw, shares, colors=colours, linewidth=1.1 if len(ranks) <= 500 else 0.4, alpha=0.45, zorder=2)
    if plan.strategy == "two-stage" and plan.alpha is not None:
        alone = [100 * share for share in power_shares([language.count for language in plan.languages], plan.alpha)]
        axes.plot(ranks, alone, color=LINE, linewidth=1, linestyle=(0, (4, 2)), zorder=3, label="stage 2 alone")
    axes.scatter(
        ranks, before, s=0.8 * size, facecolors="white", edgecolors=BEFORE, linewidths=1, zorder=3, label="as counted"
    )
    axes.scatter(places, shares, s=size, color=colours, linewidths=0, zorder=4)
    axes.scatter([], [], s=18, color=LESS, label="in training: less")
    axes.scatter([], [], s=18, color=MORE, label="in training: more")
    if len(trained) < len(ranks):
        without = [language for language in plan.languages if language.share == 0]
        x, y = [language.rank for language in without], [100 * language.raw_share for language in without]
        axes.scatter(x, y, s=26, color=LESS, marker="x", linewidths=1.2, zorder=4, label="not trained on")
    plain_log_axis(axes)
    axes.set_ylabel("share of training, %")
    tidy(axes)
    axes.margins(y=0.12)
    axes.set_title(f"Share of training{_how(plan)}", loc="left", fontweight="bold", color=TEXT)
    axes.legend(frameon=False, loc="upper right")
    draw_languages(axes, [language.code for language in plan.languages])


def _name_most_moved(axes: "Axes", plan: Plan) -> None:
    moved = {*plan.fit.get("most_reduced", {}), *plan.fit.get("most_raised", {})} if plan.curve else set()
    if len(plan.languages) > MOST_NAMED_ON_AXIS:
        return
    points = 60 * width_of(len(plan.languages)) / len(plan.languages)  # between two languages, of 72 to the inch
    ends, height = {True: -math.inf, False: -math.inf}, {True: 0, False: 0}  # of the last label above and below
    for language in plan.languages:
        if language.code in moved:
            up = language.count > language.fitted_count
            half = 2.8 * len(language.code)
            height[up] = (height[up] + 1) % 3 if points * language.rank - half < ends[up] else 0
            ends[up] = points * language.rank + half
            _name(axes, language, up=up, offset=5 + 11 * height[up])


def _name(axes: "Axes", language: PlanLanguage, *, up: bool, offset: int) -> None:
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
    if plan.strategy == "table":
        how = " by the user's table"
    elif plan.strategy in ("uniform", "unimax"):
        how = ", the same for each language"
    else:
        count = "fitted count" if plan.curve else "count"
        how = f" ∝ {count}" + (f"$^{{{plan.alpha:g}}}$" if plan.alpha is not None else "")
    return how + (f", at most {epochs_in_words(plan.fit['max_epochs']['limit'])}" if "max_epochs" in plan.fit else "")


def _line_label(plan: Plan) -> str:
    if "slope" not in plan.fit:
        return "one language"
    ranks = "rank" if plan.curve == "log-linear" else "ln(rank)"
    r2 = f", R² = {plan.fit['r2']:.3f}" if plan.fit["r2"] is not None else ""
    sign, kind = "+" if plan.fit["slope"] > 0 else "−", " (Theil–Sen)" if plan.fit["regression"] == "theil-sen" else ""
    return f"ln(count) = {plan.fit['intercept']:.2f} {sign} {abs(plan.fit['slope']):.3g} · {ranks}{r2}{kind}"


def _colours(before: Sequence[float], after: Sequence[float]) -> list[str]:
    return [LESS if new < old else MORE for old, new in zip(before, after, strict=True)]
