"""A report as plain parts, from which Markdown and a page are made alike."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """Cells are text; columns from `numbers_from` on hold numbers."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers_from: int
    totals: Sequence[Sequence[str]] = ()


@dataclass(frozen=True)
class Part:
    """A section: its anchor, its title, and paragraphs and tables in order."""

    key: str
    title: str
    content: list[str | Table] = field(default_factory=list)


def markdown(title: str, parts: Sequence[Part]) -> str:
    blocks = [f"# {title}"]
    for part in parts:
        blocks.append(f"## {part.title}")
        blocks += [_markdown_table(item) if isinstance(item, Table) else item for item in part.content]
    return "\n\n".join(blocks) + "\n"


def _markdown_table(table: Table) -> str:
    count = len(table.heads)
    ruler = ["---" if index < table.numbers_from else "---:" for index in range(count)]
    lines = [_line(table.heads), "|" + "|".join(ruler) + "|", *map(_line, table.rows), *map(_line, table.totals)]
    return f"{table.caption}\n\n" + "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
