"""Kills `mglm delete` and `mglm corpus delete` at random moments, driver, JVM and workers at once, with SIGKILL.

After each kill corpus and shards must each be the old or the new, with every file that the manifest names as it says.
The same command, given again, ends with what an undisturbed deletion leaves, and nothing half-written lies about.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow.dataset as ds

from benchmarks import texts
from core.manifest import LOCK_NAME, MANIFEST_NAME, Manifest, read_manifest, sha256_file
from core.schemas import DOCUMENTS, SHARDS
from core.spark import SparkConfig, spark_session
from corpus.build import build
from corpus.config import CorpusConfig
from drills.corpus_kill import make_input, with_kills

TEXT_BYTES, FILE_BYTES, VOCABULARY = 3_000_000, 60_000, 3_000
DELETED_SHARE = 0.05
LONGEST_WAIT_S = 1.0  # after a file more was written


def main() -> None:
    with_kills(drill, __doc__ or "", kills=8, counted="of each command")


def drill(work: Path, kills: int, draw: random.Random) -> None:
    whole = work / "whole"
    make_stages(work, whole)
    ids = work / "ids.txt"
    known = sorted(doc_ids(whole / "documents"))
    wanted = set(draw.sample(known, round(DELETED_SHARE * len(known))))
    ids.write_text("\n".join(sorted(wanted)), "utf-8")
    undisturbed = copied(whole, work / "undisturbed")
    subprocess.run(everywhere(undisturbed, ids), check=True, capture_output=True)
    for name, command, wrote in (
        ("mglm delete", everywhere, undisturbed),
        ("mglm corpus delete", of_corpus, undisturbed / "documents"),
    ):
        written = len(new_files(wrote))
        killed, seen = 0, Counter[str]()
        while killed < kills:
            place = copied(whole, work / "killed")
            killed += kill_once(command(place, ids), place, draw.randint(0, written), draw)
            for folder in ("shards", "documents"):
                seen[f"{folder} {check(whole / folder, undisturbed / folder, place / folder)}"] += 1
            subprocess.run(command(place, ids), check=True, capture_output=True)
            for folder in ("shards", "documents"):
                expected = undisturbed if folder == "documents" or command is everywhere else whole
                assert same(read(place / folder), read(expected / folder)), f"{folder}: another end than undisturbed"
                nothing_else(place / folder)
            assert doc_ids(place / "documents") == set(known) - wanted, "other documents are left"
        found = ", ".join(f"{state} {number} times" for state, number in sorted(seen.items()))
        print(f"{name}: killed {killed} times; {found}; the same end each time", flush=True)


def kill_once(command: list[str], place: Path, files: int, draw: random.Random) -> int:
    """Kills soon after so many files were written, so that it falls into the work; 0 where it was done before."""
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(new_files(place)) < files:
        time.sleep(0.005)
    try:
        process.wait(draw.uniform(0, LONGEST_WAIT_S if draw.random() < 0.5 else 0.05))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    return int(process.wait() == -signal.SIGKILL)


def new_files(place: Path) -> list[Path]:
    """What a deletion writes beside the old ones."""
    return list(place.rglob("*-d1*"))


def check(old: Path, new: Path, directory: Path) -> str:
    """`old` or `new`: what the manifest says, which every file must bear out."""
    manifest = read(directory)
    for entry in manifest.files:
        path = directory / entry.path
        assert path.stat().st_size == entry.bytes, path
        assert sha256_file(path) == entry.sha256, path
    if same(manifest, read(old)):
        return "old"
    assert same(manifest, read(new)), f"{directory} is neither the old nor the new"
    return "new"


def read(directory: Path) -> Manifest:
    return read_manifest(directory, SHARDS if directory.name == "shards" else DOCUMENTS)


def same(one: Manifest, other: Manifest) -> bool:
    return one.model_dump(exclude={"made"}) == other.model_dump(exclude={"made"})


def nothing_else(directory: Path) -> None:
    """Raises for a file that neither the manifest names nor a stage has beside its data."""
    named = {entry.path for entry in read(directory).files}
    there = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
    left = there - named - {MANIFEST_NAME, LOCK_NAME, "counts.json", "counts.parquet", "counts.csv"}
    assert not left, f"left behind: {', '.join(sorted(left)[:5])}"


def doc_ids(documents: Path) -> set[str]:
    files = [str(documents / entry.path) for entry in read(documents).files if entry.path.startswith("documents/")]
    return set(ds.dataset(files, format="parquet").to_table(columns=["doc_id"]).column(0).to_pylist())


def everywhere(place: Path, ids: Path) -> list[str]:
    given = ["--documents", str(place / "documents"), "--shards", str(place / "shards"), "--ids", str(ids)]
    return [sys.executable, "-m", "mglm", "delete", *given, "--set", "spark.master=local[2]"]


def of_corpus(place: Path, ids: Path) -> list[str]:
    given = ["--documents", str(place / "documents"), "--ids", str(ids), "--set", "spark.master=local[2]"]
    return [sys.executable, "-m", "mglm", "corpus", "delete", *given]


def copied(whole: Path, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    return Path(shutil.copytree(whole, place))


def make_stages(work: Path, whole: Path) -> None:
    """A corpus of many files and its shards."""
    files, spark = make_input(work / "input", TEXT_BYTES), SparkConfig(master="local[2]")
    with spark_session("drill", spark):
        config = CorpusConfig(file_bytes=FILE_BYTES)
        build([str(path) for path in files], whole / "documents", config=config, spark=spark)
        (work / "plan.json").write_text(texts.plan_of(whole / "documents").to_json(), "utf-8")
        tokenizer = texts.make_tokenizer(work, whole / "documents", spark, VOCABULARY)
    given = {"documents": whole / "documents", "plan": work / "plan.json", "tokenizer": tokenizer}
    options = [item for name, path in given.items() for item in (f"--{name}", str(path))]
    sizes = ["--set", f"tokenizer.shard_text_bytes={FILE_BYTES}", "--set", "spark.master=local[2]"]
    command = [sys.executable, "-m", "mglm", "tokenizer", "shard", *options, "--output", str(whole / "shards"), *sizes]
    subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    main()
