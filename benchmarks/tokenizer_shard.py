"""`mglm tokenizer shard` beside SentencePiece alone, megatron-core's builder and datatrove, on the same text and cores.

Each gets as many processes as there are cores, which read the same documents from Parquet. SentencePiece alone keeps
nothing of what it encodes: that is the limit, and it is given again with the ids kept on disk. Megatron's loop encodes
to lists, makes a tensor of each document and adds it to an IndexedDatasetBuilder, as tools/preprocess_data.py does; a
checkout can be named to run that itself. datatrove's stage runs in an environment of its own (`make bench` makes it),
with the same pieces in the `tokenizers` library.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import texts
from benchmarks.record import Measure, in_turn, measure, median_s, ratio, write_record
from core.log import set_up_logging
from core.manifest import read_manifest
from core.schemas import DOCUMENTS, DOCUMENTS_TABLE, SHARDS
from core.spark import SparkConfig, into_bins, spark_session
from tokenizer.config import TokenizerConfig
from tokenizer.encoding import MODEL_NAME, Tokenizer
from tokenizer.shard_job import shard

LANGUAGES = 8  # the largest: a file of a real corpus holds a quarter of a gigabyte
FILE_BYTES = 12_000_000  # of text: enough files for the tasks to end together, as in a real corpus
DATATROVE_PART = 8  # it gets one part in so many of the text
CORES = os.cpu_count() or 1
PEERS = texts.ROOT / ".venv-peers" / "bin" / "python"
DATATROVE = """
import sys, time
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.tokens import DocumentTokenizer
if __name__ == "__main__":
    texts, tokenizer, output, cores = sys.argv[1:]
    stages = [
        ParquetReader(texts, glob_pattern="*.parquet", id_key="doc_id"),
        DocumentTokenizer(output, tokenizer_name_or_path=tokenizer, eos_token=None, shuffle_documents=False),
    ]
    started = time.perf_counter()
    logs = output + "-logs"
    LocalPipelineExecutor(stages, tasks=int(cores), workers=int(cores), logging_dir=logs, start_method="fork").run()
    print(time.perf_counter() - started)
"""


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text-mb", type=int, default=400, help="size of the corpus")
    parser.add_argument("--vocab-size", type=int, default=8_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--megatron-lm", type=Path, help="checkout of Megatron-LM, to run its tools/preprocess_data.py")
    arguments = parser.parse_args()
    set_up_logging()
    with tempfile.TemporaryDirectory(prefix="mglm-bench-") as folder:
        measure_in(Path(folder), arguments)


def measure_in(work: Path, arguments: argparse.Namespace) -> None:
    documents, small = work / "corpus", work / "small"
    text_bytes = texts.make_documents(documents, arguments.text_mb * 1_000_000, LANGUAGES)
    small_bytes = texts.make_documents(small, text_bytes // 10, LANGUAGES)
    spark = SparkConfig()
    plan = work / "plan.json"
    plan.write_text(texts.plan_of(documents).to_json(), encoding="utf-8")
    started = time.perf_counter()
    with spark_session("benchmark", spark):
        start_up_s = time.perf_counter() - started
        tokenizer = texts.make_tokenizer(work, small, spark, arguments.vocab_size)
        numbers = iter(range(1_000_000))
        made: list[Path] = []

        def ours(corpus: Path) -> None:
            made.append(work / f"shards {next(numbers)}")
            shard(corpus, plan, tokenizer, made[-1], TokenizerConfig(shard_text_bytes=FILE_BYTES), spark)

        # Before the others' processes are there, whose memory would count as ours.
        _, small_job, large_job = (measure(partial(ours, corpus)) for corpus in (small, small, documents))
        files = [documents / entry.path for entry in read_manifest(documents, DOCUMENTS).files]
        bins = into_bins({(str(path), group): size for path in files for group, size in row_groups(path)}, 64)
        shares = [[item for items in bins[core::CORES] for item in items] for core in range(CORES)]
        with multiprocessing.get_context("spawn").Pool(CORES, load, (tokenizer,)) as pool:
            pool.map(nothing, range(4 * CORES), chunksize=1)
            calls: dict[str, Callable[[], object]] = {
                "SentencePiece alone, arrays of ids (the limit)": lambda: pool.map(encode_arrays, shares, chunksize=1),
                "mglm tokenizer shard": partial(ours, documents),
                "the limit, ids written, synced and hashed": lambda: pool.map(
                    partial(encode_and_keep, work), shares, chunksize=1
                ),
                "SentencePiece alone, lists of ids": lambda: pool.map(encode_lists, shares, chunksize=1),
            }
            if has_megatron():
                folder = work / "megatron"
                folder.mkdir()
                calls["megatron-core's IndexedDatasetBuilder"] = lambda: pool.map(
                    partial(megatron, folder), shares, chunksize=1
                )
            in_turn(calls, 1)
            measured = in_turn(calls, arguments.rounds)
    remarks = []
    if PEERS.exists():
        part = [share[::DATATROVE_PART] for share in shares]
        seconds = datatrove(work, part, tokenizer) * sum_of(shares) / sum_of(part)
        measured["datatrove, DocumentTokenizer"] = [Measure(seconds, 0)]
        remarks.append(f"datatrove has 1/{DATATROVE_PART} of the text; its seconds are scaled to all of it.")
    else:
        remarks.append("Without datatrove: no .venv-peers (`make bench` makes it).")
    if arguments.megatron_lm:
        measured["Megatron-LM, tools/preprocess_data.py"] = preprocess_data(
            work, arguments.megatron_lm, shares, tokenizer
        )
        remarks.append(
            f"Megatron-LM: {version_of(arguments.megatron_lm)}; its start-up and its reading of JSON are in it."
        )
    limit, job = (measured[name] for name in list(calls)[:2])
    table = [
        [
            name,
            f"{median_s(of_call):.1f}",
            f"{text_bytes / median_s(of_call) / 1e6:.1f}",
            f"{against(limit, of_call):.2f}",
            f"{against(of_call, job):.2f}",
        ]
        for name, of_call in measured.items()
    ]
    tokens = sum(count["tokens"] for count in read_manifest(made[-1], SHARDS).counts.values())
    grown = large_job.peak_bytes / small_job.peak_bytes
    write_record(
        "tokenizer_shard",
        "Text to token files",
        ["what", "seconds", "MB/s", "speed ÷ the limit", "our speed ÷ theirs"],
        table,
        remarks=[
            f"{text_bytes / 1e6:.0f} MB, {tokens / 1e6:.1f} million tokens in the {LANGUAGES} largest languages of "
            f"{texts.source()}, {CORES} processes each; medians of {arguments.rounds} rounds in turn after one that is "
            f"not counted. Files of {FILE_BYTES / 1e6:.0f} MB of text.",
            f"Spark's start-up, {start_up_s:.1f} s, is paid once in a job and not counted, nor are others' imports.",
            f"Memory of our job (driver, JVM, workers): {small_job.peak_bytes / 2**20:,.0f} MiB for "
            f"{small_bytes / 1e6:.0f} MB of text, {grown:.2f} × that for {text_bytes / small_bytes:.0f} × the text.",
            "Ours also sorts by hash, fsyncs, and writes sha256 and manifest.",
            *remarks,
        ],
    )


def against(one: Sequence[Measure], other: Sequence[Measure]) -> float:
    """Seconds of one by those of the other: pair by pair in the same rounds, else of the medians."""
    return ratio(one, other) if len(one) == len(other) else median_s(one) / median_s(other)


def sum_of(shares: list[list[tuple[str, int]]]) -> int:
    """Bytes of the text of these row groups."""
    return sum(len(batch.buffers()[2]) for share in shares for batch in batches(share))


def row_groups(path: Path) -> list[tuple[int, int]]:
    """The row groups of a Parquet file with their sizes."""
    with suppress(pa.ArrowInvalid):
        metadata = pq.read_metadata(path)
        return [(index, metadata.row_group(index).total_byte_size) for index in range(metadata.num_row_groups)]
    return []


_TOKENIZER: list[Tokenizer] = []


def load(directory: Path) -> None:
    """Begins a process of the pool: everything imported and loaded before the clock runs."""
    _TOKENIZER.append(Tokenizer.load(directory))
    if has_megatron():
        import warnings

        with warnings.catch_warnings(action="ignore"):
            import megatron.core.datasets.indexed_dataset  # noqa: F401


def nothing(_: int) -> None:
    """Has every process of the pool begin."""
    time.sleep(0.2)


def encode_arrays(share: list[tuple[str, int]]) -> int:
    return sum(len(ids) for batch in batches(share) for ids in _TOKENIZER[0].encode_arrays(batch.to_pylist()))


def encode_and_keep(folder: Path, share: list[tuple[str, int]]) -> str:
    """`encode_arrays` with what nobody is spared who keeps the ids: a file, on the disk, with its sha256."""
    with (folder / f"{os.getpid()}.ids").open("wb") as file:
        digest = hashlib.sha256()
        for batch in batches(share):
            ids = np.concatenate(_TOKENIZER[0].encode_arrays(batch.to_pylist()))
            digest.update(ids)
            file.write(ids)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def encode_lists(share: list[tuple[str, int]]) -> int:
    return sum(len(ids) for batch in batches(share) for ids in _TOKENIZER[0].encode_batch(strings(batch)))


def megatron(folder: Path, share: list[tuple[str, int]]) -> None:
    import torch
    from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

    name = folder / str(os.getpid())
    builder = IndexedDatasetBuilder(f"{name}.bin", dtype=np.int32)
    for batch in batches(share):
        for ids in _TOKENIZER[0].encode_batch(strings(batch)):
            builder.add_document(torch.IntTensor(ids), [len(ids)])
    builder.finalize(f"{name}.idx")


def batches(share: list[tuple[str, int]]) -> Any:
    """The text of row groups in batches of 1,000 documents, as bytes."""
    for path, group in share:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(1_000, row_groups=[group], columns=["text"], use_threads=False):
                yield batch.column(0).cast(pa.binary())


def strings(batch: Any) -> list[str]:
    found: list[str] = batch.cast(pa.string()).to_pylist()
    return found


def has_megatron() -> bool:
    import importlib.util

    return importlib.util.find_spec("megatron") is not None


def datatrove(work: Path, shares: list[list[tuple[str, int]]], tokenizer: Path) -> float:
    """Seconds of its tokenizer stage, on as many files of equal size as there are processes."""
    folder = work / "datatrove"
    folder.mkdir()
    for number, share in enumerate(shares):
        schema = pa.schema([DOCUMENTS_TABLE.field("doc_id"), DOCUMENTS_TABLE.field("text")])
        with pq.ParquetWriter(folder / f"{number}.parquet", schema) as writer:
            for path, group in share:
                with pq.ParquetFile(path) as file:
                    writer.write_table(file.read_row_group(group, columns=["doc_id", "text"]).cast(schema))
    unigram = work / "tokenizer.json"
    write_unigram(tokenizer, unigram)
    script = work / "datatrove_job.py"
    script.write_text(DATATROVE, "utf-8")
    command = [str(PEERS), str(script), str(folder), str(unigram), str(work / "datatrove-out"), str(CORES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"datatrove failed:\n{done.stderr[-2_000:]}")
    return float(done.stdout.split()[-1])


def write_unigram(tokenizer: Path, path: Path) -> None:
    """The same pieces for the `tokenizers` library, split into words first, which it needs for its speed."""
    import sentencepiece
    from tokenizers import Tokenizer as Unigram
    from tokenizers import models, pre_tokenizers

    processor: Any = sentencepiece.SentencePieceProcessor(model_file=str(tokenizer / MODEL_NAME))
    vocabulary = [(processor.id_to_piece(index), processor.get_score(index)) for index in range(len(processor))]
    unigram = Unigram(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    unigram.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="never", split=True)
    unigram.save(str(path))


def preprocess_data(work: Path, checkout: Path, shares: list[list[tuple[str, int]]], tokenizer: Path) -> list[Measure]:
    """Megatron-LM's own script, on JSONL of the same text; its start-up is in it."""
    lines = work / "megatron.jsonl"
    with lines.open("w", encoding="utf-8") as file:
        for share in shares:
            for batch in batches(share):
                file.writelines(json.dumps({"text": text}) + "\n" for text in strings(batch))
    command = [sys.executable, str(checkout / "tools" / "preprocess_data.py"), "--input", str(lines)]
    command += ["--output-prefix", str(work / "preprocessed"), "--tokenizer-type", "SentencePieceTokenizer"]
    command += ["--tokenizer-model", str(tokenizer / MODEL_NAME), "--workers", str(CORES)]
    return [measure(lambda: subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(checkout)}))]


def version_of(checkout: Path) -> str:
    """What the checkout says it is."""
    facts = runpy.run_path(str(checkout / "megatron" / "core" / "package_info.py"))
    return ".".join(str(facts[part]) for part in ("MAJOR", "MINOR", "PATCH"))


if __name__ == "__main__":
    main()
