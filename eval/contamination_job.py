"""The Spark side of `mglm eval contamination`: training documents in, what they share with the evaluation sets out.

A task reads its file of documents itself, so text does not cross the JVM, and notes what it found beside the stage's
scratch files: a killed job goes on with the files that are missing.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
from pyspark.sql import SparkSession

from core.document_ranges import EVERY_HASH, survey_file, train_documents
from core.manifest import hash_of, write_atomically
from core.spark import into_bins, run_tasks
from core.word_runs import blocks
from eval.contamination import DOCUMENTS_SHOWN
from eval.ngrams import Wanted, hashes_of_texts, read_hashes

# Hash → how many documents of one file have it, and the first of them.
Found = dict[int, tuple[int, list[str]]]


def search(
    session: SparkSession,
    documents: Path,
    sizes: Mapping[str, int],
    lengths: Mapping[str, int],
    wanted: Path,
    journal: Path,
    tasks: int,
) -> Iterator[Found]:
    """What each file of documents has of the hashes in the file `wanted`, one after the other from its note: all of
    them together would be more than a driver takes. `sizes`: bytes of each file by its path; `lengths`: units of a
    stretch by language.

    Raises:
        MGLMError: a worker cannot read a file.
    """
    work = partial(search_file, documents.resolve(), dict(lengths), wanted.resolve(), journal.resolve())
    run_tasks(session, into_bins(sizes, tasks), work)
    return (read_note(journal, path) for path in sizes)


def read_note(journal: Path, path: str) -> Found:
    """What was found in a file."""
    note = json.loads(_note(journal, path).read_text("ascii"))
    return {int(hash_): (count, ids) for hash_, (count, ids) in note.items()}


def _note(journal: Path, path: str) -> Path:
    return journal / f"{hash_of(path)}.json"


def search_file(documents: Path, lengths: dict[str, int], wanted: Path, journal: Path, path: str) -> None:
    """Notes what one file has, if that is not noted yet."""
    note = _note(journal, path)
    if note.exists():
        return
    hashes = _load(wanted)
    found: Found = {}
    for group in survey_file(documents, path):
        for batch in train_documents(documents, [group], EVERY_HASH):
            doc_ids = iter(batch.column("doc_id").to_pylist())
            for texts in blocks(batch.column("text").to_pylist()):
                for some, doc_id in zip(wanted_of(texts, lengths[group.lang], hashes), doc_ids, strict=False):
                    for hash_ in some:
                        count, ids = found.setdefault(hash_, (0, []))
                        found[hash_] = (count + 1, ids if len(ids) >= DOCUMENTS_SHOWN else [*ids, doc_id])
    write_atomically(note, json.dumps(found))


def wanted_of(texts: Sequence[str], length: int, hashes: Wanted) -> list[list[int]]:
    """Of each text those of its stretches that are wanted."""
    stretches, counts = hashes_of_texts(texts, length)
    ends = np.cumsum(counts)
    wanted: list[list[int]] = [[] for _ in texts]
    places = hashes.places_in(stretches)
    numbers, firsts = np.unique(np.searchsorted(ends, places, side="right"), return_index=True)
    for number, found in zip(numbers.tolist(), np.split(stretches[places], firsts[1:]), strict=False):
        wanted[number] = np.unique(found).tolist()
    return wanted


@cache
def _load(wanted: Path) -> Wanted:
    """Once in each Python worker; the hashes stay in the file."""
    return Wanted(read_hashes(wanted))
