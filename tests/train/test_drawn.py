"""Which steps had drawn a document: against every position of every window, one by one."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import MGLMError
from model.checkpoint_meta import CHECKPOINT, META_NAME
from tokenizer.delete import delete_from_shards
from tokenizer.sampler import Sampler
from tokenizer.shards import Shards
from train.continuing import DataPlace
from train.drawn import DELETIONS, Place, _hits, drawn, record_deletion

STEPS, WINDOWS = 30, 4
SHARES = {"en": 0.5, "hi": 0.3, "th": 0.2}


@pytest.fixture
def run(tmp_path: Path, shards_directory: Path) -> Path:
    place = DataPlace(Shards.open(shards_directory).sha256, SHARES, window=37, windows_per_step=WINDOWS, seed=3)
    step = tmp_path / "run" / "checkpoints" / f"step-{STEPS:08d}"
    step.mkdir(parents=True)
    meta = {"schema": CHECKPOINT, "step": STEPS, "data": asdict(place)}
    (step / META_NAME).write_text(json.dumps(meta))
    return tmp_path / "run"


def ids_of(shards: Path) -> dict[str, list[str]]:
    """doc_ids in the order of each language's stream."""
    import pyarrow as pa

    opened = Shards.open(shards)
    found: dict[str, list[str]] = {}
    for lang in opened.languages:
        for path in opened.paths(lang):
            table = pa.ipc.open_file(pa.memory_map(str(shards / path))).read_all()
            found.setdefault(lang, []).extend(table.column("doc_id").to_pylist())
    return found


def test_windows_that_touch_a_document_are_found_whole(run: Path, shards_directory: Path) -> None:
    opened, ids = Shards.open(shards_directory), ids_of(shards_directory)
    wanted = {ids[lang][index] for lang in SHARES for index in (0, 5, opened.documents(lang) - 1)}
    rows = {row["doc_id"]: row for row in drawn(run, shards_directory, wanted | {"f" * 32})}
    assert set(rows) == wanted

    place = DataPlace(**json.loads((run / "checkpoints" / f"step-{STEPS:08d}" / META_NAME).read_text())["data"])
    sampler = place.sampler(opened)
    owners = {
        lang: [doc_id for index, doc_id in enumerate(of_lang) for _ in range(len(opened.document(lang, index)) + 2)]
        for lang, of_lang in ids.items()
    }
    expected: dict[str, list[int]] = {doc_id: [] for doc_id in wanted}
    for number in range(STEPS * WINDOWS):
        draw = sampler.draw(number)
        owner = owners[draw.lang]
        for doc_id in {owner[position % len(owner)] for position in range(draw.start, draw.stop)} & wanted:
            expected[doc_id].append(number // WINDOWS)
    assert any(expected.values())
    for doc_id, steps in expected.items():
        assert rows[doc_id]["windows"] == len(steps)
        assert rows[doc_id]["steps"] == steps[:20]
        ends = (steps[0], steps[-1]) if steps else (None, None)
        assert (rows[doc_id]["first_step"], rows[doc_id]["last_step"]) == ends


def test_the_record_is_kept_in_the_run_once(run: Path, shards_directory: Path) -> None:
    rows = drawn(run, shards_directory, {ids_of(shards_directory)["en"][0]})
    record_deletion(run, rows)
    record_deletion(run, rows)
    assert [json.loads(line) for line in (run / DELETIONS).read_text().splitlines()] == rows


def test_what_was_drawn_is_known_after_deletions_too(run: Path, shards_directory: Path, tmp_path: Path) -> None:
    ids = ids_of(shards_directory)
    wanted = {ids[lang][index] for lang in SHARES for index in (0, 1, 6, 7, 8, -1)}
    left = tmp_path / "shards"
    shutil.copytree(shards_directory, left)
    before = drawn(run, left, wanted)
    first = {ids[lang][index] for lang in SHARES for index in (0, 2, 7, -1)}
    delete_from_shards(left, first)
    assert drawn(run, left, wanted) == before
    delete_from_shards(left, {*ids["th"], *(ids["en"][index] for index in (1, 3, 6, 9))})
    assert drawn(run, left, wanted) == before
    assert "th" not in Shards.open(left, verify=True).languages
    assert not list((left / "lang=th").iterdir())  # nor does its text lie about


def test_other_shards_and_other_checkpoints_are_refused(run: Path, shards_directory: Path) -> None:
    step = run / "checkpoints" / f"step-{STEPS:08d}" / META_NAME
    meta = json.loads(step.read_text())
    step.write_text(json.dumps(meta | {"data": meta["data"] | {"shards": "0" * 64}}))
    with pytest.raises(MGLMError, match="those of the run"):
        drawn(run, shards_directory, {"0" * 32})
    step.write_text(json.dumps({"schema": CHECKPOINT, "step": STEPS}))
    with pytest.raises(MGLMError, match="no place in shards"):
        drawn(run, shards_directory, {"0" * 32})


def test_shards_without_a_document_are_those_of_the_others(shards_directory: Path, tmp_path: Path) -> None:
    left = tmp_path / "shards"
    shutil.copytree(shards_directory, left)
    before, ids = Shards.open(shards_directory), ids_of(left)
    gone = {ids["en"][0], ids["en"][7], ids["th"][-1]}
    assert delete_from_shards(left, gone | {"f" * 32}) == sorted(gone)
    after = Shards.open(left, verify=True)
    for lang in before.languages:
        kept = [index for index, doc_id in enumerate(ids[lang]) if doc_id not in gone]
        assert after.documents(lang) == len(kept) == after.manifest.counts[lang]["documents"]
        for new, old in enumerate(kept):
            assert after.document(lang, new).tolist() == before.document(lang, old).tolist()
    assert delete_from_shards(left, gone) == []
    assert sorted(path.name for path in (left / "lang=en").iterdir()) == [Path(p).name for p in after.paths("en")]
    with pytest.raises(MGLMError, match="no document that would be left"):
        delete_from_shards(left, {doc_id for of_lang in ids.values() for doc_id in of_lang})
    Shards.open(left, verify=True)


@given(st.lists(st.integers(2, 30), min_size=1, max_size=30), st.integers(1, 40), st.integers(0, 60), st.randoms())
def test_draws_are_held_against_every_document(sizes: list[int], window: int, draws: int, random: Any) -> None:
    documents, length = [], 0
    for number, size in enumerate(sizes):
        documents.append(Place(str(number), "en", length, length + size))
        length += size
    documents = random.sample(documents, random.randint(1, len(documents)))
    sampler = Sampler({"en": length, "hi": 50}, {"en": 0.7, "hi": 0.3}, window, 5)
    expected: list[list[int]] = [[] for _ in documents]
    for number in range(draws):
        draw = sampler.draw(number)
        if draw.lang == "en":
            for document, of_document in zip(documents, expected, strict=True):
                touched = draw.start < document.stop and document.start < draw.stop
                if touched or document.start < draw.stop - length:
                    of_document.append(number)
    assert _hits(sampler, {"en": length, "hi": 50}, documents, draws) == expected


def test_a_draw_is_not_held_against_documents_far_from_it() -> None:
    class Looked(list[Place]):
        looks = 0

        def __getitem__(self, index: Any) -> Any:
            Looked.looks += 1
            return super().__getitem__(index)

    documents = Looked(Place(str(number), "en", 10 * number, 10 * number + 10) for number in range(2_000))
    sampler = Sampler({"en": 20_000}, {"en": 1.0}, 10, 5)
    assert sum(map(len, _hits(sampler, {"en": 20_000}, documents, 1_000))) == 1_000
    assert Looked.looks < 10_000  # 2,000,000 where each draw meets each document
