"""An estimate as Markdown, which reads as text too."""

import math
from collections.abc import Callable

from mglm.coefficients import Range, coefficients
from mglm.estimate import Estimate, Layout, StageCost
from mglm.estimate_config import EstimateConfig

_SIZES = (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
_COUNTS = (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3))


def markdown(made: Estimate, config: EstimateConfig) -> str:
    """What goes in, the stages, the layouts, and where every coefficient is from."""
    gpu = f"{config.gpus} GPUs ({config.gpu}, {config.peak_flops / 1e12:.0f} TFLOP/s, {size(config.memory_bytes)})"
    lines = [
        f"A crawl of {config.crawl_tb:g} TB on {config.spark_cores} cores and {gpu}.",
        "",
        f"- text after cleaning: {sizes(made.text_bytes)}, {counts(made.corpus_tokens)} tokens",
        f"- training draws {count(made.drawn_tokens)} tokens, {made.flops:.1e} operations on "
        f"{made.parameters:,} parameters",
    ]
    if made.euros is not None:
        lines.append(f"- euros: {numbers(made.euros)}, storage until the end of training included")
    lines += [
        "",
        "| stage | core-hours | GPU-hours | days | disk kept | scratch | network | |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
        *(stage_row(stage) for stage in made.stages),
        "",
        "| tensor × pipeline × data | days of training | memory of a GPU | sent by all GPUs |",
        "|---|---:|---:|---:|",
        *(layout_row(layout) for layout in made.layouts),
        "",
        "| coefficient | range | from |",
        "|---|---:|---|",
    ]
    for name, coefficient in coefficients().items():
        origin = f"`benchmarks/results/{coefficient.record}.json`, {coefficient.figure}" if coefficient.record else ""
        origin = "; ".join(filter(None, [origin, coefficient.source, coefficient.why]))
        amount = f"{numbers(coefficient.range)} {coefficient.unit}".rstrip()
        lines.append(f"| {name.replace('_', ' ')} | {amount} | {origin} |")
    return "\n".join(lines) + "\n"


def stage_row(stage: StageCost) -> str:
    cells = [
        stage.name,
        numbers(stage.core_hours),
        numbers(stage.gpu_hours),
        numbers(stage.days),
        *(sizes(amount) for amount in (stage.disk, stage.scratch, stage.network)),
        stage.basis,
    ]
    return "| " + " | ".join(cells) + " |"


def layout_row(layout: Layout) -> str:
    memory = size(layout.memory_bytes) + ("" if layout.fits else ": too much")
    split = f"{layout.tensor} × {layout.pipeline} × {layout.data}"
    return f"| {split} | {numbers(layout.days)} | {memory} | {size(layout.bytes_sent)} |"


def numbers(amount: Range) -> str:
    return _between(amount, number)


def sizes(amount: Range) -> str:
    return _between(amount, size)


def counts(amount: Range) -> str:
    return _between(amount, count)


def number(value: float) -> str:
    """Two digits, for that is what an estimate is worth."""
    if value == 0:
        return "–"
    digits = max(0, 1 - math.floor(math.log10(value)))
    return f"{round(value, 1 - math.floor(math.log10(value))):,.{digits}f}"


def size(value: float) -> str:
    return _scaled(value, _SIZES) or (f"{value:.0f} B" if value else "–")


def count(value: float) -> str:
    return _scaled(value, _COUNTS) or number(value)


def _scaled(value: float, units: tuple[tuple[str, float], ...]) -> str:
    for unit, scale in units:
        if value >= scale:
            return f"{number(value / scale)} {unit}"
    return ""


def _between(amount: Range, shown: Callable[[float], str]) -> str:
    low, high = shown(amount.low), shown(amount.high)
    return low if low == high else f"{low} – {high}"
