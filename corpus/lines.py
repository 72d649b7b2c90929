"""Lines of a split with their exact byte offsets, in memory that no line can exceed.

A line belongs to the split in which its first byte lies, as in Hadoop, so any cut of a file gives the same lines. Lines
end at `\\n` alone; offsets count uncompressed bytes.
"""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from corpus.inputs import Split

BLOCK_BYTES = 1024 * 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Line:
    """A line without its newline. Of one longer than allowed, `data` is the beginning and `length` tells the whole.

    `broken` is set on the last one of a file whose rest cannot be read, and says why; `data` is then what was left.
    """

    offset: int
    data: bytes
    length: int
    broken: str | None = None


class Readable(Protocol):
    """What both Python's and Arrow's streams are."""

    def read1(self, size: int, /) -> bytes: ...


def read_lines(split: Split, max_bytes: int) -> Iterator[Line]:
    """The lines of a split in order, blank ones too; of each at most `max_bytes` are held."""
    with closing(_open(split)) as stream:
        offset = split.start and _find_first_line(stream, split)
        if offset is not None:
            yield from cut_lines(stream, offset, split.end, max_bytes)


def cut_lines(stream: Readable, offset: int, end: int | None, max_bytes: int) -> Iterator[Line]:
    """The lines of `stream`, whose first byte stands at `offset`, that begin before `end`."""
    line_offset, length = offset, 0
    held = bytearray()
    while True:
        try:
            block = stream.read1(BLOCK_BYTES)  # `read` would lose what came before a broken place
        except (OSError, EOFError, zlib.error) as error:
            yield Line(line_offset, bytes(held), length, broken=f"{type(error).__name__}: {error}")
            return
        if not block:
            if length:
                yield Line(line_offset, bytes(held), length)
            return
        position = 0
        while (newline := block.find(b"\n", position)) >= 0:
            held += block[position : min(newline, position + max(max_bytes - len(held), 0))]
            length += newline - position
            yield Line(line_offset, bytes(held), length)
            line_offset += length + 1
            held.clear()
            length, position = 0, newline + 1
            if end is not None and line_offset >= end:
                return
        held += block[position : position + max(max_bytes - len(held), 0)]
        length += len(block) - position


def _find_first_line(stream: Any, split: Split) -> int | None:
    """Moves `stream` to the first line that begins in the split; None where there is none."""
    # From one byte before: when that is a newline, the first line begins exactly at the start.
    position = split.start - 1
    stream.seek(position)
    while split.end is None or position < split.end - 1:
        block = stream.read1(BLOCK_BYTES)
        if not block:
            return None
        newline = block.find(b"\n")
        if newline >= 0:
            position += newline + 1
            stream.seek(position)
            return position if split.end is None or position < split.end else None
        position += len(block)
    return None


def _open(split: Split) -> Any:
    if split.compression == "gzip":
        return gzip.open(split.path, "rb")
    if split.compression == "zstd":
        return pa.CompressedInputStream(pa.OSFile(split.path), "zstd")
    return Path(split.path).open("rb")
