"""Loss over training steps as an SVG image, from the rows of a metrics.jsonl."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

_COLOUR = "#0072b2"  # Okabe and Ito's blue; shape and labels carry the meaning, not colour
_SMOOTHED_FROM = 30  # points: fewer are drawn as they are
_WINDOW_SHARE = 0.05


def loss_plot(metrics: Sequence[Mapping[str, Any]]) -> bytes:
    """An SVG of `loss` over `step`, from thirty points on with a running mean over 5 % of them."""
    steps = [float(row["step"]) for row in metrics]
    losses = [float(row["loss"]) for row in metrics]
    smooth = len(losses) >= _SMOOTHED_FROM
    with rc_context({"svg.hashsalt": "mglm", "font.size": 10}):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(
            steps, losses, color=_COLOUR, linewidth=1, alpha=0.35 if smooth else 1.0, label="each step",
            marker="" if smooth else "o", markersize=3,
        )  # fmt: skip
        if smooth:
            window = max(3, round(_WINDOW_SHARE * len(losses)))
            axes.plot(steps, _running_mean(losses, window), color=_COLOUR, linewidth=2, label=f"mean of {window}")
            axes.legend(frameon=False)
        axes.set_xlabel("step")
        axes.set_ylabel("loss, nats a token")
        axes.grid(color="#e3e6ea", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _running_mean(values: Sequence[float], window: int) -> list[float]:
    """The mean of the last `window` values at each place, of fewer at the beginning."""
    means, total = [], 0.0
    for index, value in enumerate(values):
        total += value - (values[index - window] if index >= window else 0.0)
        means.append(total / min(index + 1, window))
    return means
