"""Deletion: what is left is what a build without these documents makes, and a killed one leaves the old or the new."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import corpus.delete
from core.deletion import next_name, read_ids
from core.errors import MGLMError
from core.manifest import MANIFEST_NAME, Manifest, read_manifest, sha256_file
from core.schemas import DOCUMENTS
from core.spark import SparkConfig
from corpus.build import build
from corpus.config import CorpusConfig
from corpus.delete import delete_documents, wanted_ids
from corpus.report import report
from corpus.rules_config import RulesConfig
from mglm.cli import app

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, crawl: bytes) -> Path:
    path = tmp_path_factory.mktemp("crawl") / "crawl.jsonl"
    path.write_bytes(crawl)
    return path


@pytest.fixture(scope="module")
def built(source: Path, spark: SparkConfig) -> Path:
    build([str(source)], source.parent / "documents", config=CorpusConfig(), spark=spark)
    return source.parent / "documents"


@pytest.fixture
def documents(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "documents"))


def rows_of(documents: Path) -> dict[str, dict[str, Any]]:
    paths = [entry.path for entry in read_manifest(documents, DOCUMENTS).files if entry.path.startswith("documents/")]
    rows = ds.dataset([str(documents / path) for path in paths], format="parquet").to_table().to_pylist()
    assert len({row["doc_id"] for row in rows}) == len(rows)
    return {row["doc_id"]: row for row in rows}


def check_whole(documents: Path) -> Manifest:
    """Files are there, in their size and content; counts and accounts are right; nothing else lies about."""
    manifest = read_manifest(documents, DOCUMENTS)
    for entry in manifest.files:
        assert sha256_file(documents / entry.path) == entry.sha256
        assert pq.read_metadata(documents / entry.path).num_rows == entry.rows
    rows, facts = rows_of(documents), manifest.facts
    for name, column in (("characters", "n_chars"), ("bytes", "n_bytes")):
        assert sum(count[name] for count in manifest.counts.values()) == sum(row[column] for row in rows.values())
    heldout = sum(row["split"] == "heldout" for row in rows.values())
    assert sum(count["heldout_documents"] for count in manifest.counts.values()) == heldout
    assert facts["documents"] == len(rows) == sum(count["documents"] for count in manifest.counts.values())
    assert facts["records_in"] == 132 == len(rows) + 4 + 7 + facts.get("deleted", 0)
    assert {p.relative_to(documents).as_posix() for p in (documents / "documents").rglob("*.parquet")} == {
        entry.path for entry in manifest.files if entry.path.startswith("documents/")
    }
    counts = json.loads((documents / "counts.json").read_text())
    assert {row["language"]: row["documents"] for row in counts} == {
        code: count["documents"] for code, count in manifest.counts.items()
    }
    assert pq.read_table(documents / "counts.parquet").to_pylist() == counts
    return manifest


def some_ids(documents: Path) -> set[str]:
    """Of several languages; all of one; none held out, since another would then be in its place."""
    rows = rows_of(documents)
    ids = {doc_id for doc_id, row in rows.items() if row["lid_label"] == "ta"}
    for label in ("en", "de", "zh"):
        ids |= set(sorted(d for d, r in rows.items() if r["lid_label"] == label and r["split"] == "train")[:3])
    return ids


def test_what_is_left_is_what_a_build_without_them_makes(
    documents: Path, source: Path, tmp_path: Path, spark: SparkConfig
) -> None:
    ids, before = some_ids(documents), rows_of(documents)
    check_whole(documents)
    assert delete_documents(documents, ids=ids | {"f" * 32}, spark=spark) == sorted(ids)
    manifest = check_whole(documents)
    assert manifest.facts["deleted"] == len(ids)
    assert "ta" not in manifest.counts
    assert rows_of(documents) == {doc_id: row for doc_id, row in before.items() if doc_id not in ids}

    listed = tmp_path / "ids.txt"
    listed.write_text("\n".join(sorted(ids)))
    config = CorpusConfig(rules=RulesConfig(blocked_ids=str(listed)))
    without = build([str(source)], tmp_path / "without", config=config, spark=spark)
    assert without.content == manifest.content
    assert without.facts["rejected"]["blocked_id"] >= len(ids)

    assert delete_documents(documents, ids=ids, spark=spark) == []
    assert check_whole(documents) == manifest
    assert "deleted" in report(documents, tmp_path / "report")
    assert (tmp_path / "report" / "index.html").read_text().count("<section") >= 6
    # The finished work is known again, and input that is added does not bring back what was deleted.
    assert build([str(source)], documents, config=CorpusConfig(), spark=spark) == manifest
    more = tmp_path / "more.jsonl"
    lines = [json.dumps({"text": before[doc_id]["text"]}) for doc_id in sorted(ids)]
    more.write_text("\n".join([*lines, json.dumps({"text": "The mayor of the town opened the new bridge today."})]))
    grown = build([str(source), str(more)], documents, config=CorpusConfig(), spark=spark)
    assert grown.facts["documents"] == manifest.facts["documents"] + 1
    assert grown.facts["deleted"] == len(ids)
    assert not ids & set(rows_of(documents))


@pytest.mark.parametrize("moment", ["write_documents", "content_of", "_list_deleted", "write_counts"])
def test_killed_at_any_moment_it_leaves_the_old_or_the_new(
    documents: Path, spark: SparkConfig, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    ids, before, old = some_ids(documents), rows_of(documents), (documents / MANIFEST_NAME).read_bytes()

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    # In this process, not in a worker: the tasks are run one after another.
    monkeypatch.setattr(
        corpus.delete, "run_tasks", lambda _, bins, work: [work(item) for bin_ in bins for item in bin_]
    )
    with monkeypatch.context() as patch:
        patch.setattr(corpus.delete, moment, kill)
        with pytest.raises(KeyboardInterrupt):
            delete_documents(documents, ids=ids, spark=spark)
    after = rows_of(documents)
    if moment == "write_counts":  # the manifest is written: all of it is done but the copy of the counts
        assert set(after) == set(before) - ids
    else:
        assert (documents / MANIFEST_NAME).read_bytes() == old
        assert after == before
    delete_documents(documents, ids=ids, spark=spark)
    check_whole(documents)
    assert set(rows_of(documents)) == set(before) - ids


def test_documents_are_found_by_their_url_file_by_file_by_workers(
    documents: Path, tmp_path: Path, spark: SparkConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[str] = []

    def run_here(_: Any, bins: list[list[str]], work: Any) -> list[Any]:
        searched.extend(path for of_task in bins for path in of_task)
        return [work(path) for of_task in bins for path in of_task]

    monkeypatch.setattr(corpus.delete, "run_tasks", run_here)
    rows = rows_of(documents)
    urls = tmp_path / "urls.txt"
    urls.write_text("https://example.org/70\n\n https://example.org/71 \nhttps://example.org/none\n")
    expected = {
        doc_id for doc_id, row in rows.items() if row["url"] in ("https://example.org/70", "https://example.org/71")
    }
    assert wanted_ids(documents, None, urls, spark) == expected
    assert len(expected) == 2
    paths = [entry.path for entry in read_manifest(documents, DOCUMENTS).files if entry.path.startswith("documents/")]
    assert sorted(searched) == paths
    monkeypatch.undo()
    assert wanted_ids(documents, None, urls, spark) == expected


def test_mistakes_are_told_before_anything_changes(documents: Path, tmp_path: Path, spark: SparkConfig) -> None:
    listed = tmp_path / "ids.txt"
    listed.write_text("no id\n")
    for arguments, message in (
        ([], "either --ids FILE or --urls FILE"),
        (["--ids", str(listed), "--urls", str(listed)], "either --ids FILE or --urls FILE"),
        (["--ids", str(listed)], "entry 1; found no id"),
        (["--ids", str(tmp_path / "none")], "No such file"),
    ):
        result = CliRunner().invoke(app, ["corpus", "delete", "--documents", str(documents), *arguments])
        assert isinstance(result.exception, MGLMError)
        assert message in str(result.exception)
    with pytest.raises(MGLMError, match="no document that would be left"):
        delete_documents(documents, ids=set(rows_of(documents)), spark=spark)
    check_whole(documents)
    listed.write_text("\n")
    with pytest.raises(MGLMError, match="no line"):
        read_ids(listed)


def test_names_of_what_is_left_never_repeat() -> None:
    assert next_name("lang=en/part-00000.arrow") == "lang=en/part-00000-d1.arrow"
    assert next_name("lang=en/part-00000-d9.arrow") == "lang=en/part-00000-d10.arrow"
