"""Loss over training steps as an SVG image, from the rows of a metrics.jsonl."""

from collections.abc import Mapping, Sequence
from typing import Any

from core.figures import BLUE, figure_bytes, new_figure, tidy

_SMOOTHED_FROM = 30  # points: fewer are drawn as they are
_WINDOW_SHARE = 0.05


def loss_plot(metrics: Sequence[Mapping[str, Any]]) -> bytes:
    """An SVG of `loss` over `step`, from thirty points on with a running mean over 5 % of them."""
    steps = [float(row["step"]) for row in metrics]
    losses = [float(row["loss"]) for row in metrics]
    smooth = len(losses) >= _SMOOTHED_FROM
    with new_figure(7.2, 3.2) as figure:
        axes = figure.add_subplot()
        axes.plot(
            steps, losses, color=BLUE, linewidth=1, alpha=0.35 if smooth else 1.0, label="each step",
            marker="" if smooth else "o", markersize=3,
        )  # fmt: skip
        if smooth:
            window = max(3, round(_WINDOW_SHARE * len(losses)))
            axes.plot(steps, _running_mean(losses, window), color=BLUE, linewidth=2, label=f"mean of {window}")
            axes.legend(frameon=False)
        axes.set_xlabel("step")
        axes.set_ylabel("loss, nats a token")
        tidy(axes)
        return figure_bytes(figure, "svg")


def _running_mean(values: Sequence[float], window: int) -> list[float]:
    """The mean of the last `window` values at each place, of fewer at the beginning."""
    means, total = [], 0.0
    for index, value in enumerate(values):
        total += value - (values[index - window] if index >= window else 0.0)
        means.append(total / min(index + 1, window))
    return means
