"""The rating sheet hides who wrote what; the key opens it again."""

import csv
import json
from pathlib import Path

import pytest

from core.errors import MGLMError
from core.stage import open_stage
from eval.predictions import PREDICTIONS, Prediction
from eval.rating import ANSWER, KEY, SHEET, make_sheet, sign_test, tally


def system(path: Path, words: str, count: int = 30) -> Path:
    stage = open_stage(path, schema=PREDICTIONS, config={"system": words}, inputs={})
    rows = [
        Prediction(id=str(n), lang="de", target_lang="en", reference="r", prediction=f"{words} {n}", source="=1+1")
        for n in range(count)
    ]
    (path / "predictions.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in rows), "utf-8")
    stage.finish()
    return path


def rows_of(sheet: Path) -> list[dict[str, str]]:
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def filled(sheet: Path, rows: list[dict[str, str]], delimiter: str = ",") -> Path:
    path = sheet.with_name("filled.csv")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_the_key_tells_who_wrote_what_and_the_sheet_does_not(tmp_path: Path) -> None:
    one, two = system(tmp_path / "one", "apple"), system(tmp_path / "two", "pear")
    make_sheet(one, two, tmp_path / "out", count=20)
    rows, key = rows_of(tmp_path / "out" / SHEET), json.loads((tmp_path / "out" / KEY).read_text("utf-8"))
    assert len(rows) == 20
    assert {row["source"] for row in rows} == {" =1+1"}  # a spreadsheet must not run it
    for row, opened in zip(rows, key["rows"], strict=True):
        first, second = ("apple", "pear") if opened["text 1"] == "first" else ("pear", "apple")
        assert (row["text 1"], row["text 2"]) == (f"{first} {opened['id']}", f"{second} {opened['id']}")
    assert 3 < sum(opened["text 1"] == "first" for opened in key["rows"]) < 17
    assert make_sheet(one, two, tmp_path / "out", count=20).facts["items"] == 20


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_filled_sheet_is_counted(tmp_path: Path, delimiter: str) -> None:
    make_sheet(system(tmp_path / "one", "apple"), system(tmp_path / "two", "pear"), tmp_path / "out", count=10)
    rows = rows_of(tmp_path / "out" / SHEET)
    for number, row in enumerate(rows):
        row[ANSWER] = "=" if number == 0 else "" if number == 1 else "1" if "apple" in row["text 1"] else "2"
    counts = tally(filled(tmp_path / "out" / SHEET, rows, delimiter), tmp_path / "out" / KEY)
    assert {name: counts[name] for name in ("first", "second", "equal", "unrated", "missing")} == {
        "first": 8, "second": 0, "equal": 1, "unrated": 1, "missing": 0,
    }  # fmt: skip
    assert counts["p"] == pytest.approx(2 / 2**8)
    rows[3][ANSWER] = "both"
    with pytest.raises(MGLMError, match="row 5; found 'both'"):
        tally(filled(tmp_path / "out" / SHEET, rows), tmp_path / "out" / KEY)
    with pytest.raises(MGLMError, match="found no rating"):
        tally(tmp_path / "out" / SHEET, tmp_path / "out" / KEY)
    with pytest.raises(MGLMError, match="--key"):
        tally(tmp_path / "out" / SHEET, tmp_path / "out" / SHEET)


def test_the_sign_test_is_exact() -> None:
    assert sign_test(5, 5) == 1
    assert sign_test(0, 0) == 1
    assert sign_test(9, 1) == pytest.approx(2 * 11 / 1024)


def test_systems_without_a_common_example_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(MGLMError, match="found no example of"):
        make_sheet(system(tmp_path / "a", "x"), system(tmp_path / "b", "y", 0), tmp_path / "out", count=3)
