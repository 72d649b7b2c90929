"""Counts per language, from a CSV file or from the manifest of documents/1.

In: a path and the column wanted. Out: code → count, what the counts are of, and the tokens that languages have, where
that is known.
"""

import csv
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from core.errors import MGLMError
from core.languages import UNKNOWN, canonical_code, languages
from core.log import get_logger
from core.manifest import MANIFEST_NAME, read_manifest, sha256_file
from core.schemas import DOCUMENTS

DOCUMENT_COLUMNS = ("documents", "characters", "bytes")

log = get_logger("balancing")


@dataclass(frozen=True)
class Counts:
    """`counts` by code; `identity` tells one input from another; `available_tokens` empty where nothing is known."""

    counts: dict[str, float]
    unit: str
    identity: str
    available_tokens: dict[str, float] = field(default_factory=dict)
    available_source: Literal["measured", "estimated"] = "measured"


def read_counts(path: Path, column: str, *, tokens_column: str | None, bytes_per_token: float) -> Counts:
    """Counts from a CSV file with a column `language` or `code`, or from a documents/1 directory.

    A directory's tokens are estimated from its bytes; a file's are those of `tokens_column`, if it is given.

    Raises:
        MGLMError: no such path or column, a cell that is no number, a language on two rows.
    """
    if path.is_dir() or path.name == MANIFEST_NAME:
        return _from_documents(path.parent if path.name == MANIFEST_NAME else path, column, bytes_per_token)
    if not path.exists():
        raise MGLMError(f"counts {path}", found="nothing there", expected="a CSV file or a documents/1 directory")
    counts = _from_csv(path, column, tokens_column)
    strangers = [code for code in counts.counts if code not in languages() and code != UNKNOWN]
    if strangers:
        log.info("%d languages are not of the 101 and are taken as they are: %s", len(strangers), ", ".join(strangers))
    return counts


def _from_documents(directory: Path, column: str, bytes_per_token: float) -> Counts:
    manifest = read_manifest(directory, DOCUMENTS)
    if column not in DOCUMENT_COLUMNS:
        raise MGLMError(
            f"--count-column {column}", found=f"{directory}, a documents/1", expected=", ".join(DOCUMENT_COLUMNS)
        )
    counts = {code: float(count[column]) for code, count in manifest.counts.items() if code != UNKNOWN}
    if unplaced := manifest.counts.get(UNKNOWN):
        log.info("left out: %d documents of no known language", unplaced["documents"])
    tokens = {code: manifest.counts[code]["bytes"] / bytes_per_token for code in counts}
    return Counts(counts, column, manifest.content_hash(), tokens, "estimated")


def _from_csv(path: Path, column: str, tokens_column: str | None) -> Counts:
    counts: dict[str, float] = {}
    tokens: dict[str, float] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = list(reader.fieldnames or ())
            code_column = next((name for name in ("code", "language") if name in header), None)
            for name, wanted in ((code_column, "code or language"), (column, column)):
                if name not in header:
                    action = "name the column with --count-column" if wanted == column else ""
                    raise MGLMError(
                        f"counts {path}",
                        found=f"columns {', '.join(header) or 'none'}",
                        expected=f"a column {wanted}",
                        action=action,
                    )
            if tokens_column is not None and tokens_column not in header:
                raise MGLMError(f"counts {path}", found=f"columns {', '.join(header)}", expected=tokens_column)
            assert code_column is not None
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                code = canonical_code(row[code_column] or "")
                if not code:
                    raise MGLMError(where, found="no language", expected=f"a code in column {code_column}")
                if code in counts:
                    raise MGLMError(where, found=f"language {code} again", expected="one row for each language")
                counts[code] = _number(row[column], f"{where}, column {column}")
                if tokens_column is not None:
                    tokens[code] = _number(row[tokens_column], f"{where}, column {tokens_column}")
    except (UnicodeDecodeError, csv.Error) as error:
        raise MGLMError(f"counts {path}", found=str(error), expected="a CSV file in UTF-8") from None
    if not counts:
        raise MGLMError(f"counts {path}", found="no row", expected="a row for each language")
    return Counts(counts, column, sha256_file(path), tokens)


def _number(cell: str | None, where: str) -> float:
    try:
        value = float(cell or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise MGLMError(where, found=repr(cell or ""), expected="a number of at least 0")
    return value
