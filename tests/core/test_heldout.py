"""Held-out documents are chosen by their hash, so however files are cut the same ones are measured."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.documents import document_id
from core.errors import MGLMError
from core.heldout import heldout_languages, heldout_texts
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


def write(directory: Path, language: str, parts: list[list[dict[str, object]]]) -> None:
    folder = directory / "documents" / f"lang={language}"
    folder.mkdir(parents=True)
    for number, part in enumerate(parts):
        pq.write_table(pa.Table.from_pylist(part, DOCUMENTS_TABLE), folder / f"part-{number}.parquet", row_group_size=3)


def test_the_same_texts_come_out_however_the_files_are_cut(tmp_path: Path) -> None:
    heldout, train = rows([f"held {n}" for n in range(20)], "heldout"), rows([f"train {n}" for n in range(9)], "train")
    write(tmp_path / "one", "fr", [train + heldout])
    write(tmp_path / "many", "fr", [heldout[12:][::-1], train, heldout[:12]])
    expected = [str(row["text"]) for row in sorted(heldout, key=lambda row: str(row["doc_id"]))]
    for name in ("one", "many"):
        assert heldout_texts(tmp_path / name, "fr", 7) == expected[:7]
        assert heldout_texts(tmp_path / name, "fr", 100) == expected


def test_the_undetermined_bucket_is_no_language(tmp_path: Path) -> None:
    stage = open_stage(tmp_path, schema=DOCUMENTS, config={}, inputs={})
    counts = {"sw": 2, "und": 3, "fr": 1, "de": 0}
    manifest = stage.finish(counts={lang: {"heldout_documents": count} for lang, count in counts.items()})
    assert heldout_languages(manifest) == ["fr", "sw"]


def test_a_language_with_nothing_held_out_has_no_texts(tmp_path: Path) -> None:
    write(tmp_path, "fr", [rows(["a"], "train")])
    assert heldout_texts(tmp_path, "fr", 5) == []
    assert heldout_texts(tmp_path, "sw", 5) == []


def test_a_file_of_another_schema_or_format_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "documents" / "lang=fr"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"text": ["a"]}), folder / "a.parquet")
    with pytest.raises(MGLMError, match=r"a\.parquet.*column doc_id"):
        heldout_texts(tmp_path, "fr", 5)
    (folder / "a.parquet").write_bytes(b"nonsense")
    with pytest.raises(MGLMError, match=r"a\.parquet.*Run mglm corpus build"):
        heldout_texts(tmp_path, "fr", 5)
