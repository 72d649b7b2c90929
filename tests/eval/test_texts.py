"""References and predictions are matched exactly, or the mistake is named."""

import gzip
import json
from pathlib import Path

import pytest

from core.errors import MGLMError
from eval.data_files import read_json
from eval.qa_files import read_answers, read_predictions
from eval.texts import read_pairs, read_text


def jsonl(path: Path, records: list[object]) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), "utf-8")
    return path


def lines(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_records_are_matched_by_id_in_the_order_of_the_references(tmp_path: Path) -> None:
    wanted = jsonl(tmp_path / "r.jsonl", [{"id": "a", "text": "A"}, {"id": 2, "text": "二\u2028x"}])
    given = jsonl(tmp_path / "p.jsonl", [{"id": "2", "text": "2"}, {"id": "a", "text": "", "more": 1}])
    assert read_pairs(wanted, given) == (["A", "二\u2028x"], ["", "2"])


def test_plain_lines_are_matched_by_number_and_may_be_empty(tmp_path: Path) -> None:
    wanted = lines(tmp_path / "r.txt", "one\ntwo\u2028still two\nthree\n")
    given = lines(tmp_path / "p.txt", "1\n\n3")
    assert read_pairs(wanted, given) == (["one", "two\u2028still two", "three"], ["1", "", "3"])


def test_unequal_line_counts_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(MGLMError, match="found 2 lines; expected 3 lines"):
        read_pairs(lines(tmp_path / "r.txt", "1\n2\n3\n"), lines(tmp_path / "p.txt", "1\n2\n"))


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([{"id": "a", "text": "x"}], "no prediction for id b"),
        ([{"id": key, "text": "x"} for key in "abc"], "predictions for id c"),
        ([{"id": key, "text": "x"} for key in "abb"], "more than one record for id b"),
        ([{"id": "a", "text": "x"}, {"id": "b"}], "line 2"),
        ([{"id": "a", "text": "x"}, {"id": True, "text": "x"}], "line 2"),
        ([{"id": "a", "text": "x"}, ["b", "x"]], "line 2"),
    ],
)
def test_predictions_that_do_not_fit_are_named(tmp_path: Path, records: list[object], message: str) -> None:
    wanted = jsonl(tmp_path / "r.jsonl", [{"id": "a", "text": "A"}, {"id": "b", "text": "B"}])
    with pytest.raises(MGLMError, match=message):
        read_pairs(wanted, jsonl(tmp_path / "p.jsonl", records))


def test_missing_empty_binary_and_mixed_files_are_errors(tmp_path: Path) -> None:
    good = jsonl(tmp_path / "r.jsonl", [{"id": "a", "text": "A"}])
    binary = tmp_path / "b.txt"
    binary.write_bytes(b"\xff\xfe\x00")
    broken_gzip = tmp_path / "b.gz"
    broken_gzip.write_bytes(b"not gzip")
    for path, found in [
        (tmp_path / "absent", "no such file"),
        (tmp_path, "a directory"),
        (lines(tmp_path / "empty", "\n"), "an empty file"),
        (binary, "utf-8"),
        (broken_gzip, "gzip"),
        (lines(tmp_path / "plain", "text\n"), "plain lines beside"),
    ]:
        with pytest.raises(MGLMError, match=found):
            read_pairs(good, path)


def test_texts_that_break_a_parser_are_texts_or_named(tmp_path: Path) -> None:
    digits, brackets = "1" * 5000, "[" * 100_000
    plain = lines(tmp_path / "r.txt", f"{digits}\n{brackets}\n")
    assert read_pairs(plain, lines(tmp_path / "p.txt", f"{brackets}\n{digits}\n"))[0] == [digits, brackets]
    good = jsonl(tmp_path / "r.jsonl", [{"id": "a", "text": "A"}])
    for text in (digits, brackets):
        with pytest.raises(MGLMError, match=r"p\.jsonl, line 2"):
            read_pairs(good, lines(tmp_path / "p.jsonl", f'{{"id": "a", "text": "x"}}\n{text}\n'))
        whole = lines(tmp_path / "whole.json", f'{{"data": {text}}}')
        for read in (read_answers, read_predictions, read_json):
            with pytest.raises(MGLMError, match=r"whole\.json.*expected JSON"):
                read(whole)


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress("".join(map(str, range(2000))).encode()))
    packed[10:40] = b"\xff" * 30
    (tmp_path / "r.txt.gz").write_bytes(packed)
    with pytest.raises(MGLMError, match=r"r\.txt\.gz"):
        read_text(tmp_path / "r.txt.gz")
