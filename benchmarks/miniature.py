"""The whole data road on a synthetic crawl of growing size: seconds, memory and disk of every stage, and their slope.

    python -m benchmarks.miniature                                      # 0.1 and 0.4 GB, some minutes
    python -m benchmarks.miniature --gb 1 5 20 --work DIR               # hours; killed, the same command goes on

The crawl has mC4's proportions of languages and known faults (benchmarks/synthetic_crawl.py); what the build counts
must be what was made. Each stage is the command a user types, in a process of its own. `DIR/SIZE/progress.json` says
how far it is. Of a size that is done only the figures are kept: the whole needs as much disk as the largest size.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks import texts
from benchmarks.record import write_record
from benchmarks.synthetic_crawl import Crawl, make_crawl, make_examples
from core.manifest import read_manifest, write_atomically
from core.processes import end_with_parent, tree_bytes
from core.schemas import DOCUMENTS, SAMPLE, SHARDS
from eval.contamination import CONTAMINATION

CORES = os.cpu_count() or 1
TOKEN_BYTES = 4
DISK_FACTOR = 2.0  # of the crawl unpacked, while its stages run
LOOK_EVERY_S, NOTE_EVERY_S = 1.0, 10.0  # to look costs some hundredths of a second
SETTINGS = {
    "corpus": ["corpus.near_duplicates.enabled=true"],
    "balancing": ["balancing.sample_bytes=12_000_000"],
    "tokenizer": ["tokenizer.vocab_size=32_000", "tokenizer.training_bytes=12_000_000"],
}
MOST_ALIKE = 0.05  # of the documents, alike by chance
REAL = "real text"  # the pool as it is: what documents and tokens of text that nobody composed take


@dataclass
class Taken:
    """What a stage took; of a stage that was killed, the seconds of every run together, up to ten each lost."""

    seconds: float = 0.0
    peak_bytes: int = 0
    disk_bytes: int = 0  # that it left
    peak_disk_bytes: int = 0  # in the whole folder of this size, while it ran
    runs: int = 0


@dataclass
class Walk:
    """The road once: its crawl, its stages, what they counted. Kept in `measured.json`."""

    crawl: Crawl
    stages: dict[str, Taken]
    text_bytes: int = 0
    shards_text_bytes: int = 0
    tokens: int = 0
    sample_text_bytes: int = 0
    hash_bytes: int = 0  # what doc_id and n_bytes take in the files of documents
    documents: int = 0
    done: bool = False


def main() -> None:
    """Measures what was not yet measured, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, nargs="+", default=[0.1, 0.4], help="sizes of the crawl")
    parser.add_argument("--work", type=Path, help="where everything is kept; by default nothing is")
    arguments = parser.parse_args()
    kept = nullcontext(str(arguments.work)) if arguments.work else tempfile.TemporaryDirectory(prefix="mglm-bench-")
    with kept as folder:
        work = Path(folder).absolute()
        real = walk(work / REAL.replace(" ", "-"), None)
        write({size: walk(work / f"{size:g}", round(size * 1e9)) for size in sorted(arguments.gb)}, real)


def walk(work: Path, size_bytes: int | None) -> Walk:
    """Makes the crawl and runs every stage on it, or on real text; what was measured before is read again."""
    work.mkdir(parents=True, exist_ok=True)
    notes = work / "measured.json"
    made = (
        read_notes(notes)
        if notes.exists()
        else Walk(real_crawl(work) if size_bytes is None else crawl_of(work, size_bytes), {})
    )
    if made.done:
        return made
    for name, (arguments, output) in stages(work, size_bytes is None).items():
        if name not in made.stages:
            made.stages[name] = run_stage(work, name, arguments, output)
            write_atomically(notes, json.dumps(asdict(made), indent=1))
        if name == "corpus build":
            check_counts(made.crawl, work / "documents", exact=size_bytes is not None)
            shutil.rmtree(work / "crawl", ignore_errors=True)  # the disk holds no more than it must
    if size_bytes is not None:
        check_contamination(work / "contamination")
    made.text_bytes = total(work / "documents", DOCUMENTS, "bytes")
    made.shards_text_bytes = total(work / "shards", SHARDS, "bytes")
    made.sample_text_bytes = total(work / "sample", SAMPLE, "bytes")
    made.documents, made.hash_bytes = hashes_of(work / "documents" / "documents")
    made.tokens, made.done = total(work / "shards", SHARDS, "tokens"), True
    write_atomically(notes, json.dumps(asdict(made), indent=1))
    for path in work.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    return made


def crawl_of(work: Path, size_bytes: int) -> Crawl:
    there = disk_bytes(work)
    free, needed = shutil.disk_usage(work).free + there, int(DISK_FACTOR * size_bytes)
    if free < needed:
        sys.exit(f"error: {work}: {free / 1e9:.0f} GB free, {needed / 1e9:.0f} GB needed for {size_bytes / 1e9:g} GB")
    crawl = make_crawl(work / "crawl", size_bytes, processes=CORES)
    make_examples(work / "crawl", work / "examples")
    return crawl


def real_crawl(work: Path) -> Crawl:
    """The texts at hand, once each, in one file for each language."""
    (work / "crawl").mkdir(exist_ok=True)
    records = size = 0
    for lang, documents in texts.texts().items():
        path = work / "crawl" / f"{lang}.jsonl"
        if not path.exists():  # a build that goes on wants its input as it was
            lines = (json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in documents)
            write_atomically(path, "".join(lines))
        records, size = records + len(documents), size + path.stat().st_size
    return Crawl(len(list((work / "crawl").iterdir())), size, size, records, 0, 0, 0, 0, 0)


def stages(work: Path, real: bool) -> dict[str, tuple[list[str], Path]]:
    """Arguments and output of each stage, in order."""
    documents, plan = str(work / "documents"), str(work / "plan" / "plan.json")
    road = {
        "corpus build": (["corpus", "build", "--input", str(work / "crawl")], work / "documents"),
        "balancing fit": (["balancing", "fit", "--counts", documents], work / "plan"),
        "balancing sample": (["balancing", "sample", "--documents", documents, "--plan", plan], work / "sample"),
        "tokenizer train": (["tokenizer", "train", "--sample", str(work / "sample")], work / "tokenizer"),
        "tokenizer shard": (
            ["tokenizer", "shard", "--documents", documents, "--plan", plan, "--tokenizer", str(work / "tokenizer")],
            work / "shards",
        ),
    }
    if not real:
        searched = ["eval", "contamination", "--documents", documents, "--examples", str(work / "examples")]
        road["eval contamination"] = (searched, work / "contamination")
    return road


def run_stage(work: Path, name: str, arguments: list[str], output: Path) -> Taken:
    """One command, watched. Its notes outlive a kill, so that the next run adds to them."""
    notes = work / "progress.json"
    before = json.loads(notes.read_text("utf-8")) if notes.exists() else {}
    taken = Taken(**before["taken"]) if before.get("stage") == name else Taken()
    taken.runs += 1
    earlier_s, started, noted = taken.seconds, time.perf_counter(), 0.0
    print(f"{work.name}: {name}" + (f", run {taken.runs}" if taken.runs > 1 else ""), file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "mglm", *arguments, "--output", str(output)]
    command += [f"--set={setting}" for setting in SETTINGS.get(arguments[0], [])]
    shutil.rmtree(work / "spark", ignore_errors=True)
    (work / "spark").mkdir()
    environment = os.environ | {"SPARK_LOCAL_DIRS": str(work / "spark")}
    with (work / "log").open("a", encoding="utf-8") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log, cwd=texts.ROOT, env=environment,
                                 preexec_fn=end_with_parent)  # fmt: skip
        while not _has_ended(child):
            taken.peak_bytes = max(taken.peak_bytes, tree_bytes(child.pid))
            taken.seconds = earlier_s + time.perf_counter() - started
            if taken.seconds - noted > NOTE_EVERY_S:
                noted = taken.seconds
                taken.peak_disk_bytes = max(taken.peak_disk_bytes, disk_bytes(work))
                write_atomically(notes, json.dumps({"size": work.name, "stage": name, "taken": asdict(taken)}))
    if child.returncode:
        sys.exit(f"error: {name} ended with status {child.returncode}; see {work / 'log'}")
    taken.seconds = earlier_s + time.perf_counter() - started
    taken.disk_bytes = disk_bytes(output)
    taken.peak_disk_bytes = max(taken.peak_disk_bytes, disk_bytes(work))
    shutil.rmtree(work / "spark", ignore_errors=True)
    return taken


def _has_ended(child: "subprocess.Popen[bytes]") -> bool:
    try:
        child.wait(LOOK_EVERY_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def read_notes(path: Path) -> Walk:
    found = json.loads(path.read_text("utf-8"))
    found["crawl"] = Crawl(**found["crawl"])
    found["stages"] = {name: Taken(**taken) for name, taken in found["stages"].items()}
    return Walk(**found)


def check_counts(crawl: Crawl, documents: Path, *, exact: bool) -> None:
    """Every record that was made is where it belongs, to the last one."""
    facts = read_manifest(documents, DOCUMENTS).facts
    rejected, near = facts["rejected"], facts["near_duplicates"]
    assert facts["records_in"] == crawl.records, f"{facts['records_in']} records read of {crawl.records}"
    if not exact:
        return
    found = (
        facts["documents"] + near,
        facts["duplicates"],
        rejected.get("not_json", 0),
        rejected.get("no_text_field", 0),
    )
    made = (crawl.documents + crawl.near_duplicates, crawl.duplicates, crawl.not_json, crawl.no_text)
    assert found == made, f"the build counts {found}, but {made} were made"
    # Which pairs are found is a matter of chance. Chance makes pairs, too, by the square of the crawl: short documents
    # with a sentence in common (of 1 GB 423, half of which share over half of their runs of words with what stays).
    assert near >= 0.97 * crawl.near_duplicates, f"{near} near-duplicates of {crawl.near_duplicates}"
    assert near - crawl.near_duplicates <= MOST_ALIKE * crawl.documents, f"{near} near-duplicates in {crawl.documents}"


def check_contamination(directory: Path) -> None:
    """All that stands in the crawl is found but where its document is held out; nothing that does not."""
    assert read_manifest(directory, CONTAMINATION).facts["documents"]
    seen: dict[str, list[bool]] = {"seen": [], "unseen": []}
    for line in (directory / "examples.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        if row["field"] == "source":
            kind = row["id"].split("-")[0]
            seen[kind].append(row["seen"] == row["stretches"] if kind == "seen" else row["seen"] > 0)
    assert sum(seen["seen"]) >= 0.95 * len(seen["seen"]), f"{sum(seen['seen'])} of {len(seen['seen'])} found"
    assert not any(seen["unseen"]), f"{sum(seen['unseen'])} texts found that are not there"


def disk_bytes(folder: Path) -> int:
    """What files take now; those that vanish meanwhile take nothing."""
    taken = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                taken += Path(place, name).lstat().st_size
            except FileNotFoundError:
                continue
    return taken


def hashes_of(documents: Path) -> tuple[int, int]:
    """Documents, and the bytes of the columns that the sample's tasks read of all of them."""
    rows = taken = 0
    for path in documents.rglob("*.parquet"):
        made = pq.read_metadata(path)
        rows += made.num_rows
        for group in (made.row_group(index) for index in range(made.num_row_groups)):
            columns = (group.column(index) for index in range(group.num_columns))
            taken += sum(of.total_compressed_size for of in columns if of.path_in_schema in ("doc_id", "n_bytes"))
    return rows, taken


def total(directory: Path, schema: str, unit: str) -> int:
    return sum(count[unit] for count in read_manifest(directory, schema).counts.values())


def write(found: dict[float, Walk], real: Walk) -> None:
    """The record: a row for each stage and size, and the figures that `mglm estimate` takes."""
    smallest, largest = found[min(found)], found[max(found)]
    rows: list[list[Any]] = []
    for name in smallest.stages:
        for size, made in found.items():
            taken, first = made.stages[name], smallest.stages[name]
            per_byte = taken.seconds / made.crawl.size_bytes
            rows.append(
                [
                    f"{name}, {size:g} GB",
                    f"{taken.seconds:,.0f}" + (f" ({taken.runs} runs)" if taken.runs > 1 else ""),
                    f"{made.crawl.size_bytes / 1e6 / taken.seconds / CORES:.2f}",
                    f"{per_byte / (first.seconds / smallest.crawl.size_bytes):.2f}",
                    f"{taken.peak_bytes / 2**20:,.0f}",
                    f"{taken.disk_bytes / 1e6:,.1f}",
                    f"{taken.peak_disk_bytes / made.crawl.size_bytes:.2f}",
                ]
            )
    crawl = largest.crawl
    write_record(
        "miniature",
        "The data road on a synthetic crawl",
        ["stage", "seconds", "MB of crawl a second and core", f"cost per byte ÷ that of {min(found):g} GB",
         "peak memory, MiB", "disk left, MB", "most disk in all ÷ crawl unpacked"],
        rows,
        remarks=[
            f"mC4's proportions of languages, sentences of {texts.source()}; {CORES} cores. Of {max(found):g} GB: "
            f"{crawl.records:,} records = {crawl.documents:,} documents + {crawl.duplicates:,} repeated + "
            f"{crawl.near_duplicates:,} nearly repeated + {crawl.not_json + crawl.no_text:,} broken or without text. "
            "The build counts the same to the last one, but for near-duplicates, of which it finds "
            f"{crawl.documents + crawl.near_duplicates - largest.documents:,}: chance makes documents that are alike.",
            "Seconds include the start of Python and Spark; near-duplicates are looked for. Sample and vocabulary "
            "(32,000 pieces of 12 MB of text) have a fixed size, so their cost per byte falls.",
            "A stage that was killed and went on has the seconds of all its runs.",
        ],
        figures={
            "text_bytes_per_crawl_byte": real.text_bytes / real.crawl.size_bytes,
            "documents_bytes_per_text_byte": real.stages["corpus build"].disk_bytes / real.text_bytes,
            "shard_bytes_per_token_byte": real.stages["tokenizer shard"].disk_bytes / real.tokens / TOKEN_BYTES,
            "text_bytes_per_token": real.shards_text_bytes / real.tokens,
            "scratch_bytes_per_text_byte": (
                largest.stages["corpus build"].peak_disk_bytes
                - largest.stages["corpus build"].disk_bytes
                - crawl.packed_bytes
            )
            / largest.text_bytes,
            "hash_bytes_per_document": real.hash_bytes / real.documents,
            "sample_bytes_per_text_byte": real.stages["balancing sample"].disk_bytes / real.sample_text_bytes,
            "text_bytes_per_s_tokenizer_train": largest.sample_text_bytes / largest.stages["tokenizer train"].seconds,
        }
        | slopes(found),
    )  # fmt: skip


def slopes(found: dict[float, Walk]) -> dict[str, float]:
    """What each further core-second does, between the smallest size and the largest: without what a start costs.

    A stage that took no longer for the larger has none: its start hides what it does.
    """
    if len(found) < 2:
        return {}
    small, large = found[min(found)], found[max(found)]
    more = {
        "crawl_bytes_per_core_s_corpus_build": large.crawl.size_bytes - small.crawl.size_bytes,
        "documents_per_core_s_balancing_sample": large.crawl.documents - small.crawl.documents,
        "text_bytes_per_core_s_tokenizer_shard": large.shards_text_bytes - small.shards_text_bytes,
        "text_bytes_per_core_s_eval_contamination": large.text_bytes - small.text_bytes,
    }
    return {
        name: amount / CORES / (large.stages[stage].seconds - small.stages[stage].seconds)
        for name, amount in more.items()
        for stage in large.stages
        if name.endswith(f"_per_core_s_{stage.replace(' ', '_')}")
        and large.stages[stage].seconds > small.stages[stage].seconds
    }


if __name__ == "__main__":
    main()
