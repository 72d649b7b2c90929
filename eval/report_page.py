"""The report as a page that needs nothing else, with a figure of every pair's first measure."""

from collections.abc import Mapping, Sequence
from typing import Any

from core.figures import BLUE, figure_bytes, new_figure, tidy
from core.page import escaped, figure, page, table
from eval.report_parts import Part, Table

_MOST_PAIRS = 60  # a figure of more cannot be read


def as_page(title: str, parts: Sequence[Part], systems: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """The page as HTML."""
    pictures = {part.key: _picture(scores) for part, (_, scores) in zip(parts, systems, strict=False)}
    sections = [
        (part.key, part.title, pictures.get(part.key, "") + "".join(_html(item) for item in part.content))
        for part in parts
    ]
    facts = {"systems": str(len({name for name, _ in systems})), "figures": "95 % intervals by bootstrap"}
    return page(title, "Scores with their scorers, beside the paper's", sections, facts=facts)


def _html(item: str | Table) -> str:
    if isinstance(item, str):
        return f"<p>{escaped(item)}</p>"
    rows = [[escaped(cell) for cell in row] for row in item.rows]
    totals = [[escaped(cell) for cell in row] for row in item.totals]
    return table(item.caption, item.heads, rows, item.numbers_from, totals=totals)


def _picture(scores: Mapping[str, Any]) -> str:
    """Points with intervals, a row for each pair of languages, best first."""
    measure, pairs = scores["measures"][0], scores["pairs"]
    if not 1 < len(pairs) <= _MOST_PAIRS:
        return ""
    pairs = sorted(pairs, key=lambda row: row[measure])
    values = [row[measure] for row in pairs]
    # An interval by bootstrap may leave out the mean itself, if only by a rounding.
    spread = [
        [max(0.0, value - row["interval"][measure][0]) for value, row in zip(values, pairs, strict=True)],
        [max(0.0, row["interval"][measure][1] - value) for value, row in zip(values, pairs, strict=True)],
    ]
    with new_figure(7, 0.9 + 0.22 * len(pairs)) as drawn:
        axes = drawn.subplots()
        places = list(range(len(pairs)))
        axes.errorbar(values, places, xerr=spread, fmt="o", markersize=4, color=BLUE, elinewidth=1)
        axes.set_yticks(places, [f"{row['lang']} → {row['target_lang']}" for row in pairs])
        axes.set_xlabel(f"{measure} ({scores['scorer']})")
        tidy(axes)
        image = figure_bytes(drawn, "svg")
    return figure(image, "image/svg+xml", f"{measure} by pair of languages with 95 % intervals")
