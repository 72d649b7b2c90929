"""The records of a split, whatever its format: each with its offset and a verdict.

Offsets count bytes of the uncompressed file; of Parquet, rows of the file.
"""

import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import repeat
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.config import CorpusConfig
from corpus.file_systems import open_input, why_broken
from corpus.inputs import JSON_LINES, PARQUET, TEXT, WARC, Split
from corpus.lines import BLOCK_BYTES, Line, read_lines
from corpus.records import (
    RAW_CHARACTERS,
    TEXT_NOT_STRING,
    TOO_LONG,
    UNREADABLE,
    Accepted,
    Rejected,
    accept,
    check_line,
    decode,
    is_blank,
    parse_record,
    reject,
    too_long,
)
from corpus.streams import open_stream
from corpus.warc import read_warc

PARQUET_ROWS = 100  # read at once, at most
PARQUET_BYTES = 128 * 1024 * 1024  # of them, unless one alone has more
_STRINGS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)

Record = tuple[int, Accepted | Rejected]


def read_records(split: Split, config: CorpusConfig, skipped: Counter[str]) -> Iterator[Record]:
    """Every record of a split in order; what a format holds besides is counted in `skipped`.

    Raises:
        OSError: the file is missing or cannot be read from its beginning.
        MGLMError: a file system, a store or memory failed on the way.
    """
    readers: dict[str, Callable[[Split, CorpusConfig, Counter[str]], Iterator[Record]]] = {
        JSON_LINES: _read_json_lines,
        PARQUET: _read_parquet,
        TEXT: _read_text,
        WARC: read_warc,
    }
    return readers[split.format](split, config, skipped)


def _read_json_lines(split: Split, config: CorpusConfig, _: Counter[str]) -> Iterator[Record]:
    for line in read_lines(split, config.max_record_bytes, config.max_expansion):
        if not is_blank(line):
            yield line.offset, parse_record(line, config)


def _read_text(split: Split, config: CorpusConfig, _: Counter[str]) -> Iterator[Record]:
    cut = {"file": _whole_file, "line": _lines, "paragraph": read_paragraphs}[config.text_documents]
    for line in cut(split, config.max_record_bytes, config.max_expansion):
        checked = check_line(line, config)
        yield line.offset, checked if isinstance(checked, Rejected) else accept(checked[0], None, *checked, config)


def _lines(split: Split, max_bytes: int, max_expansion: int) -> Iterator[Line]:
    return (line for line in read_lines(split, max_bytes, max_expansion) if not is_blank(line))


def _whole_file(split: Split, max_bytes: int, max_expansion: int) -> Iterator[Line]:
    held, length, broken = bytearray(), 0, None
    with closing(open_stream(split, max_expansion)) as stream:
        try:
            while block := stream.read1(BLOCK_BYTES):
                held += block[: max(max_bytes - len(held), 0)]
                length += len(block)
        except (OSError, EOFError, zlib.error) as error:
            broken = why_broken(split.path, error)
    yield Line(0, bytes(held), length, broken)


def read_paragraphs(split: Split, max_bytes: int, max_expansion: int) -> Iterator[Line]:
    """Runs of lines without a blank one between them, as one `Line` each.

    A paragraph belongs to the split in which the last blank line before it begins, the first of a file to its first.
    """
    whole = Split(split.path, split.start, None, split.compression, split.format, split.size_bytes)
    held, offset, length, ours = bytearray(), -1, 0, split.start == 0
    for line in read_lines(whole, max_bytes, max_expansion):
        outside = split.end is not None and line.offset >= split.end
        if is_blank(line):
            if offset >= 0:
                yield Line(offset, bytes(held[:max_bytes]), length)
            if outside:
                return
            held.clear()
            offset, ours = -1, True
        elif ours:
            if offset < 0:
                offset = line.offset
            if len(held) < max_bytes:  # not even a newline more: there may be billions
                held += (b"\n" if held else b"") + line.data[: max_bytes - len(held)]
            length = line.offset + line.length - offset
            if line.broken is not None:
                yield Line(offset, bytes(held[:max_bytes]), length, line.broken)
                return
        elif outside:
            return
    if offset >= 0:
        yield Line(offset, bytes(held[:max_bytes]), length)


def _read_parquet(split: Split, config: CorpusConfig, _: Counter[str]) -> Iterator[Record]:
    with closing(open_input(split.path)) as source:
        file = pq.ParquetFile(source, pre_buffer=False, buffer_size=1 << 20)
        groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        end = len(groups) if split.end is None else split.end
        offset = sum(group.num_rows for group in groups[: split.start])
        kind = file.schema_arrow.field(config.text_field).type
        if not _is_text(kind):  # not even read: one list may have any length
            for row in range(sum(group.num_rows for group in groups[split.start : end])):
                yield offset + row, reject(TEXT_NOT_STRING, f"a column of {kind}", "", False)
            return
        names = file.schema_arrow.names
        has_url = config.url_field in names and _is_text(file.schema_arrow.field(config.url_field).type)
        columns = [config.text_field, *([config.url_field] if has_url else [])]
        try:
            for number in range(split.start, end):
                rows = _rows_at_once(groups[number], columns)
                for batch in file.iter_batches(rows, [number], columns, use_threads=False):
                    urls = _values(batch.column(config.url_field)) if has_url else repeat(None)
                    for text, url in zip(_values(batch.column(config.text_field)), urls, strict=False):
                        yield offset, _parquet_verdict(text, url, config)
                        offset += 1
        except (OSError, pa.ArrowException, IndexError) as error:  # IndexError: a place beyond the end of a dictionary
            yield offset, reject(UNREADABLE, why_broken(split.path, error), "", False)


def _rows_at_once(group: Any, columns: list[str]) -> int:
    """So many rows of a group that they are never more than `PARQUET_BYTES`, whatever they repeat.

    A value that is stored once may stand in every row (in a dictionary, or as a beginning that the next one shares),
    but none is longer than its column is, uncompressed. Refused: reading all columns as dictionaries, since Arrow hands
    out the whole of a dictionary with each batch, and reads none of the newer encodings so.
    """
    chunks = [group.column(index) for index in range(group.num_columns)]
    longest: int = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema in columns)
    return max(1, min(PARQUET_ROWS, PARQUET_BYTES // max(longest, 1)))


def _values(column: pa.Array) -> Iterator[pa.Buffer | None]:
    """Of each row the bytes as they are stored, since they may be no UTF-8; what a dictionary holds is not copied."""
    if isinstance(column, pa.DictionaryArray):
        dictionary = column.dictionary
        return (None if place is None else dictionary[place].as_buffer() for place in column.indices.to_pylist())
    return (value.as_buffer() for value in column)


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(is_kind(kind) for is_kind in _STRINGS)


def _parquet_verdict(data: pa.Buffer | None, url: pa.Buffer | None, config: CorpusConfig) -> Accepted | Rejected:
    if data is None:
        return reject(TEXT_NOT_STRING, "null", "", False)
    if (length := max(data.size, url.size if url is not None else 0)) > config.max_record_bytes:
        text, invalid = decode(data[: RAW_CHARACTERS * 4].to_pybytes(), whole=False)
        return reject(TOO_LONG, too_long(length, config), text, invalid)
    text, invalid = decode(data.to_pybytes())
    return accept(text, decode(url.to_pybytes())[0] if url is not None else None, text, invalid, config)
