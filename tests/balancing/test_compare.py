"""`mglm balancing compare`: what it says of each strategy is true, and its files are what they say."""

import csv
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

from balancing.commands import app
from balancing.compare import compare_strategies, most_moved, summarise
from balancing.config import BalancingConfig
from balancing.counts import Counts
from balancing.plan_files import plan_options
from core.errors import MGLMError
from core.manifest import MANIFEST_NAME, read_manifest

COUNTS = Counts({"en": 9000.0, "ru": 800.0, "de": 150.0, "sw": 45.0, "yo": 5.0}, "documents")
TOKENS = {"en": 9e6, "ru": 8e5, "de": 2e5, "sw": 3e4, "yo": 1e4}
WITH_TOKENS = Counts(COUNTS.counts, "documents", "", TOKENS)


def options(**fields: float) -> dict[str, object]:
    return plan_options(BalancingConfig(**fields), None)  # type: ignore[arg-type]


def compare(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["compare", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "counts.csv"
    rows = "".join(f"{code},{count},{TOKENS[code]}\n" for code, count in COUNTS.counts.items())
    path.write_text("code,pages,tok\n" + rows)
    return path


def test_every_strategy_is_there_and_a_user_may_add_a_table_and_an_exponent() -> None:
    plans, failed = compare_strategies(WITH_TOKENS, options(budget_tokens=1e6), {"en": 1, "de": 1})
    assert list(plans) == [
        "raw", "alpha 0.7", "alpha 0.3", "two-stage 0.3", "two-stage 0.3, zipf", "unimax 1", "uniform", "table",
    ]  # fmt: skip
    assert failed == {}
    assert {plan.curve for plan in plans.values()} == {None, "log-linear", "zipf"}
    plans, failed = compare_strategies(COUNTS, options(alpha=0.7), None)
    assert [name for name in plans if name.startswith("alpha")] == ["alpha 0.7"]
    assert "no budget" in failed["unimax 1"]


def test_a_summary_adds_up() -> None:
    plans, _ = compare_strategies(WITH_TOKENS, options(budget_tokens=1e6), None)
    for name, plan in plans.items():
        summary = summarise(name, plan)
        shares = plan.shares()
        assert math.fsum(summary.groups.values()) == pytest.approx(1)
        assert summary.groups["high"] == pytest.approx(shares["en"] + shares["ru"] + shares["de"])
        assert (summary.largest.share, summary.smallest.share) == (max(shares.values()), min(shares.values()))
        apart = sum(abs(row.share - row.raw_share) for row in plan.languages) / 2
        assert summary.moved == pytest.approx(apart, abs=1e-12)
        high = 1e6 * summary.groups["high"] / (TOKENS["en"] + TOKENS["ru"] + TOKENS["de"])
        assert summary.epochs["high"] == pytest.approx(high)
        assert summary.most_repeated is not None
        assert summary.most_repeated.epochs == max(row.epochs or 0 for row in plan.languages)
        assert summary.repeated == sum((row.epochs or 0) > 4 for row in plan.languages)
    assert summarise("unimax 1", plans["unimax 1"]).limited == 3  # de, sw, yo


def test_those_moved_most_are_named_from_the_largest_move() -> None:
    moves = {"en": -0.4, "ru": -0.1, "de": 0.0, "sw": 0.3, "yo": 0.2}
    assert most_moved(moves) == ({"en": -0.4, "ru": -0.1}, {"sw": 0.3, "yo": 0.2})
    assert list(most_moved(moves)[1]) == ["sw", "yo"]


def test_what_is_wrong_for_all_is_told() -> None:
    with pytest.raises(MGLMError, match="max_epochs; found no budget"):
        compare_strategies(COUNTS, options(max_epochs=2.0), None)
    with pytest.raises(MGLMError, match="the range of the fit"):
        compare_strategies(COUNTS, {**options(), "fit_ranks": "5:"}, None)


def test_files_tables_and_pictures_done_once(table: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    arguments = ("--counts", table, "--output", output, "--column", "pages", "--tokens-column", "tok")
    printed = compare(*arguments, "--budget-tokens", "1e6")
    assert printed.rstrip("\n") == (output / "compare.md").read_text("utf-8").rstrip("\n")
    assert "| two-stage 0.3 |" in printed
    with (output / "strategies.csv").open(encoding="utf-8") as file:
        strategies = {row["strategy"]: row for row in csv.DictReader(file)}
    with (output / "shares.csv").open(encoding="utf-8") as file:
        languages = list(csv.DictReader(file))
    for name, row in strategies.items():
        assert math.fsum(float(language[f"share: {name}"]) for language in languages) == pytest.approx(1)
        high = [float(language[f"share: {name}"]) for language in languages if language["group"] == "high"]
        assert float(row["high_share"]) == pytest.approx(math.fsum(high))
        assert float(row["most_epochs"]) == max(float(language[f"epochs: {name}"]) for language in languages)
    files = {entry.path for entry in read_manifest(output, "comparison/1").files}
    pictures = {f"{name}.{suffix}" for name in ("groups", "strategies", "epochs") for suffix in ("png", "svg")}
    assert files == pictures | {"compare.md", "shares.csv", "strategies.csv"}
    before = (output / MANIFEST_NAME).stat().st_mtime_ns
    assert compare(*arguments, "--budget-tokens", "1e6") == printed
    assert (output / MANIFEST_NAME).stat().st_mtime_ns == before


def test_without_a_budget_there_are_no_epochs_and_unimax_is_not_made(table: Path, tmp_path: Path) -> None:
    printed = compare("--counts", table, "--output", tmp_path / "out", "--column", "pages")
    assert "Not made, unimax 1: UniMax; found no budget" in printed
    assert "Epochs" not in printed
    assert not (tmp_path / "out" / "epochs.png").exists()


def test_one_language_can_be_compared(tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    path.write_text("code,documents\nen,5\n")
    assert "| uniform | 100.00 | 0.00 | 0.00 |" in compare("--counts", path, "--output", tmp_path / "out")
