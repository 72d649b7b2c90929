"""Lines, JSON and rows of data files, plain or `.gz`; every mistake names the file and the line."""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.errors import MGLMError

_SHOWN = 60  # characters of a wrong line in a message
csv.field_size_limit(2**27)  # articles are longer than csv's 128 KiB


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields (number from 1, line without its end). Only `\\n` ends a line: a text may hold U+2028.

    Raises:
        MGLMError: bytes that are no UTF-8, or a damaged archive.
    """
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                text = raw.decode("utf-8")
                yield number, (text.removeprefix("\ufeff") if number == 1 else text).rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise MGLMError(f"{path}, line {number}", found=str(error), expected="UTF-8") from None
    except (OSError, EOFError, zlib.error) as error:
        raise MGLMError(f"{path}", found=str(error), expected="a text file, or .gz of one") from None


def read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (line, object) of JSONL; blank lines are none.

    Raises:
        MGLMError: a line that is no JSON object.
    """
    for number, line in read_lines(path):
        if line.strip():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                value = None
            if not isinstance(value, dict):
                raise MGLMError(f"{path}, line {number}", found=line[:_SHOWN], expected="a JSON object")
            yield number, value


def read_json(path: Path) -> Any:
    """A whole JSON file. Raises MGLMError with the line of the first mistake."""
    text = "\n".join(line for _, line in read_lines(path))
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise MGLMError(f"{path}, line {error.lineno}", found=error.msg, expected="JSON") from None
    except RecursionError:
        raise MGLMError(f"{path}", found="brackets within brackets without end", expected="JSON") from None
    except ValueError as error:  # an integer of thousands of digits
        raise MGLMError(f"{path}", found=str(error), expected="JSON") from None


def read_table(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (line, row) of a CSV file with a header, or of JSONL where the name ends so."""
    name = path.name.removesuffix(".gz")
    if name.endswith((".jsonl", ".json")):
        yield from read_objects(path)
        return
    number = 0

    def lines() -> Iterator[str]:
        nonlocal number
        for number, line in read_lines(path):  # noqa: B007 a row of several lines is named by its last
            yield line + "\n"

    reader = csv.DictReader(lines(), delimiter="\t" if name.endswith(".tsv") else ",", strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                found = "another number of columns than the header has"
                raise MGLMError(f"{path}, line {number}", found=found, expected=f"{len(reader.fieldnames or [])}")
            yield number, dict(row)
    except csv.Error as error:
        raise MGLMError(f"{path}, line {number}", found=str(error), expected="CSV with a header") from None


def read_columns(path: Path, least: int) -> Iterator[tuple[int, list[str]]]:
    """Yields (line, cells) of a file of tab-separated cells without quoting. Blank lines are none.

    Raises:
        MGLMError: a line of fewer than `least` cells.
    """
    for number, line in read_lines(path):
        if line.strip():
            cells = line.split("\t")
            if len(cells) < least:
                found = f"{len(cells)} cells: {line[:_SHOWN]}"
                raise MGLMError(f"{path}, line {number}", found=found, expected=f"at least {least}, separated by tabs")
            yield number, cells
