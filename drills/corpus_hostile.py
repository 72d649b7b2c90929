"""Builds a corpus from large hostile files and watches memory: nothing is lost, nothing dies, no line is held whole.

A line of 200 MB, ten million newlines, a gzip of 1 GB of zeros, one of as many empty lines, 700,000 records of one
letter, one WARC page that inflates to 500 MB, a text file and a Parquet record of 200 MB, a truncated gzip, and beside
each a good document that must come out. The peak of all processes together must stay below a bound.
"""

import gzip
import json
import sys
import tempfile
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from benchmarks.record import measure
from core.manifest import read_manifest
from core.schemas import DOCUMENTS
from core.spark import SparkConfig
from corpus.build import build
from corpus.config import CorpusConfig

MIB = 1 << 20
BOUND_BYTES = 2_500 * MIB  # of which the JVM may take one
TEXT = "The old bridge over the river was closed for repairs after the winter storms, file {}."


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="mglm-drill-") as folder:
        drill(Path(folder))


def drill(work: Path) -> None:
    source = work / "input"
    source.mkdir()
    expected = make_input(source)
    stored = sum(path.stat().st_size for path in source.iterdir())
    print(f"{len(list(source.iterdir()))} files, {stored / MIB:.0f} MiB stored", flush=True)
    spark = SparkConfig(master="local[2]", driver_memory="1g")

    def make() -> None:
        build([str(source)], work / "out", config=CorpusConfig(), spark=spark)

    measured = measure(make)
    facts = read_manifest(work / "out", DOCUMENTS).facts
    texts = set(ds.dataset(work / "out" / "documents", format="parquet").to_table(columns=["text"])[0].to_pylist())
    rejected = ds.dataset(work / "out" / "rejected", format="parquet").to_table().to_pylist()
    for row in sorted(rejected, key=lambda row: (row["source"], row["offset"])):
        print(f"  {Path(row['source']).name} at {row['offset']}: {row['reason']}, {row['detail'][:90]}")
    missing = [number for number in expected if TEXT.format(number) not in texts]
    print(f"{facts['documents']} documents, {facts['rejected']}, {measured.seconds:.0f} s")
    print(f"peak memory of driver, JVM and workers: {measured.peak_bytes / MIB:.0f} MiB, bound {BOUND_BYTES / MIB:.0f}")
    if missing or measured.peak_bytes > BOUND_BYTES:
        sys.exit(f"good documents lost: {missing}; or too much memory")


def make_input(folder: Path) -> list[int]:
    """The files; the numbers of the good documents in them."""
    good = [(json.dumps({"text": TEXT.format(number)}) + "\n").encode() for number in range(20)]
    with (folder / "line.jsonl").open("wb") as file:
        file.write(good[0] + b'{"text": "')
        for _ in range(200):
            file.write(b"x" * MIB)
        file.write(b'"}\n' + good[1])
    (folder / "newlines.jsonl").write_bytes(good[2] + b"\n" * 10_000_000 + good[3])
    write_bomb(folder / "zeros.jsonl.gz", good[4] + b"\n", b"\0" * MIB, 1_000)
    write_bomb(folder / "newlines.jsonl.gz", good[5], b"\n" * MIB, 1_000)
    write_bomb(folder / "records.jsonl.gz", good[6], b'{"text": "a"}\n' * 70_000, 10)
    (folder / "truncated.jsonl.gz").write_bytes(gzip.compress(b"".join(good[7:9]) * 50_000)[:-9])
    with (folder / "long.txt").open("wb") as file:
        for _ in range(200):
            file.write(b"word " * (MIB // 5))
    (folder / "good.txt").write_text(TEXT.format(9))
    table = pa.table({"text": [TEXT.format(10), "x" * 200 * MIB, TEXT.format(11)]})
    pq.write_table(table, folder / "record.parquet", compression="zstd")
    inflate = zlib.compressobj(9, wbits=31)
    bomb = b"".join(inflate.compress(b" " * MIB) for _ in range(500)) + inflate.flush()
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n" + bomb
    pages = warc("response", page) + warc("conversion", TEXT.format(12).encode())
    (folder / "pages.warc.gz").write_bytes(gzip.compress(pages))
    declared = b"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Length: 99999999999999\r\n\r\nno more"
    (folder / "declared.wet").write_bytes(warc("conversion", TEXT.format(13).encode()) + declared)
    hundred = [json.dumps({"text": "\n".join(chr(code) * 30 for code in range(0x100, 0x3000, 113))})]
    hundred += [
        '{"text": "\\ud800\\u0000 \u202e lone"}',
        '{"text": 1}',
        json.dumps({"text": "a"})[:-1] + ', "text": ' + json.dumps(TEXT.format(14)) + "}",
    ]
    (folder / "odd.jsonl").write_bytes("\n".join(hundred).encode() + b'\n{"text": "\xff\xfe bad bytes"}\n')
    return list(range(15))


def write_bomb(path: Path, first: bytes, block: bytes, times: int) -> None:
    with gzip.open(path, "wb", 6) as file:
        file.write(first)
        for _ in range(times):
            file.write(block)


def warc(kind: str, body: bytes) -> bytes:
    content = "application/http; msgtype=response" if kind == "response" else "text/plain"
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: https://example.org/\r\nContent-Type: {content}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body + b"\r\n\r\n"


if __name__ == "__main__":
    main()
