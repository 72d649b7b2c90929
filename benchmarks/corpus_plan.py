"""What the plan of a very large build costs the driver, and what merging by it opens and reads: no text is made.

Journals of parts, as a crawl in a hundred languages leaves them, are written for real, then summed and planned by the
build's own code, for 1 TB and for as much as asked. Opens and bytes are counted in the plan that comes out; a test
counts them in real merges (tests/corpus/test_passes.py).
"""

import argparse
import os
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.record import write_record
from core.languages import languages
from core.processes import tree_bytes
from corpus.build_job import JOURNALS_OF_TASK
from corpus.config import CorpusConfig
from corpus.merge import Piece, plan_pieces
from corpus.parts import FOLDER_PARTS, PartJournal, Summary, finished_parts, part_name, summarise
from corpus.passes import Passes, plan_passes
from corpus.runs import BATCH_BYTES, Batch, named, write_journal

PART_BYTES = 64_000_000
DISTINCT = 40  # journals; the others are links to them
TASKS = 2_000  # at once


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--terabytes", type=float, default=25.6)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mglm-bench-") as folder:
        rows = []
        for terabytes in (1.0, given.terabytes):
            parts = round(terabytes * 1e12 / PART_BYTES)
            rows.append([f"{terabytes:g} TB", *measured(Path(folder) / str(parts), parts)])
    write_record(
        "corpus_plan",
        "What merging a very large corpus opens and reads, by the plan",
        [
            *(
                "text",
                "parts",
                "documents' files",
                "passes",
                "tasks",
                "files opened",
                "÷ parts",
                "journals read ÷ parts",
            ),
            *("text read ÷ text", "summing, s", "planning, s", "driver's Python, MiB"),
        ],
        rows,
        remarks=[
            f"Parts of {PART_BYTES / 1e6:.0f} MB with {len(languages())} languages whose sizes fall with their rank, "
            f"{TASKS:,} tasks at once. Tasks: those of the pass and those that write documents. Journals are summed "
            f"here in one process; a build has tasks do it, {JOURNALS_OF_TASK:,} journals each.",
        ],
    )


def measured(work: Path, parts: int) -> list[object]:
    make_journals(work / "parts", parts)
    started = time.perf_counter()
    assert len(finished_parts(work / "parts")) == parts
    summary = Summary()
    for first in range(0, parts, JOURNALS_OF_TASK):
        summary.extend(summarise(work / "parts", range(first, min(first + JOURNALS_OF_TASK, parts))))
    summed = time.perf_counter()
    pieces, passes = plan(summary)
    planned = time.perf_counter()
    memory = tree_bytes(os.getpid())
    groups = [group for of_pass in passes.groups for group in of_pass]
    in_pass, in_merge = (sum(len(some.sources) for some in of_kind) for of_kind in (groups, passes.buckets))
    made = sum(len(group.targets) for group in passes.groups[-1]) if groups else parts
    twice = (in_merge - made) * BATCH_BYTES  # batches that two tasks need
    text = sum(summary.text_bytes.values())
    return [
        parts,
        len(pieces),
        len(passes.groups),
        f"{len(groups):,} + {len(passes.buckets):,}",
        in_pass + in_merge,
        f"{(in_pass + in_merge) / parts:.2f}",
        f"{(parts + in_pass + 2 * in_merge) / parts:.2f}",  # for the plan, by the pass, after it and by the merge
        f"{len(passes.groups) + 1 + twice / text:.2f}",
        f"{summed - started:.1f}",
        f"{planned - summed:.1f}",
        f"{memory / 2**20:,.0f}",
    ]


def plan(summary: Summary) -> tuple[list[Piece], Passes]:
    config = CorpusConfig()
    pieces = plan_pieces(summary.text_bytes, {}, {}, config.file_bytes)
    sources = [f"parts/{part_name(number)}" for number in range(len(summary.runs))]
    return pieces, plan_passes(sources, summary.runs, pieces, fan_in=config.fan_in, tasks=TASKS)


def make_journals(directory: Path, parts: int) -> None:
    """Journals with an index of a batch for every quarter megabyte, as parts of such a crawl have."""
    shares = [1 / rank for rank in range(1, len(languages()) + 1)]
    distinct = []
    for number in range(DISTINCT):
        text = {lang: round(PART_BYTES * share / sum(shares)) for lang, share in zip(languages(), shares, strict=True)}
        batches = []
        for lang, size in text.items():
            count = size // BATCH_BYTES + 1
            bounds = [f"{index * (1 << 64) // count:016x}" for index in range(count)] + ["f" * 16]
            batches += [Batch(1, lang, bounds[i], bounds[i + 1], 80, size // count) for i in range(count)]
        account = PartJournal(30_000, 300, 3, {"not_json": 9 + number}, {"not_json": "x"}, {}, {}, text, 1, 0)
        path = directory / f"distinct-{number}"
        directory.mkdir(parents=True, exist_ok=True)
        write_journal(path, asdict(account), batches)
        distinct.append(named(path, "json"))
    for number in range(parts):
        place = named(directory / part_name(number), "json")
        if number % FOLDER_PARTS == 0:
            place.parent.mkdir()
        place.hardlink_to(distinct[number % DISTINCT])


if __name__ == "__main__":
    main()
