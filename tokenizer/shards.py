"""Reads `shards/1`: memory-mapped Arrow files as one stream of tokens for each language.

The stream of a language is `[CLS] tokens eos` of every document, one after another in file order, and it is a ring:
after the last document comes the first. Nothing is copied: token arrays are views of the mapped files. A file is mapped
and checked when it is first read, holds no file handle then, and stays mapped.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from core.errors import MGLMError
from core.manifest import MADE_BY, FileEntry, Manifest, read_manifest, sha256_file
from core.schemas import SHARDS, SHARDS_TABLE, check_table
from tokenizer.encoding import MODEL_NAME
from tokenizer.mapped_file import MappedFile
from tokenizer.shard_writer import STREAM_EXTRA

_MAPPED_FILES = 30_000  # at most, of the 65,530 maps that Linux gives a process
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
        self._languages = {lang: _Language() for lang in sorted(manifest.counts)}
        for entry in _data_files(manifest):
            rows = entry.rows or 0
            tokens = tokens_of_file[entry.path] + STREAM_EXTRA * rows
            self._languages[_language_of(entry.path)].add(entry, rows, tokens)
        self._mapped: deque[tuple[_Language, int]] = deque()

    @classmethod
    def open(cls, directory: Path, verify: bool = False) -> "Shards":
        """Opens a finished directory: every file is there in its size, and the tokenizer is the one of the shards.

        A file's schema, language, number, tokenizer and counts are checked when it is first read. `verify` does that at
        once for all files, and reads every byte to compare sha256.

        Raises:
            MGLMError: not finished, or a file is missing, cut short, swapped or altered; the message names it.
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
        shards = cls(directory, manifest)
        model = shards.tokenizer_directory / MODEL_NAME
        wanted = manifest.facts["tokenizer_sha256"]
        if not model.is_file() or sha256_file(model) != wanted:
            found = "another tokenizer" if model.is_file() else "no such file"
            raise _broken(model, found, f"that of the shards, sha256 {wanted}")
        if verify:
            for language in shards._languages.values():
                for number in range(len(language.entries)):
                    shards._map(language, number)
        return shards

    @property
    def cut_languages(self) -> list[str]:
        """Languages whose documents beyond the token budget were left out: they could be read further than they are."""
        available: dict[str, int] = self.manifest.facts.get("available_documents", {})
        return [lang for lang in self._languages if self.documents(lang) < available.get(lang, 0)]

    @property
    def languages(self) -> list[str]:
        """Codes of the languages that have documents, sorted."""
        return list(self._languages)

    def paths(self, lang: str) -> list[str]:
        """A language's files in the order of its stream, relative to the directory."""
        return [entry.path for entry in self._languages[lang].entries]

    def documents(self, lang: str) -> int:
        """How many documents a language has."""
        return self._languages[lang].document_starts[-1]

    def stream_length(self, lang: str) -> int:
        """Tokens of the language's stream, [CLS] and eos included."""
        return self._languages[lang].stream_starts[-1]

    def stream_lengths(self) -> dict[str, int]:
        """`stream_length` of every language: what `Sampler` takes."""
        return {lang: self.stream_length(lang) for lang in self._languages}

    def document(self, lang: str, index: int) -> TokenArray:
        """The tokens of document `index` of a language, without [CLS] and eos: an int32 view."""
        language = self._languages[lang]
        starts = language.document_starts
        if not 0 <= index < starts[-1]:
            raise IndexError(f"document {index} of {lang}, which has {starts[-1]}")
        number = bisect_right(starts, index) - 1
        file = language.files[number] or self._map(language, number)
        row = index - starts[number]
        first, values, integers, words = file.batches[bisect_right(file.document_starts, row) - 1]
        row += first
        return words[values + integers[row] : values + integers[row + 1]]

    def pieces(self, lang: str, start: int, stop: int) -> list[StreamPiece]:
        """What lies at stream positions start … stop−1, document by document.

        `start` lies in the stream; `stop` may run past its end by less than one round, then the stream goes on at 0.
        """
        language = self._languages[lang]
        length = language.stream_starts[-1]
        if not 0 <= start < length or not start <= stop <= start + length:
            raise IndexError(f"positions {start} to {stop} of {lang}, whose stream has {length}")
        found: list[StreamPiece] = []
        self._add_pieces(found, language, start, min(stop, length))
        if stop > length:
            self._add_pieces(found, language, 0, stop - length)
        return found

    def _add_pieces(self, found: list[StreamPiece], language: "_Language", start: int, stop: int) -> None:
        starts = language.stream_starts
        number = bisect_right(starts, start) - 1
        while start < stop:
            end = min(stop, starts[number + 1])
            if start < end:
                file = language.files[number] or self._map(language, number)
                file.add_pieces(found, start - starts[number], end - starts[number])
            start, number = end, number + 1

    def _map(self, language: "_Language", number: int) -> "_ShardFile":
        entry, facts = language.entries[number], self.manifest.facts
        path = self.directory / entry.path
        part = str(_number_of(entry.path))
        identity = {"lang": _language_of(entry.path), "part": part, "tokenizer": facts["tokenizer_sha256"]}
        file = _ShardFile(path, identity)
        found, wanted = (file.documents, file.tokens), (entry.rows, facts["tokens_of_file"][entry.path])
        if found != wanted:
            raise _broken(path, f"{found[0]} documents of {found[1]} tokens", f"{wanted[0]} of {wanted[1]}")
        language.files[number] = file
        self._mapped.append((language, number))
        if len(self._mapped) > _MAPPED_FILES:  # the one that was mapped first makes room; views of it keep its map
            oldest, position = self._mapped.popleft()
            oldest.files[position] = None
        return file


class _Language:
    """The files of a language, those that are mapped, and which documents and stretch of the stream each holds."""

    __slots__ = ("document_starts", "entries", "files", "stream_starts")

    def __init__(self) -> None:
        self.entries: list[FileEntry] = []
        self.files: list[_ShardFile | None] = []
        self.document_starts, self.stream_starts = [0], [0]

    def add(self, entry: FileEntry, documents: int, tokens: int) -> None:
        self.entries.append(entry)
        self.files.append(None)
        self.document_starts.append(self.document_starts[-1] + documents)
        self.stream_starts.append(self.stream_starts[-1] + tokens)


class _Batch(NamedTuple):
    """Where a record batch lies in its mapped file, in 32-bit words: document r of the file has the tokens
    words[values + integers[offset + r] : values + integers[offset + r + 1]]."""

    offset: int
    values: int
    integers: Sequence[int]
    words: TokenArray


class _ShardFile:
    """One mapped file: its record batches, and which documents and stretch of the file's stream each holds."""

    def __init__(self, path: Path, identity: dict[str, str]) -> None:
        self._path = path
        try:
            mapped = MappedFile(path)
            reader: Any = pa.ipc.open_file(pa.BufferReader(mapped.buffer()))
            check_table(reader.schema, SHARDS_TABLE, f"{path}", _COMMAND)
            columns = [reader.get_batch(index).column("tokens") for index in range(reader.num_record_batches)]
        except (OSError, pa.ArrowInvalid) as error:
            raise _broken(path, str(error), "an Arrow IPC file") from None
        for key, wanted in identity.items():
            found = (reader.schema.metadata or {}).get(key.encode(), b"none").decode()
            if found != wanted:
                raise _broken(path, f"a file of {key} {found}", f"one of {key} {wanted}")
        # Tokens and offsets lie at multiples of 8 bytes; the odd bytes at the end belong to the footer.
        view = mapped.buffer().slice(0, mapped.size // 4 * 4)
        words: TokenArray = np.frombuffer(view, np.int32)
        integers = memoryview(view).cast("B").cast("i")  # gives Python's integers, quicker
        self.batches: list[_Batch] = []
        self.document_starts, self.stream_starts = [0], [0]
        for column in columns:
            _, offsets, _, values = column.buffers()
            offset = (offsets.address - mapped.address) // 4 + column.offset
            first = (values.address - mapped.address) // 4 if values is not None else 0
            row = self.document_starts[-1]
            self.batches.append(_Batch(offset - row, first, integers, words))
            self.document_starts.append(row + len(column))
            tokens = integers[offset + len(column)] - integers[offset]
            self.stream_starts.append(self.stream_starts[-1] + tokens + STREAM_EXTRA * len(column))
        self.documents = self.document_starts[-1]
        self.tokens = self.stream_starts[-1] - STREAM_EXTRA * self.documents

    def add_pieces(self, found: list[StreamPiece], start: int, stop: int) -> None:
        batch = bisect_right(self.stream_starts, start) - 1
        while start < stop:
            end = min(stop, self.stream_starts[batch + 1])
            if start < end:
                self._add_pieces_of_batch(found, batch, start, end)
            start, batch = end, batch + 1

    def _add_pieces_of_batch(self, found: list[StreamPiece], batch: int, start: int, stop: int) -> None:
        offset, values, integers, words = self.batches[batch]
        row, last = self.document_starts[batch], self.document_starts[batch + 1]
        # Row r begins at integers[offset + r] + 2·r + base in the file's stream. By the offsets alone, which are quick
        # to search, it is known to within the rows that those 2 tokens of all rows before can amount to.
        base = self.stream_starts[batch] - integers[offset + row] - STREAM_EXTRA * row
        most = STREAM_EXTRA * (last - row)
        token = start - base - STREAM_EXTRA * row
        high = bisect_right(integers, token, offset + row, offset + last) - offset
        low = bisect_right(integers, token - most, offset + row, high + offset) - offset
        row = bisect_right(
            range(last), start, max(row, low - 1), high, key=lambda r: integers[offset + r] + STREAM_EXTRA * r + base
        )
        row = max(row - 1, self.document_starts[batch])
        first = integers[offset + row]
        while row < last and (position := first + STREAM_EXTRA * row + base) < stop:
            after = integers[offset + row + 1]
            # Token t of the document stands at position + 1 + t, eos behind the last.
            length = after - first
            left = start - position - 1 if start > position + 1 else 0
            right = min(length, stop - position - 1)
            tokens = words[values + first + left : values + first + max(left, right)]
            found.append(StreamPiece(tokens, start <= position, start <= position + 1 + length < stop))
            row, first = row + 1, after
        if first + STREAM_EXTRA * row + base < stop:
            raise _broken(self._path, "no tokens where there were some", "the file as it was when it was opened")


def _data_files(manifest: Manifest) -> list[FileEntry]:
    """Shard files by language and number; names sort wrongly beyond five digits."""
    files = [entry for entry in manifest.files if entry.path.startswith("lang=")]
    return sorted(files, key=lambda entry: (_language_of(entry.path), _number_of(entry.path)))


def _number_of(path: str) -> int:
    return int(Path(path).stem.split("-")[1])


def _language_of(path: str) -> str:
    return Path(path).parts[0].removeprefix("lang=")


def _broken(path: Path, found: str, expected: str) -> MGLMError:
    return MGLMError(
        f"{path}", found=found, expected=expected, action=f"remove the shards' directory and run {_COMMAND} again"
    )
