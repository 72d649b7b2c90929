"""The figures of `mglm corpus lid-quality`, made from what OUTPUT.json holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.figures import BLUE, GREEN, ORANGE, PURPLE, SKY, TEXT, VERMILLION, new_figure, save_figure, tidy

STYLES = ((BLUE, "o"), (VERMILLION, "s"), (GREEN, "^"), (ORANGE, "D"), (PURPLE, "v"), (SKY, "P"))

Result = Mapping[str, Any]


def plot_caps(result: Result, path: Path) -> None:
    """Macro-F1 by how many characters of a document are read, a line for each detector."""
    with new_figure(6.4, 3.4) as figure:
        axes = figure.add_subplot()
        for (name, found), (color, mark) in zip(result["detectors"].items(), _styles(result), strict=True):
            caps = found["caps"]
            characters, macro = [cap["characters"] for cap in caps], [cap["macro_f1"] for cap in caps]
            axes.plot(characters, macro, color=color, marker=mark, markersize=4, label=name)
        axes.set_xscale("log")
        axes.set_xticks(characters, [f"{number:,}" for number in characters])
        axes.minorticks_off()
        axes.set_xlabel("first characters read", color=TEXT)
        axes.set_ylabel("macro-F1", color=TEXT)
        axes.legend(frameon=False)
        tidy(axes)
        save_figure(figure, [path])


def plot_thresholds(result: Result, path: Path) -> None:
    """Precision against the share kept; each mark is a threshold."""
    with new_figure(6.4, 3.4) as figure:
        axes = figure.add_subplot()
        for (name, found), (color, mark) in zip(result["detectors"].items(), _styles(result), strict=True):
            rows = found["thresholds"]
            kept, precision = [100 * row["kept"] for row in rows], [100 * row["precision"] for row in rows]
            axes.plot(kept, precision, color=color, marker=mark, markersize=4, label=name)
            for row, x, y in zip(rows, kept, precision, strict=True):
                if row["threshold"] in (0.5, 0.9):
                    axes.annotate(f"{row['threshold']:g}", (x, y), (4, 4), textcoords="offset points", color=color)
        axes.set_xlabel("documents of the 101 kept, %", color=TEXT)
        axes.set_ylabel("precision, %", color=TEXT)
        axes.legend(frameon=False)
        tidy(axes)
        save_figure(figure, [path])


def plot_languages(result: Result, path: Path) -> None:
    """F1 of each language, worst of the first detector first; without those that every detector gets right."""
    tables = {name: found["documents"]["languages"] for name, found in result["detectors"].items()}
    first = next(iter(tables.values()))
    shown = [code for code in first if any(table[code]["f1"] < 0.995 for table in tables.values())]
    shown.sort(key=lambda code: (first[code]["f1"], code))
    with new_figure(max(4.0, 0.16 * len(shown) + 1.5), 3.4) as figure:
        axes = figure.add_subplot()
        for (name, table), (color, mark) in zip(tables.items(), _styles(result), strict=True):
            heights = [table[code]["f1"] for code in shown]
            axes.plot(range(len(shown)), heights, color=color, marker=mark, markersize=4, linestyle="", label=name)
        axes.set_xticks(range(len(shown)), shown, rotation=90, fontsize=7)
        axes.set_ylabel("F1 on documents", color=TEXT)
        axes.legend(frameon=False, loc="lower right")
        tidy(axes)
        save_figure(figure, [path])


def _styles(result: Result) -> list[tuple[str, str]]:
    return [STYLES[place % len(STYLES)] for place in range(len(result["detectors"]))]
