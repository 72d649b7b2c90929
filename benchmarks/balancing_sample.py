"""`mglm balancing sample` beside bare scans of the same Parquet, in one warm Spark session.

The bare scan of Spark reads doc_id, lang and text of the train split and throws them away; that of pyarrow does so in
the tasks of the job itself. A sample of all text also sorts and writes it; smaller ones show what is not read.
"""

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path

from balancing.config import BalancingConfig
from balancing.sample import make_sample
from benchmarks import texts
from benchmarks.record import in_turn, median_s, ratio, write_record
from core.document_ranges import EVERY_HASH, files_of_languages, survey_file, train_documents
from core.log import set_up_logging
from core.manifest import read_manifest
from core.schemas import DOCUMENTS, SAMPLE
from core.spark import SparkConfig, into_bins, path_to_read, run_tasks, spark_session

GOAL = 0.85
LANGUAGES = 8  # the largest: a file of a real corpus holds a quarter of a gigabyte
SAMPLES = {"all of the text": 1.0, "a tenth": 0.1, "a hundredth": 0.01}


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text-mb", type=int, default=400, help="size of the corpus")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    set_up_logging()
    with tempfile.TemporaryDirectory(prefix="mglm-bench-") as folder:
        measure_in(Path(folder), arguments.text_mb * 1_000_000, arguments.rounds)


def measure_in(work: Path, text_bytes: int, rounds: int) -> None:
    documents = work / "corpus"
    text_bytes = texts.make_documents(documents, text_bytes, LANGUAGES)
    spark = SparkConfig()
    plan = work / "plan.json"
    plan.write_text(texts.plan_of(documents, strategy="raw").to_json(), encoding="utf-8")
    made = read_manifest(documents, DOCUMENTS)
    wanted = set(files_of_languages(made, set(made.counts)))
    sizes = {entry.path: entry.bytes for entry in made.files if entry.path in wanted}

    def sample(share: float) -> None:
        output = work / f"sample of {share}"
        make_sample(
            documents,
            plan,
            output,
            config=BalancingConfig(sample_bytes=max(1, round(text_bytes * share))),
            spark=spark,
            overwrite=True,
        )
        (output / "manifest.json").rename(output / "made.json")  # not finished: made anew in the next round
        (output / "in_progress.json").write_text(json.dumps({"fingerprint": None}))

    with spark_session("benchmark", spark) as session:
        tasks = session.sparkContext.defaultParallelism * spark.partitions_per_core

        def spark_scan() -> None:
            table = session.read.parquet(path_to_read(documents / "documents")).where("split = 'train'")
            table.select("doc_id", "lang", "text").write.format("noop").mode("overwrite").save()

        def pyarrow_scan() -> None:
            run_tasks(session, into_bins(sizes, tasks), partial(scan, documents))

        samples = {f"sample of {name}": partial(sample, share) for name, share in SAMPLES.items()}
        calls = {"bare scan, Spark": spark_scan, "bare scan, pyarrow in the tasks": pyarrow_scan, **samples}
        in_turn(calls, 1)  # the first round of Spark is another matter
        measured = in_turn(calls, rounds)
        facts = {}
        for name, share in SAMPLES.items():
            path = work / f"sample of {share}"
            facts[f"sample of {name}"] = json.loads((path / "made.json").read_text("utf-8"))["facts"]
    assert facts["sample of all of the text"]["bytes"] == text_bytes
    scan_spark, scan_pyarrow = (measured[name] for name in list(calls)[:2])
    rows = []
    for name, of_call in measured.items():
        opened = facts[name]["text_bytes_opened"] / facts[name]["text_bytes_stored"] if name in facts else 1.0
        rows.append(
            [
                name,
                f"{median_s(of_call):.2f}",
                f"{ratio(scan_spark, of_call):.2f}",
                f"{ratio(scan_pyarrow, of_call):.2f}",
                f"{opened:.1%}",
                f"{max(measure.peak_bytes for measure in of_call) / 2**20:,.0f}",
            ]
        )
    write_record(
        "balancing_sample",
        "The balanced sample beside bare scans of the same Parquet",
        ["what", "seconds", "speed ÷ Spark's scan", "speed ÷ pyarrow's scan", "text opened", "peak memory, MiB"],
        rows,
        remarks=[
            f"{text_bytes / 1e6:.0f} MB in the {LANGUAGES} largest languages of {texts.source()}; medians of {rounds} "
            "rounds in turn, after one that is not counted. Memory is that of driver, JVM and workers together.",
            f"The goal is {GOAL} of the scan's speed when all text is taken. The sample is also written, sorted, with "
            f"sha256 and manifest: `{SAMPLE}`.",
            f"A row group, the least that can be opened, holds {texts.ROW_GROUP_BYTES >> 20} MiB of text here.",
        ],
    )


def scan(documents: Path, path: str) -> int:
    """Reads the train documents of a file and counts them."""
    groups = survey_file(documents, path)
    return sum(batch.num_rows for batch in train_documents(documents, groups, EVERY_HASH))


if __name__ == "__main__":
    main()
