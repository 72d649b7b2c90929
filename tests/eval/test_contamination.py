import json
import os
import shutil
import tracemalloc
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.documents import document_id
from core.errors import MGLMError
from core.examples import EXAMPLES, Example, Segment, write_examples
from core.schemas import DOCUMENTS, DOCUMENTS_TABLE
from core.spark import SparkConfig, spark_session
from core.stage import open_stage
from eval import contamination_job, ngrams
from eval.config import EvalConfig
from eval.contamination import Seen, contamination, stretches_of_set, table
from eval.contamination_job import search, wanted_of
from eval.ngrams import Wanted, hashes_of, read_hashes, union, write_union

ENGLISH = "the river rose in spring and the old bridge held while people walked over it to see the water"
UNSEEN = "nobody ever wrote down what the baker said to the miller about the price of flour that morning"
CHINESE = "春天的时候河水上涨了但是古老的石桥没有被冲垮人们走到桥上观看奔腾的河水和远处的山"
CONFIG = EvalConfig()


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkConfig]:
    os.environ.setdefault("SPARK_SUBMIT_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    config = SparkConfig(master="local[2]", driver_memory="1g", shuffle_partitions=2, partitions_per_core=1)
    with spark_session("tests", config):
        yield config


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train documents quote two examples; a held-out one quotes the third, which trains nothing."""
    directory = tmp_path_factory.mktemp("contamination") / "documents"
    stage = open_stage(directory, schema=DOCUMENTS, config={}, inputs={})
    texts = {
        "en": [(f"As they say:\n“{ENGLISH.upper()}!” And so on.", "train"), (UNSEEN, "heldout"), ("Short.", "train")],
        "zh": [(f"他写道：{CHINESE[:15]}，{CHINESE[15:]}。", "train")],
    }
    counts = {}
    for lang, of_lang in texts.items():
        rows = sorted((row(text, split) for text, split in of_lang), key=lambda row: row["doc_id"])
        folder = directory / "documents" / f"lang={lang}"
        folder.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=DOCUMENTS_TABLE), folder / "part-00000.parquet")
        counts[lang] = {"documents": len(rows), "bytes": sum(row["n_bytes"] for row in rows)}
    stage.finish(counts=counts)
    return directory


def row(text: str, split: str) -> dict[str, Any]:
    sizes = {"n_chars": len(text), "n_bytes": len(text.encode()), "lid_score": 1.0, "offset": 0}
    names = {"url": None, "script": "", "lid_label": "", "source": "test"}
    return {"doc_id": document_id(text), "text": text, "split": split, **names, **sizes}


def example(name: str, lang: str, source: str, target: str, **more: Any) -> Example:
    segments = [Segment(kind="prompt", value=ENGLISH), Segment(kind="text", value=source)]
    return Example(
        id=name, task="t", lang=lang, target_lang="en", split="heldout", source=segments, target=target, **more
    )


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    directory = tmp_path / "xsum"
    stage = open_stage(directory, schema=EXAMPLES, config={}, inputs={})
    rows = [
        example("seen", "en", ENGLISH, "a flood"),
        example("half", "en", f"{UNSEEN} {ENGLISH}", UNSEEN, references=[ENGLISH]),
        example("unseen", "en", UNSEEN, UNSEEN),
        example("chinese", "zh", CHINESE, "a bridge"),
    ]
    write_examples(directory / "heldout.jsonl", rows)
    stage.finish()
    return directory


def test_what_training_documents_share_with_examples_is_found(
    documents: Path, examples: Path, tmp_path: Path, spark: SparkConfig
) -> None:
    output = tmp_path / "out"
    manifest = contamination(documents, [examples], output, CONFIG, spark)
    rows = [json.loads(line) for line in (output / "examples.jsonl").read_text("utf-8").splitlines()]
    found = {(row["id"], row["field"]): row for row in rows}
    words = len(ENGLISH.split())
    assert found["seen", "source"]["seen"] == found["seen", "source"]["stretches"] == words - 12
    assert found["half", "source"]["seen"] == words - 12 < found["half", "source"]["stretches"]
    assert found["half", "target"]["seen"] == words - 12  # another right answer than the target
    assert found["unseen", "source"]["seen"] == 0  # a held-out document trains nothing
    assert found["chinese", "source"]["seen"] == found["chinese", "source"]["stretches"] == len(CHINESE) - 25
    assert found["seen", "target"]["stretches"] == 0
    (chinese_document,) = found["chinese", "source"]["documents"]
    assert chinese_document == document_id(f"他写道：{CHINESE[:15]}，{CHINESE[15:]}。")
    sources, targets = (manifest.facts["sets"]["xsum"][field] for field in ("source", "target"))
    assert {key: sources[key] for key in ("texts", "too_short", "any", "all")} == {
        "texts": 4, "too_short": 0, "any": 3, "all": 2,
    }  # fmt: skip
    assert targets["too_short"] == 2
    assert sources["languages"]["zh"]["all"] == 1
    assert "| xsum | source | 4 | 0 | 3 (75.0%) |" in table(manifest.facts["sets"])
    assert contamination(documents, [examples], output, CONFIG, spark) == manifest


def test_a_killed_search_keeps_the_files_it_finished(
    documents: Path, examples: Path, tmp_path: Path, spark: SparkConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = contamination(documents, [examples], tmp_path / "whole", CONFIG, spark)
    output = tmp_path / "killed"
    monkeypatch.setattr("eval.contamination.row_of", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        contamination(documents, [examples], output, CONFIG, spark)
    monkeypatch.undo()
    notes = {path: path.stat().st_mtime_ns for path in (output / "_work" / "searched").glob("*.json")}
    assert len(notes) == 2
    next(iter(notes)).unlink()
    again = contamination(documents, [examples], output, CONFIG, spark)
    assert again.facts == whole.facts
    assert (output / "examples.jsonl").read_bytes() == (tmp_path / "whole" / "examples.jsonl").read_bytes()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_sets_without_held_out_examples_are_refused(documents: Path, tmp_path: Path, spark: SparkConfig) -> None:
    empty = tmp_path / "empty"
    stage = open_stage(empty, schema=EXAMPLES, config={}, inputs={})
    write_examples(empty / "heldout.jsonl", [])
    stage.finish()
    with pytest.raises(MGLMError, match="no held-out example"):
        contamination(documents, [empty], tmp_path / "out", CONFIG, spark)
    assert not (tmp_path / "out").exists()
    with pytest.raises(MGLMError, match="mglm eval prepare"):
        contamination(documents, [tmp_path / "none"], tmp_path / "out", CONFIG, spark)


def test_two_sets_of_one_name_are_refused(documents: Path, examples: Path, tmp_path: Path, spark: SparkConfig) -> None:
    other = shutil.copytree(examples, tmp_path / "another" / "xsum")
    with pytest.raises(MGLMError, match="--examples; found two directories called xsum"):
        contamination(documents, [examples, other], tmp_path / "out", CONFIG, spark)
    assert not (tmp_path / "out").exists()


def test_what_was_found_stays_in_notes_and_is_read_file_by_file(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered: list[object] = []

    def run_here(_: Any, bins: list[list[str]], work: Any) -> list[object]:
        answered.extend(work(path) for path in chain(*bins))
        return answered

    monkeypatch.setattr(contamination_job, "run_tasks", run_here)
    english, chinese = hashes_of(ENGLISH, 13), hashes_of(CHINESE, 26)
    union([english, chinese]).tofile(tmp_path / "wanted")
    sizes = {f"documents/lang={lang}/part-00000.parquet": 1 for lang in ("en", "zh")}
    session: Any = None
    found = search(session, documents, sizes, {"en": 13, "zh": 26}, tmp_path / "wanted", tmp_path, 2)
    assert answered == [None, None]
    assert set(next(found)) == set(english.tolist())
    assert set(next(found)) == set(chinese.tolist())


def test_of_documents_with_a_stretch_the_smallest_three_are_named() -> None:
    files: list[dict[int, tuple[int, list[str]]]] = [
        {7: (9, ["d", "f"]), 1 << 63: (1, ["z"])}, {7: (2, ["e", "g"])}, {7: (1, ["a"])}, {},
    ]  # fmt: skip
    for given in (files, files[::-1]):
        seen = Seen(np.array([5, 7, 1 << 63], np.uint64))
        for found in given:
            seen.add(found)
        assert seen.of(np.array([1 << 63, 5, 7], np.uint64)) == [["z"], ["a", "d", "e"]]
        assert seen.of(np.empty(0, np.uint64)) == []
    assert Seen(np.empty(0, np.uint64)).of(np.empty(0, np.uint64)) == []


def test_stretches_are_held_in_files_and_seen_ones_by_few_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = 30_000
    monkeypatch.setattr(ngrams, "_CHUNK", 1_024)
    np.random.default_rng(0).integers(0, 1 << 64, number, np.uint64).tofile(tmp_path / "stretches")
    tracemalloc.start()
    write_union(tmp_path / "stretches", tmp_path / "wanted")
    assert tracemalloc.get_traced_memory()[1] < 8 * number / 2  # a copy of all would be twice that
    wanted = read_hashes(tmp_path / "wanted")
    found: dict[int, tuple[int, list[str]]] = {hash_: (1, ["a", "b", "c"]) for hash_ in wanted.tolist()}
    before = tracemalloc.get_traced_memory()[0]
    seen = Seen(wanted)
    seen.add(found)
    assert tracemalloc.get_traced_memory()[0] - before < 16 * number
    tracemalloc.stop()
    assert seen.of(wanted) == [["a", "b", "c"]] * number


def test_each_text_has_those_of_its_own_stretches_that_are_wanted() -> None:
    texts = [UNSEEN, ENGLISH, "Short.", f"{ENGLISH} {UNSEEN}", f"{ENGLISH}. {ENGLISH}", ""]
    wanted = Wanted(union([hashes_of(ENGLISH, 13)]))
    found = wanted_of(texts, 13, wanted)
    assert found == [wanted.among(hashes_of(text, 13)).tolist() for text in texts]
    assert [len(some) > 0 for some in found] == [False, True, False, True, True, False]
    assert wanted_of(texts, 13, Wanted(union([]))) == [[]] * len(texts)


@pytest.mark.parametrize(("lang", "target_lang"), [("en", "zh"), ("zh", "en"), ("en", "en"), ("zh", "zh")])
def test_question_and_context_are_cut_as_documents_of_their_own_languages(
    tmp_path: Path, lang: str, target_lang: str
) -> None:
    """`lang` is the question's; context and answer are in `target_lang`, as in MLQA."""
    texts, lengths = {"en": ENGLISH, "zh": CHINESE}, {"en": 13, "zh": 26}
    segments = [Segment(kind="text", value=texts[code]) for code in (target_lang, lang)]
    asked = Example(id="1", task="t", lang=lang, target_lang=target_lang, split="heldout", source=segments,
                    target=texts[target_lang])  # fmt: skip
    write_examples(tmp_path / "heldout.jsonl", [asked])
    (_, source), (_, target) = stretches_of_set(tmp_path, CONFIG)
    wanted = [hashes_of(texts[code], lengths[code]) for code in (target_lang, lang)]
    assert source.tolist() == union(wanted).tolist()
    assert target.tolist() == union(wanted[:1]).tolist()
