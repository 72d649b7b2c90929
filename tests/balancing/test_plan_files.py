"""`mglm balancing fit` from end to end: its files, its options, and that it is done once."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from balancing.commands import app
from core.errors import MGLMError
from core.manifest import MANIFEST_NAME, read_manifest
from core.plan import PLAN, read_plan

TABLE = "code,documents,tok\nen,3000,9000\nru,700,2000\nde,90,500\nx$y,4,100\n"


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
    assert [entry.path for entry in manifest.files] == ["balance.png", "balance.svg", "plan.csv", "plan.json"]


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
    fit("--counts", table, "--output", output, "--config", config, "--alpha", 0.5, "--budget-tokens", 8000)
    plan = read_plan(output)
    assert (plan.strategy, plan.alpha, plan.budget_tokens) == ("alpha", 0.5, 8000)
    assert plan.fit["max_epochs"]["limit"] == 1.5
    fit("--counts", table, "--output", output, "--config", config, "--max-epochs", "none", "--overwrite")
    assert "max_epochs" not in read_plan(output).fit


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--strategy", "magic"], "'two-stage', 'alpha', 'raw' or 'uniform'"),
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


@pytest.mark.parametrize("strategy", ["alpha", "raw", "uniform"])
def test_every_strategy_and_a_single_language_can_be_drawn(tmp_path: Path, strategy: str) -> None:
    path = tmp_path / "one.csv"
    path.write_text("code,documents\nen,5\n")
    fit("--counts", path, "--output", tmp_path / "plan", "--strategy", strategy)
    assert (tmp_path / "plan" / "balance.png").stat().st_size > 10_000
