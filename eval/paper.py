"""The paper's tables beside which a report sets our figures; the figures themselves are data in `paper.toml`."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from core.config import Section


class Column(Section):
    """A column: the task of ours that fills it, and where in the task's scores: a pair, a mean, or all of it."""

    name: str
    task: str
    pair: list[str] | None = None
    average: str = ""


class Row(Section):
    model: str
    cells: list[str]


class PaperTable(Section):
    """`measures` orders the figures of a cell, which are out of `scale`."""

    number: str
    title: str
    measures: list[str]
    scale: float
    remark: str = ""
    columns: list[Column]
    rows: list[Row]


@dataclass(frozen=True)
class Filled:
    """A table of the paper with rows of ours below: (model, scorer) and a cell for each column."""

    table: PaperTable
    ours: list[tuple[str, str, list[str]]]


@cache
def paper_tables() -> list[PaperTable]:
    text = resources.files("eval").joinpath("paper.toml").read_text("utf-8")
    return [PaperTable.model_validate(table) for table in tomllib.loads(text)["tables"]]


def filled(systems: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Filled]:
    """The paper's tables that any of `systems` (name, scores.json) has a cell for."""
    found = []
    for table in paper_tables():
        ours = []
        for name in dict.fromkeys(name for name, _ in systems):
            mine = [scores for system, scores in systems if system == name]
            ways = list(dict.fromkeys(way["scorer"] for scores in mine for way in (scores, *scores["others"])))
            for way in ways:
                cells = [_cell(table, column, mine, way) for column in table.columns]
                if any(cells):
                    ours.append((name, way, cells))
        if ours:
            found.append(Filled(table, ours))
    return found


def _cell(table: PaperTable, column: Column, systems: Sequence[Mapping[str, Any]], way: str) -> str:
    for scores in systems:
        if scores.get("task", {}).get("name") != column.task:
            continue
        for entry in (scores, *scores["others"]):
            if entry["scorer"] == way and (row := _row(column, entry)) is not None:
                values = [row[measure] * table.scale / entry["scale"] for measure in table.measures]
                return "/".join(f"{value:.1f}" for value in values)
    return ""


def _row(column: Column, entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if column.pair is not None:
        rows = [row for row in entry["pairs"] if [row["lang"], row["target_lang"]] == column.pair]
    elif column.average:
        rows = [row for row in entry["averages"] if row["name"] == column.average]
    else:
        rows = [entry["overall"]]
    return rows[0] if rows else None
