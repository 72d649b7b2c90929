"""`mglm train curves`: pictures of runs from their metrics.jsonl and events.jsonl, several side by side in one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from core.errors import MGLMError
from core.figures import BLUE, GREEN, INK, ORANGE, PURPLE, QUIET, SKY, VERMILLION, new_figure, save_figure, tidy
from train.job import EVENTS, METRICS
from train.metrics import read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("png", "svg", "pdf")
_COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY)
_POINTS = 400  # a curve has at most so many, each the mean of as many steps
_NAMED_LANGUAGES = 4  # the best and the worst of each run; the others are drawn, not named


@dataclass(frozen=True)
class Run:
    """The record of one run: a row for each step, its evaluations and measurements on development examples."""

    name: str
    rows: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    skipped: list[int]
    development: list[dict[str, Any]]


def draw_curves(runs: Sequence[Path], output: Path) -> None:
    """Loss, held-out bits per byte by language, throughput, gradient norm and waits over the steps, as one picture.

    Raises:
        MGLMError: a directory without metrics, or a format that cannot be drawn.
    """
    if output.suffix.removeprefix(".") not in FORMATS:
        known = ", ".join(f".{name}" for name in FORMATS)
        raise MGLMError(f"--output {output}", found=f"the suffix {output.suffix!r}", expected=f"one of {known}")
    read = [_read(path) for path in runs]
    panels = (_loss, _language_loss, _heldout, _heldout_languages, _throughput, _gradient_norm, _waits)
    with new_figure(11, 12) as figure:
        grid = figure.subplots(4, 2)
        for axes, panel in zip(grid.flat, panels, strict=False):
            for number, run in enumerate(read):
                panel(axes, run, _COLOURS[number % len(_COLOURS)], len(read) > 1)
            tidy(axes)
            axes.set_xlabel("step")
            axes.xaxis.get_major_locator().set_params(integer=True)
            if not axes.has_data():
                axes.text(0.5, 0.5, "not recorded", ha="center", va="center", color=QUIET, transform=axes.transAxes)
            elif axes.get_legend_handles_labels()[0]:
                axes.legend(frameon=False, fontsize=8)
        _describe(grid.flat[-1], read)
        output.parent.mkdir(parents=True, exist_ok=True)
        save_figure(figure, [output])


def _read(path: Path) -> Run:
    rows = read_metrics(path / METRICS)
    if not rows:
        raise MGLMError(
            f"--run {path}",
            found=f"no {METRICS} with a row" if path.is_dir() else "no such directory",
            expected="the output of mglm train",
            action="give a run that has made a step",
        )
    events = read_metrics(path / EVENTS)
    # A step evaluated twice was redone after a kill: the later counts.
    evaluations, development = (
        {event["step"]: event for event in events if event["event"] == kind} for kind in ("evaluation", "development")
    )
    ordered = [[found[step] for step in sorted(found)] for found in (evaluations, development)]
    return Run(path.name, rows, ordered[0], [row["step"] for row in rows if "skipped" in row], ordered[1])


def _loss(axes: "Axes", run: Run, colour: str, several: bool) -> None:
    axes.set_title("training loss, nats per target")
    axes.plot(*_curve(run, "loss"), color=colour, linewidth=1.2, label=run.name if several else None)
    loss_at = {row["step"]: row["loss"] for row in run.rows}
    marked = [step for step in run.skipped if loss_at[step] is not None]
    if marked:
        axes.plot(marked, [loss_at[step] for step in marked], "x", color=INK, markersize=5, label="skipped")


def _language_loss(axes: "Axes", run: Run, colour: str, several: bool) -> None:
    axes.set_title("training loss by language")
    found = [(row["step"], row["loss_of"]) for row in run.rows if row.get("loss_of")]
    _languages(axes, found, colour, several)


def _heldout(axes: "Axes", run: Run, colour: str, several: bool) -> None:
    axes.set_title("held-out bits per byte")
    if run.development and not run.evaluations:
        axes.set_title(f"development examples, {run.development[-1]['best_by']}")
        steps, scores = zip(*((row["step"], row["score"]) for row in run.development), strict=True)
        axes.plot(steps, scores, color=colour, marker=".", label=run.name if several else None)
    for field, words, dash in (("bits_per_byte", "all bytes", "-"), ("macro", "mean of languages", "--")):
        if run.evaluations:
            steps, values = zip(*((row["step"], row[field]) for row in run.evaluations), strict=True)
            label = f"{run.name}, {words}" if several else words
            axes.plot(steps, values, dash, color=colour, marker="." if len(steps) < 40 else None, label=label)


def _heldout_languages(axes: "Axes", run: Run, colour: str, several: bool) -> None:
    axes.set_title("held-out bits per byte by language")
    _languages(axes, [(row["step"], row["languages"]) for row in run.evaluations], colour, several)


def _throughput(axes: "Axes", run: Run, colour: str, several: bool) -> None:
    has_mfu = any("mfu" in row for row in run.rows)
    axes.set_title("MFU, per cent" if has_mfu else "thousand tokens per second")
    scale, field = (100.0, "mfu") if has_mfu else (1e-3, "tokens_per_s")
    steps, values = _curve(run, field)
    axes.plot(steps, [value * scale for value in values], color=colour, label=run.name if several else None)
    axes.set_ylim(bottom=0)


def _gradient_norm(axes: "Axes", run: Run, colour: str, several: bool) -> None:
    axes.set_title("gradient norm before clipping")
    axes.plot(*_curve(run, "grad_norm"), color=colour, linewidth=1.0, label=run.name if several else None)
    axes.set_yscale("log")


def _waits(axes: "Axes", run: Run, colour: str, several: bool) -> None:
    axes.set_title("seconds waited at a step")
    for dash, (field, words) in zip(("-", "--"), (("data_s", "for data"), ("save_s", "for checkpoints")), strict=True):
        label = f"{run.name}, {words}" if several else words
        axes.plot(*_curve(run, field), dash, color=colour, linewidth=1.0, label=label)
    axes.set_ylim(bottom=0)


def _describe(axes: "Axes", runs: Sequence[Run]) -> None:
    """The last panel: what each run came to, in words."""
    axes.axis("off")
    lines = []
    for run in runs:
        last = run.rows[-1]
        lines += [run.name, f"  step {last['step']:,}, {last['samples']:,} samples"]
        losses = [row["loss"] for row in run.rows[-20:] if row["loss"] is not None]
        if losses:
            lines.append(f"  loss {fmean(losses):.4f} over the last {len(losses)} steps")
        if run.evaluations:
            best = min(run.evaluations, key=lambda row: row["bits_per_byte"])
            lines.append(f"  best {best['bits_per_byte']:.4f} bits per byte, at step {best['step']:,}")
        if run.development:
            best = max(run.development, key=lambda row: (row["score"], -row["step"]))
            lines.append(f"  best {best['best_by']} {best['score']:.4f}, at step {best['step']:,}")
        lines.append(f"  {len(run.skipped)} steps skipped")
    axes.text(0, 1, "\n".join(lines), va="top", family="monospace", fontsize=8, color=INK, transform=axes.transAxes)


def _languages(axes: "Axes", found: Sequence[tuple[int, dict[str, float]]], colour: str, several: bool) -> None:
    """A line for each language; the best and the worst at the end are named beside theirs."""
    if not found:
        return
    last = {lang: values[lang] for _, values in found for lang in values}
    ranked = sorted(last, key=last.__getitem__)
    half = _NAMED_LANGUAGES // 2
    named = set(ranked if len(ranked) <= _NAMED_LANGUAGES else [*ranked[:half], *ranked[-half:]])
    palette = dict(zip(sorted(named), [colour] * len(named) if several else _COLOURS, strict=False))
    for lang in ranked:
        points = [(step, values[lang]) for step, values in found if lang in values]
        steps, values = zip(*points, strict=True)
        shown = palette.get(lang, QUIET)
        style: dict[str, Any] = {
            "linewidth": 1.2 if lang in named else 0.5,
            "marker": "." if len(points) < 40 else None,
        }
        axes.plot(steps, values, color=shown, zorder=3 if lang in named else 2, **style)
        if lang in named:
            axes.annotate(
                lang,
                (steps[-1], values[-1]),
                xytext=(4, 0),
                textcoords="offset points",
                color=shown,
                va="center",
                fontsize=8,
            )


def _curve(run: Run, field: str) -> tuple[list[float], list[float]]:
    return _thinned([row for row in run.rows if row.get(field) is not None], field)


def _thinned(rows: Sequence[dict[str, Any]], field: str) -> tuple[list[float], list[float]]:
    """Steps and values, neighbours averaged so that few enough points remain."""
    size = -(-len(rows) // _POINTS) or 1
    groups = [rows[start : start + size] for start in range(0, len(rows), size)]
    return [fmean(row["step"] for row in group) for group in groups], [
        fmean(row[field] for row in group) for group in groups
    ]
