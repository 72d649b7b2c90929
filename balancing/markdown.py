"""Tables in Markdown."""

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of figures, which begin with a digit, a sign or a dash, are set to the right."""
    figures = [all(cell[:1].strip("+-–0123456789") == "" for cell in column) for column in zip(*rows, strict=True)]
    rule = "".join("---:|" if is_figure else "---|" for is_figure in figures)
    lines = ["| " + " | ".join(head) + " |", "|" + rule, *("| " + " | ".join(row) + " |" for row in rows)]
    return "\n".join(lines) + "\n"
