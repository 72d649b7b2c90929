"""Counts per language: from a mapping, a pandas or pyarrow table, a CSV file, or the manifest of documents/1
or shards/1.

In: any of these and the column wanted. Out: code → count, what the counts are of, and the tokens that languages have,
where that is known. pandas and pyarrow are never imported: a table is known by its methods.
"""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Number
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from core.errors import MGLMError
from core.languages import UNKNOWN, canonical_code
from core.log import get_logger
from core.manifest import MANIFEST_NAME, read_manifest, sha256_file

if TYPE_CHECKING:
    import pandas
    import pyarrow

    CountsLike: TypeAlias = Mapping[str, float] | pandas.DataFrame | pandas.Series | pyarrow.Table

CODE_COLUMNS = ("code", "language")
WEIGHT_COLUMNS = ("share", "weight")
DOCUMENT_COLUMNS = ("documents", "characters", "bytes")
SHARD_COLUMNS = ("documents", "tokens", "bytes")
MOST_SHOWN = 200  # characters

log = get_logger("balancing")


@dataclass(frozen=True)
class Counts:
    """`counts` by canonical code; `identity` tells one input from another.

    `available_tokens` has no entry for a language of which nothing is known.
    """

    counts: dict[str, float]
    unit: str
    identity: str = ""
    available_tokens: dict[str, float] = field(default_factory=dict)
    available_source: Literal["measured", "estimated"] = "measured"


@dataclass(frozen=True)
class Columns:
    """Which columns of a table to read. `tokens` are in units of `tokens_unit`, or else estimated from `bytes`."""

    count: str = "documents"
    code: str | None = None
    tokens: str | None = None
    tokens_unit: float = 1.0
    bytes: str | None = None
    bytes_per_token: float = 4.0


def read_counts(path: Path, columns: Columns) -> Counts:
    """Counts from a CSV file with a column `code` or `language`, or from a documents/1 or shards/1 directory.

    The tokens of documents are estimated from their bytes; shards have them counted.

    Raises:
        MGLMError: no such path or column, a cell that is no number, a language on two rows.
    """
    if path.is_dir() or path.name == MANIFEST_NAME:
        directory = path.parent if path.name == MANIFEST_NAME else path
        return _from_shards(directory, columns) if _is_shards(directory) else _from_documents(directory, columns)
    with _open_csv(path, "counts") as (header, rows):
        counts, available = _read(f"counts {path}", header, rows, columns)
    source: Literal["measured", "estimated"] = "estimated" if columns.bytes else "measured"
    return Counts(counts, columns.count, sha256_file(path), available, source)


def counts_of(counts: "CountsLike", columns: Columns) -> Counts:
    """Counts from a mapping, a pandas series by code, or a pandas or pyarrow table with the columns named.

    Raises:
        MGLMError: something else, or as `read_counts`.
    """
    table: Any = counts
    if isinstance(table, Mapping):
        return Counts(_checked(((f"the count of {code}", code, count) for code, count in table.items())), columns.count)
    if hasattr(table, "to_pydict"):  # pyarrow: Table, RecordBatch
        if twice := sorted({name for name in table.schema.names if table.schema.names.count(name) > 1}):
            raise MGLMError("counts", found=f"column {', '.join(twice)} twice", expected="each column once")
        content: dict[str, list[Any]] = table.to_pydict()
    elif hasattr(table, "to_dict") and hasattr(table, "columns"):
        content = table.to_dict("list")
    elif hasattr(table, "to_dict") and hasattr(table, "index"):
        # Not by to_dict(), which would keep the last of a language that stands there twice.
        return Counts(_checked((f"the count of {code}", code, count) for code, count in table.items()), columns.count)
    else:
        raise MGLMError(
            "counts", found=type(table).__name__, expected="a mapping of code to count, or a pandas or pyarrow table"
        )
    header = list(content)
    length = len(content[header[0]]) if header else 0
    rows = ((f"counts, row {row}", {name: content[name][row] for name in header}) for row in range(length))
    found, available = _read("counts", header, rows, columns)
    return Counts(found, columns.count, "", available, "estimated" if columns.bytes else "measured")


def read_weights(path: Path, column: str | None) -> dict[str, float]:
    """A user's own mix: code → weight, from a CSV with a column `share` or `weight`, or the one named.

    Raises:
        MGLMError: as `read_counts`.
    """
    with _open_csv(path, "table") as (header, rows):
        if column is None:
            column = next((name for name in WEIGHT_COLUMNS if name in header), None)
            if column is None:
                raise MGLMError(
                    f"table {path}",
                    found=_shown(header),
                    expected=f"a column {' or '.join(WEIGHT_COLUMNS)}",
                    action="name the column with --table-column",
                )
        weights, _ = _read(f"table {path}", header, rows, Columns(count=column))
    return weights


@contextmanager
def _open_csv(path: Path, what: str) -> Iterator[tuple[list[str], Iterator[tuple[str, dict[str, Any]]]]]:
    """A CSV file's header and its rows, each with where it stands."""
    if not path.is_file():
        wanted = "a CSV file" + (", or what mglm corpus build makes" if what == "counts" else "")
        raise MGLMError(f"{what} {path}", found="a directory" if path.is_dir() else "nothing there", expected=wanted)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            reader.fieldnames = header = [name.strip() for name in reader.fieldnames or ()]
            yield header, _rows(path, reader, header)
    except (UnicodeDecodeError, csv.Error) as error:
        raise MGLMError(f"{what} {path}", found=str(error), expected="a CSV file in UTF-8") from None


def _shown(header: Sequence[Any]) -> str:
    """Columns as an error tells them; the first line of what is no CSV may be a whole text."""
    names = ", ".join(map(str, header)) or "none"
    return f"columns {names[:MOST_SHOWN]}{' …' if len(names) > MOST_SHOWN else ''}"


def _rows(path: Path, reader: "csv.DictReader[str]", header: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        if more := row.get(None):  # so csv calls the cells that no column has
            raise MGLMError(
                where,
                found=f"{len(header) + len(more)} cells",
                expected=f"{len(header)}, as the header has",
                action="put quotes around cells with a comma, and write numbers without",
            )
        yield where, row


def _from_documents(directory: Path, columns: Columns) -> Counts:
    from core.schemas import DOCUMENTS  # here: it loads pyarrow, which the library's users may do without

    manifest = read_manifest(directory, DOCUMENTS)
    _no_other_column(directory, columns)
    if columns.count not in DOCUMENT_COLUMNS:
        raise MGLMError(
            f"--count-column {columns.count}",
            found=f"{directory}, a documents/1",
            expected=", ".join(DOCUMENT_COLUMNS),
        )
    counts = {code: float(count[columns.count]) for code, count in manifest.counts.items() if code != UNKNOWN}
    if unplaced := manifest.counts.get(UNKNOWN):
        log.info("left out: %d documents of no known language", unplaced["documents"])
    held = {
        code
        for code in counts
        if manifest.counts[code]["documents"] <= manifest.counts[code].get("heldout_documents", 0)
    }
    if held:
        log.info("left out: all documents are held out of %s", ", ".join(sorted(held)))
        counts = {code: count for code, count in counts.items() if code not in held}
    tokens = {code: manifest.counts[code]["bytes"] / columns.bytes_per_token for code in counts}
    return Counts(counts, columns.count, manifest.content_hash(), tokens, "estimated")


def _is_shards(directory: Path) -> bool:
    from core.schemas import SHARDS

    try:
        read_manifest(directory, SHARDS)
    except MGLMError:
        return False
    return True


def _from_shards(directory: Path, columns: Columns) -> Counts:
    """Counts as tokenised: a language cut at a token budget counts in proportion to the documents that it has."""
    from core.schemas import SHARDS

    manifest = read_manifest(directory, SHARDS)
    _no_other_column(directory, columns)
    if columns.count not in SHARD_COLUMNS:
        expected = ", ".join(SHARD_COLUMNS)
        raise MGLMError(f"--count-column {columns.count}", found=f"{directory}, a shards/1", expected=expected)
    available = manifest.facts["available_documents"]
    factors = {code: available[code] / count["documents"] for code, count in manifest.counts.items()}
    counts = {code: manifest.counts[code][columns.count] * factor for code, factor in factors.items()}
    tokens = {code: manifest.counts[code]["tokens"] * factor for code, factor in factors.items()}
    whole = all(factor == 1 for factor in factors.values())
    return Counts(counts, columns.count, manifest.content_hash(), tokens, "measured" if whole else "estimated")


def _no_other_column(directory: Path, columns: Columns) -> None:
    for option, name in (("code", columns.code), ("tokens", columns.tokens), ("bytes", columns.bytes)):
        if name is not None:
            found = f"{directory}, which a stage made"
            raise MGLMError(f"--{option}-column {name}", found=found, expected="a CSV file", action="leave it out")


def _read(
    thing: str, header: Sequence[str], rows: Iterable[tuple[str, Mapping[str, Any]]], columns: Columns
) -> tuple[dict[str, float], dict[str, float]]:
    """Counts and known tokens by code, of rows that each say where they stand."""
    if columns.tokens and columns.bytes:
        raise MGLMError(thing, found="a column of tokens and one of bytes", expected="one of them", action="drop one")
    code_column = columns.code or next((name for name in CODE_COLUMNS if name in header), None)
    for name, wanted, option in (
        (code_column, columns.code or " or ".join(CODE_COLUMNS), "--code-column"),
        (columns.count, columns.count, "--count-column"),
        (columns.tokens, columns.tokens, "--tokens-column"),
        (columns.bytes, columns.bytes, "--bytes-column"),
    ):
        if wanted is not None and name not in header:
            raise MGLMError(
                thing,
                found=_shown(header),
                expected=f"a column {wanted}",
                action=f"name the column with {option}" if option in ("--code-column", "--count-column") else "",
            )
        if header.count(wanted) > 1:
            raise MGLMError(thing, found=f"column {wanted} twice", expected="each column once", action="drop one")
    assert code_column is not None
    kept = list(rows)
    if not kept:
        raise MGLMError(thing, found="no row", expected="a row for each language")
    counts = _checked((f"{where}, column {columns.count}", row[code_column], row[columns.count]) for where, row in kept)
    known, factor = columns.tokens or columns.bytes, columns.tokens_unit
    if columns.bytes:
        factor = 1 / columns.bytes_per_token
    available = {}
    if known:
        for where, row in kept:
            if not _missing(row[known]):
                number = _number(row[known], f"{where}, column {known}")
                available[canonical_code(row[code_column])] = number * factor
    return counts, available


def _checked(items: Iterable[tuple[str, Any, Any]]) -> dict[str, float]:
    """Code → count of (where, name, cell); aliases become codes, and a code may come once."""
    counts: dict[str, float] = {}
    names: dict[str, str] = {}
    for where, name, cell in items:
        code = canonical_code(name) if isinstance(name, str) else ""
        if not code:
            raise MGLMError(where, found=f"no language but {name!r}", expected="a code such as en")
        if code in counts:
            raise MGLMError(
                where,
                found=f"language {code} again, as {names[code]} and as {name}",
                expected="one count for each language",
                action="add them up into one",
            )
        counts[code], names[code] = _number(cell, where), name
    return counts


def _number(cell: Any, where: str) -> float:
    """The number in a cell, as text or as a number of any kind."""
    try:
        known = isinstance(cell, (Number, str)) and not isinstance(cell, bool)
        value = float(cell) if known else math.nan
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value) or value < 0:
        found = "nothing" if cell is None or (isinstance(cell, str) and not cell.strip()) else repr(cell)
        raise MGLMError(where, found=found, expected="a number of at least 0")
    return value


def _missing(cell: Any) -> bool:
    """An empty cell, None, NaN or pandas's NA."""
    if isinstance(cell, str):
        return not cell.strip()
    return cell is None or type(cell).__name__ == "NAType" or bool(cell != cell)
