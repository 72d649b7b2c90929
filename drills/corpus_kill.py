"""Kills driver, executors and workers of `mglm corpus build` on a standalone cluster, again and again, with SIGKILL.

A master and two workers run on this machine. A corpus is built from some of the input and then grown by the rest, while
a process is killed at random moments; whatever dies, the same command is given again. The outcome must be that of one
undisturbed build of everything in one process, rows compared as bytes in the order of doc_id, and no part of the input
that was finished may be read again.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds

from benchmarks import texts
from core.manifest import WORK_NAME, read_manifest
from core.schemas import DOCUMENTS
from drills.clusters import Cluster, cluster

LANGUAGES, FILES, TEXT_BYTES = 12, 6, 12_000_000
SETTINGS = {
    "corpus.split_bytes": 200_000,
    "corpus.run_bytes": 100_000,
    "corpus.file_bytes": 500_000,
    "corpus.fan_in": 20,  # so that there is a pass between parts and files
}
MOST_PROGRESS = 6  # between two kills
KINDS = ("driver", "executor", "worker")


def main() -> None:
    with_kills(drill, __doc__ or "", kills=12, counted="how many processes to kill")


def with_kills(drill: Callable[[Path, int, random.Random], None], about: str, *, kills: int, counted: str) -> None:
    """Runs a drill of so many kills at moments that a seed decides, in a folder of its own."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=kills, help=counted)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the moments and the victims")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="mglm-drill-") as folder:
        drill(Path(folder), given.kills, random.Random(given.seed))


def drill(work: Path, kills: int, draw: random.Random) -> None:
    files = make_input(work / "input")
    reference = work / "undisturbed"
    subprocess.run(command(files, reference, "local[2]", {}), check=True, stderr=subprocess.DEVNULL)
    output, killed, reread = work / "killed", Counter[str](), 0
    with cluster(work) as spark:
        for inputs in (files[: FILES // 2], files):
            want = kills // 2 if inputs != files else kills
            reread += build_under_fire(spark, inputs, output, draw, killed, want)
    documents, expected = as_bytes(output), as_bytes(reference)
    assert documents == expected, "other rows than without the kills"
    hashes = {read_manifest(path, DOCUMENTS).content_hash() for path in (output, reference)}
    facts = [read_manifest(path, DOCUMENTS).facts for path in (output, reference)]
    assert len(hashes) == 1
    assert facts[0] == facts[1], facts
    assert not reread, f"{reread} finished parts were read again"
    assert sum(killed.values()) >= kills
    of_each = ", ".join(f"{count} of a {kind}" for kind, count in sorted(killed.items()))
    print(f"kills: {of_each}; {facts[0]['documents']} documents, {len(expected)} bytes of rows, all equal")


def build_under_fire(
    spark: Cluster,
    inputs: list[Path],
    output: Path,
    draw: random.Random,
    killed: Counter[str],
    want: int,
) -> int:
    """Gives the command until it ends well, and kills meanwhile until `want` have died; finished parts read twice."""
    finished: dict[str, int] = {}
    reread = 0
    while True:
        process = subprocess.Popen(
            command(inputs, output, spark.address, SETTINGS), start_new_session=True, stderr=subprocess.PIPE
        )
        while process.poll() is None:
            if sum(killed.values()) >= want:
                break
            if wait_for_progress(process, output, draw):
                break
            kind = draw.choice(KINDS)
            if kind == "driver":
                os.killpg(process.pid, signal.SIGKILL)
            elif kind == "executor":
                if not (running := spark.executors()):
                    continue
                draw.choice(running).kill()
            else:
                spark.kill_worker(draw.randrange(len(spark.workers)))
            killed[kind] += 1
            now = journals(output)
            reread += sum(finished[name] != moment for name, moment in now.items() if name in finished)
            finished |= now
            print(f"killed {kind}, {len(now)} parts finished", flush=True)
        _, errors = process.communicate()
        now = journals(output)
        reread += sum(finished[name] != moment for name, moment in now.items() if name in finished)
        if process.returncode == 0 and sum(killed.values()) >= want:
            return reread
        if process.returncode == 0:
            print("done before enough were killed: once more from nothing")
            finished = {}
            shutil.rmtree(output)
        elif process.returncode > 0:
            last = errors.decode(errors="replace").strip().splitlines()[-1:]
            assert process.returncode != 2, f"refused: {last}"
            print(f"ended by itself: {last}")


def wait_for_progress(process: "subprocess.Popen[bytes]", output: Path, draw: random.Random) -> bool:
    """Waits until a random number of pieces of work more are done, and a moment; whether the process has ended.

    By work and not by the clock, so that kills fall into every phase however busy the machine is.
    """
    before, more = progress(output), draw.randint(0, MOST_PROGRESS)
    while process.poll() is None and not before < progress(output) >= before + more:
        time.sleep(0.05)
    try:
        process.wait(draw.uniform(0, 1.5))
    except subprocess.TimeoutExpired:
        return False
    return True


def progress(output: Path) -> int:
    """How many parts are read, passed on, and how many files are made."""
    return sum(len(list((output / WORK_NAME / name).rglob("*.json"))) for name in ("parts", "passes", "merged"))


def journals(output: Path) -> dict[str, int]:
    """The finished parts and when they were."""
    return {path.name: path.stat().st_mtime_ns for path in (output / WORK_NAME / "parts").rglob("part-*.json")}


def command(inputs: list[Path], output: Path, master: str, settings: dict[str, int]) -> list[str]:
    options = [item for path in inputs for item in ("--input", str(path))]
    changed = {"spark.master": master, "spark.driver_memory": "512m", **settings}
    options += [item for name, value in changed.items() for item in ("--set", f"{name}={value}")]
    return [sys.executable, "-m", "mglm", "corpus", "build", *options, "--output", str(output)]


def make_input(folder: Path, text_bytes: int = TEXT_BYTES) -> list[Path]:
    """JSON Lines files of many languages, with texts that occur in several and lines that are no records."""
    folder.mkdir()
    documents = [text for of_lang in texts.texts(LANGUAGES).values() for text in of_lang]
    paths = [folder / f"{number}.jsonl" for number in range(FILES)]
    opened = [path.open("w", encoding="utf-8") for path in paths]
    size = number = 0
    while size < text_bytes:
        text = documents[number % len(documents)]
        if number % 7:
            text = f"{text}\n{number}"
        line = json.dumps({"text": text, "url": f"https://example.org/{number}"}, ensure_ascii=number % 2 == 0)
        opened[number * 31 % FILES].write(line + "\n" if number % 50 else line[:20] + "\n")
        size += len(line.encode())
        number += 1
    for file in opened:
        file.close()
    return paths


def as_bytes(output: Path) -> bytes:
    """Every row of documents and rejected records, in the order of doc_id, source and offset."""
    whole = b""
    for name in ("documents", "rejected"):
        table = ds.dataset(output / name, format="parquet", partitioning="hive").to_table()
        keys = [key for key in ("doc_id", "source", "offset") if key in table.column_names]
        table = table.sort_by([(key, "ascending") for key in keys]).combine_chunks()
        table = table.select(sorted(table.column_names)).cast(
            pa.schema([table.schema.field(name) for name in sorted(table.column_names)])
        )
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        whole += sink.getvalue().to_pybytes()
    return whole


if __name__ == "__main__":
    main()
