"""`mglm balancing fit`: counts → a plan/1 directory: plan.json, plan.csv, balance.png, balance.svg."""

import csv
import time
from pathlib import Path

from balancing.config import BalancingConfig
from balancing.counts import Counts, read_counts
from balancing.fit import fit_plan
from core.languages import language_name
from core.log import get_logger
from core.manifest import open_stage, write_atomically
from core.plan import PLAN, Plan, PlanLanguage, read_plan

log = get_logger("balancing")


def make_plan(counts_path: Path, output: Path, *, config: BalancingConfig, overwrite: bool = False) -> Plan:
    """Fits and writes the plan, or reads the one that was made of the same counts and configuration.

    Raises:
        MGLMError: the counts, the configuration or the output directory will not do.
    """
    started = time.monotonic()
    counts = read_counts(
        counts_path, config.count_column, tokens_column=config.tokens_column, bytes_per_token=config.bytes_per_token
    )
    plan = _fit(counts, config)
    identity = config.model_dump(exclude={"sample_bytes", "max_copies", "seed"})
    stage = open_stage(output, schema=PLAN, config=identity, inputs={"counts": counts.identity}, overwrite=overwrite)
    if stage.done:
        log.info("%s: already made", output)
        return read_plan(output)
    from balancing.plot import plot_plan

    write_atomically(output / "plan.json", plan.to_json() + "\n")
    write_csv(plan, output / "plan.csv")
    plot_plan(plan, [output / "balance.png", output / "balance.svg"])
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


def write_csv(plan: Plan, path: Path) -> None:
    """The plan's languages, a row each, with their names; cells are empty where nothing is known."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["code", "name", *(name for name in PlanLanguage.model_fields if name != "code")])
        writer.writeheader()
        for language in plan.languages:
            writer.writerow(language.model_dump() | {"name": language_name(language.code)})


def _fit(counts: Counts, config: BalancingConfig) -> Plan:
    return fit_plan(
        counts.counts,
        strategy=config.strategy,
        alpha=config.alpha,
        curve=config.curve,
        budget_tokens=config.budget_tokens,
        available_tokens=counts.available_tokens,
        available_source=counts.available_source,
        max_epochs=config.max_epochs,
        count_unit=counts.unit,
    )


def _describe_moves(plan: Plan) -> str:
    if "most_reduced" not in plan.fit:
        return ""
    r2 = plan.fit["r2"]
    fit = f"R² {r2:.3f}" if r2 is not None else "all counts equal"
    reduced, raised = (" ".join(plan.fit[key]) or "none" for key in ("most_reduced", "most_raised"))
    return f"; line {fit}, most reduced {reduced}, most raised {raised}"
