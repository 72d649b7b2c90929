"""The commands of `mglm balancing`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import MGLMError
from core.options import ConfigOption, OutputOption, OverwriteOption, SetOption

if TYPE_CHECKING:
    from balancing.config import BalancingConfig

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Counts per language to a plan of shares.")

CountsOption = Annotated[
    Path, typer.Option("--counts", help="CSV with a column code or language, or the output of corpus build.")
]
CountColumnOption = Annotated[
    str | None, typer.Option("--count-column", "--column", help="Column to balance by [documents].")
]
CodeColumnOption = Annotated[str | None, typer.Option(help="Column of the language codes [code or language].")]
AlphaOption = Annotated[float | None, typer.Option(help="0 is uniform, 1 as counted [0.3].")]
TableOption = Annotated[str | None, typer.Option(metavar="FILE", help="CSV with a column share or weight.")]
TableColumnOption = Annotated[str | None, typer.Option(help="Column of the table [share or weight].")]
CurveOption = Annotated[str | None, typer.Option(help="log-linear (the paper's line) or zipf [log-linear].")]
RegressionOption = Annotated[str | None, typer.Option(help="ols or theil-sen, which outliers do not pull [ols].")]
FitRanksOption = Annotated[str | None, typer.Option(metavar="A:B", help="Fit the line through these ranks only.")]
FitMinCountOption = Annotated[float | None, typer.Option(help="Fit the line through languages that have so many.")]
BudgetOption = Annotated[float | None, typer.Option(help="Tokens of the whole training, e.g. 8e11.")]
MaxEpochsOption = Annotated[str | None, typer.Option(metavar="N|none", help="Most passes over a language [none].")]
TokensColumnOption = Annotated[str | None, typer.Option(help="Column of the tokens that a language has.")]
TokensUnitOption = Annotated[float | None, typer.Option(help="What one in that column is, e.g. 1e9 [1].")]
BytesColumnOption = Annotated[str | None, typer.Option(help="Column of bytes, to estimate the tokens from.")]
BytesPerTokenOption = Annotated[float | None, typer.Option(help="To estimate them with [4].")]


@app.callback()
def balancing() -> None:
    """Counts per language to a plan of shares, and a sample that follows it."""


@app.command()
def fit(
    counts: CountsOption,
    output: OutputOption,
    count_column: CountColumnOption = None,
    code_column: CodeColumnOption = None,
    strategy: Annotated[
        str | None, typer.Option(help="two-stage, alpha, raw, uniform, unimax or table [two-stage].")
    ] = None,
    alpha: AlphaOption = None,
    table: TableOption = None,
    table_column: TableColumnOption = None,
    curve: CurveOption = None,
    regression: RegressionOption = None,
    fit_ranks: FitRanksOption = None,
    fit_min_count: FitMinCountOption = None,
    budget_tokens: BudgetOption = None,
    max_epochs: MaxEpochsOption = None,
    tokens_column: TokensColumnOption = None,
    tokens_unit: TokensUnitOption = None,
    bytes_column: BytesColumnOption = None,
    bytes_per_token: BytesPerTokenOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Plan the share of each language in training.

    Writes plan.json, plan.csv, balance.html to try other plans on, and plots.
    """
    options = dict(locals())  # first of all: names of options are names of fields
    from balancing.plan_files import make_plan

    make_plan(counts, output, config=_section(options), overwrite=overwrite)


@app.command()
def compare(
    counts: CountsOption,
    output: OutputOption,
    count_column: CountColumnOption = None,
    code_column: CodeColumnOption = None,
    alpha: AlphaOption = None,
    table: TableOption = None,
    table_column: TableColumnOption = None,
    curve: CurveOption = None,
    regression: RegressionOption = None,
    fit_ranks: FitRanksOption = None,
    fit_min_count: FitMinCountOption = None,
    budget_tokens: BudgetOption = None,
    max_epochs: MaxEpochsOption = None,
    tokens_column: TokensColumnOption = None,
    tokens_unit: TokensUnitOption = None,
    bytes_column: BytesColumnOption = None,
    bytes_per_token: BytesPerTokenOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Set all balancing strategies side by side.

    Tables, plots, and a summary on standard output.
    """
    options = dict(locals())
    from balancing.compare_files import make_comparison

    typer.echo(make_comparison(counts, output, config=_section(options), overwrite=overwrite))


@app.command()
def paper(
    tables: Annotated[
        Path,
        typer.Option("--tables", help="Directory with mc4.csv; cc100.csv and wikipedia_mbert.csv if you have them."),
    ],
) -> None:
    """Print the paper's shares beside those of public counts.

    The shares of section 3.5, and how far each question that the paper leaves open moves them.
    """
    from balancing.paper import report

    typer.echo(report(tables))


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
    """Draw documents in the plan's shares, for the tokenizer.

    Shares are met in bytes, and held-out documents are never drawn.
    """
    from balancing.config import BalancingConfig
    from balancing.sample import make_sample
    from core.config import RunConfig
    from core.spark import SparkConfig

    run = RunConfig(config, set_ or ())
    run.take_options("balancing", sample_bytes=target_bytes)
    make_sample(
        documents,
        plan,
        output,
        config=run.section("balancing", BalancingConfig),
        spark=run.section("spark", SparkConfig),
        overwrite=overwrite,
    )


def _section(options: dict[str, Any]) -> "BalancingConfig":
    """The [balancing] section with the options given on the command line, which are named as its fields."""
    from balancing.config import BalancingConfig
    from core.config import RunConfig

    run = RunConfig(options["config"], options["set_"] or ())
    given = {name: options.get(name) for name in BalancingConfig.model_fields}
    if given["max_epochs"] is not None:
        given["max_epochs"] = _epochs(given["max_epochs"])
    run.take_options("balancing", **given)
    return run.section("balancing", BalancingConfig)


def _epochs(text: str) -> float | str:
    if text.lower() == "none":
        return "none"  # which undoes what the config says; None would be an option not given
    try:
        return float(text)
    except ValueError:
        raise MGLMError("--max-epochs", found=text, expected="a number or none") from None
