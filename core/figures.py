"""Matplotlib figures in the house's style: colours that colour-blind people tell apart, the same bytes every time.

Out: PNG, SVG. Matplotlib is imported when a figure is made.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito. Colour never stands alone: marks, arrows or labels say the same.
BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"
INK, TEXT, QUIET, GRID = "#222222", "#333333", "#9A9A9A", "#E6E6E6"
DOTS_PER_INCH = 160


@contextmanager
def new_figure(width: float, height: float) -> "Iterator[Figure]":
    """A figure of `width` × `height` inches, to be drawn and saved inside the `with`."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings: Any = {"svg.hashsalt": "mglm", "svg.fonttype": "none", "font.family": "DejaVu Sans", "font.size": 9}
    with mpl.rc_context(settings):
        yield Figure(figsize=(width, height), facecolor="white", layout="constrained")


def save_figure(figure: "Figure", paths: Sequence[Path]) -> None:
    """Writes the figure to each path in the format its suffix names."""
    for path in paths:
        path.write_bytes(figure_bytes(figure, path.suffix.removeprefix(".")))


def figure_bytes(figure: "Figure", image_format: str) -> bytes:
    """The figure as `png` or `svg`."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if image_format == "svg" else {"Software": None}
    figure.savefig(buffer, format=image_format, dpi=DOTS_PER_INCH, metadata=metadata)
    return buffer.getvalue()


def tidy(axes: "Axes") -> None:
    """A light grid behind the data, and no frame where nothing is read off."""
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=TEXT, length=2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(QUIET)
