"""Detection in Spark, and the reading part of a build that holds it, beside bare fastText on the same Parquet.

A bare process reads text from Parquet, puts its first thousand characters on a line, asks fastText and writes text,
label and probability as Parquet: the least that detection at scale costs. A build normalises, hashes, finds the script,
judges by the rules, sorts and keeps journals besides.
"""

import argparse
import multiprocessing
import tempfile
import time
from functools import cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import texts
from benchmarks.crawls import make_crawl
from benchmarks.record import in_turn, median_s, ratio, write_record
from core.detector import DEFAULT_MAX_CHARACTERS, LanguageDetector
from core.fasttext_model import embedded_model_path
from core.log import set_up_logging
from core.spark import SparkConfig, run_tasks, spark_session
from corpus.build_job import Reading, read_parts
from corpus.config import CorpusConfig
from corpus.inputs import find_inputs, plan_parts

CORES = 2
GOAL = 0.9


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=60, help="text of the input")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    set_up_logging()
    with tempfile.TemporaryDirectory(prefix="mglm-bench-") as folder:
        measure_in(Path(folder), given.megabytes * 1_000_000, given.rounds)


def measure_in(work: Path, text_bytes: int, rounds: int) -> None:
    size = make_crawl(work / "input", text_bytes, parquet=True)
    files = sorted(str(path) for path in (work / "input").iterdir())
    config = CorpusConfig()
    parts = plan_parts(
        find_inputs([str(work / "input")], config), config, tasks=4 * CORES
    )  # as a build of two partitions a core cuts it
    spark = SparkConfig(master=f"local[{CORES}]")

    # Processes that stay, with the model in them, as Spark's workers do.
    with (
        multiprocessing.get_context("spawn").Pool(CORES) as pool,
        spark_session("benchmark", spark) as session,
    ):

        def bare() -> None:
            pool.map(partial(detect_barely, work, files), range(CORES), chunksize=1)

        def detection() -> None:
            run_tasks(session, [[number] for number in range(CORES)], partial(detect_in_task, work, files))

        def ours() -> None:
            target = work / f"parts-{time.monotonic_ns()}"
            target.mkdir()
            read_parts(session, parts, Reading(target, config), tasks=2 * CORES)

        calls = {
            "bare fastText, two processes": bare,
            "our detector in two Spark tasks": detection,
            "the whole reading of a build": ours,
        }
        in_turn(calls, 1)  # the first round loads and warms
        measured = in_turn(calls, rounds)
    limit = measured["bare fastText, two processes"]
    rows = [
        [
            name,
            f"{median_s(of_call):.1f}",
            f"{size / 1e6 / median_s(of_call) / CORES:.2f}",
            f"{ratio(limit, of_call):.2f}",
            f"{max(measure.peak_bytes for measure in of_call) / 2**20:,.0f}",
        ]
        for name, of_call in measured.items()
    ]
    write_record(
        "corpus_detection",
        "Detection in the build beside bare fastText on the same Parquet",
        ["what", "seconds", "MB/s of a core", "speed ÷ bare", "peak memory, MiB"],
        rows,
        remarks=[
            f"{size / 1e6:.0f} MB of {texts.source()} on {CORES} cores, Parquet in and out, lid.176, "
            f"{DEFAULT_MAX_CHARACTERS} characters of each document; medians of {rounds} rounds in turn after "
            "one that is not counted; the bare processes stay, with the model in them.",
            f"The goal is {GOAL} of the bare processes' speed once warm.",
        ],
    )


@cache
def bare_model() -> Any:
    import fasttext

    return fasttext.load_model(str(embedded_model_path()))


def detect_barely(work: Path, files: list[str], number: int) -> None:
    """The least that detection costs: fastText on the beginning of a text, nothing else."""
    model = bare_model().f
    for index, path in enumerate(files[number::CORES]):
        writer = None
        for batch in pq.ParquetFile(path).iter_batches(1000, columns=["text"]):
            lines = (" ".join(text[:DEFAULT_MAX_CHARACTERS].splitlines()) for text in batch.column("text").to_pylist())
            found = [model.predict(line + "\n", 1, 0.0, "strict")[0] for line in lines]
            columns = {"label": [label for _, label in found], "score": [score for score, _ in found]}
            table = pa.table({"text": batch.column("text"), **columns})
            target = work / f"bare-{number}-{index}.parquet"
            writer = writer or pq.ParquetWriter(target, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is not None:
            writer.close()


def detect_in_task(work: Path, files: list[str], number: int) -> None:
    """What a bare process does, with the detector of a build."""
    detector = LanguageDetector()
    for index, path in enumerate(files[number::CORES]):
        writer = None
        for batch in pq.ParquetFile(path).iter_batches(1000, columns=["text"]):
            found = [detector.detect(text) for text in batch.column("text").to_pylist()]
            columns = {"lang": [one.lang for one in found], "label": [one.label for one in found]}
            table = pa.table({"text": batch.column("text"), **columns, "score": [one.score for one in found]})
            target = work / f"task-{number}-{index}.parquet"
            writer = writer or pq.ParquetWriter(target, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is not None:
            writer.close()


if __name__ == "__main__":
    main()
