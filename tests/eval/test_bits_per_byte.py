"""Bits per byte by language: held-out text alone, its figures add up, a killed run goes on."""

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import model.bits_per_byte
from core.documents import document_id
from core.errors import MGLMError
from core.schemas import DOCUMENTS, DOCUMENTS_TABLE
from core.stage import open_stage
from eval.bits_per_byte import measure, read_bits_per_byte, summarised
from eval.config import EvalConfig
from model.summarizer import Summarizer

CONFIG = EvalConfig(max_documents_per_language=3)
TEXT = {"en": "The ferry is late.", "th": "เรือออกช้า", "zh": "渡轮晚点。"}


def documents(directory: Path, heldout: dict[str, int]) -> Path:
    stage = open_stage(directory, schema=DOCUMENTS, config={}, inputs={})
    for lang, count in heldout.items():
        rows = []
        for number in range(count + 2):
            text = f"{TEXT[lang]} {number}"
            rows.append(
                {
                    "doc_id": document_id(text), "text": text, "script": "Zyyy", "lid_label": lang, "lid_score": 1.0,
                    "n_chars": len(text), "n_bytes": len(text.encode()), "source": "s", "offset": number,
                    "split": "heldout" if number < count else "train",
                }
            )  # fmt: skip
        folder = directory / "documents" / f"lang={lang}"
        folder.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, DOCUMENTS_TABLE), folder / "part-00000.parquet")
    stage.finish(counts={lang: {"documents": count + 2, "heldout_documents": count} for lang, count in heldout.items()})
    return directory


def test_each_language_is_measured_on_its_heldout_text(export: Path, tmp_path: Path) -> None:
    given = documents(tmp_path / "documents", {"en": 5, "th": 2, "zh": 0})
    result = measure(export, given, tmp_path / "out", CONFIG)
    rows = result["languages"]
    assert {lang: row["documents"] for lang, row in rows.items()} == {"en": 3, "th": 2}
    exported = Summarizer.from_pretrained(export)
    texts = [f"{TEXT['th']} {number}" for number in range(2)]
    bits, scored = model.bits_per_byte.bits_per_byte(exported.model, exported.tokenizer, texts)
    assert rows["th"]["bits_per_byte"] == pytest.approx(bits / scored)
    assert 0 < scored < sum(len(text.encode()) for text in texts)
    assert all(0.5 < row["bits_per_byte"] < 12 for row in rows.values())
    assert read_bits_per_byte(tmp_path / "out") == result


def test_overall_weighs_by_bytes_and_macro_does_not() -> None:
    result = summarised(
        [
            {"lang": "a", "documents": 1, "bytes": 100, "bits": 200.0},
            {"lang": "b", "documents": 2, "bytes": 10, "bits": 40.0},
        ]
    )
    assert {lang: row["bits_per_byte"] for lang, row in result["languages"].items()} == {"a": 2, "b": 4}
    assert result["overall"]["macro"] == 3
    assert math.isclose(result["overall"]["bits_per_byte"], 240 / 110)


def test_a_killed_run_goes_on_with_the_next_language(
    export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = documents(tmp_path / "documents", {"en": 2, "th": 2, "zh": 2})
    real, calls = model.bits_per_byte.bits_per_byte, []

    def killed_on_the_second(*arguments: object, **options: object) -> object:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(model.bits_per_byte, "bits_per_byte", killed_on_the_second)
    with pytest.raises(KeyboardInterrupt):
        measure(export, given, tmp_path / "out", CONFIG)
    resumed = measure(export, given, tmp_path / "out", CONFIG)
    assert len(calls) == 4  # en, th in vain, th, zh
    assert resumed == measure(export, given, tmp_path / "whole", CONFIG)


def test_nothing_held_out_is_an_error(export: Path, tmp_path: Path) -> None:
    given = documents(tmp_path / "documents", {"en": 0})
    with pytest.raises(MGLMError, match="no held-out document"):
        measure(export, given, tmp_path / "out", CONFIG)
    with pytest.raises(MGLMError, match="expected documents/1"):
        measure(export, export, tmp_path / "out", CONFIG)
    assert not (tmp_path / "out").exists()
