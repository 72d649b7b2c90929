"""`mglm balancing fit` from end to end: its files, its options, and that it is done once."""

import csv
import json
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

from balancing.commands import app
from core.errors import MGLMError
from core.manifest import MANIFEST_NAME, read_manifest
from core.plan import PLAN, read_plan

TABLE = "code,documents,tok\nen,3000,90000\nru,700,20000\nde,90,5000\nx$y,4,1000\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "counts.csv"
    path.write_text(TABLE)
    return path


def fit(*arguments: object) -> None:
    result = CliRunner().invoke(app, ["fit", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def test_the_files_are_the_plan_its_rows_and_its_pictures(table: Path, tmp_path: Path) -> None:
    output = tmp_path / "plan"
    fit("--counts", table, "--output", output)
    plan = read_plan(output)
    assert json.loads((output / "plan.json").read_text())["schema"] == PLAN
    with (output / "plan.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["code"]: float(row["share"]) for row in rows} == plan.shares()
    assert [row["name"] for row in rows] == ["English", "Russian", "German", "x$y"]
    assert (output / "balance.png").read_bytes().startswith(b"\x89PNG")
    assert (output / "balance.svg").read_text("utf-8").rstrip().endswith("</svg>")
    manifest = read_manifest(output, PLAN)
    files = ["balance.html", "balance.png", "balance.svg", "plan.csv", "plan.json"]
    assert [entry.path for entry in manifest.files] == files


def test_the_same_work_is_done_once_and_gives_the_same_bytes(table: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        fit("--counts", table, "--output", tmp_path / name)
    one, two = (read_manifest(tmp_path / name, PLAN) for name in ("one", "two"))
    assert one.content_hash() == two.content_hash()
    before = (tmp_path / "one" / MANIFEST_NAME).stat().st_mtime_ns
    fit("--counts", table, "--output", tmp_path / "one")
    assert (tmp_path / "one" / MANIFEST_NAME).stat().st_mtime_ns == before
    with pytest.raises(MGLMError, match="another configuration"):
        fit("--counts", table, "--output", tmp_path / "one", "--alpha", "0.7")
    fit("--counts", table, "--output", tmp_path / "one", "--alpha", "0.7", "--overwrite")
    assert read_plan(tmp_path / "one").alpha == 0.7


def test_options_override_the_section_of_the_config(table: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text('[balancing]\nalpha = 0.7\nstrategy = "alpha"\ntokens_column = "tok"\nmax_epochs = 1.5\n')
    output = tmp_path / "plan"
    fit("--counts", table, "--output", output, "--config", config, "--alpha", 0.5, "--budget-tokens", 8e4)
    plan = read_plan(output)
    assert (plan.strategy, plan.alpha, plan.budget_tokens) == ("alpha", 0.5, 8e4)
    assert plan.fit["max_epochs"]["limit"] == 1.5
    fit("--counts", table, "--output", output, "--config", config, "--max-epochs", "none", "--overwrite")
    assert "max_epochs" not in read_plan(output).fit


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--strategy", "magic"],
            "in the command's options; found 'magic'; expected .* 'uniform', 'unimax' or 'table'",
        ),
        (["--strategy", "unimax"], "UniMax; found no budget"),
        (["--strategy", "table"], "Give --table FILE"),
        (["--table", "none.csv"], "strategy two-stage, which uses none"),
        (["--strategy", "table", "--table", "none.csv"], "table none.csv; found nothing there; expected a CSV file"),
        (["--budget-tokens", "2000"], "found 3.906 sequences of 512 for 4 languages"),
        (["--fit-ranks", "4:9"], "the range of the fit; found 1 of 4 languages"),
        (["--tokens-column", "size"], "expected a column size"),
        (["--max-epochs", "few"], "a number or none"),
        (["--max-epochs", "2"], "no budget"),
        (["--count-column", "pages"], "a column pages"),
    ],
)
def test_wrong_options_are_told_and_leave_nothing_behind(
    table: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    with pytest.raises(MGLMError, match=message):
        fit("--counts", table, "--output", tmp_path / "plan", *options)
    assert not (tmp_path / "plan").exists()


def test_rows_tell_residual_ratio_group_and_epochs(table: Path, tmp_path: Path) -> None:
    fit("--counts", table, "--output", tmp_path / "plan", "--tokens-column", "tok", "--budget-tokens", "8e4")
    with (tmp_path / "plan" / "plan.csv").open(encoding="utf-8") as file:
        rows = {row["code"]: row for row in csv.DictReader(file)}
    for row in rows.values():
        assert float(row["ratio"]) == pytest.approx(float(row["share"]) / float(row["raw_share"]))
        assert float(row["epochs"]) == pytest.approx(8e4 * float(row["share"]) / float(row["available_tokens"]))
        expected = math.log(float(row["count"]) / float(row["fitted_count"]))
        assert float(row["residual"]) == pytest.approx(expected)
    assert [row["group"] for row in rows.values()] == ["high", "high", "high", "middle"]


def test_a_plan_serves_as_the_table_of_another(table: Path, tmp_path: Path) -> None:
    fit("--counts", table, "--output", tmp_path / "one")
    own = tmp_path / "one" / "plan.csv"
    fit("--counts", table, "--output", tmp_path / "two", "--strategy", "table", "--table", own)
    assert read_plan(tmp_path / "two").shares() == pytest.approx(read_plan(tmp_path / "one").shares())
    moved = tmp_path / "moved.csv"
    moved.write_bytes(own.read_bytes())
    before = (tmp_path / "two" / MANIFEST_NAME).stat().st_mtime_ns
    fit("--counts", table, "--output", tmp_path / "two", "--strategy", "table", "--table", moved)
    assert (tmp_path / "two" / MANIFEST_NAME).stat().st_mtime_ns == before


def test_plans_of_before_there_were_residuals_are_read(table: Path, tmp_path: Path) -> None:
    fit("--counts", table, "--output", tmp_path / "plan")
    old = json.loads((tmp_path / "plan" / "plan.json").read_text("utf-8"))
    shares = read_plan(tmp_path / "plan").shares()
    del old["notes"]
    for language in old["languages"]:
        for name in ("residual", "ratio", "group"):
            del language[name]
    (tmp_path / "old.json").write_text(json.dumps(old), encoding="utf-8")
    assert read_plan(tmp_path / "old.json").shares() == shares


@pytest.mark.parametrize("options", [["--regression", "theil-sen", "--fit-ranks", "2:3"], ["--strategy", "table"]])
def test_ranges_and_languages_without_a_share_can_be_drawn(table: Path, tmp_path: Path, options: list[str]) -> None:
    own = tmp_path / "own.csv"
    own.write_text("code,weight\nen,3\nru,2\n")
    extra = ["--table", own] if "table" in options else []
    fit("--counts", table, "--output", tmp_path / "plan", *options, *extra)
    assert (tmp_path / "plan" / "balance.png").stat().st_size > 10_000


@pytest.mark.parametrize("strategy", ["alpha", "raw", "uniform"])
def test_every_strategy_and_a_single_language_can_be_drawn(tmp_path: Path, strategy: str) -> None:
    path = tmp_path / "one.csv"
    path.write_text("code,documents\nen,5\n")
    fit("--counts", path, "--output", tmp_path / "plan", "--strategy", strategy)
    assert (tmp_path / "plan" / "balance.png").stat().st_size > 10_000
