"""The reading and detecting part of a build beside bare fastText processes on the same Parquet.

A bare process reads text from Parquet, puts its first thousand characters on a line, asks fastText and writes text,
label and probability as Parquet: the least that detection at scale costs. Ours normalises, hashes, finds the script,
judges by the rules, sorts and keeps journals besides.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks import texts
from benchmarks.crawls import make_crawl
from benchmarks.record import in_turn, median_s, ratio, write_record
from core.detector import DEFAULT_MAX_CHARACTERS
from core.fasttext_model import embedded_model_path
from core.log import set_up_logging
from core.spark import SparkConfig, run_tasks, spark_session
from corpus.build_job import Reading, read_parts
from corpus.config import CorpusConfig
from corpus.inputs import find_inputs, plan_parts

CORES = 2
GOAL = 0.9

BARE = """
import sys
import fasttext, pyarrow as pa, pyarrow.parquet as pq
model_path, characters, target, *sources = sys.argv[1:]
model, characters = fasttext.load_model(model_path), int(characters)
for number, source in enumerate(sources):
    writer = None
    for batch in pq.ParquetFile(source).iter_batches(1000, columns=["text"]):
        labels, scores = [], []
        for text in batch.column("text").to_pylist():
            line = " ".join(text[:characters].splitlines())
            (score, label), = model.f.predict(line + "\\n", 1, 0.0, "strict")
            labels.append(label)
            scores.append(score)
        table = pa.table({"text": batch.column("text"), "label": labels, "score": scores})
        writer = writer or pq.ParquetWriter(f"{target}-{number}.parquet", table.schema, compression="zstd")
        writer.write_table(table)
    writer.close()
"""


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
    parts = plan_parts(find_inputs([str(work / "input")], config), config, tasks=2 * CORES)
    spark = SparkConfig(master=f"local[{CORES}]")

    def bare() -> None:
        command = [sys.executable, "-c", BARE, str(embedded_model_path()), str(DEFAULT_MAX_CHARACTERS)]
        running = [
            subprocess.Popen([*command, str(work / f"bare-{number}"), *files[number::CORES]]) for number in range(CORES)
        ]
        assert [process.wait() for process in running] == [0] * CORES

    with spark_session("benchmark", spark) as session:

        def bare_in_spark() -> None:
            run_tasks(session, [[number] for number in range(CORES)], partial(_bare_in_task, work, files))

        def ours() -> None:
            target = work / f"parts-{time.monotonic_ns()}"
            target.mkdir()
            read_parts(session, parts, Reading(target, config, embedded_model_path()), tasks=2 * CORES)

        calls = {
            "bare fastText, two processes": bare,
            "the same code in two Spark tasks": bare_in_spark,
            "the reading of a build": ours,
        }
        in_turn({name: call for name, call in calls.items() if call is not bare}, 1)  # Spark's first round
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
            f"{DEFAULT_MAX_CHARACTERS} characters of each document; medians of {rounds} rounds in turn. The bare "
            "processes load Python and the model each time, as a job of their own would.",
            f"The goal is {GOAL} of the bare processes' speed once warm.",
        ],
    )


def _bare_in_task(work: Path, files: list[str], number: int) -> None:
    sys_argv, sys.argv = (
        sys.argv,
        [
            "bare",
            str(embedded_model_path()),
            str(DEFAULT_MAX_CHARACTERS),
            str(work / f"task-{number}"),
            *files[number::CORES],
        ],
    )
    try:
        exec(BARE, {})
    finally:
        sys.argv = sys_argv


if __name__ == "__main__":
    main()
