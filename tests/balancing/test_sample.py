"""A sample has the plan's shares, from the train split alone, and is the same however it is drawn."""

from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancing.config import BalancingConfig
from balancing.fit import fit_plan
from balancing.sample import copies_of, make_sample, weights_of
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


def test_copies_average_to_the_weight_and_never_differ_from_it_by_one() -> None:
    for weight in (0.013, 0.5, 3.37):
        copies = [copies_of(f"{number:032x}", weight, seed=0) for number in range(20_000)]
        assert sum(copies) / len(copies) == pytest.approx(weight, abs=0.012)
        assert all(abs(number - weight) < 1 for number in copies)


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
        assert language["copies"] < 1
    assert facts["languages"]["yo"]["copies"] == CONFIG.max_copies
    assert "yo" in facts["limited_to_max_copies"]
    assert facts["without_documents"] == ["la"]
    assert facts["not_in_plan"] == ["und"]
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
    again = make_sample(documents_directory, plan_path, tmp_path / "again", config=CONFIG, spark=spark)
    assert rows_of(tmp_path / "again") == rows_of(output)
    assert (again.counts, again.facts) == (manifest.counts, manifest.facts)
    assert read_manifest(tmp_path / "again", SAMPLE) == again
