"""However a file is cut, its lines are the same, at the same offsets."""

import gzip
import io
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus import lines as module
from corpus.inputs import Split
from corpus.lines import Line, cut_lines, read_lines

CONTENT = st.lists(st.binary(max_size=12).map(lambda data: data.replace(b"\n", b"")), max_size=12)


def expected(content: bytes) -> list[tuple[int, bytes]]:
    """The reference: str.split, and offsets by adding up."""
    parts = content.split(b"\n")
    offsets = [sum(len(part) + 1 for part in parts[:index]) for index in range(len(parts))]
    return [
        (offset, part) for offset, part in zip(offsets, parts, strict=True) if part
    ]  # of empty ones not all are told


@given(CONTENT, st.booleans(), st.integers(1, 40), st.integers(1, 20))
def test_any_split_size_and_any_block_size_give_the_lines_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], ends: bool, size: int, block: int
) -> None:
    content = b"\n".join(parts) + (b"\n" if ends else b"")
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_BYTES", block)
        found = [
            (line.offset, line.data)
            for start in range(0, len(content), size)
            for line in read_lines(Split(str(path), start, min(start + size, len(content)), None), 100, 200)
            if line.length
        ]
    assert found == expected(content)


@given(CONTENT, st.integers(1, 5), st.integers(1, 20))
def test_a_long_line_is_held_to_its_limit_and_its_length_told(parts: list[bytes], limit: int, block: int) -> None:
    content = b"\n".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_BYTES", block)
        found = list(cut_lines(io.BufferedReader(io.BytesIO(content)), 0, None, limit, "a"))
    assert [(line.offset, line.data, line.length) for line in found if line.length] == [
        (offset, data[:limit], len(data)) for offset, data in expected(content)
    ]


def compress(data: bytes, name: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, name) as stream:
        stream.write(data)
    return bytes(sink.getvalue().to_pybytes())


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_compressed_files_of_several_members_are_read_whole(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(compress(b"one\ntw", name) + compress(b"o\nthree", name))
    assert [(line.offset, line.data) for line in read_lines(Split(str(path), 0, None, name), 100, 200)] == [
        (0, b"one"),
        (4, b"two"),
        (8, b"three"),
    ]


def test_a_truncated_file_gives_the_lines_before_the_break_and_then_says_why_it_ends(tmp_path: Path) -> None:
    content = b"".join(b"line %d\n" % number for number in range(50_000))
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(content)[:-2000])
    *whole, last = read_lines(Split(str(path), 0, None, "gzip"), 100, 200)
    assert b"".join(line.data + b"\n" for line in whole) == content[: last.offset]
    assert all(after.offset == before.offset + before.length + 1 for before, after in pairwise([*whole, last]))
    assert last.broken is not None
    assert "EOFError" in last.broken
    assert len(whole) > 40_000


def test_a_split_inside_one_giant_line_has_no_lines_and_reads_no_further_than_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x" * 1000 + b"\ny\n")
    assert list(read_lines(Split(str(path), 300, 600, None), 10, 200)) == []
    assert list(read_lines(Split(str(path), 900, 1003, None), 10, 200)) == [Line(1001, b"y", 1)]
