"""References and predictions given as files: JSONL with `id` and `text`, or one text per line.

Out: two lists of texts in the references' order. Nothing is guessed: every reference has exactly one prediction.
"""

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from core.errors import MGLMError

_NAMED = 3  # ids that an error message names


def read_text(path: Path) -> str:
    """A whole UTF-8 file, `.gz` decompressed.

    Raises:
        MGLMError: no such file, a directory, an empty file, or bytes that are not UTF-8.
    """
    if not path.is_file():
        found = "a directory" if path.is_dir() else "no such file"
        raise MGLMError(f"{path}", found=found, expected="a file", action="check the path")
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise MGLMError(f"{path}", found=str(error), expected="UTF-8 text, or .gz of it") from None
    if not text.strip():
        raise MGLMError(f"{path}", found="an empty file", expected="at least one record")
    return text


def read_pairs(references: Path, predictions: Path) -> tuple[list[str], list[str]]:
    """References and predictions as two lists, matched by id, or by line where both files are plain text.

    Raises:
        MGLMError: a line that is no record, a doubled, missing or unknown id, or unequal numbers of lines.
    """
    reference_text, prediction_text = read_text(references), read_text(predictions)
    formats = [_is_jsonl(text) for text in (reference_text, prediction_text)]
    if formats == [False, False]:
        return _by_line(references, reference_text, predictions, prediction_text)
    if formats != [True, True]:
        plain = predictions if formats[0] else references
        expected = "JSONL with id and text in both files, or one text per line in both"
        raise MGLMError(f"{plain}", found="plain lines beside a JSONL file", expected=expected)
    wanted = _by_id(references, reference_text)
    given = _by_id(predictions, prediction_text)
    check_ids(wanted, given, str(predictions))
    return list(wanted.values()), [given[key] for key in wanted]


def check_ids(references: Iterable[str], predictions: Iterable[str], where: str) -> None:
    """Raises MGLMError unless both hold the same ids, naming the first that are missing or unknown."""
    wanted, given = dict.fromkeys(references), dict.fromkeys(predictions)
    if missing := [key for key in wanted if key not in given]:
        expected = f"one for each of the {len(wanted)} references"
        raise MGLMError(where, found=f"no prediction for {_some(missing)}", expected=expected)
    if unknown := [key for key in given if key not in wanted]:
        raise MGLMError(where, found=f"predictions for {_some(unknown)}", expected="only ids that the references have")


def check_unique(ids: Iterable[str], where: str) -> None:
    """Raises MGLMError naming ids that occur more than once."""
    doubled = [key for key, times in Counter(ids).items() if times > 1]
    if doubled:
        raise MGLMError(where, found=f"more than one record for {_some(doubled)}", expected="every id once")


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return f"id {', '.join(ids[:_NAMED])}{more}"


def _is_jsonl(text: str) -> bool:
    """Whether the first line with anything on it is a JSON object."""
    try:
        return isinstance(json.loads(text.lstrip().split("\n", 1)[0]), dict)
    except (ValueError, RecursionError):  # ValueError also for an integer of thousands of digits
        return False


def _by_line(
    references: Path, reference_text: str, predictions: Path, prediction_text: str
) -> tuple[list[str], list[str]]:
    wanted, given = _lines(reference_text), _lines(prediction_text)
    if len(wanted) != len(given):
        found = f"{len(given)} lines"
        raise MGLMError(f"{predictions}", found=found, expected=f"{len(wanted)} lines, as many as in {references}")
    return wanted, given


def _lines(text: str) -> list[str]:
    """Lines as editors count them: only `\\n` ends one (a text may hold U+2028), and the last may lack it."""
    return text.removesuffix("\n").split("\n")


def _by_id(path: Path, text: str) -> dict[str, str]:
    records = []
    for number, line in enumerate(_lines(text), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict) or not isinstance(record.get("text"), str) or not _is_id(record.get("id")):
            expected = "a JSON object with id (a string or a number) and text (a string)"
            raise MGLMError(f"{path}, line {number}", found=line[:60], expected=expected)
        records.append((str(record["id"]), record["text"]))
    check_unique((key for key, _ in records), str(path))
    return dict(records)


def _is_id(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""
