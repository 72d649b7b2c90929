"""Inputs are checked before anything starts, and splits cover every file once."""

import gzip
from itertools import pairwise
from pathlib import Path

import pytest

from core.errors import MGLMError
from corpus.inputs import SMALLEST_SPLIT_BYTES, InputFile, find_inputs, plan_splits


def test_a_directory_means_its_json_lines_files_at_any_depth_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("b.jsonl", "deep/a.ndjson", "readme.txt", "_work/c.jsonl", "deep/.d.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}\n")
    (tmp_path / "c.json.gz").write_bytes(gzip.compress(b"{}\n"))
    found = find_inputs([str(tmp_path)])
    assert [Path(file.path).name for file in found] == ["b.jsonl", "c.json.gz", "a.ndjson"]
    assert [file.compression for file in found] == [None, "gzip", None]


def test_a_file_named_twice_counts_once_and_the_order_given_does_not_matter(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text("{}\n")
    first = find_inputs([str(tmp_path), str(tmp_path / "a.jsonl"), f"{tmp_path}/*.jsonl"])
    second = find_inputs([str(tmp_path / "b.jsonl"), str(tmp_path / "a.jsonl")])
    assert first == second
    assert len(first) == 2


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("missing.jsonl", None, "no such file"),
        ("*.nothing", None, "no match"),
        ("empty.jsonl", b"", "an empty file"),
        ("crawl.warc", b"WARC/1.0", "another kind"),
        ("fake.jsonl.gz", b'{"text": 1}', "other data"),
        ("hidden.jsonl", gzip.compress(b"{}"), "gzip data"),
    ],
)
def test_an_input_that_will_not_do_is_one_line_that_names_it(
    tmp_path: Path, name: str, content: bytes | None, found: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(MGLMError, match=found) as error:
        find_inputs([str(tmp_path / name)])
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_a_directory_without_records_and_one_with_an_empty_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MGLMError, match="without any"):
        find_inputs([str(tmp_path)])
    (tmp_path / "a.jsonl").touch()
    with pytest.raises(MGLMError, match="a.jsonl; found an empty file"):
        find_inputs([str(tmp_path)])


def test_splits_cover_each_plain_file_without_gap_and_leave_compressed_ones_whole() -> None:
    files = [InputFile("a", 10 * SMALLEST_SPLIT_BYTES + 7, None), InputFile("b", 3, None), InputFile("c", 9**9, "gzip")]
    splits = plan_splits(files, split_bytes=3 * SMALLEST_SPLIT_BYTES, tasks=4)
    for file in files[:2]:
        edges = [(split.start, split.end) for split in splits if split.path == file.path]
        assert edges[0][0] == 0
        assert edges[-1][1] == file.size_bytes
        assert all(end == start for (_, end), (start, _) in pairwise(edges))
        assert all(end is not None and end - start <= 3 * SMALLEST_SPLIT_BYTES for start, end in edges)
    assert [(split.start, split.end) for split in splits if split.path == "c"] == [(0, None)]
