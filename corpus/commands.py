"""The commands of `mglm corpus`."""

from pathlib import Path
from typing import Annotated

import typer

from core.options import ConfigOption, OutputOption, OverwriteOption, SetOption

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Raw crawl to documents by language.")


@app.callback()
def corpus() -> None:
    """Raw crawl to documents by language."""


@app.command()
def build(
    inputs: Annotated[
        list[str],
        typer.Option("--input", metavar="PATH", help="JSON Lines file, directory or quoted glob; repeatable."),
    ],
    output: OutputOption,
    lid_model: Annotated[
        Path | None, typer.Option("--lid-model", help="fastText model file; default: lid.176.ftz as shipped.")
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Read, normalise, detect languages, drop exact duplicates: raw files to Parquet documents, all accounted for."""
    from core.config import RunConfig
    from core.spark import SparkConfig
    from corpus.build import build as build_documents
    from corpus.config import CorpusConfig

    run = RunConfig(config, set_ or ())
    build_documents(
        inputs,
        output,
        config=run.section("corpus", CorpusConfig),
        spark=run.section("spark", SparkConfig),
        lid_model=lid_model,
        overwrite=overwrite,
    )
