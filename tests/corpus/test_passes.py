"""From parts to pieces through passes: the same documents, and opens and bytes that grow with the text."""

import os
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from core.documents import document_id
from core.schemas import DOCUMENTS_TABLE
from corpus import passes, runs
from corpus.config import CorpusConfig
from corpus.merge import Merged, Merging, Piece, plan_pieces
from corpus.passes import Passes, Passing, plan_passes
from corpus.runs import ENDING, RUN_TABLE, RunFile, RunWriter, SortedRuns, first_of_each, named, read_index

LANGUAGES = ("de", "en", "fr")
TEXT = 100  # characters of a document


def row(number: int, part: int, place: int) -> dict[str, Any]:
    text = f"{number:0{TEXT}d}"
    lang = LANGUAGES[0 if number % 3 else 1 if number % 5 else 2]  # a language of two thirds, a small one
    return {
        "doc_id": document_id(text),
        "text": text,
        "url": None,
        "lang": lang,
        "script": "Latn",
        "lid_label": lang,
        "lid_score": 0.9,
        "n_chars": TEXT,
        "n_bytes": TEXT,
        "source": f"{part:05d}",
        "offset": place,
        "split": "train",
        "quality": None,
    }


@dataclass
class Corpus:
    """Parts of some runs each, and what a merge of them has to give."""

    work: Path
    names: list[str] = field(default_factory=list)
    run_counts: list[int] = field(default_factory=list)
    text_bytes: Counter[str] = field(default_factory=Counter)
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: int = 0

    def add(self, numbers: list[list[int]]) -> None:
        """A part with a run for each list of document numbers."""
        part = len(self.names)
        name = f"parts/{part:05d}"
        (self.work / "parts").mkdir(parents=True, exist_ok=True)
        writer = RunWriter(self.work / name)
        place = 0
        for of_run in numbers:
            made = [row(number, part, place + index) for index, number in enumerate(of_run)]
            place += len(made)
            table = pa.Table.from_pylist(made, RUN_TABLE)
            order = first_of_each(table)
            writer.begin_run()
            writer.write(table, order)
            self.rows += len(order)
            for found in made:
                self.documents.setdefault(found["doc_id"], found)
        writer.finish({})
        for batch in writer.batches:
            self.text_bytes[batch.lang] += batch.n_bytes
        self.names.append(name)
        self.run_counts.append(writer.runs)


def made(work: Path, parts: int, documents: int, *, seed: int = 0, most_runs: int = 1) -> Corpus:
    draw = random.Random(seed)
    corpus = Corpus(work)
    for _ in range(parts):
        runs_of_part = draw.randint(1, most_runs)
        numbers = [[draw.randrange(parts * documents) for _ in range(documents)] for _ in range(runs_of_part)]
        corpus.add(numbers)
    return corpus


def merged(corpus: Corpus, file_bytes: int, tasks: int) -> tuple[list[Piece], Passes, list[Merged], int]:
    pieces = plan_pieces(corpus.text_bytes, {}, {}, file_bytes)
    plan = plan_passes(corpus.names, corpus.run_counts, pieces, fan_in=8, tasks=tasks)
    passed = sum(Passing(corpus.work).run(group) for groups in plan.groups for group in groups)
    merging = Merging(corpus.work, None, 0.01, None)
    found = [
        piece
        for bucket in plan.buckets
        for piece in merging.merge((bucket.sources, pieces[bucket.first : bucket.last]))
    ]
    return pieces, plan, found, passed


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything as much smaller as the corpus is."""
    monkeypatch.setattr(passes, "SMALLEST_GROUP", 2)
    monkeypatch.setattr(passes, "STEP_BYTES", 20 * TEXT)
    monkeypatch.setattr(passes, "BUCKET_BYTES", 400 * TEXT)
    monkeypatch.setattr(runs, "BATCH_BYTES", 4 * TEXT)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # thousands of journals


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("parts", "most_runs", "file_bytes", "tasks", "levels"),
    [(5, 1, 40, 3, 0), (30, 1, 10**6, 1, 1), (30, 4, 30, 5, 2)],
)
def test_through_any_number_of_passes_come_the_first_of_equal_documents_sorted(
    tmp_path: Path, parts: int, most_runs: int, file_bytes: int, tasks: int, levels: int
) -> None:
    corpus = made(tmp_path, parts, 20, seed=parts, most_runs=most_runs)
    pieces, plan, found, passed = merged(corpus, file_bytes * TEXT, tasks)
    assert len(plan.groups) == levels
    assert [piece.path for piece in found] == [piece.path for piece in pieces]
    assert passed + sum(piece.rows_in - piece.rows for piece in found) == corpus.rows - len(corpus.documents)
    for piece in found:
        if piece.rows:
            rows = ds.dataset(tmp_path / piece.path, format="parquet").to_table().to_pylist()
            assert [one["doc_id"] for one in rows] == sorted(one["doc_id"] for one in rows)
            for one in rows:
                expected = corpus.documents.pop(one["doc_id"])
                assert {name: one[name] for name in ("text", "source", "offset")}.items() <= expected.items()
                assert piece.lang == expected["lang"]
    assert not corpus.documents
    assert list(tmp_path.rglob("*.tmp")) == []


@pytest.mark.usefixtures("small")
def test_killed_anywhere_in_a_pass_it_goes_on_and_comes_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, expected, passed = merged(made(tmp_path / "whole", 30, 20, most_runs=2), 40 * TEXT, 2)
    corpus, really, left = made(tmp_path / "killed", 30, 20, most_runs=2), RunFile.read, [0]

    def read(self: RunFile, number: int) -> pa.RecordBatch:
        left[0] -= 1
        if not left[0]:
            raise InterruptedError
        return really(self, number)

    monkeypatch.setattr(RunFile, "read", read)
    kills = 0
    while True:
        left[0] = 150
        try:
            _, plan, found, again = merged(corpus, 40 * TEXT, 2)
        except InterruptedError:
            kills += 1
            continue
        break
    assert kills > 3
    assert (found, again) == (expected, passed)
    assert len(plan.groups) == 1
    assert not list((tmp_path / "killed" / "parts").glob(f"*.{ENDING}"))  # what was passed on takes no room


@pytest.mark.usefixtures("small")
def test_a_page_in_every_part_is_held_a_few_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = Corpus(tmp_path)
    for part in range(60):
        corpus.add([[0, 1, part + 2]])
    monkeypatch.setattr(runs, "HELD_BYTES", 1)
    *_, found, passed = merged(corpus, 10**6, 1)
    assert sum(piece.rows for piece in found) == 62
    assert passed + sum(piece.rows_in - piece.rows for piece in found) == 2 * 59


@pytest.mark.usefixtures("small")
def test_opens_and_bytes_read_grow_with_the_text_and_not_with_its_square(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens, read = Counter[str](), Counter[str]()
    counted = [""]

    class Counting(RunFile):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            opens[counted[0]] += 1

        def read(self, number: int) -> pa.RecordBatch:
            batch = super().read(number)
            read[counted[0]] += int(sum(batch.column("n_bytes").to_pylist()))
            return batch

    def index(path: Path) -> list[runs.Batch]:
        opens[f"{counted[0]}, journals"] += 1
        return read_index(path)

    monkeypatch.setattr(runs, "RunFile", Counting)
    monkeypatch.setattr(runs, "read_index", index)
    for parts in (6, 18, 72):  # none, one and two passes
        for pieces in (parts, 2 * parts):
            counted[0] = f"{parts} × {pieces}"
            corpus = made(tmp_path / counted[0], parts, 20)
            _, plan, found, _ = merged(corpus, 20 * TEXT * parts // pieces, 2)
            text, levels = sum(corpus.text_bytes.values()), len(plan.groups)
            assert sum(piece.rows for piece in found) == len(corpus.documents)
            most = (levels + 1) * (1 + passes.FILES_OF_PASS) * (parts + pieces)
            assert opens[counted[0]] <= opens[f"{counted[0]}, journals"] <= most
            assert read[counted[0]] <= (levels + 1.5) * text
    assert levels == 2
    of_part = {parts: opens[f"{parts} × {parts}"] / parts for parts in (18, 72)}
    assert of_part[72] < 2 * of_part[18]  # four times as many parts and pieces, and a pass more


def test_the_real_numbers_are_one_pass_for_a_terabyte_and_for_25() -> None:
    for terabytes, tasks in ((1, 200), (25, 1_000)):
        parts = terabytes * 16_000
        text = Counter({f"l{rank:03d}": terabytes * 10**12 // (5 * rank) for rank in range(1, 101)})
        pieces = plan_pieces(text, {}, {}, 128 << 20)
        names, fan_in = [f"parts/{number}" for number in range(parts)], CorpusConfig().fan_in
        plan = plan_passes(names, [1] * parts, pieces, fan_in=fan_in, tasks=tasks)
        assert len(plan.groups) == 1
        sources = [source for group in plan.groups[0] for source in group.sources]
        assert sources == names
        assert max(len(group.sources) for group in plan.groups[0]) <= fan_in
        assert max(len(bucket.sources) for bucket in plan.buckets) <= fan_in
        made_files = sum(len(group.targets) for group in plan.groups[0])
        opened = len(sources) + sum(len(bucket.sources) for bucket in plan.buckets)
        assert made_files <= passes.FILES_OF_PASS * parts
        assert opened <= (1 + passes.FILES_OF_PASS) * parts
        assert [bucket.first for bucket in plan.buckets[1:]] == [bucket.last for bucket in plan.buckets[:-1]]
        assert len(plan.buckets) >= 200


def test_ranges_are_read_forwards_and_a_batch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "BATCH_BYTES", 5 * TEXT)
    corpus = made(tmp_path, 3, 60)
    ids = sorted((one["lang"], one["doc_id"]) for one in corpus.documents.values())
    draw = random.Random(1)
    bounds = sorted({(lang, doc_id[:16]) for lang, doc_id in draw.sample(ids, 20)})
    with SortedRuns(tmp_path, corpus.names) as sorted_runs:
        for low, high in zip(bounds[:-1:2], bounds[1::2], strict=False):  # with gaps between
            found = {
                (lang, doc_id)
                for batch in sorted_runs.within(low, high)
                for lang, doc_id in zip(batch["lang"].to_pylist(), batch["doc_id"].to_pylist(), strict=True)
            }
            assert found == {key for key in ids if low <= key < high}
        mapped = Path("/proc/self/maps").read_text("utf-8")
        assert str(tmp_path) not in mapped  # its pages would count as a task's memory, the whole file of them


def test_a_file_of_nothing_is_a_journal_alone(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "a")
    writer.begin_run()
    writer.write(pa.Table.from_pylist([], RUN_TABLE), pa.array([], pa.int64()))
    writer.finish({"x": 1})
    assert [path.name for path in tmp_path.iterdir()] == [named(tmp_path / "a", "json").name]
    with SortedRuns(tmp_path, ["a"]) as sorted_runs:
        assert list(sorted_runs.within(runs.FIRST_KEY, runs.LAST_KEY)) == []
    assert RUN_TABLE.names == [*DOCUMENTS_TABLE.names, "lang"]
