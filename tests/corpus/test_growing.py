"""A killed build goes on, a finished one takes in more input, and neither shows in the outcome."""

import gc
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from core.documents import document_id
from core.manifest import MANIFEST_NAME, WORK_NAME, Manifest, read_manifest
from core.schemas import DOCUMENTS
from core.spark import SparkConfig
from core.stage import BASE_NAME, Stage
from corpus import build_job, inputs
from corpus.build import PLAN_NAME, build
from corpus.config import CorpusConfig
from corpus.delete import delete_documents
from corpus.near_duplicates import NearDuplicatesConfig
from tests.corpus.conftest import SENTENCES

pytestmark = pytest.mark.spark

PLAIN = CorpusConfig()
NEAR = CorpusConfig(near_duplicates=NearDuplicatesConfig(enabled=True, words=2))


def rows_of(output: Path, folder: str) -> list[dict[str, Any]]:
    table = ds.dataset(output / folder, format="parquet", partitioning="hive").to_table()
    return sorted(table.to_pylist(), key=lambda row: (row.get("doc_id", ""), row["source"], row["offset"]))


def assert_same(output: Path, manifest: Manifest, other: Path, reference: Manifest) -> None:
    for folder in ("documents", "rejected"):
        assert rows_of(output, folder) == rows_of(other, folder)
    assert (manifest.counts, manifest.facts) == (reference.counts, reference.facts)
    assert manifest.content_hash() == reference.content_hash() == read_manifest(output, DOCUMENTS).content_hash()
    for made in (output, other):
        listed = {entry.path for entry in read_manifest(made, DOCUMENTS).files}
        assert listed == {path.relative_to(made).as_posix() for path in made.rglob("*/*.parquet")}
        assert not (made / WORK_NAME).exists()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, crawl: bytes) -> list[Path]:
    """A crawl in the middle; before it some of its texts again, one changed a little; after it others and a new one."""
    folder = tmp_path_factory.mktemp("growing")
    lines = [line for line in crawl.split(b"\n") if line.strip()]
    records = [json.loads(line) for line in lines[30:60] if b"closed" in line]
    changed = [{"text": record["text"].replace("bridge", "footbridge"), "url": "u"} for record in records[:3]]
    contents = {
        "a.jsonl": [json.dumps(record).encode() for record in [*records[:9], *changed]],
        "b.jsonl": lines,
        "c.jsonl.gz": [*lines[40:50], b'{"text": "Ein ganz neuer Satz auf Deutsch, den es noch nicht gab."}', b"[]"],
    }
    paths = []
    for name, content in contents.items():
        data = b"\n".join(content)
        path = folder / name
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def whole(files: list[Path], spark: SparkConfig) -> tuple[Path, Manifest]:
    output = files[0].parent / "whole"
    return output, build([str(path) for path in files], output, config=PLAIN, spark=spark)


def killed(*_: object, **__: object) -> None:
    raise InterruptedError


def build_and_die(given: list[str], output: Path, config: CorpusConfig, spark: SparkConfig) -> None:
    try:
        build(given, output, config=config, spark=spark)
    except InterruptedError:  # not pytest.raises, which would keep the stage and its lock alive
        gc.collect()


def test_files_added_later_give_what_all_at_once_give_near_duplicates_included(
    files: list[Path], spark: SparkConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, grown, whole = [str(path) for path in files], tmp_path / "grown", tmp_path / "whole"
    build(given[1:2], grown, config=NEAR, spark=spark)
    tamil = grown / "documents/lang=ta/part-00000.parquet"
    before = tamil.stat().st_ino
    read: list[str] = []
    really = build_job.read_parts

    def spied(session: Any, parts: Any, reading: Any, *, tasks: int) -> Any:
        read.extend(split.path for splits in parts for split in splits)
        return really(session, parts, reading, tasks=tasks)

    with monkeypatch.context() as patch:
        patch.setattr(build_job, "read_parts", spied)
        manifest = build(given, grown, config=NEAR, spark=spark)
    assert read == [given[0], given[2]]
    assert tamil.stat().st_ino == before  # nothing Tamil was added
    assert_same(grown, manifest, whole, build(given, whole, config=NEAR, spark=spark))
    facts = manifest.facts
    total = facts["documents"] + facts["duplicates"] + facts["near_duplicates"] + sum(facts["rejected"].values())
    assert facts["records_in"] == total
    assert facts["near_duplicates"] > 20  # the sentences of the crawl differ in a number


def test_a_document_that_was_deleted_is_not_counted_again_as_a_near_duplicate_of_a_later_one(
    spark: SparkConfig, tmp_path: Path
) -> None:
    def write(name: str, *texts: str) -> str:
        (tmp_path / name).write_text("\n".join(json.dumps({"text": text}) for text in texts))
        return str(tmp_path / name)

    one, two, three = (SENTENCES["en"].format(f"number {day}") for day in ("one", "two", "three"))
    given = [write("b.jsonl", one, two, SENTENCES["de"])]
    facts = build(given, tmp_path / "out", config=NEAR, spark=spark).facts
    assert (facts["documents"], facts["near_duplicates"], facts["duplicates"]) == (2, 1, 0)
    delete_documents(tmp_path / "out", ids={document_id(one)}, spark=spark)
    facts = build([*given, write("a.jsonl", three)], tmp_path / "out", config=NEAR, spark=spark).facts
    assert [row["text"] for row in rows_of(tmp_path / "out", "documents") if row["lang"] == "en"] == [three]
    assert (facts["documents"], facts["near_duplicates"], facts["duplicates"], facts["deleted"]) == (2, 1, 0, 1)


def test_a_build_killed_anywhere_goes_on_with_what_is_missing(
    files: list[Path], whole: tuple[Path, Manifest], spark: SparkConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "SMALLEST_SPLIT_BYTES", 1)
    config = CorpusConfig(split_bytes=4_000, run_bytes=3_000, file_bytes=3_000, fan_in=3)
    output, given = files[0].parent / "killed", [str(path) for path in files]
    work = output / WORK_NAME
    for owner, name in ((build_job, "pass_on"), (build_job, "merge_pieces"), (Stage, "finish")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, killed)
            build_and_die(given, output, config, spark)
        assert not (output / MANIFEST_NAME).exists()
        if name == "pass_on":  # as if it had died while reading: one part is not finished
            parts = sorted((work / "parts").glob("*/*.json"))
            assert len(parts) == len(json.loads((work / PLAN_NAME).read_text())["parts"]) > 4
            parts[2].unlink()
            times = {path.name: path.stat().st_mtime_ns for path in parts if path != parts[2]}
            config = CorpusConfig(split_bytes=9_000, run_bytes=2_000, file_bytes=3_000)
        elif name == "merge_pieces":
            assert len(list((work / "passes").glob("0/*/*.json"))) > 4
            config = CorpusConfig(file_bytes=5_000)  # other than the pass had
            assert {path.name: path.stat().st_mtime_ns for path in parts if path != parts[2]} == times
            assert parts[2].exists()
    assert (output / "documents").exists()
    assert_same(output, build(given, output, config=PLAIN, spark=spark), *whole)


def test_what_was_made_before_stays_until_more_is_made(
    files: list[Path],
    whole: tuple[Path, Manifest],
    spark: SparkConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given, output = [str(path) for path in files], tmp_path / "out"
    first = build(given[1:2], output, config=PLAIN, spark=spark)
    for owner, name in ((build_job, "join_parts"), (Stage, "finish")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, killed)
            build_and_die(given, output, PLAIN, spark)
        if name == "join_parts":  # whoever changes his mind still has the old documents
            assert build(given[1:2], output, config=PLAIN, spark=spark) == first
            assert len(rows_of(output, "documents")) == first.facts["documents"]
    assert not (output / MANIFEST_NAME).exists()
    assert (output / WORK_NAME / BASE_NAME).exists()
    assert_same(output, build(given, output, config=PLAIN, spark=spark), *whole)
