"""Reads `shards/1`: memory-mapped Arrow files as one stream of tokens for each language.

The stream of a language is `[CLS] tokens eos` of every document, one after another in file order, and it is a ring:
after the last document comes the first. Nothing is copied: token arrays are views of the mapped files. Files open when
first read, and only so many stay open, since a large corpus has more files than a process may map.
"""

import bisect
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from core.errors import MGLMError
from core.manifest import MADE_BY, FileEntry, Manifest, read_manifest, sha256_file
from core.schemas import SHARDS, SHARDS_TABLE, check_table

EXTRA_TOKENS = 2  # [CLS] before and eos after each document
_OPEN_FILES = 1_024
_COMMAND = MADE_BY[SHARDS]

TokenArray = np.ndarray[tuple[int], np.dtype[np.int32]]


class StreamPiece(NamedTuple):
    """A stretch of one document: its tokens, whether [CLS] stands before them and eos after them."""

    tokens: TokenArray
    begins: bool
    ends: bool


class Shards:
    """The shards of all languages. Made by `open`; positions and lengths count tokens including [CLS] and eos."""

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self.directory, self.manifest = directory, manifest
        self.tokenizer_directory = directory / "tokenizer"
        self.sha256 = manifest.content_hash()
        tokens_of_file: dict[str, int] = manifest.facts["tokens_of_file"]
        self._files: dict[str, list[FileEntry]] = {lang: [] for lang in sorted(manifest.counts)}
        self._document_starts: dict[str, list[int]] = {lang: [0] for lang in self._files}
        self._stream_starts: dict[str, list[int]] = {lang: [0] for lang in self._files}
        for entry in _data_files(manifest):
            lang, rows = _language_of(entry.path), entry.rows or 0
            self._files[lang].append(entry)
            self._document_starts[lang].append(self._document_starts[lang][-1] + rows)
            length = tokens_of_file[entry.path] + EXTRA_TOKENS * rows
            self._stream_starts[lang].append(self._stream_starts[lang][-1] + length)
        self._open_file = lru_cache(_OPEN_FILES)(lambda path: _ShardFile(directory / path))

    @classmethod
    def open(cls, directory: Path, verify: bool = False) -> "Shards":
        """Opens a finished directory; `verify` reads every byte and compares sha256.

        Raises:
            MGLMError: not finished, or a file is missing, cut short or altered; the message names it.
        """
        manifest = read_manifest(directory, SHARDS)
        for entry in manifest.files:
            path = directory / entry.path
            size = path.stat().st_size if path.is_file() else None
            if size != entry.bytes:
                found = "no such file" if size is None else f"{size} bytes"
                raise _broken(path, found, f"{entry.bytes} bytes")
            if verify and sha256_file(path) != entry.sha256:
                raise _broken(path, "another content", f"sha256 {entry.sha256}")
        return cls(directory, manifest)

    @property
    def languages(self) -> list[str]:
        """Codes of the languages that have documents, sorted."""
        return list(self._files)

    def documents(self, lang: str) -> int:
        """How many documents a language has."""
        return self._document_starts[lang][-1]

    def stream_length(self, lang: str) -> int:
        """Tokens of the language's stream, [CLS] and eos included."""
        return self._stream_starts[lang][-1]

    def stream_lengths(self) -> dict[str, int]:
        """`stream_length` of every language: what `Sampler` takes."""
        return {lang: self.stream_length(lang) for lang in self._files}

    def document(self, lang: str, index: int) -> TokenArray:
        """The tokens of document `index` of a language, without [CLS] and eos: an int32 view."""
        if not 0 <= index < self.documents(lang):
            raise IndexError(f"document {index} of {lang}, which has {self.documents(lang)}")
        file = bisect.bisect_right(self._document_starts[lang], index) - 1
        return self._file(lang, file).document(index - self._document_starts[lang][file])

    def pieces(self, lang: str, start: int, stop: int) -> list[StreamPiece]:
        """What lies at stream positions start … stop−1, document by document.

        `start` lies in the stream; `stop` may run past its end by less than one round, then the stream goes on at 0.
        """
        length = self.stream_length(lang)
        if not 0 <= start < length or not start <= stop <= start + length:
            raise IndexError(f"positions {start} to {stop} of {lang}, whose stream has {length}")
        if stop > length:
            return [*self._straight(lang, start, length), *self._straight(lang, 0, stop - length)]
        return list(self._straight(lang, start, stop))

    def _straight(self, lang: str, start: int, stop: int) -> Iterator[StreamPiece]:
        starts = self._stream_starts[lang]
        file = bisect.bisect_right(starts, start) - 1
        while start < stop:
            end = min(stop, starts[file + 1])
            if start < end:
                yield from self._file(lang, file).pieces(start - starts[file], end - starts[file])
            start, file = end, file + 1

    def _file(self, lang: str, index: int) -> "_ShardFile":
        return self._open_file(self._files[lang][index].path)


class _ShardFile:
    """One mapped file: its record batches as NumPy views of offsets and token values."""

    def __init__(self, path: Path) -> None:
        try:
            reader: Any = pa.ipc.open_file(pa.memory_map(str(path)))
            check_table(reader.schema, SHARDS_TABLE, f"{path}", _COMMAND)
            columns = [reader.get_batch(index).column("tokens") for index in range(reader.num_record_batches)]
        except (OSError, pa.ArrowInvalid) as error:
            raise _broken(path, str(error), "an Arrow IPC file") from None
        self._values: list[TokenArray] = [column.values.to_numpy(zero_copy_only=True) for column in columns]
        self._offsets: list[TokenArray] = [column.offsets.to_numpy(zero_copy_only=True) for column in columns]
        self._document_starts, self._stream_starts = [0], [0]
        for offsets in self._offsets:
            rows = len(offsets) - 1
            self._document_starts.append(self._document_starts[-1] + rows)
            length = int(offsets[-1] - offsets[0]) + EXTRA_TOKENS * rows
            self._stream_starts.append(self._stream_starts[-1] + length)

    def document(self, index: int) -> TokenArray:
        batch = bisect.bisect_right(self._document_starts, index) - 1
        offsets, row = self._offsets[batch], index - self._document_starts[batch]
        return self._values[batch][offsets[row] : offsets[row + 1]]

    def pieces(self, start: int, stop: int) -> Iterator[StreamPiece]:
        batch = bisect.bisect_right(self._stream_starts, start) - 1
        while start < stop:
            end = min(stop, self._stream_starts[batch + 1])
            if start < end:
                base = self._stream_starts[batch]
                yield from self._pieces_of_batch(self._values[batch], self._offsets[batch], start - base, end - base)
            start, batch = end, batch + 1

    @staticmethod
    def _pieces_of_batch(values: TokenArray, offsets: TokenArray, start: int, stop: int) -> Iterator[StreamPiece]:
        rows = len(offsets) - 1
        first = int(offsets[0])

        def begin(row: int) -> int:
            """Stream position of a row's [CLS] within the batch."""
            return int(offsets[row]) - first + EXTRA_TOKENS * row

        row = bisect.bisect_right(range(rows), start, key=begin) - 1
        while row < rows and (position := begin(row)) < stop:
            low, high = int(offsets[row]), int(offsets[row + 1])
            # Token t of the document stands at position + 1 + t, eos behind the last.
            left = max(0, start - position - 1)
            right = min(high - low, stop - position - 1)
            ends = start <= position + 1 + high - low < stop
            yield StreamPiece(values[low + left : low + max(left, right)], start <= position, ends)
            row += 1


def _data_files(manifest: Manifest) -> list[FileEntry]:
    """Shard files by language and number; names sort wrongly beyond five digits."""
    files = [entry for entry in manifest.files if entry.path.startswith("lang=")]
    return sorted(files, key=lambda entry: (_language_of(entry.path), int(Path(entry.path).stem.split("-")[1])))


def _language_of(path: str) -> str:
    return Path(path).parts[0].removeprefix("lang=")


def _broken(path: Path, found: str, expected: str) -> MGLMError:
    return MGLMError(f"{path}", found=found, expected=expected, action=f"run {_COMMAND} again with --overwrite")
