"""Lines of a split with their exact byte offsets, in memory that no line can exceed.

A line belongs to the split in which its first byte lies, as in Hadoop, so any cut of a file gives the same lines. Lines
end at `\\n` alone; offsets count uncompressed bytes.
"""

import re
import zlib
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

from corpus.file_systems import why_broken
from corpus.inputs import Split
from corpus.streams import Readable, open_stream

BLOCK_BYTES = 1024 * 1024
_NEWLINES = re.compile(b"\n+")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """A line without its newline. Of one longer than allowed, `data` is the beginning and `length` tells the whole.

    `broken` is set on the last one of a file whose rest cannot be read, and says why; `data` is then what was left.
    """

    offset: int
    data: bytes
    length: int
    broken: str | None = None


def read_lines(split: Split, max_bytes: int, max_expansion: int) -> Iterator[Line]:
    """The lines of a split in order, of empty ones in a row some; of each at most `max_bytes` are held."""
    with closing(open_stream(split, max_expansion)) as stream:
        offset = split.start and _find_first_line(stream, split)
        if offset is not None:
            yield from cut_lines(stream, offset, split.end, max_bytes, split.path)


def cut_lines(stream: Readable, offset: int, end: int | None, max_bytes: int, path: str) -> Iterator[Line]:
    """The lines of `stream`, whose first byte stands at `offset`, that begin before `end`.

    Of empty lines in a row only the last in each block is told, since there may be millions. Errors name `path`.
    """
    line_offset, length = offset, 0
    held = bytearray()
    while True:
        try:
            block = stream.read1(BLOCK_BYTES)  # `read` would lose what came before a broken place
        except (OSError, EOFError, zlib.error) as error:
            yield Line(line_offset, bytes(held), length, broken=why_broken(path, error))
            return
        if not block:
            if length:
                yield Line(line_offset, bytes(held), length)
            return
        position = 0
        while (newline := block.find(b"\n", position)) >= 0:
            if newline == position and not length:
                run = _NEWLINES.match(block, position)
                assert run is not None
                skipped = run.end() - position - 1
                if end is not None:
                    skipped = min(skipped, end - 1 - line_offset)
                line_offset += skipped
                newline = position = position + skipped
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
