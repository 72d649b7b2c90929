"""`mglm balancing fit`: counts → a plan/1 directory: plan.json, plan.csv, balance.html, balance.png, balance.svg."""

import csv
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from balancing.config import BalancingConfig
from balancing.counts import Columns, Counts, read_counts, read_weights
from balancing.fit import build_plan
from core.errors import MGLMError
from core.languages import language_name
from core.log import get_logger
from core.manifest import sha256_file, write_atomically
from core.plan import PLAN, Plan, PlanLanguage, read_plan
from core.stage import open_stage

OF_THE_SAMPLE = {"sample_bytes", "max_copies", "seed"}  # fields that change no plan

log = get_logger("balancing")


def make_plan(counts_path: Path, output: Path, *, config: BalancingConfig, overwrite: bool = False) -> Plan:
    """Fits and writes the plan, or reads the one that was made of the same counts and configuration.

    Raises:
        MGLMError: the counts, the configuration or the output directory will not do.
    """
    started = time.monotonic()
    if config.table is not None and config.strategy != "table":
        raise MGLMError(
            f"table {config.table}",
            found=f"strategy {config.strategy}, which uses none",
            expected="strategy table",
            action="add --strategy table, or leave --table out",
        )
    counts, weights, inputs = read_inputs(counts_path, config)
    plan = build_plan(counts, **plan_options(config, weights))
    stage = open_stage(output, schema=PLAN, config=identity(config), inputs=inputs, overwrite=overwrite)
    if stage.done:
        log.info("%s: already made", output)
        return read_plan(output)
    for note in plan.notes:
        log.warning("%s", note)
    from balancing.balance_page import write_page
    from balancing.plot import plot_plan

    write_atomically(output / "plan.json", plan.to_json() + "\n")
    write_csv(plan, output / "plan.csv")
    plot_plan(plan, [output / "balance.png", output / "balance.svg"])
    write_page(plan, output / "balance.html", counts=counts_path, config=config, weights=weights)
    stage.finish(rows={"plan.csv": len(plan.languages)}, facts={"plan_sha256": plan.content_hash()})
    log.info(
        "%s: %s plan of %d languages by %s%s, %.1f s",
        output,
        plan.strategy,
        len(plan.languages),
        plan.count_unit,
        _describe_moves(plan),
        time.monotonic() - started,
    )
    return plan


def read_inputs(counts_path: Path, config: BalancingConfig) -> tuple[Counts, dict[str, float] | None, dict[str, str]]:
    """The counts, the user's table if there is one, and the identities of both for a manifest.

    Raises:
        MGLMError: a file or column is missing, or options contradict one another.
    """
    if config.strategy == "table" and config.table is None:
        raise MGLMError("strategy table", found="no table", expected="a CSV of shares", action="give --table FILE")
    columns = Columns(
        count=config.count_column,
        code=config.code_column,
        tokens=config.tokens_column,
        tokens_unit=config.tokens_unit,
        bytes=config.bytes_column,
        bytes_per_token=config.bytes_per_token,
    )
    counts = read_counts(counts_path, columns)
    inputs = {"counts": counts.identity}
    weights = None
    if config.table is not None:
        weights = read_weights(Path(config.table), config.table_column)
        inputs["table"] = sha256_file(Path(config.table))
    return counts, weights, inputs


def plan_options(config: BalancingConfig, weights: Mapping[str, float] | None) -> dict[str, Any]:
    """What of the configuration `balancing.fit.build_plan` takes."""
    line = ("curve", "regression", "fit_ranks", "fit_min_count")
    names = ("strategy", "alpha", *line, "budget_tokens", "max_epochs", "sequence_tokens")
    return {name: getattr(config, name) for name in names} | {"weights": weights}


def identity(config: BalancingConfig) -> dict[str, Any]:
    """The configuration as far as it decides the plan; a table counts by its content, not by its path."""
    return config.model_dump(exclude=OF_THE_SAMPLE | {"table"})


def write_csv(plan: Plan, path: Path) -> None:
    """The plan's languages, a row each, with their names; cells are empty where nothing is known."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["code", "name", *(name for name in PlanLanguage.model_fields if name != "code")])
        writer.writeheader()
        for language in plan.languages:
            writer.writerow(language.model_dump() | {"name": language_name(language.code)})


def _describe_moves(plan: Plan) -> str:
    if "most_reduced" not in plan.fit:
        return ""
    r2, slope = plan.fit["r2"], plan.fit["slope"]
    fit = f"slope {slope:.4f}, R² {r2:.3f}" if r2 is not None else "all counts equal"
    reduced, raised = (" ".join(plan.fit[key]) or "none" for key in ("most_reduced", "most_raised"))
    return f"; line {fit}, most reduced {reduced}, most raised {raised}"
