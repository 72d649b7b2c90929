"""Inputs are checked before anything starts, and splits cover every file once."""

import errno
import gzip
import logging
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import MGLMError
from core.spark import into_bins
from corpus.config import CorpusConfig
from corpus.inputs import (
    PARQUET,
    SMALLEST_SPLIT_BYTES,
    TEXT,
    WARC,
    InputFile,
    Split,
    expression,
    find_inputs,
    part_weights,
    plan_parts,
)

CONFIG = CorpusConfig()


def find(*inputs: object) -> list[InputFile]:
    return find_inputs([str(given) for given in inputs], CONFIG)


def test_a_directory_means_its_files_at_any_depth_without_hidden_ones_and_those_of_other_kinds(tmp_path: Path) -> None:
    for name in ("b.jsonl", "deep/a.ndjson", "deep/e.warc", "page.txt", "image.png", "_work/c.jsonl", "deep/.d.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}\n")
    (tmp_path / "c.json.gz").write_bytes(gzip.compress(b"{}\n"))
    (tmp_path / "d.warc.wet.gz").write_bytes(gzip.compress(b"WARC/1.0"))
    found = find(tmp_path)
    assert [(Path(file.path).name, file.format, file.compression) for file in found] == [
        ("b.jsonl", "jsonl", None),
        ("c.json.gz", "jsonl", "gzip"),
        ("d.warc.wet.gz", WARC, "gzip"),
        ("a.ndjson", "jsonl", None),
        ("e.warc", WARC, None),
        ("page.txt", TEXT, None),
    ]


def test_links_to_directories_are_followed_but_not_in_a_circle(tmp_path: Path) -> None:
    for name in ("crawl/a.jsonl", "elsewhere/deep/b.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("{}\n")
    (tmp_path / "crawl" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "deep" / "round").symlink_to(tmp_path / "crawl")
    names = [str(Path(file.path).relative_to(tmp_path)) for file in find(tmp_path / "crawl")]
    assert names == ["crawl/a.jsonl", "crawl/more/deep/b.jsonl"]


def test_a_directory_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "closed", ".hidden"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jsonl").write_text("{}\n")

    def scan(path: str, look: Any = os.scandir) -> Any:
        if str(path).endswith(("closed", ".hidden")):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return look(path)

    monkeypatch.setattr(os, "scandir", scan)
    monkeypatch.setattr(logging.getLogger("mglm"), "propagate", True)  # which the front door's tests turn off
    with caplog.at_level(logging.WARNING, "mglm.corpus"):
        assert [file.path for file in find(tmp_path)] == [str(tmp_path / "a" / "a.jsonl")]
    assert set(caplog.messages) == {f"input {tmp_path / 'closed'} is left out: Permission denied"}


def test_a_file_named_twice_counts_once_and_the_order_given_does_not_matter(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text("{}\n")
    first = find(tmp_path, tmp_path / "a.jsonl", f"{tmp_path}/*.jsonl")
    second = find(tmp_path / "b.jsonl", tmp_path / "a.jsonl")
    assert first == second
    assert len(first) == 2


def test_an_address_means_what_a_path_means(tmp_path: Path) -> None:
    for name in ("x y/a.jsonl", "x y/b/c.jsonl", "x y/_d.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("{}\n")
    assert find((tmp_path / "x y").as_uri()) == find(tmp_path / "x y")
    assert len(find(tmp_path, tmp_path.as_uri())) == 2


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("s3://b/a/*.gz", "s3://b/a/x.gz", True),
        ("s3://b/a/*.gz", "s3://b/a/x/y.gz", False),
        ("s3://b/**/*.gz", "s3://b/y.gz", True),
        ("s3://b/**/*.gz", "s3://b/x/z/y.gz", True),
        ("s3://b/?[ab].c", "s3://b/xa.c", True),
        ("s3://b/?[!ab].c", "s3://b/xa.c", False),
        ("s3://b/part-0[2-6].gz", "s3://b/part-04.gz", True),
        ("s3://b/part-0[2-6].gz", "s3://b/part-0-.gz", False),
        ("s3://b/part-0[!2-6].gz", "s3://b/part-04.gz", False),
        ("s3://b/part-[9-0].gz", "s3://b/part-9.gz", False),
        ("s3://b/a.c", "s3://b/aXc", False),
    ],
)
def test_a_pattern_of_an_address_is_a_glob(pattern: str, path: str, matches: bool) -> None:
    assert (expression(pattern).fullmatch(path) is not None) == matches


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("missing.jsonl", None, "no such file"),
        ("*.nothing", None, "no match"),
        ("empty.jsonl", b"", "an empty file"),
        ("empty.parquet", b"", "an empty file"),
        ("crawl.arc", b"filedesc", "another kind"),
        ("fake.jsonl.gz", b'{"text": 1}', "other data"),
        ("hidden.jsonl", gzip.compress(b"{}", mtime=0), "gzip data"),
        ("fake.parquet", b"PAR1 and no more", "Parquet"),
    ],
)
def test_an_input_that_will_not_do_is_one_line_that_names_it(
    tmp_path: Path, name: str, content: bytes | None, found: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(MGLMError, match=found) as error:
        find(tmp_path / name)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_whose_name_is_not_utf8_is_named_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.jsonl")).write_text("{}\n")
    with pytest.raises(MGLMError, match=r"caf\\udce9\.jsonl'; found a name that is not UTF-8"):
        find(tmp_path)


def test_a_store_of_a_kind_that_is_not_known_is_named() -> None:
    with pytest.raises(MGLMError, match="found ftp:; expected a path or one of file:, s3:"):
        find("ftp://example.org/a.jsonl")


def test_a_directory_without_records_and_one_with_an_empty_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MGLMError, match="without any"):
        find(tmp_path)
    (tmp_path / "a.jsonl").touch()
    with pytest.raises(MGLMError, match="a.jsonl; found an empty file"):
        find(tmp_path)


def test_parquet_without_the_column_of_the_text_is_refused_and_names_those_it_has(tmp_path: Path) -> None:
    pq.write_table(pa.table({"content": ["a"], "url": ["b"]}), tmp_path / "a.parquet")
    with pytest.raises(MGLMError, match=r"found columns content, url; .*Set corpus.text_field"):
        find(tmp_path)


def test_parts_cover_each_plain_file_without_gap_in_order_and_leave_compressed_ones_whole() -> None:
    files = [
        InputFile("a", 10 * SMALLEST_SPLIT_BYTES + 7, None),
        InputFile("b", 3, None),
        InputFile("c", 9**9, "gzip"),
        InputFile("d", 1, None, PARQUET, row_group_bytes=(SMALLEST_SPLIT_BYTES,) * 4),
    ]
    config = CorpusConfig(split_bytes=3 * SMALLEST_SPLIT_BYTES)
    parts = plan_parts(files, config, tasks=4)
    splits = [split for part in parts for split in part]
    assert [split.path for split in splits] == sorted(split.path for split in splits)
    for path, size in (("a", 10 * SMALLEST_SPLIT_BYTES + 7), ("b", 3), ("d", 4)):
        edges = [(split.start, split.end) for split in splits if split.path == path]
        assert edges[0][0] == 0
        assert edges[-1][1] == size
        assert all(end == start for (_, end), (start, _) in pairwise(edges))
    assert all(
        sum((split.end or 0) - split.start for split in part if split.path == "a") <= config.split_bytes
        for part in parts
    )
    assert [part for part in parts if part[0].path == "c"] == [[Split("c", 0, None, "gzip", "jsonl", 9**9)]]


def test_work_is_shared_by_text_whatever_it_is_stored_as() -> None:
    """1 GB each, as JSON Lines, packed, and as Parquet: no task gets much more than another."""
    gigabyte = 1024**3
    files = [InputFile(f"{number}.jsonl", gigabyte // 4, None) for number in range(4)]
    files += [InputFile(f"{number}.jsonl.gz", gigabyte // 16, "gzip") for number in range(4)]
    groups = (gigabyte // 16,) * 4
    files += [
        InputFile(f"{number}.parquet", gigabyte // 16, None, PARQUET, row_group_bytes=groups) for number in range(4)
    ]
    parts = plan_parts(files, CorpusConfig(), tasks=48)
    weights = part_weights(parts)
    bins = into_bins(dict(enumerate(weights)), len(parts))
    of_bins = sorted(sum(weights[number] for number in numbers) for numbers in bins)
    assert of_bins[-1] < 6 * of_bins[0]
    parquet = [weight for weight, splits in zip(weights, parts, strict=True) if splits[0].format == PARQUET]
    assert sum(parquet) == pytest.approx(gigabyte, rel=0.01)
    assert max(len(numbers) for numbers in bins) <= 2


def test_a_million_small_files_are_few_parts_and_files_that_are_known_are_left_out() -> None:
    files = [InputFile(f"{number:04d}.txt", 2_000, None, TEXT, "mtime 1") for number in range(3_000)]
    assert len(plan_parts(files, CONFIG, tasks=4)) == 4
    known = {file.path: file.identity for file in files[:-2]}
    known[files[0].path] = "another"
    left = [split.path for part in plan_parts(files, CONFIG, tasks=4, known=known) for split in part]
    assert left == ["0000.txt", "2998.txt", "2999.txt"]
