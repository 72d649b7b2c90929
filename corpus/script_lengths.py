"""How long a text of each script is beside the same text in Latin script: what a length of mC4's rules means there.

Two hundred characters of Chinese say what six hundred of English do. `script_lengths.csv` was measured on texts that
exist in many languages (`python -m benchmarks.script_lengths` makes it again): for each script the characters of its
texts over those of the same texts in English, Latin script set to 1. It also says how many lines of clean text end in a
sentence mark, since Thai has none.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

TABLE_NAME = "script_lengths.csv"
SAME_ROW = {"Hans": "Hani", "Hant": "Hani", "Hira": "Jpan", "Kana": "Jpan"}
ENDS_LINES_FROM = 0.5  # a script whose clean lines end in a mark less often is not judged by it


@dataclass(frozen=True)
class ScriptLengths:
    """`factor`: characters where Latin script has one; `ends_in_mark`: share of clean lines, 0 to 1."""

    script: str
    factor: float
    ends_in_mark: float
    languages: int
    characters: int


@cache
def script_lengths() -> dict[str, ScriptLengths]:
    """ISO 15924 code as `core.scripts.script_of` gives it → its row."""
    text = resources.files("corpus").joinpath(TABLE_NAME).read_text("utf-8")
    return {
        row["script"]: ScriptLengths(
            row["script"],
            float(row["factor"]),
            float(row["ends_in_mark"]),
            int(row["languages"]),
            int(row["characters"]),
        )
        for row in csv.DictReader(text.splitlines())
    }


def length_in(script: str, latin_characters: int) -> int:
    """So many characters of Latin script, in `script`; a script that was not measured counts like Latin."""
    row = script_lengths().get(SAME_ROW.get(script, script))
    return round(latin_characters * row.factor) if row else latin_characters


def ends_lines_in_marks(script: str) -> bool:
    """Whether a line without a sentence mark at its end says anything in this script."""
    row = script_lengths().get(SAME_ROW.get(script, script))
    return row is None or row.ends_in_mark >= ENDS_LINES_FROM
