"""The whole job on a small crawl: nothing vanishes, and how the work was cut does not show."""

import json
import logging
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from core import detector
from core.documents import document_id, uniform
from core.errors import MGLMError
from core.fasttext_model import embedded_model_path
from core.manifest import MANIFEST_NAME, Manifest, hash_of, read_manifest, sha256_file
from core.schemas import DOCUMENTS, DOCUMENTS_TABLE, REJECTED_TABLE, check_table
from core.spark import SparkConfig, spark_session
from corpus import build_job, inputs
from corpus.build import _check_any_document, _report, build
from corpus.config import CorpusConfig
from corpus.inputs import Split
from corpus.parts import Summary, summarise
from corpus.rules import Rules
from corpus.rules_config import RulesConfig

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, crawl: bytes) -> Path:
    path = tmp_path_factory.mktemp("crawl") / "crawl.jsonl"
    path.write_bytes(crawl)
    return path


@pytest.fixture(scope="module")
def built(source: Path, spark: SparkConfig) -> tuple[Path, Manifest]:
    output = source.parent / "documents"
    return output, build([str(source)], output, config=CorpusConfig(), spark=spark)


def documents_of(output: Path) -> list[dict[str, Any]]:
    table = ds.dataset(output / "documents", format="parquet", partitioning="hive").to_table()
    return sorted(table.to_pylist(), key=lambda row: row["doc_id"])


def rejected_of(output: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = ds.dataset(output / "rejected", format="parquet").to_table().to_pylist()
    return rows


def test_every_record_is_a_document_or_rejected_or_a_duplicate(built: tuple[Path, Manifest]) -> None:
    output, manifest = built
    facts = manifest.facts
    assert facts["records_in"] == 132
    assert facts["documents"] == len(documents_of(output)) == 121
    assert facts["duplicates"] == 7
    assert facts["rejected"] == {"empty_text": 1, "no_text_field": 1, "not_an_object": 1, "not_json": 1}
    assert facts["invalid_utf8"] == 1
    assert facts["detector"]["file"] == "lid.176.ftz"
    assert len(facts["detector"]["cannot_emit"]) == 11


def test_a_build_into_a_folder_of_its_input_does_not_read_itself(
    source: Path, tmp_path: Path, spark: SparkConfig
) -> None:
    shutil.copy(source, tmp_path)
    made = [build([str(tmp_path)], tmp_path / "made", config=CorpusConfig(), spark=spark) for _ in range(2)]
    assert made[0] == made[1]
    with pytest.raises(MGLMError, match="nothing but what lies in the output"):
        build([str(tmp_path / "made" / "documents")], tmp_path / "made", config=CorpusConfig(), spark=spark)


def test_languages_are_found_and_counted(built: tuple[Path, Manifest]) -> None:
    output, manifest = built
    expected = {"en": 60, "de": 30, "ru": 12, "zh": 12, "ta": 5, "und": 2}
    assert {code: count["documents"] for code, count in manifest.counts.items()} == expected
    for code, count in manifest.counts.items():
        rows = [row for row in documents_of(output) if row["lang"] == code]
        assert count["characters"] == sum(len(row["text"]) for row in rows)
        assert count["bytes"] == sum(len(row["text"].encode()) for row in rows)
        assert count["heldout_documents"] == sum(row["split"] == "heldout" for row in rows)


def test_the_files_keep_their_contracts_and_are_in_the_manifest(built: tuple[Path, Manifest]) -> None:
    output, manifest = built
    for folder, schema in (("documents/lang=en", DOCUMENTS_TABLE), ("rejected", REJECTED_TABLE)):
        found = ds.dataset(output / folder, format="parquet").schema
        assert found.names == schema.names
        check_table(found, schema, folder, "mglm corpus build")
    listed = {entry.path: entry.rows for entry in manifest.files}
    there = {path.relative_to(output).as_posix() for path in output.rglob("*/*.parquet")}
    assert set(listed) == there
    assert sum(rows or 0 for rows in listed.values()) == 121 + 4
    assert read_manifest(output, DOCUMENTS).content_hash() == manifest.content_hash()


def test_a_document_says_what_it_is_and_where_it_stood(built: tuple[Path, Manifest], source: Path) -> None:
    output, _ = built
    content = source.read_bytes()
    for row in documents_of(output):
        assert row["doc_id"] == document_id(row["text"])
        assert (row["n_chars"], row["n_bytes"]) == (len(row["text"]), len(row["text"].encode()))
        assert row["source"] == str(source)
        line = content[row["offset"] :].split(b"\n", 1)[0]
        assert b'"text"' in line
    tamil = [row for row in documents_of(output) if row["lang"] == "ta"]
    assert {row["script"] for row in tamil} == {"Taml"}
    assert all(0.5 <= row["lid_score"] <= 1 and row["lid_label"] == "ta" for row in tamil)


def test_the_first_of_equal_documents_stays(built: tuple[Path, Manifest]) -> None:
    output, _ = built
    assert all(row["url"] is not None for row in documents_of(output))  # the later ones have none


def test_rejected_records_have_reason_place_and_beginning(built: tuple[Path, Manifest], source: Path) -> None:
    output, _ = built
    content = source.read_bytes()
    rows = rejected_of(output)
    assert [row["reason"] for row in rows] == ["not_json", "no_text_field", "not_an_object", "empty_text"]
    for row in rows:
        assert content[row["offset"] :].decode(errors="replace").startswith(row["raw"])


def test_a_language_of_twenty_documents_has_one_held_out_and_smaller_ones_need_not(
    built: tuple[Path, Manifest], spark: SparkConfig, tmp_path: Path
) -> None:
    documents = documents_of(built[0])
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": row["text"]}) + "\n" for row in documents))
    manifest = build([str(path)], tmp_path / "out", config=CorpusConfig(heldout_share=0.0), spark=spark)
    held = [row for row in documents_of(tmp_path / "out") if row["split"] == "heldout"]
    assert sorted(row["lang"] for row in held) == ["de", "en"]
    for row in held:
        numbers = [uniform(other["doc_id"], "split") for other in documents if other["lang"] == row["lang"]]
        assert uniform(row["doc_id"], "split") == min(numbers)
    assert manifest.facts["rejected"] == {}
    assert rejected_of(tmp_path / "out") == []


def test_files_are_sorted_by_hash(built: tuple[Path, Manifest]) -> None:
    for path in (built[0] / "documents").rglob("*.parquet"):
        ids = ds.dataset(path, format="parquet").to_table(columns=["doc_id"])["doc_id"].to_pylist()
        assert ids == sorted(ids)


def test_other_splits_and_smaller_files_give_the_same_documents(
    built: tuple[Path, Manifest], source: Path, spark: SparkConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "SMALLEST_SPLIT_BYTES", 1)
    config = CorpusConfig(split_bytes=6_000, file_bytes=3_000)
    manifest = build([str(source)], tmp_path / "out", config=config, spark=spark)
    assert documents_of(tmp_path / "out") == documents_of(built[0])
    assert rejected_of(tmp_path / "out") == rejected_of(built[0])
    assert (manifest.counts, manifest.facts) == (built[1].counts, built[1].facts)


def test_what_is_done_is_not_done_again(
    built: tuple[Path, Manifest], source: Path, spark: SparkConfig, caplog: pytest.LogCaptureFixture
) -> None:
    output, manifest = built
    before = (output / MANIFEST_NAME).stat().st_mtime_ns
    with caplog.at_level(logging.INFO, logger="mglm"):
        again = build([str(source)], output, config=CorpusConfig(split_bytes=99), spark=spark)
    assert again == manifest
    assert (output / MANIFEST_NAME).stat().st_mtime_ns == before
    assert "already made" in caplog.text


def test_its_last_words_name_what_has_no_text_and_what_no_language(
    built: tuple[Path, Manifest], caplog: pytest.LogCaptureFixture
) -> None:
    output, manifest = built
    with caplog.at_level(logging.INFO, logger="mglm"):
        _report(manifest, output, 1.0)
    assert "1 records have no text in the field text; corpus.text_field names another" in caplog.text
    assert "later stages leave them out" not in caplog.text
    shares = {"en": {"documents": 60, "bytes": 1}, "und": {"documents": 61, "bytes": 1}}
    with caplog.at_level(logging.INFO, logger="mglm"):
        _report(manifest.model_copy(update={"counts": shares}), output, 1.0)
    assert "61 of 121 documents are undetermined, and later stages leave them out" in caplog.text


def test_input_without_any_document_says_why(spark: SparkConfig, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"body": "x"}\n{"body": "y"}\n[]\n')
    with pytest.raises(MGLMError, match="none of the 3 records .* no_text_field in 2 .*text_field"):
        build([str(path)], tmp_path / "out", config=CorpusConfig(), spark=spark)
    path.write_text("\n  \n")
    with pytest.raises(MGLMError, match="found no record"):
        build([str(path)], tmp_path / "other", config=CorpusConfig(), spark=spark)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("not_json", "a JSON object with a text in the field text"), ("too_few_long_lines", "one at least")],
)
def test_where_no_record_is_a_document_what_is_expected_fits_the_reason(reason: str, expected: str) -> None:
    summary = Summary(records=2, rejected=Counter({reason: 2}), examples={reason: "particulars"})
    with pytest.raises(
        MGLMError, match=f"of the 2 records .* {reason} in 2 of them, e.g. particulars; expected {expected}$"
    ):
        _check_any_document(summary, None, CorpusConfig())


def test_an_input_that_only_the_driver_can_see_is_one_line(spark: SparkConfig, tmp_path: Path) -> None:
    split = Split(str(tmp_path / "elsewhere.jsonl"), 0, 10, None)
    with spark_session("test", spark) as session, pytest.raises(MGLMError, match="every machine can read") as error:
        build_job.read_parts(session, [[split]], build_job.Reading(tmp_path, CorpusConfig()), tasks=1)
    assert "elsewhere.jsonl" in str(error.value)


def test_what_judges_is_loaded_once_in_a_worker_and_anew_for_other_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, blocked = tmp_path / "a.jsonl", tmp_path / "urls.txt"
    source.write_text(json.dumps({"text": "The river rose in spring.", "url": "https://b.example/"}) + "\n")
    config = CorpusConfig(rules=RulesConfig(blocked_urls=str(blocked)))
    loaded: list[RulesConfig] = []

    def rules(of: RulesConfig) -> Rules:
        loaded.append(of)
        return Rules(of)

    monkeypatch.setattr(build_job, "Rules", rules)
    for number, domain in enumerate(("a.example", "b.example")):
        blocked.write_text(domain)
        lists = hash_of(config.rules.lists_and_models())
        reading = build_job.Reading(tmp_path / domain, config, None, None, lists)
        for part in range(3):
            reading.read((part, [Split(str(source), 0, None, None)]))
        assert loaded == [config.rules] * (number + 1)
        assert summarise(reading.parts, range(3)).rejected["blocked_url"] == 3 * number


def test_a_worker_finds_the_detector_where_it_is_installed_and_takes_no_other_than_the_driver_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, here = tmp_path / "a.jsonl", embedded_model_path()
    source.write_text(json.dumps({"text": "The river rose in spring and the old bridge held."}) + "\n")
    split = Split(str(source), 0, None, None)
    elsewhere = tmp_path / "another" / "environment" / here.name
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_bytes(here.read_bytes())
    monkeypatch.setattr(detector, "embedded_model_path", lambda: elsewhere)
    (tmp_path / "parts").mkdir()
    reading = build_job.Reading(tmp_path / "parts", CorpusConfig(), None, sha256_file(here))
    reading.read((0, [split]))
    assert summarise(reading.parts, [0]).records == 1
    other = build_job.Reading(tmp_path / "parts", CorpusConfig(), None, "0" * 64)
    with pytest.raises(MGLMError, match="another detector than the driver's"):
        other.read((1, [split]))
