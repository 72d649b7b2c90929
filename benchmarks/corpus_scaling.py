"""What a build costs when its input doubles, and when one language holds nine tenths of it."""

import argparse
import tempfile
from functools import partial
from pathlib import Path

from benchmarks import texts
from benchmarks.crawls import make_crawl
from benchmarks.record import in_turn, ratio, write_record
from core.log import set_up_logging
from core.spark import SparkConfig, spark_session
from corpus.build import build
from corpus.config import CorpusConfig

CORES = 2
GOAL = 2.1
SKEWED = ("en", 0.9)


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=40, help="text of the smallest input")
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    set_up_logging()
    with tempfile.TemporaryDirectory(prefix="mglm-bench-") as folder:
        measure_in(Path(folder), given.megabytes * 1_000_000, given.rounds)


def measure_in(work: Path, text_bytes: int, rounds: int) -> None:
    once, twice, four, skewed = "once", "twice", "four times", "twice, 90 % of it English"
    sizes = {
        once: make_crawl(work / once, text_bytes),
        twice: make_crawl(work / twice, 2 * text_bytes),
        four: make_crawl(work / four, 4 * text_bytes),
        skewed: make_crawl(work / skewed, 2 * text_bytes, share=SKEWED),
    }
    spark = SparkConfig(master=f"local[{CORES}]")
    # Parts and files as many times smaller than in a real corpus as the input is, so that there are several of each.
    config = CorpusConfig(split_bytes=8 << 20, run_bytes=8 << 20, file_bytes=8 << 20)

    def make(name: str) -> None:
        build([str(work / name)], work / f"{name}, built", config=config, spark=spark)
        (work / f"{name}, built").rename(work / f"{name}, built {len(list(work.iterdir()))}")

    with spark_session("benchmark", spark):
        calls = {name: partial(make, name) for name in sizes}
        make(once)  # the first round of Spark is another matter
        measured = in_turn(calls, rounds)
    rows = [
        [
            name,
            f"{sizes[name] / 1e6:.0f}",
            f"{min(measure.seconds for measure in of_call):.1f}",
            f"{ratio(of_call, measured[once]):.2f}",
            f"{ratio(of_call, measured[twice]):.2f}",
            f"{max(measure.peak_bytes for measure in of_call) / 2**20:,.0f}",
        ]
        for name, of_call in measured.items()
    ]
    write_record(
        "corpus_scaling",
        "A corpus build as its input grows, and with one language that holds nearly all",
        ["input", "MB of text", "seconds", "÷ once", "÷ twice", "peak memory, MiB"],
        rows,
        remarks=[
            f"{texts.source()}, every tenth document twice, on {CORES} cores; medians of {rounds} rounds in turn after "
            "one that is not counted; memory of driver, JVM and workers together.",
            f"The goal is at most {GOAL} when input doubles.",
        ],
    )


if __name__ == "__main__":
    main()
