"""The records of a split, whatever its format: each with its offset and a verdict.

Offsets count bytes of the uncompressed file; of Parquet, rows of the file.
"""

import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.config import CorpusConfig
from corpus.file_systems import open_input
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

PARQUET_ROWS = 100  # read at once: a hundred records of the greatest length must fit into memory
_STRINGS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)

Record = tuple[int, Accepted | Rejected]


def read_records(split: Split, config: CorpusConfig, skipped: Counter[str]) -> Iterator[Record]:
    """Every record of a split in order; what a format holds besides is counted in `skipped`.

    Raises:
        OSError: the file is missing or cannot be read from its beginning.
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
            broken = f"{type(error).__name__}: {error}"
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
        end = file.num_row_groups if split.end is None else split.end
        offset = sum(file.metadata.row_group(number).num_rows for number in range(split.start))
        columns = [name for name in (config.text_field, config.url_field) if name in file.schema_arrow.names]
        try:
            for batch in file.iter_batches(PARQUET_ROWS, range(split.start, end), columns, use_threads=False):
                texts = _as_bytes(batch.column(config.text_field))
                urls = _as_bytes(batch.column(config.url_field)) if config.url_field in columns else None
                for index in range(batch.num_rows):
                    url = urls[index].as_py() if isinstance(urls, pa.Array) else None
                    yield offset + index, _parquet_verdict(texts, index, url, config)
                offset += batch.num_rows
        except (OSError, pa.ArrowException) as error:
            yield offset, reject(UNREADABLE, f"{type(error).__name__}: {error}", "", False)


def _as_bytes(column: pa.Array) -> pa.Array | str:
    """The column as it is stored, since it may be no UTF-8; the name of its type where it holds no text."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _as_bytes(column.dictionary_decode())
    if any(is_kind(kind) for is_kind in _STRINGS):  # seen as bytes without a copy
        large = pa.types.is_large_string(kind) or pa.types.is_large_binary(kind)
        return column.cast(pa.large_binary() if large else pa.binary())
    return str(kind)


def _parquet_verdict(texts: Any, index: int, url: bytes | None, config: CorpusConfig) -> Accepted | Rejected:
    if isinstance(texts, str):
        return reject(TEXT_NOT_STRING, f"a column of {texts}", "", False)
    data = texts[index].as_buffer()
    if data is None:
        return reject(TEXT_NOT_STRING, "null", "", False)
    if data.size > config.max_record_bytes:
        text, invalid = decode(data[: RAW_CHARACTERS * 4].to_pybytes(), whole=False)
        return reject(TOO_LONG, too_long(data.size, config), text, invalid)
    text, invalid = decode(data.to_pybytes())
    return accept(text, decode(url)[0] if url is not None else None, text, invalid, config)
