"""Peak memory of `mglm tokenizer train`: flat when the sample grows, proportional to `tokenizer.training_bytes`.

    python -m benchmarks.tokenizer_memory [--training-bytes N] [--sample DIR]

The made-up sample is the hardest there is: random words of one-byte letters, none of which occurs twice, so that
SentencePiece can count none together. With --sample (a directory of `mglm balancing sample`) real text is measured too.
"""

import argparse
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.record import Measure, measure, write_record
from core.documents import document_id
from core.schemas import SAMPLE, SAMPLE_TABLE
from core.stage import open_stage

DOCUMENT_WORDS, WORD_LETTERS = 1_000, 8
VOCABULARY = "200000"  # near the default, and sooner pruned to than a small one


def main() -> None:
    """Trains on growing samples and with growing limits, each in a process of its own, and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--training-bytes", type=int, default=1_000_000, help="the limit that the samples outgrow")
    parser.add_argument("--sample", type=Path, help="a real sample to train on with the same limits")
    arguments = parser.parse_args()
    limit = arguments.training_bytes
    with tempfile.TemporaryDirectory(prefix="mglm-bench-") as name:
        folder = Path(name)
        for factor in (1, 4, 16):
            write_sample(folder / f"sample-{factor}", factor * limit)
        (base,) = trained(folder, folder / "sample-1", [limit // 100])
        rows: list[list[Any]] = []
        for factor in (1, 4, 16):
            (peak,) = trained(folder, folder / f"sample-{factor}", [limit])
            rows.append(row(f"made-up words, {factor} × the limit", factor * limit, limit, peak, base))
        limits = [2 * limit, 4 * limit]
        for given, peak in zip(limits, trained(folder, folder / "sample-16", limits), strict=True):
            rows.append(row("made-up words, larger limit", 16 * limit, given, peak, base))
        if arguments.sample:
            size = sum(path.stat().st_size for path in arguments.sample.rglob("*.parquet"))
            limits = [4 * limit, 8 * limit, 16 * limit]
            for given, peak in zip(limits, trained(folder, arguments.sample, limits), strict=True):
                rows.append(row("real text (its Parquet)", size, given, peak, base))
    write_record(
        "tokenizer_memory",
        "Memory of `mglm tokenizer train`",
        ["sample", "MB", "training_bytes, MB", "peak memory, MB", "bytes per byte trained on", "seconds"],
        rows,
        remarks=[
            f"Bytes per byte: what is above the {base.peak_bytes / 1e6:.0f} MB that training on next to nothing takes, "
            "over training_bytes.",
        ],
    )  # fmt: skip


def row(name: str, sample_bytes: int, limit: int, found: Measure, base: Measure) -> list[Any]:
    per_byte = (found.peak_bytes - base.peak_bytes) / limit
    peak = round(found.peak_bytes / 1e6)
    return [name, round(sample_bytes / 1e6, 1), limit / 1e6, peak, round(per_byte, 1), round(found.seconds, 1)]


def trained(folder: Path, sample: Path, limits: list[int]) -> list[Measure]:
    """One training for each limit, by the command."""
    found = []
    for limit in limits:
        command = [
            sys.executable,
            "-m",
            "mglm",
            "tokenizer",
            "train",
            "--sample",
            str(sample),
            "--vocab-size",
            VOCABULARY,
        ]
        command += ["--output", str(folder / f"{sample.name}-{limit}"), "--set", f"tokenizer.training_bytes={limit}"]
        found.append(measure(lambda command=command: subprocess.run(command, check=True)))
    return found


def write_sample(output: Path, size_bytes: int) -> None:
    """sample/1 of that many bytes, the same every time."""
    stage = open_stage(output, schema=SAMPLE, config={}, inputs={})
    with pq.ParquetWriter(output / "part-00000.parquet", SAMPLE_TABLE) as writer:
        for text in texts(size_bytes):
            row = {"doc_id": document_id(text), "lang": "en", "copy": 0, "text": text}
            writer.write_table(pa.Table.from_pylist([row], schema=SAMPLE_TABLE))
    stage.finish()


def texts(size_bytes: int) -> Iterator[str]:
    """Documents of random words, ten to a line."""
    chance = random.Random(size_bytes)
    words_left = size_bytes // (WORD_LETTERS + 1)
    while words_left > 0:
        count = min(DOCUMENT_WORDS, words_left)
        words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=WORD_LETTERS)) for _ in range(count)]
        yield "\n".join(" ".join(words[start : start + 10]) for start in range(0, count, 10))
        words_left -= count


if __name__ == "__main__":
    main()
