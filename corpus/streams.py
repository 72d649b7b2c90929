"""The bytes of an input file, uncompressed, in bounded memory, and no more of them than its size can account for."""

import gzip
from typing import Any, Protocol

import pyarrow as pa

from corpus.file_systems import open_input
from corpus.inputs import WARC, Split

_FREE_BYTES = 64 * 1024 * 1024  # a small file may expand so far whatever the ratio
_READ_BYTES = 4 * 1024 * 1024  # of a file that is read from its beginning: a store is sent a request for each read


class Readable(Protocol):
    """What Python's and Arrow's streams have in common, and ours."""

    def read1(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


class ExpandsTooFarError(OSError):
    """A compressed file that is larger than text can be: one made to fill machines."""


class Bounded:
    """A compressed stream that ends with an error where it has grown beyond the bound."""

    def __init__(self, stream: Any, stored_bytes: int, max_expansion: int) -> None:
        self._stream, self._position = stream, 0
        self._bound, self._ratio = max(max_expansion * stored_bytes, _FREE_BYTES), max_expansion

    def read1(self, size: int, /) -> bytes:
        """At most `size` bytes; raises ExpandsTooFarError beyond the bound."""
        if self._position >= self._bound:
            raise ExpandsTooFarError(f"more than {self._ratio} times as large as the compressed file")
        block: bytes = self._stream.read1(min(size, self._bound - self._position))
        self._position += len(block)
        return block

    read = read1  # what a WARC reader calls; fewer bytes than asked for are allowed to it

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        self._stream.close()


def open_stream(split: Split, max_expansion: int) -> Any:
    """A stream of the file's bytes from its beginning; it can seek in plain lines and text.

    Raises:
        OSError: the file is missing or cannot be read.
    """
    file = open_input(split.path)
    if split.compression or split.format == WARC:  # gzip asks for 8 KB at a time, zstd and fastwarc for 64
        file = pa.BufferedInputStream(file, _READ_BYTES)
    if split.compression == "gzip":
        return Bounded(_Gzip(file), split.size_bytes, max_expansion)
    if split.compression == "zstd":
        return Bounded(pa.CompressedInputStream(file, "zstd"), split.size_bytes, max_expansion)
    return file


class _Gzip(gzip.GzipFile):
    """Closes the file below it too."""

    def __init__(self, file: Any) -> None:
        super().__init__(fileobj=file, mode="rb")
        self._below = file

    def close(self) -> None:
        super().close()
        self._below.close()
