"""Which samples of a run have drawn a document: the record of what was trained on.

Nothing is logged while training: sample k is a function of the run's data place, which every checkpoint keeps, and of
the lengths of documents in the shards. So the draws up to a checkpoint are computed again here and held against the
places of the documents in their languages' streams. Where documents have been deleted from the shards since the run,
their lengths are in the shards' list of deletions, and the streams are put together as they were.
"""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.deletion import Sought
from core.errors import MGLMError
from core.manifest import write_atomically
from model.checkpoint_meta import locate_checkpoint, read_meta
from tokenizer.delete import read_deletions
from tokenizer.sampler import Sampler
from tokenizer.shard_writer import STREAM_EXTRA
from tokenizer.shards import Shards
from train.continuing import DataPlace

DRAWS_AT_ONCE = 100_000
DELETIONS = "deletions.jsonl"  # in a run's directory: what it had seen of documents that were deleted later
STEPS_SHOWN = 20


class Place(NamedTuple):
    """A document's positions start … stop−1 in the stream of its language."""

    doc_id: str
    lang: str
    start: int
    stop: int


def drawn(run: Path, shards: Path, doc_ids: set[str]) -> list[dict[str, Any]]:
    """One row for each of `doc_ids` that the run's shards had: how often it was drawn, and in which steps.

    `windows` counts the draws in which a token of it stood, `steps` names the first of their steps. A run that was
    continued from another on the same data counts the draws of both. Steps count from 0.

    Raises:
        MGLMError: no checkpoint of pretraining, or other shards than its own.
    """
    step_directory, _ = locate_checkpoint(run)
    meta = read_meta(step_directory)
    if "data" not in meta:
        raise MGLMError(f"{step_directory}", found="no place in shards", expected="a checkpoint of mglm train pretrain")
    place, opened = DataPlace(**meta["data"]), Shards.open(shards)
    documents, lengths = _streams_of_run(place, opened, doc_ids)
    sampler = Sampler(lengths, place.shares, place.window, place.seed, place.begun)
    steps = int(meta["step"]) - place.first_step
    hits = _hits(sampler, lengths, documents, steps * place.windows_per_step)
    rows = []
    for document, draws in zip(documents, hits, strict=True):
        seen = [number // place.windows_per_step + place.first_step for number in draws]
        rows.append(
            {
                "doc_id": document.doc_id,
                "lang": document.lang,
                "tokens": document.stop - document.start - STREAM_EXTRA,
                "windows": len(draws),
                "first_step": seen[0] if seen else None,
                "last_step": seen[-1] if seen else None,
                "steps": seen[:STEPS_SHOWN],
                "up_to_step": int(meta["step"]),
            }
        )
    return rows


def record_deletion(run: Path, rows: list[dict[str, Any]]) -> None:
    """Adds rows of `drawn` to the run's own record, each once."""
    path = run / DELETIONS
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    known = set(lines)
    new = [line for row in rows if (line := json.dumps(row, sort_keys=True)) not in known]
    write_atomically(path, "".join(f"{line}\n" for line in [*lines, *new]))


def _streams_of_run(place: DataPlace, opened: Shards, doc_ids: set[str]) -> tuple[list[Place], dict[str, int]]:
    """Where the documents lay in the streams of the run's shards, and how long these streams were."""
    deletions = read_deletions(opened.directory)
    states = [*(deletion["before"] for deletion in deletions), opened.sha256]
    if place.shards not in states:
        raise MGLMError(
            f"{opened.directory}",
            found=f"shards {opened.sha256[:12]}",
            expected=f"those of the run, {place.shards[:12]}",
            action="give the run's shards",
        )
    since = deletions[states.index(place.shards) :]
    deleted = [document for deletion in since for document in deletion["documents"]]
    wanted = Sought(doc_ids)
    found: list[Place] = []
    lengths: dict[str, int] = {}
    for lang in sorted({*opened.languages, *(document["lang"] for document in deleted)}):
        sizes, index_of = _documents_of(opened, lang, wanted)
        for deletion in reversed(since):  # the last one first: its places are those of what it found
            gone = [document for document in deletion["documents"] if document["lang"] == lang]
            places = np.array([document["index"] for document in gone], np.int64)
            index_of = dict(zip(index_of, _before(list(index_of.values()), places), strict=True))
            index_of |= {one["doc_id"]: one["index"] for one in gone if one["doc_id"] in doc_ids}
            tokens = np.array([document["tokens"] + STREAM_EXTRA for document in gone], np.int64)
            sizes = np.insert(sizes, places - np.arange(len(places)), tokens)
        ends = np.cumsum(sizes)
        lengths[lang] = int(ends[-1])
        found += [Place(d, lang, int(ends[i] - sizes[i]), int(ends[i])) for d, i in sorted(index_of.items())]
    return found, lengths


def _documents_of(opened: Shards, lang: str, wanted: Sought) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Stream lengths of a language's documents in order, and the numbers of those wanted."""
    sizes: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    index_of: dict[str, int] = {}
    before = 0
    for path in opened.paths(lang) if lang in opened.languages else []:
        with pa.memory_map(str(opened.directory / path)) as source:
            reader: Any = pa.ipc.open_file(source)
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                sizes.append(pc.list_value_length(batch.column("tokens")).to_numpy().astype(np.int64) + STREAM_EXTRA)
                for row in np.flatnonzero(wanted.among(batch.column("doc_id")).to_numpy(False)).tolist():
                    index_of[batch.column("doc_id")[row].as_py()] = before + row
                before += batch.num_rows
    return np.concatenate(sizes), index_of


def _before(indices: Sequence[int], places: NDArray[np.int64]) -> list[int]:
    """The numbers that documents had before those at `places`, ascending, were taken out."""
    numbers = np.asarray(indices, np.int64)
    found: list[int] = (numbers + np.searchsorted(places - np.arange(len(places)), numbers, side="right")).tolist()
    return found


def _hits(sampler: Sampler, lengths: Mapping[str, int], documents: list[Place], draws: int) -> list[list[int]]:
    """Numbers of the draws before `draws` that touch each document. A window past the stream's end goes on at 0."""
    found: list[list[int]] = [[] for _ in documents]
    of_lang: dict[str, list[int]] = {}
    for index in sorted(range(len(documents)), key=lambda index: documents[index].start):
        of_lang.setdefault(documents[index].lang, []).append(index)
    stops = {lang: [documents[index].stop for index in of_one] for lang, of_one in of_lang.items()}
    for first in range(0, draws if of_lang else 0, DRAWS_AT_ONCE):
        count = min(DRAWS_AT_ONCE, draws - first)
        for number, draw in enumerate(sampler.draw_many(first, count), start=first):
            if draw.lang not in of_lang:
                continue
            # Documents do not overlap, so those that a stretch touches stand side by side; no draw goes round twice.
            of_one, length = of_lang[draw.lang], lengths[draw.lang]
            for start, stop in ((draw.start, min(draw.stop, length)), (0, draw.stop - length)):
                for place in range(bisect_right(stops[draw.lang], start), len(of_one)):
                    document = of_one[place]
                    if documents[document].start >= stop:
                        break
                    if not found[document] or found[document][-1] != number:
                        found[document].append(number)
    return found
