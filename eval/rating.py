"""A blinded sheet for people to rate two systems' summaries by, and what their ratings say once the key is opened.

sheet.csv has the source and two texts in an order drawn for each row; key.json, to be kept from the raters, says which
is whose. `tally` joins a filled sheet with its key.
"""

import csv
import io
import json
import random
from collections import Counter
from collections.abc import Sequence
from math import comb
from pathlib import Path
from typing import Any

from core.documents import document_id, uniform
from core.errors import MGLMError
from core.log import get_logger
from core.manifest import Manifest, read_manifest, write_atomically
from core.stage import open_stage
from eval.predictions import PREDICTIONS, Prediction, read_predictions

RATING = "rating/1"
SHEET, KEY = "sheet.csv", "key.json"
ANSWER = "better (1, 2 or =)"
COLUMNS = ("item", "language", "source", "text 1", "text 2", ANSWER, "remark")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run a cell that begins so

_log = get_logger("eval")


def make_sheet(
    first: Path, second: Path, output: Path, *, count: int, seed: int = 0, overwrite: bool = False
) -> Manifest:
    """Writes the sheet and its key for at most `count` examples that both predictions/1 directories have.

    Raises:
        MGLMError: no predictions there, or no example in common.
    """
    inputs = {
        name: read_manifest(path, PREDICTIONS).content_hash() for name, path in (("first", first), ("second", second))
    }
    ones, twos = ({item.id: item for item in read_predictions(path)} for path in (first, second))
    shared = sorted(ones.keys() & twos.keys(), key=lambda key: (uniform(document_id(key), "rating", seed), key))[:count]
    if not shared:
        raise MGLMError(
            f"{second}", found=f"no example of {first}", expected="predictions of the same examples by both systems"
        )
    stage = open_stage(output, schema=RATING, config={"count": count, "seed": seed}, inputs=inputs, overwrite=overwrite)
    if stage.manifest is not None:
        _log.info("already made: %s", output)
        return stage.manifest
    order = random.Random(seed)
    swapped = [order.random() < 0.5 for _ in shared]
    buffer = io.StringIO()
    sheet = csv.writer(buffer, lineterminator="\n")
    sheet.writerow(COLUMNS)
    for number, (key, swap) in enumerate(zip(shared, swapped, strict=True), start=1):
        texts = [ones[key].prediction, twos[key].prediction]
        sheet.writerow(_cells(number, ones[key], texts[::-1] if swap else texts))
    write_atomically(output / SHEET, "\ufeff" + buffer.getvalue())  # the mark tells spreadsheets that it is UTF-8
    systems = {"first": str(first), "second": str(second)}
    rows = [
        {"item": number, "id": key, "text 1": "second" if swap else "first"}
        for number, (key, swap) in enumerate(zip(shared, swapped, strict=True), start=1)
    ]
    write_atomically(output / KEY, json.dumps({"systems": systems, "rows": rows}, indent=1, ensure_ascii=False))
    manifest = stage.finish(rows={SHEET: len(shared)}, facts={"items": len(shared)})
    _log.info("%d items to rate in %s; keep %s from the raters", len(shared), output / SHEET, KEY)
    return manifest


def tally(sheet: Path, key: Path) -> dict[str, Any]:
    """`first`, `second` and `equal` count the ratings for each system; `p` is the two-sided sign test's, ties aside.

    Raises:
        MGLMError: a file that is not as it was made, a rating that is none, or no rating at all.
    """
    try:
        opened = json.loads(key.read_text("utf-8"))
        whose = {str(row["item"]): row["text 1"] for row in opened["rows"]}
        systems = opened["systems"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MGLMError(f"--key {key}", found=str(error), expected=f"the {KEY} that was made with the sheet") from None
    counts: Counter[str] = Counter()
    for line, row in enumerate(_rows(sheet), start=2):
        item, answer = (row.get("item") or "").strip(), (row.get(ANSWER) or "").strip()
        if item not in whose:
            raise MGLMError(f"{sheet}, row {line}", found=f"item {item!r}", expected="an item of the key")
        if answer not in ("1", "2", "=", ""):
            raise MGLMError(f"{sheet}, row {line}", found=repr(answer), expected="1, 2, = or nothing")
        first_won = (answer == "1") == (whose.pop(item) == "first")
        counts[{"": "unrated", "=": "equal"}.get(answer) or ("first" if first_won else "second")] += 1
    if sum(counts.values()) == counts["unrated"]:
        raise MGLMError(f"{sheet}", found="no rating", expected=f"1, 2 or = in the column {ANSWER!r}")
    result: dict[str, Any] = {name: counts[name] for name in ("first", "second", "equal", "unrated")}
    return {**result, "missing": len(whose), "p": sign_test(counts["first"], counts["second"]), "systems": systems}


def sign_test(wins: int, losses: int) -> float:
    """Two-sided p that two systems as good as one another would differ as much, exact."""
    trials, fewer = wins + losses, min(wins, losses)
    as_few = sum(comb(trials, k) for k in range(fewer + 1))
    return float(min(1.0, 2 * as_few / 2**trials))


def _cells(number: int, item: Prediction, texts: Sequence[str]) -> list[str]:
    cells = [str(number), f"{item.lang} → {item.target_lang}", item.source, *texts, "", ""]
    return [f" {cell}" if cell.startswith(_FORMULA) else cell for cell in cells]


def _rows(sheet: Path) -> list[dict[str, str | None]]:
    try:
        with sheet.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, dialect=_dialect(sheet))
            rows = list(reader)
            found = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MGLMError(f"--sheet {sheet}", found=str(error), expected=f"a filled {SHEET}") from None
    if not {"item", ANSWER} <= set(found):
        expected = f"the columns item and {ANSWER!r}"
        raise MGLMError(f"--sheet {sheet}", found=", ".join(found) or "no header", expected=expected)
    return rows


def _dialect(sheet: Path) -> type[csv.Dialect]:
    """Spreadsheets of some countries save with semicolons."""
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        head = file.readline()

    class Dialect(csv.excel):
        delimiter = ";" if head.count(";") > head.count(",") else ","

    return Dialect
