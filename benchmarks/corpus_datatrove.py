"""A whole build beside datatrove: JSON Lines to Parquet by language, detected, without exact duplicates, normalised.

datatrove runs the stages its own examples put together: reader, language filter (label only) and exact deduplication in
its three steps, Parquet by language; with as many workers. Its detector reads whole texts with all labels asked for; a
second run gives it our limit of characters and one label, so that the difference is the pipeline's. Text is normalised
to NFC in both. datatrove sorts nothing, journals nothing and rejects nothing it can parse.
"""

import argparse
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path

from benchmarks import texts
from benchmarks.crawls import make_crawl
from benchmarks.record import in_turn, median_s, ratio, write_record
from core.detector import DEFAULT_MAX_CHARACTERS
from core.fasttext_model import embedded_model_path
from core.log import set_up_logging
from core.spark import SparkConfig, spark_session
from corpus.build import build
from corpus.config import CorpusConfig

CORES = 2
GOAL = 1.5
PEERS = texts.ROOT / ".venv-peers" / "bin" / "python"

DATATROVE = """
import sys, unicodedata
from fasttext.FastText import _FastText
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup.exact_dedup import ExactDedupConfig, ExactDedupFilter, ExactDedupSignature
from datatrove.pipeline.dedup.exact_dedup import ExactFindDedups
from datatrove.pipeline.filters import LanguageFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter, ParquetWriter
from datatrove.utils.lid import FT176LID

source, work, model_path, characters, cores = sys.argv[1:]
characters, cores = int(characters), int(cores)


class LocalLID(FT176LID):
    @property
    def model(self):
        if self._model is None:
            self._model = _FastText(model_path)
        return self._model

    def predict(self, doc):
        if not characters:
            return super().predict(doc)
        langs, scores = self.model.predict(doc.text[:characters].replace("\\n", " "), k=1)
        best = langs[0].split("__")[2], scores[0].item()
        return best, {best[0]: best[1]}


class Normalise(PipelineStep):
    name = "NFC"

    def run(self, data, rank=0, world_size=1):
        for doc in data:
            doc.text = unicodedata.normalize("NFC", doc.text).strip()
            yield doc


def content(doc: Document) -> bytes:
    return doc.text.encode()


def run(pipeline, tasks, name):
    LocalPipelineExecutor(pipeline=pipeline, tasks=tasks, workers=cores, logging_dir=f"{work}/logs/{name}").run()


if __name__ == "__main__":
    config = ExactDedupConfig(content_getter=content)
    language = LanguageFilter(label_only=True)
    language.model = LocalLID()
    run(
        [
            JsonlReader(source, glob_pattern="*.jsonl"),
            Normalise(),
            language,
            JsonlWriter(f"{work}/detected", compression="zstd"),
        ],
        4,
        "1",
    )
    detected = f"{work}/detected"
    run([JsonlReader(detected), ExactDedupSignature(f"{work}/signatures", config, finder_workers=cores)], 4, "2")
    run([ExactFindDedups(f"{work}/signatures", f"{work}/duplicates", config)], cores, "3")
    writer = ParquetWriter(
        f"{work}/documents", output_filename="${language}/${rank}.parquet", compression="zstd", expand_metadata=True
    )
    run([JsonlReader(detected), ExactDedupFilter(f"{work}/duplicates", config), writer], 4, "4")
"""


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=60, help="text of the input")
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    set_up_logging()
    if not PEERS.exists():
        raise SystemExit("error: no .venv-peers with datatrove: `make bench` makes it")
    with tempfile.TemporaryDirectory(prefix="mglm-bench-") as folder:
        measure_in(Path(folder), given.megabytes * 1_000_000, given.rounds)


def measure_in(work: Path, text_bytes: int, rounds: int) -> None:
    size = make_crawl(work / "input", text_bytes)
    spark = SparkConfig(master=f"local[{CORES}]")
    made: list[Path] = []

    def ours() -> None:
        made.append(work / f"ours-{len(made)}")
        build([str(work / "input")], made[-1], config=CorpusConfig(), spark=spark)

    def datatrove(characters: int) -> None:
        folder = work / "datatrove"
        shutil.rmtree(folder, ignore_errors=True)
        given = [work / "input", folder, embedded_model_path(), characters, CORES]
        script = work / "peer.py"
        script.write_text(DATATROVE, encoding="utf-8")
        command = [str(PEERS), str(script), *map(str, given)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr[-3_000:]
        assert list(folder.glob("documents/*/*.parquet")), "datatrove wrote nothing"

    plain, capped = "datatrove", f"datatrove, {DEFAULT_MAX_CHARACTERS} characters detected"
    calls = {"mglm": ours, plain: partial(datatrove, 0), capped: partial(datatrove, DEFAULT_MAX_CHARACTERS)}
    # A session for each of ours, as a command has it: what starting Spark costs is counted.
    with spark_session("warm the page cache", spark):
        pass
    measured = in_turn(calls, rounds)
    rows = [
        [
            name,
            f"{median_s(of_call):.1f}",
            f"{size / 1e6 / median_s(of_call):.2f}",
            f"{ratio(of_call, measured['mglm']):.2f}",
            f"{max(measure.peak_bytes for measure in of_call) / 2**20:,.0f}",
        ]
        for name, of_call in measured.items()
    ]
    write_record(
        "corpus_datatrove",
        "A whole corpus build beside datatrove",
        ["what", "seconds", "MB/s", "seconds ÷ mglm's", "peak memory, MiB"],
        rows,
        remarks=[
            f"{size / 1e6:.0f} MB of {texts.source()} in JSON Lines, every tenth document twice, to zstd Parquet by "
            f"language without exact duplicates, on {CORES} cores; medians of {rounds} rounds in turn, each from a "
            "cold start (Spark's included); memory of all processes together.",
            f"The goal is {GOAL} times datatrove's speed. Ours also sorts by hash, holds out, rejects with reasons, "
            "repairs mojibake, counts and can go on when killed.",
        ],
    )


if __name__ == "__main__":
    main()
