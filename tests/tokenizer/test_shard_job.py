import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from core.errors import MGLMError
from core.manifest import Manifest, read_manifest
from core.spark import SparkConfig
from tokenizer.config import TokenizerConfig
from tokenizer.encoding import Tokenizer
from tokenizer.sampler import Sampler
from tokenizer.shard_job import shard
from tokenizer.shards import Shards

pytestmark = pytest.mark.spark

SMALL_FILES = TokenizerConfig(shard_text_bytes=2_000)


@pytest.fixture(scope="module")
def directory(documents_directory: Path, plan_path: Path, tokenizer_directory: Path, spark: SparkConfig) -> Path:
    output = documents_directory.parent / "shards"
    shard(documents_directory, plan_path, tokenizer_directory, output, SMALL_FILES, spark)
    return output


def trained_on(documents: Path, lang: str) -> list[dict[str, str]]:
    folder = documents / "documents" / f"lang={lang}"
    rows = [row for path in folder.iterdir() for row in pq.ParquetFile(path).read().to_pylist()]
    return sorted((row for row in rows if row["split"] == "train"), key=lambda row: row["doc_id"])


def test_the_stream_of_a_language_is_its_training_documents_in_order_of_their_hash(
    directory: Path, documents_directory: Path, tokenizer: Tokenizer
) -> None:
    shards = Shards.open(directory, verify=True)
    assert shards.languages == ["en", "hi", "th", "zh"]
    for lang in shards.languages:
        wanted = trained_on(documents_directory, lang)
        assert shards.documents(lang) == len(wanted)
        for index, row in enumerate(wanted):
            assert tokenizer.decode(shards.document(lang, index)) == row["text"]


def test_the_manifest_counts_what_the_files_hold(directory: Path, documents_directory: Path) -> None:
    shards = Shards.open(directory)
    for lang in shards.languages:
        rows = trained_on(documents_directory, lang)
        tokens = sum(len(shards.document(lang, index)) for index in range(len(rows)))
        assert shards.manifest.counts[lang] == {
            "documents": len(rows),
            "tokens": tokens,
            "bytes": sum(len(row["text"].encode()) for row in rows),
        }
        assert shards.stream_length(lang) == tokens + 2 * len(rows)
    files = {entry.path for entry in shards.manifest.files}
    assert {"tokenizer/tokenizer.model", "tokenizer/tokenization_mglm.py"} < files
    assert len([path for path in files if path.startswith("lang=en/")]) >= 3


def test_the_tokenizer_lies_inside(directory: Path, tokenizer: Tokenizer) -> None:
    shards = Shards.open(directory)
    assert Tokenizer.load(shards.tokenizer_directory).sha256 == tokenizer.sha256
    assert shards.manifest.facts["tokenizer_sha256"] == tokenizer.sha256


def test_other_partition_counts_write_the_same_bytes(
    directory: Path,
    documents_directory: Path,
    plan_path: Path,
    tokenizer_directory: Path,
    spark: SparkConfig,
    tmp_path: Path,
) -> None:
    one = spark.model_copy(update={"shuffle_partitions": 1, "partitions_per_core": 0})
    made = shard(documents_directory, plan_path, tokenizer_directory, tmp_path / "again", SMALL_FILES, one)
    assert made.content_hash() == read_manifest(directory, "shards/1").content_hash()


def test_other_file_sizes_give_the_same_streams(
    directory: Path,
    documents_directory: Path,
    plan_path: Path,
    tokenizer_directory: Path,
    spark: SparkConfig,
    tmp_path: Path,
) -> None:
    shard(documents_directory, plan_path, tokenizer_directory, tmp_path / "large", TokenizerConfig(), spark)
    small, large = Shards.open(directory), Shards.open(tmp_path / "large")
    assert small.stream_lengths() == large.stream_lengths()
    for lang in small.languages:
        streams = [shards.pieces(lang, 0, shards.stream_length(lang)) for shards in (small, large)]
        for left, right in zip(*streams, strict=True):
            assert np.array_equal(left.tokens, right.tokens)


def test_finished_work_is_not_redone_and_a_killed_job_goes_on(
    directory: Path,
    documents_directory: Path,
    plan_path: Path,
    tokenizer_directory: Path,
    spark: SparkConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = read_manifest(directory, "shards/1")

    def again() -> Manifest:
        return shard(documents_directory, plan_path, tokenizer_directory, tmp_path / "killed", SMALL_FILES, spark)

    with monkeypatch.context() as patch:
        patch.setattr("tokenizer.shard_job._finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            again()
    killed = tmp_path / "killed"
    with pytest.raises(MGLMError, match="unfinished"):
        Shards.open(killed)
    # As if it had been killed earlier: some files were never finished, one was half written, one is of no one's.
    journal = sorted((killed / "_work" / "parts").iterdir())
    for path in journal[::2]:
        path.unlink()
    shutil.copy(killed / "lang=hi" / "part-00000.arrow", killed / "lang=hi" / "_part-00000.arrow.0.tmp")
    shutil.copy(killed / "lang=hi" / "part-00000.arrow", killed / "lang=hi" / "part-00099.arrow")
    kept = {path: path.stat().st_mtime_ns for path in killed.glob("lang=*/part-*.arrow")}
    resumed = again()
    assert resumed.content_hash() == whole.content_hash()
    assert not list(killed.rglob("*.tmp"))
    assert not (killed / "lang=hi" / "part-00099.arrow").exists()
    assert not (killed / "_work").exists()
    assert sum(path.is_file() and path.stat().st_mtime_ns == time for path, time in kept.items()) == len(journal) // 2
    assert again().made == resumed.made


def test_a_budget_takes_the_first_documents_in_the_order_of_the_hash_that_suffice(
    directory: Path,
    documents_directory: Path,
    plan_path: Path,
    tokenizer_directory: Path,
    spark: SparkConfig,
    tmp_path: Path,
) -> None:
    whole = Shards.open(directory)
    sizes: dict[str, list[int]] = {}
    for budget in (1_000, 4_000):
        config = SMALL_FILES.model_copy(update={"budget_tokens": float(budget)})
        output = tmp_path / str(budget)
        manifest = shard(documents_directory, plan_path, tokenizer_directory, output, config, spark)
        assert manifest.config["budget_tokens"] == manifest.facts["budget_tokens"] == budget
        shards = Shards.open(output, verify=True)
        assert {str(path.relative_to(output)) for path in output.glob("lang=*/*")} == {
            entry.path for entry in manifest.files if entry.path.startswith("lang=")
        }
        for lang, share in {"en": 0.5, "hi": 0.2, "zh": 0.15, "th": 0.1}.items():  # and .05 without documents
            needed, count = manifest.facts["needed_tokens"][lang], shards.documents(lang)
            assert needed == pytest.approx(budget * share / 0.95, abs=1)
            lengths = [len(whole.document(lang, index)) + 2 for index in range(whole.documents(lang))]
            wanted = [size for number, size in enumerate(lengths) if sum(lengths[:number]) < needed]
            assert [len(shards.document(lang, index)) + 2 for index in range(count)] == wanted
            assert np.array_equal(shards.document(lang, count - 1), whole.document(lang, count - 1))
            sizes.setdefault(lang, []).append(count)
        assert shards.cut_languages == [lang for lang in shards.languages if sizes[lang][-1] < whole.documents(lang)]
    assert all(counts == sorted(counts) for counts in sizes.values())
    assert sizes["en"][0] < sizes["en"][1] < whole.documents("en")
    assert whole.cut_languages == []


def test_documents_that_are_not_those_of_their_manifest_are_an_error(
    documents_directory: Path, plan_path: Path, tokenizer_directory: Path, spark: SparkConfig, tmp_path: Path
) -> None:
    documents = tmp_path / "documents"
    shutil.copytree(documents_directory, documents)
    place = documents / "documents" / "lang=hi" / "part-1.parquet"
    whole = place.read_bytes()
    shutil.copy(place.with_name("part-0.parquet"), place)
    with pytest.raises(MGLMError, match=r"lang=hi; found 24 documents; expected 23, as the manifest counts them"):
        shard(documents, plan_path, tokenizer_directory, tmp_path / "out", SMALL_FILES, spark)
    place.write_bytes(whole[:-100])
    with pytest.raises(MGLMError, match=r"lang=hi/part-1\.parquet; found .*; expected a whole Parquet file"):
        shard(documents, plan_path, tokenizer_directory, tmp_path / "out", SMALL_FILES, spark)
    place.write_bytes(whole)
    made = shard(documents, plan_path, tokenizer_directory, tmp_path / "out", SMALL_FILES, spark)
    assert made.counts["hi"]["documents"] == len(trained_on(documents_directory, "hi"))


def test_a_sampler_walks_over_the_shards(directory: Path) -> None:
    shards = Shards.open(directory)
    sampler = Sampler(shards.stream_lengths(), {"en": 0.5, "hi": 0.2, "zh": 0.2, "th": 0.1}, 64, seed=0)
    for draw in sampler.draw_many(0, 200):
        pieces = shards.pieces(draw.lang, draw.start, draw.stop)
        assert sum(len(piece.tokens) + piece.begins + piece.ends for piece in pieces) == 64


def test_missing_inputs_are_named_before_anything_is_made(
    documents_directory: Path, plan_path: Path, tokenizer_directory: Path, spark: SparkConfig, tmp_path: Path
) -> None:
    output, absent = tmp_path / "out", tmp_path / "absent"
    for documents, plan, tokenizer, command in (
        (absent, plan_path, tokenizer_directory, "mglm corpus build"),
        (documents_directory, absent, tokenizer_directory, "mglm balancing fit"),
        (documents_directory, plan_path, absent, "mglm tokenizer train"),
    ):
        with pytest.raises(MGLMError, match=command):
            shard(documents, plan, tokenizer, output, SMALL_FILES, spark)
    foreign = tmp_path / "plan.json"
    foreign.write_text(
        plan_path.read_text()
        .replace('"en"', '"fr"')
        .replace('"hi"', '"es"')
        .replace('"zh"', '"de"')
        .replace('"th"', '"it"')
    )
    with pytest.raises(MGLMError, match="expected some of the plan's: de, es, fr, it, yo"):
        shard(documents_directory, foreign, tokenizer_directory, output, SMALL_FILES, spark)
    assert not output.exists()
