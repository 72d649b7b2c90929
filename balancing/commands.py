"""The commands of `mglm balancing`."""

from pathlib import Path
from typing import Annotated

import typer

from core.errors import MGLMError
from core.options import ConfigOption, OutputOption, OverwriteOption, SetOption

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Counts per language to a plan of shares.")


@app.callback()
def balancing() -> None:
    """Counts per language to a plan of shares, and a sample that follows it."""


@app.command()
def fit(
    counts: Annotated[
        Path, typer.Option("--counts", help="CSV with a column code or language, or the output of corpus build.")
    ],
    output: OutputOption,
    count_column: Annotated[str | None, typer.Option(help="Column to balance by [documents].")] = None,
    strategy: Annotated[str | None, typer.Option(help="two-stage, alpha, raw or uniform [two-stage].")] = None,
    curve: Annotated[str | None, typer.Option(help="log-linear (the paper's line) or zipf [log-linear].")] = None,
    alpha: Annotated[float | None, typer.Option(help="0 is uniform, 1 as counted [0.3].")] = None,
    budget_tokens: Annotated[float | None, typer.Option(help="Tokens of the whole training.")] = None,
    max_epochs: Annotated[str | None, typer.Option(metavar="N|none", help="Most passes over a language.")] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Fit the two-stage line and write plan.json, plan.csv and the plots. Options override the [balancing] section."""
    from balancing.config import BalancingConfig
    from balancing.plan_files import make_plan
    from core.config import RunConfig

    options = {
        "count_column": count_column,
        "strategy": strategy,
        "curve": curve,
        "alpha": alpha,
        "budget_tokens": budget_tokens,
    }
    run = RunConfig(config, set_ or ())
    table = run.tables.setdefault("balancing", {})
    table |= {name: value for name, value in options.items() if value is not None}
    if max_epochs is not None:
        table["max_epochs"] = _epochs(max_epochs)
    make_plan(counts, output, config=run.section("balancing", BalancingConfig), overwrite=overwrite)


@app.command()
def sample(
    documents: Annotated[Path, typer.Option("--documents", help="Output of corpus build.")],
    plan: Annotated[Path, typer.Option("--plan", help="plan.json of balancing fit, or its directory.")],
    output: OutputOption,
    target_bytes: Annotated[int | None, typer.Option(help="Text to take, at most [1000000000].")] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Draw documents of the train split in the plan's shares, by bytes: what the tokenizer is trained on."""
    from balancing.config import BalancingConfig
    from balancing.sample import make_sample
    from core.config import RunConfig
    from core.spark import SparkConfig

    run = RunConfig(config, set_ or ())
    if target_bytes is not None:
        run.tables.setdefault("balancing", {})["sample_bytes"] = target_bytes
    make_sample(
        documents,
        plan,
        output,
        config=run.section("balancing", BalancingConfig),
        spark=run.section("spark", SparkConfig),
        overwrite=overwrite,
    )


def _epochs(text: str) -> float | None:
    if text.lower() == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise MGLMError("--max-epochs", found=text, expected="a number or none") from None
