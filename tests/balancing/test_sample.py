"""A sample has the plan's shares, from the train split alone, and is the same however it is drawn."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancing import sample_job
from balancing.config import BalancingConfig
from balancing.fit import fit_plan
from balancing.sample import Stock, describe, make_sample, once_more, ranges_to_read, weights_of
from balancing.sample_job import cut_language, draw_piece
from core.document_ranges import EVERY_HASH, HASHES, RowGroup, survey_file
from core.errors import MGLMError
from core.manifest import MANIFEST_NAME, Manifest, read_manifest
from core.schemas import SAMPLE, SAMPLE_TABLE, check_table
from core.spark import SparkConfig

CONFIG = BalancingConfig(sample_bytes=40_000, max_copies=4.0)
PLANNED = {"en": 2_000, "de": 600, "sw": 50, "yo": 2, "la": 7}  # no document of `la`; `und` is not planned


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 10**9)),
    st.dictionaries(st.sampled_from("abcdef"), st.floats(0.01, 1), min_size=1),
    st.integers(1, 10**10),
)
def test_weights_give_the_shares_and_no_more_than_the_target(
    available: dict[str, int], shares: dict[str, float], target: int
) -> None:
    present = {code: share for code, share in shares.items() if available.get(code)}
    if not present:
        with pytest.raises(MGLMError, match="languages of the plan"):
            weights_of(available, shares, target_bytes=target, max_copies=5.0)
        return
    weights = weights_of(available, shares, target_bytes=target, max_copies=5.0)
    assert set(weights) == set(present)
    got = {code: weights[code] * available[code] for code in weights}
    assert sum(got.values()) <= target * (1 + 1e-9)
    if sum(got.values()) < target * (1 - 1e-9) and all(weight < 5.0 for weight in weights.values()):
        assert min(weights.values()) == pytest.approx(1)  # smaller than asked for only when all text is in it
    free = [got[code] / shares[code] for code in got if weights[code] < 5.0]
    assert free == pytest.approx(free[:1] * len(free))
    assert all(weight <= 5.0 for weight in weights.values())


@given(st.floats(0, 12), st.integers(0, 50))
def test_documents_are_taken_once_more_on_the_fraction_of_the_ring_that_the_weight_says(
    weight: float, seed: int
) -> None:
    ranges = once_more(weight, seed)
    assert sum(hashes.high - hashes.low for hashes in ranges) == pytest.approx((weight % 1) * HASHES, abs=1e4)
    assert [hashes.low for hashes in ranges] == sorted(hashes.low for hashes in ranges)
    assert all(0 <= hashes.low < hashes.high <= HASHES for hashes in ranges)
    assert ranges_to_read(weight, seed) == (ranges if weight < 1 else [EVERY_HASH])


@given(st.floats(0, 5), st.floats(0, 5), st.integers(0, 50))
def test_a_larger_weight_takes_the_same_documents_and_more(one: float, other: float, seed: int) -> None:
    def copies(weight: float, place: int) -> int:
        return int(weight) + any(hashes.low <= place < hashes.high for hashes in once_more(weight, seed))

    for place in range(0, HASHES, HASHES // 37):
        assert copies(min(one, other), place) <= copies(max(one, other), place)


def test_bounds_hold_the_share_of_most_seeds() -> None:
    """Against drawing itself: three languages of documents of very unequal size, 400 seeds."""
    rng = np.random.default_rng(0)
    sizes = {code: np.exp(rng.normal(7, 1, count)).astype(int) for code, count in (("a", 4_000), ("b", 900), ("c", 80))}
    places = {code: rng.integers(0, HASHES, len(of), dtype=np.uint64) for code, of in sizes.items()}
    stock = {code: Stock(len(of), int(of.sum()), float((of.astype(float) ** 2).sum())) for code, of in sizes.items()}
    shares = {"a": 0.5, "b": 0.3, "c": 0.2}
    available = {code: have.n_bytes for code, have in stock.items()}
    weights = weights_of(available, shares, target_bytes=1_000_000, max_copies=10)
    inside = dict.fromkeys(shares, 0)
    for seed in range(400):
        counts = {}
        for code, weight in weights.items():
            copies = np.full(len(sizes[code]), int(weight))
            for hashes in once_more(weight, seed):
                copies += (places[code] >= np.uint64(hashes.low)) & (places[code] <= np.uint64(hashes.high - 1))
            counts[code] = {"bytes": int((copies * sizes[code]).sum())}
        facts = describe(shares, stock, weights, counts, max_copies=10)
        for code in shares:
            inside[code] += code not in facts["outside_bounds"]
    assert all(350 < number <= 400 for number in inside.values()), inside


@pytest.fixture(scope="module")
def plan_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "plan.json"
    path.write_text(fit_plan(PLANNED).to_json(), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def made(documents_directory: Path, plan_path: Path, spark: SparkConfig) -> tuple[Path, Manifest]:
    output = plan_path.parent / "sample"
    return output, make_sample(documents_directory, plan_path, output, config=CONFIG, spark=spark)


def rows_of(output: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = ds.dataset(output / "sample", format="parquet").to_table().to_pylist()
    return rows


@pytest.mark.spark
def test_the_shares_come_out_and_the_manifest_says_which(made: tuple[Path, Manifest]) -> None:
    output, manifest = made
    rows, facts = rows_of(output), manifest.facts
    assert facts["bytes"] == sum(len(row["text"]) for row in rows) == pytest.approx(CONFIG.sample_bytes, rel=0.4)
    for code in ("en", "de"):
        language = facts["languages"][code]
        realised = sum(len(row["text"]) for row in rows if row["lang"] == code) / facts["bytes"]
        assert language["share"] == pytest.approx(realised)
        assert language["low"] < language["expected_share"] < language["high"]
        assert language["copies"] < 1
    assert facts["languages"]["yo"]["copies"] == CONFIG.max_copies
    assert "yo" in facts["limited_to_max_copies"]
    assert facts["without_documents"] == ["la"]
    assert facts["not_in_plan"] == ["und"]
    table = csv.DictReader((output / "sample.csv").read_text(encoding="utf-8").splitlines())
    assert {row["code"]: float(row["share"]) for row in table} == {
        code: language["share"] for code, language in facts["languages"].items()
    }
    assert sum(language["expected_share"] for language in facts["languages"].values()) == pytest.approx(1)


@pytest.mark.spark
def test_copies_are_numbered_in_order_and_nothing_held_out_is_in_it(
    made: tuple[Path, Manifest], documents_directory: Path
) -> None:
    output, manifest = made
    check_table(ds.dataset(output / "sample", format="parquet").schema, SAMPLE_TABLE, "sample", "mglm balancing sample")
    rows = rows_of(output)
    keys = [(row["lang"], row["doc_id"], row["copy"]) for row in rows]
    assert keys == sorted(set(keys))
    documents = ds.dataset(documents_directory / "documents", format="parquet", partitioning="hive").to_table()
    train = {row["doc_id"]: row for row in documents.to_pylist() if row["split"] == "train"}
    assert all(train[row["doc_id"]]["text"] == row["text"] for row in rows)
    copies = [row["copy"] for row in rows if row["lang"] == "yo"]
    assert sorted(copies) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert manifest.counts["yo"] == {"rows": 8, "documents": 2, "bytes": 800}


@pytest.mark.spark
def test_it_is_done_once_and_drawn_again_it_is_the_same(
    made: tuple[Path, Manifest], documents_directory: Path, plan_path: Path, spark: SparkConfig, tmp_path: Path
) -> None:
    output, manifest = made
    before = (output / MANIFEST_NAME).stat().st_mtime_ns
    assert make_sample(documents_directory, plan_path, output, config=CONFIG, spark=spark) == manifest
    assert (output / MANIFEST_NAME).stat().st_mtime_ns == before
    one_task = spark.model_copy(update={"partitions_per_core": 0})
    again = make_sample(documents_directory, plan_path, tmp_path / "again", config=CONFIG, spark=one_task)
    assert again.content_hash() == manifest.content_hash()  # and with it every file's sha256
    assert rows_of(tmp_path / "again") == rows_of(output)
    assert read_manifest(tmp_path / "again", SAMPLE) == again


def groups_of(folder: Path) -> list[RowGroup]:
    paths = sorted(str(path.relative_to(folder)) for path in folder.glob("documents/lang=en/*.parquet"))
    return [group for path in paths for group in survey_file(folder, path)]


@pytest.mark.parametrize("weight", [0.07, 0.4, 2.6])
def test_how_documents_lie_in_files_and_row_groups_does_not_change_the_sample(
    documents_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weight: float
) -> None:
    monkeypatch.setattr(sample_job, "FILE_BYTES", 40_000)
    table = pq.ParquetFile(documents_directory / "documents" / "lang=en" / "part-00000.parquet").read()
    samples = []
    for name, files, order in (("one", 1, "sorted"), ("mixed", 5, "random"), ("sorted", 2, "sorted")):
        folder = tmp_path / name / "documents" / "lang=en"
        folder.mkdir(parents=True)
        ordered = (
            table.sort_by("doc_id") if order == "sorted" else table.take(np.random.default_rng(0).permutation(2_000))
        )
        for part in range(files):
            rows = ordered.slice(part * 2_000 // files, 2_000 // files)
            pq.write_table(rows, folder / f"part-{part:05d}.parquet", row_group_size=150)
        output = tmp_path / f"{name} drawn"
        output.mkdir()
        pieces = cut_language("en", groups_of(tmp_path / name), weight, seed=3)
        drawn = [draw_piece(tmp_path / name, output, output, piece) for piece in pieces]
        samples.append([(part.path, part.rows, part.documents, part.n_bytes, part.sha256) for part in drawn])
        assert [draw_piece(tmp_path / name, output, output, piece) for piece in pieces] == drawn
        assert not list(output.glob("*.tmp"))
    assert samples[0] == samples[1] == samples[2]
    assert sum(rows for _, rows, *_ in samples[0]) == pytest.approx(1_800 * weight, rel=0.25)


def test_text_that_is_not_taken_is_not_read(documents_directory: Path, tmp_path: Path) -> None:
    """Row groups without a document of the sample may hold anything where their text should be."""
    table = pq.ParquetFile(documents_directory / "documents" / "lang=en" / "part-00000.parquet").read()
    place = tmp_path / "documents" / "lang=en" / "part-00000.parquet"
    place.parent.mkdir(parents=True)
    pq.write_table(table.sort_by("doc_id"), place, row_group_size=50, data_page_version="2.0")
    pieces = cut_language("en", groups_of(tmp_path), 0.1, seed=0)
    wanted = [draw_piece(tmp_path, tmp_path, tmp_path, piece) for piece in pieces]
    needed = {group.index for piece in pieces for group in piece.groups}
    assert 3 <= len(needed) <= 7  # a tenth of the 40, and the ends
    content, file = bytearray(place.read_bytes()), pq.ParquetFile(place)
    text = file.schema_arrow.names.index("text")
    for index in set(range(40)) - needed:
        chunk = file.metadata.row_group(index).column(text)
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        content[start : start + chunk.total_compressed_size] = b"?" * chunk.total_compressed_size
    place.write_bytes(content)
    (tmp_path / "again").mkdir()
    assert [draw_piece(tmp_path, tmp_path / "again", tmp_path / "again", piece) for piece in pieces] == wanted
    everything = cut_language("en", groups_of(tmp_path), 1.0, seed=0)
    with pytest.raises(MGLMError, match=r"part-00000\.parquet"):
        draw_piece(tmp_path, tmp_path, place.parent, everything[0])
