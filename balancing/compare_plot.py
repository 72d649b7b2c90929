"""Pictures of a comparison: shares by resource group, shares by rank, epochs by language.

In: plans by strategy. Out: image files (.png, .svg). Lines differ in dashes as well as in colour, marks in shape.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from balancing.compare import Summary
from balancing.notes import EPOCHS_TO_WARN_ABOVE
from balancing.plot import draw_languages, plain_log_axis, width_of
from balancing.shares import GROUPS, HIGH_FROM, LOW_BELOW, epochs_in_words
from core.figures import BLUE, GREEN, INK, ORANGE, PURPLE, QUIET, SKY, TEXT, VERMILLION, new_figure, save_figure, tidy
from core.plan import Plan

# From dark to light, so that the order of the groups shows without colour.
GROUP_COLOURS = {"high": "#20405F", "middle": SKY, "low": "#F3D9A4"}
GROUP_INK = {"high": "white", "middle": INK, "low": INK}
LINES = [
    (QUIET, "-"), (SKY, (0, (6, 2))), (GREEN, (0, (3, 1.5))), (VERMILLION, "-"), (ORANGE, (0, (1, 1.2))),
    (BLUE, (0, (6, 2, 1, 2))), (PURPLE, (0, (8, 3))), (INK, (0, (2, 2))),
]  # fmt: skip


def plot_groups(summaries: Sequence[Summary], paths: Sequence[Path]) -> None:
    """A bar for each strategy, the counts themselves first, cut into the shares of the resource groups."""
    with new_figure(7.5, 1.5 + 0.36 * len(summaries)) as figure:
        axes = figure.subplots()
        places = range(len(summaries))
        left = [0.0] * len(summaries)
        words = {
            "high": f"high: ≥ {100 * HIGH_FROM:g} % of the counts",
            "middle": "middle",
            "low": f"low: < {100 * LOW_BELOW:g} %",
        }
        for group in GROUPS:
            widths = [100 * summary.groups[group] for summary in summaries]
            bars = axes.barh(places, widths, 0.72, left=left, color=GROUP_COLOURS[group], label=words[group])
            for bar, width in zip(bars, widths, strict=True):
                if width >= 4:  # narrower than its own number
                    middle = bar.get_x() + width / 2, bar.get_y() + bar.get_height() / 2
                    axes.text(*middle, f"{width:.1f}", ha="center", va="center", color=GROUP_INK[group], fontsize=8)
            left = [start + width for start, width in zip(left, widths, strict=True)]
        names = [_label(summary.strategy, limited=summary.limited > 0) for summary in summaries]
        axes.set_yticks(places, names)
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("share of training, %")
        tidy(axes)
        axes.grid(visible=False)
        axes.set_title("Shares by resource group", loc="left", fontweight="bold", color=TEXT)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
        save_figure(figure, paths)


def plot_strategies(plans: Mapping[str, Plan], paths: Sequence[Path]) -> None:
    """A line for each strategy: the share of every language, languages by falling count."""
    rows = plans["raw"].languages
    with new_figure(width_of(len(rows)), 5.6) as figure:
        axes = figure.subplots()
        for (name, plan), (colour, dashes) in zip(plans.items(), LINES, strict=False):
            shares = [100 * row.share or float("nan") for row in plan.languages]
            label = _label(name, limited=bool(plan.fit.get("max_epochs", {}).get("limited")))
            mark = "o" if len(rows) <= 40 else ""
            width = 2.2 if name.startswith("two-stage") and plan.curve == "log-linear" else 1.4
            axes.plot(
                range(1, len(rows) + 1), shares, color=colour, linestyle=dashes, linewidth=width, label=label,
                marker=mark, markersize=3,
            )  # fmt: skip
        plain_log_axis(axes)
        axes.set_ylabel("share of training, %")
        tidy(axes)
        draw_languages(axes, [row.code for row in rows])
        axes.set_title("Share of each language, by strategy", loc="left", fontweight="bold", color=TEXT)
        figure.legend(
            *axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, handlelength=4
        )
        save_figure(figure, paths)


def plot_epochs(chosen: Plan, max_epochs: float | None, paths: Sequence[Path]) -> None:
    """How often each language is seen at the budget: as counted, with the chosen plan, and the limit as a line."""
    rows = chosen.languages
    with new_figure(width_of(len(rows)), 4.8) as figure:
        axes = figure.subplots()
        ranks = [row.rank for row in rows]
        limit = max_epochs or EPOCHS_TO_WARN_ABOVE
        epochs = [row.epochs or float("nan") for row in rows]
        budget = chosen.budget_tokens or 0.0
        as_counted = [row.raw_share * budget / (row.available_tokens or float("nan")) for row in rows]
        axes.scatter(ranks, as_counted, s=14, facecolors="white", edgecolors=QUIET, label="as counted", zorder=3)
        for often, colour, mark, words in (
            (False, BLUE, "o", "in this plan"),
            (True, VERMILLION, "D", "at the limit" if max_epochs else f"in this plan, above {limit:g}"),
        ):
            above = [value >= limit * (1 - 1e-9) if max_epochs else value > limit for value in epochs]
            x = [rank for rank, is_above in zip(ranks, above, strict=True) if is_above == often]
            y = [value for value, is_above in zip(epochs, above, strict=True) if is_above == often]
            if x:
                axes.scatter(x, y, s=18, color=colour, marker=mark, linewidths=0, label=words, zorder=4)
        words = (
            f"limit: {epochs_in_words(limit)}"
            if max_epochs
            else f"{limit:g} epochs, beyond which repetition pays ever less"
        )
        axes.axhline(limit, color=VERMILLION, linestyle=(0, (5, 3)), linewidth=1.2, label=words)
        plain_log_axis(axes)
        axes.set_ylabel("epochs at the budget")
        tidy(axes)
        axes.margins(y=0.1)
        draw_languages(axes, [row.code for row in rows])
        axes.set_title(
            f"Epochs of each language, {_named(chosen)}, {budget:.3g} tokens", loc="left", fontweight="bold", color=TEXT
        )
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
        save_figure(figure, paths)


def _label(strategy: str, *, limited: bool) -> str:
    return "as counted" if strategy == "raw" and not limited else strategy


def _named(plan: Plan) -> str:
    return f"two-stage {plan.alpha:g}" + (", zipf" if plan.curve == "zipf" else "")
