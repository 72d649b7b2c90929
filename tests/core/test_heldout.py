"""Held-out documents are chosen by their hash, so however files are cut the same ones are measured."""

import resource
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.documents import document_id
from core.errors import MGLMError
from core.heldout import heldout_languages, heldout_texts
from core.manifest import Manifest
from core.schemas import DOCUMENTS, DOCUMENTS_TABLE
from core.stage import open_stage


def rows(texts: list[str], split: str) -> list[dict[str, object]]:
    return [
        {
            "doc_id": document_id(text), "text": text, "url": None, "script": "Latn", "lid_label": "x",
            "lid_score": 0.9, "n_chars": len(text), "n_bytes": len(text.encode()), "source": "s", "offset": 0,
            "split": split,
        }
        for text in texts
    ]  # fmt: skip


def write(directory: Path, language: str, parts: list[list[dict[str, object]]]) -> Manifest:
    stage = open_stage(directory, schema=DOCUMENTS, config={}, inputs={})
    folder = directory / "documents" / f"lang={language}"
    folder.mkdir(parents=True)
    for number, part in enumerate(parts):
        pq.write_table(pa.Table.from_pylist(part, DOCUMENTS_TABLE), folder / f"part-{number}.parquet", row_group_size=3)
    return stage.finish()


def test_the_same_texts_come_out_however_the_files_are_cut(tmp_path: Path) -> None:
    heldout, train = rows([f"held {n}" for n in range(20)], "heldout"), rows([f"train {n}" for n in range(9)], "train")
    made = {
        "one": write(tmp_path / "one", "fr", [train + heldout]),
        "many": write(tmp_path / "many", "fr", [heldout[12:][::-1], train, heldout[:12]]),
    }
    expected = [str(row["text"]) for row in sorted(heldout, key=lambda row: str(row["doc_id"]))]
    for name, manifest in made.items():
        assert heldout_texts(tmp_path / name, manifest, "fr", 7) == expected[:7]
        assert heldout_texts(tmp_path / name, manifest, "fr", 100) == expected


def test_files_that_the_manifest_does_not_name_are_not_read(tmp_path: Path) -> None:
    manifest = write(tmp_path, "fr", [rows(["kept"], "heldout")])
    # What a deletion that was killed leaves: a file to be, or one whose documents are deleted.
    left = pa.Table.from_pylist(rows(["kept", "deleted"], "heldout"), DOCUMENTS_TABLE)
    pq.write_table(left, tmp_path / "documents" / "lang=fr" / "part-0-d1.parquet")
    assert heldout_texts(tmp_path, manifest, "fr", 5) == ["kept"]


def test_a_language_of_more_files_than_a_process_may_open_is_read(tmp_path: Path) -> None:
    texts = [f"text {n}" for n in range(60)]
    manifest = write(tmp_path, "fr", [rows([text], "heldout") for text in texts])
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 20, most[1]))
    try:
        assert sorted(heldout_texts(tmp_path, manifest, "fr", 100)) == sorted(texts)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, most)


def test_footers_are_waited_for_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = write(tmp_path, "fr", [rows([f"text {n}"], "heldout") for n in range(8)])
    together, opened = threading.Barrier(4), pq.ParquetFile

    def wait_for_others(path: Path) -> Any:
        if threading.current_thread() is not threading.main_thread():
            together.wait(timeout=30)
        return opened(path)

    monkeypatch.setattr(pq, "ParquetFile", wait_for_others)
    assert len(heldout_texts(tmp_path, manifest, "fr", 3)) == 3
    assert together.n_waiting == 0


def test_the_undetermined_bucket_is_no_language(tmp_path: Path) -> None:
    stage = open_stage(tmp_path, schema=DOCUMENTS, config={}, inputs={})
    counts = {"sw": 2, "und": 3, "fr": 1, "de": 0}
    manifest = stage.finish(counts={lang: {"heldout_documents": count} for lang, count in counts.items()})
    assert heldout_languages(manifest) == ["fr", "sw"]


def test_a_language_with_nothing_held_out_has_no_texts(tmp_path: Path) -> None:
    manifest = write(tmp_path, "fr", [rows(["a"], "train")])
    assert heldout_texts(tmp_path, manifest, "fr", 5) == []
    assert heldout_texts(tmp_path, manifest, "sw", 5) == []


def test_a_file_of_another_schema_or_format_is_named(tmp_path: Path) -> None:
    manifest = write(tmp_path, "fr", [rows(["a"], "heldout")])
    path = tmp_path / "documents" / "lang=fr" / "part-0.parquet"
    pq.write_table(pa.table({"text": ["a"]}), path)
    with pytest.raises(MGLMError, match=r"part-0\.parquet.*column doc_id"):
        heldout_texts(tmp_path, manifest, "fr", 5)
    path.write_bytes(b"nonsense")
    with pytest.raises(MGLMError, match=r"part-0\.parquet.*Run mglm corpus build"):
        heldout_texts(tmp_path, manifest, "fr", 5)
