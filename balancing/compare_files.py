"""`mglm balancing compare`: counts → a comparison/1 directory: tables, a page of Markdown, and plots of all strategies.

Files: strategies.csv (a row each), shares.csv (a row for each language), compare.md, and as .png and .svg: groups
(shares by resource group, as counted and with each strategy), strategies (shares by rank), and epochs, where a budget
and the languages' tokens are known.
"""

import csv
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from balancing.compare import Summary, compare_strategies, most_moved, summarise
from balancing.config import BalancingConfig
from balancing.markdown import table
from balancing.notes import EPOCHS_TO_WARN_ABOVE
from balancing.plan_files import identity, plan_options, read_inputs
from balancing.shares import GROUPS, HIGH_FROM, LOW_BELOW
from core.languages import language_name
from core.log import get_logger
from core.manifest import write_atomically
from core.plan import Plan
from core.stage import open_stage

COMPARISON = "comparison/1"
FORMATS = ("png", "svg")

log = get_logger("balancing")


def make_comparison(counts_path: Path, output: Path, *, config: BalancingConfig, overwrite: bool = False) -> str:
    """Compares and writes, or finds it done; returns compare.md's text.

    Raises:
        MGLMError: the counts, the configuration or the output directory will not do.
    """
    started = time.monotonic()
    counts, weights, inputs = read_inputs(counts_path, config)
    plans, failed = compare_strategies(counts, plan_options(config, weights), weights)
    stage = open_stage(output, schema=COMPARISON, config=identity(config), inputs=inputs, overwrite=overwrite)
    report = output / "compare.md"
    if stage.done:
        log.info("%s: already made", output)
        return report.read_text("utf-8")
    from balancing.compare_plot import plot_epochs, plot_groups, plot_strategies

    summaries = [summarise(name, plan) for name, plan in plans.items()]
    figures: dict[str, Callable[[list[Path]], None]] = {
        "groups": lambda paths: plot_groups(summaries, paths),
        "strategies": lambda paths: plot_strategies(plans, paths),
    }
    if _some_epochs(plans):
        chosen = next(plan for plan in plans.values() if plan.curve == config.curve)
        figures["epochs"] = lambda paths: plot_epochs(chosen, config.max_epochs, paths)
    for name, draw in figures.items():
        draw([output / f"{name}.{suffix}" for suffix in FORMATS])
    write_strategies(summaries, output / "strategies.csv")
    write_shares(plans, output / "shares.csv")
    text = markdown(plans, summaries, failed, list(figures))
    write_atomically(report, text)
    stage.finish(
        rows={"strategies.csv": len(plans), "shares.csv": len(plans["raw"].languages)}, facts={"failed": failed}
    )
    log.info("%s: %d strategies, %.1f s", output, len(plans), time.monotonic() - started)
    return text


def write_strategies(summaries: Sequence[Summary], path: Path) -> None:
    """A row for each strategy; cells are empty where nothing is known."""
    rows = []
    for summary in summaries:
        row: dict[str, object] = {"strategy": summary.strategy}
        row |= {f"{group}_share": share for group, share in summary.groups.items()}
        row |= {"largest": summary.largest.code, "largest_share": summary.largest.share}
        row |= {"smallest": summary.smallest.code, "smallest_share": summary.smallest.share, "moved": summary.moved}
        row |= {"most_reduced": " ".join(summary.reduced), "most_raised": " ".join(summary.raised)}
        row |= {f"{group}_epochs": epochs for group, epochs in summary.epochs.items()}
        most = summary.most_repeated
        row |= {"most_repeated": most and most.code, "most_epochs": most and most.epochs}
        rows.append(row | {"languages_repeated": summary.repeated, "languages_limited": summary.limited})
    _write(path, rows)


def write_shares(plans: Mapping[str, Plan], path: Path) -> None:
    """A row for each language: its share with each strategy, and its epochs where they are known."""
    rows = []
    for index, language in enumerate(plans["raw"].languages):
        row: dict[str, object] = {"code": language.code, "name": language_name(language.code), "group": language.group}
        row |= {"count": language.count}
        row |= {f"share: {name}": plan.languages[index].share for name, plan in plans.items()}
        if _some_epochs(plans):
            row |= {f"epochs: {name}": plan.languages[index].epochs for name, plan in plans.items()}
        rows.append(row)
    _write(path, rows)


def markdown(
    plans: Mapping[str, Plan], summaries: Sequence[Summary], failed: Mapping[str, str], figures: Sequence[str]
) -> str:
    """The comparison in words and tables."""
    raw = plans["raw"]
    sizes = {group: sum(row.group == group for row in raw.languages) for group in GROUPS}
    budget = f", {raw.budget_tokens:.4g} tokens of training" if raw.budget_tokens is not None else ""
    parts = [
        f"# Strategies compared: {len(raw.languages)} languages by {raw.count_unit}{budget}\n",
        f"Resource groups, by share of the counts: high from {100 * HIGH_FROM:g} % ({sizes['high']} languages), "
        f"middle from {100 * LOW_BELOW:g} % ({sizes['middle']}), low below ({sizes['low']}). Moved is the part of the "
        "training that lies with other languages than as counted.\n",
        "## Shares of training, %\n",
        table(
            ["strategy", *GROUPS, "largest", "smallest", "moved"],
            [
                [
                    summary.strategy,
                    *(_percent(summary.groups[group]) for group in GROUPS),
                    f"{summary.largest.code} {_percent(summary.largest.share)}",
                    f"{summary.smallest.code} {_percent(summary.smallest.share)}",
                    _percent(summary.moved),
                ]
                for summary in summaries
            ],
        ),
    ]
    if _some_epochs(plans):
        rows = []
        for summary in summaries:
            most = summary.most_repeated
            cells = ["–" if value is None else f"{value:.3g}" for value in summary.epochs.values()]
            rows.append([summary.strategy, *cells, f"{most.code} {most.epochs:.3g}" if most else "–"])
            rows[-1] += [str(summary.repeated), str(summary.limited)]
        head = ["strategy", *GROUPS, "most repeated", f"languages above {EPOCHS_TO_WARN_ABOVE:g}", "limited"]
        parts += ["## Epochs at this budget\n", table(head, rows)]
    parts += [
        "## Languages moved most, in percentage points of the training\n",
        table(
            ["strategy", "less", "more"],
            [[summary.strategy, _moves(summary.reduced), _moves(summary.raised)] for summary in summaries[1:]],
        ),
    ]
    parts += _stage1(plans)
    notes = {
        note for plan in plans.values() for note in plan.notes if "limited to" not in note and "seen more" not in note
    }
    remarks = [f"Not made, {name}: {reason}" for name, reason in failed.items()] + sorted(notes)
    if remarks:
        parts += ["## Notes\n", "\n".join(f"- {remark}" for remark in remarks) + "\n"]
    parts += ["\n".join(f"![{name}]({name}.png)" for name in figures) + "\n"]
    return "\n".join(parts)


def _stage1(plans: Mapping[str, Plan]) -> list[str]:
    """What the line does: where languages lie beside it, and what it changes once stage 2 has its say."""
    line = next(plan for plan in plans.values() if plan.curve == "log-linear")
    if "furthest_from_line" not in line.fit:
        return []
    residuals = ", ".join(f"{code} {value:+.2f}" for code, value in line.fit["furthest_from_line"].items())
    alone = next(plan for plan in plans.values() if plan.strategy == "alpha" and plan.alpha == line.alpha)
    before = alone.shares()
    moves = most_moved({row.code: row.share - before[row.code] for row in line.languages})
    if not any(moves):
        return [f"Furthest from the line of stage 1, in ln(count): {residuals}.\n"]
    return [
        f"Furthest from the line of stage 1, in ln(count): {residuals}.\n",
        f"Beside alpha {line.alpha:g} alone, stage 1 takes from {_moves(moves[0])} and gives to {_moves(moves[1])}.\n",
    ]


def _some_epochs(plans: Mapping[str, Plan]) -> bool:
    return any(row.epochs is not None for row in plans["raw"].languages)


def _percent(share: float) -> str:
    return f"{100 * share:.2f}" if share >= 5e-4 or share < 1e-12 else f"{100 * share:.1g}"


def _moves(moves: Mapping[str, float]) -> str:
    return ", ".join(f"{code} {100 * move:+.2f}" for code, move in moves.items()) or "none"


def _write(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
