"""Files of a store or of a mounted one: few requests, and one that fails is no broken file."""

import errno
import gzip
import io
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import MGLMError
from corpus import file_systems, readers, streams
from corpus.config import CorpusConfig
from corpus.inputs import JSON_LINES, PARQUET, TEXT, WARC, Split
from corpus.readers import read_records
from corpus.records import UNREADABLE, Accepted, Rejected

TEXTS = ["".join(random.Random(number).choices("abcdefgh ", k=400)).strip() for number in range(5_000)]


def parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"text": TEXTS}), file, compression="none", use_dictionary=False)
    return file.getvalue()


LINES = "\n".join(f'{{"text": "{text}"}}' for text in TEXTS).encode()
PAGES = "".join(
    f"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Length: {len(text)}\r\n\r\n{text}\r\n\r\n" for text in TEXTS
).encode()
FILES = {
    "a.jsonl": (LINES, None, JSON_LINES),
    "a.jsonl.gz": (gzip.compress(LINES), "gzip", JSON_LINES),
    "a.jsonl.zst": (pa.compress(LINES, "zstd", asbytes=True), "zstd", JSON_LINES),
    "a.txt": ("\n".join(TEXTS).encode(), None, TEXT),
    "a.wet": (PAGES, None, WARC),
    "a.wet.gz": (gzip.compress(PAGES), "gzip", WARC),
    "a.parquet": (parquet(), None, PARQUET),
}


class Store:
    """A store that counts what it is asked for, and answers no read beyond `fails_at`."""

    def __init__(self, data: bytes) -> None:
        self.data, self.requests, self.fails_at = data, 0, 1 << 40

    def open_input_file(self, inner: str) -> Any:
        assert inner.startswith("bucket/")
        store = self

        class File(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                store.requests += 1
                if self.tell() + (size or 0) > store.fails_at:
                    raise OSError("AWS Error NETWORK_CONNECTION during GetObject operation")
                return super().read(size)

        return File(self.data)


@pytest.fixture(params=list(FILES))
def stored(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Store, Split]:
    data, compression, kind = FILES[request.param]
    store = Store(data)
    monkeypatch.setattr(file_systems, "_store", lambda *_: store)
    end = 1 if kind == PARQUET else None
    return store, Split(f"s3://bucket/{request.param}", 0, end, compression, kind, len(data))


def test_a_store_is_asked_for_megabytes_at_once(stored: tuple[Store, Split]) -> None:
    store, split = stored
    found = [verdict for _, verdict in read_records(split, CorpusConfig(text_documents="line"), Counter())]
    assert found == [Accepted(text, None, False) for text in TEXTS]
    assert store.requests <= 8  # of some two megabytes; the footer and the end of a file are requests too


def test_a_request_that_fails_ends_the_task_and_not_the_file(stored: tuple[Store, Split]) -> None:
    store, split = stored
    store.fails_at = len(store.data) * 2 // 3
    with pytest.raises(MGLMError, match=f"input {split.path}; found AWS Error NETWORK_CONNECTION .* a store that ans"):
        list(read_records(split, CorpusConfig(text_documents="line"), Counter()))


@pytest.mark.parametrize("name", list(FILES))
def test_a_mounted_file_system_that_fails_ends_the_task_and_not_the_file(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data, compression, kind = FILES[name]

    class File(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() + (size or 0) > len(data) * 2 // 3 and self.tell() < len(data) * 2 // 3:
                raise OSError(errno.ESTALE, "Stale file handle")
            return super().read(size)

    for module in (readers, streams):
        monkeypatch.setattr(module, "open_input", lambda _: pa.PythonFile(File(data), "r"))
    split = Split(f"/mnt/{name}", 0, 1 if kind == PARQUET else None, compression, kind, len(data))
    with pytest.raises(MGLMError, match=rf"input /mnt/{name}; found \[Errno \d+\] Stale .* a file system that answers"):
        list(read_records(split, CorpusConfig(text_documents="line"), Counter()))


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "lz4"])
def test_broken_pages_of_parquet_are_a_broken_file(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": TEXTS}), path, compression=compression, use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[200:2_000] = b"\xff" * 1_800
    path.write_bytes(data)
    *_, (_, last) = read_records(Split(str(path), 0, 1, None, PARQUET, len(data)), CorpusConfig(), Counter())
    assert isinstance(last, Rejected)
    assert last.reason == UNREADABLE


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.wet.gz"])
@pytest.mark.parametrize("damage", ["cut", "overwritten", "followed by other data"])
def test_broken_compressed_data_is_a_broken_file(tmp_path: Path, name: str, damage: str) -> None:
    data, compression, kind = FILES[name]
    half = len(data) // 2
    damaged = {
        "cut": data[:half],
        "overwritten": data[:half] + b"\xff" * 200_000 + data[half + 200_000 :],
        "followed by other data": data + b"x" * 1_000,
    }
    path = tmp_path / name
    path.write_bytes(damaged[damage])
    *_, (_, last) = read_records(Split(str(path), 0, None, compression, kind, len(data)), CorpusConfig(), Counter())
    assert isinstance(last, Rejected)
    assert last.reason == UNREADABLE


def test_memory_that_runs_out_is_no_broken_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(parquet())

    def iter_batches(*_: Any, **__: Any) -> Any:
        raise pa.ArrowMemoryError("malloc of size 1024 failed")

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", iter_batches)
    with pytest.raises(MGLMError, match="malloc of size 1024 failed; expected enough memory"):
        list(read_records(Split(str(path), 0, 1, None, PARQUET), CorpusConfig(), Counter()))
