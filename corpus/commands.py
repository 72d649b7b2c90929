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
        typer.Option("--input", metavar="PATH", help="JSON Lines, Parquet, text, WET or WARC: file, directory, glob."),
    ],
    output: OutputOption,
    lid_model: Annotated[
        Path | None, typer.Option("--lid-model", help="fastText model file; default: lid.176.ftz as shipped.")
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Read raw files; sort their documents by language.

    Text is normalised, its language detected, duplicates are dropped, and every record is accounted for. Out come
    Parquet files.
    """
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


@app.command("train-lid")
def train_lid(
    inputs: Annotated[
        list[str],
        typer.Option("--input", metavar="PATH", help="JSON Lines with a text and its language; repeatable."),
    ],
    output: Annotated[Path, typer.Option("--output", help="The model file to make, NAME.ftz; more goes beside it.")],
    combine_with: Annotated[
        str | None,
        typer.Option("--combine-with", help="fastText model to combine with; default: lid.176; none: no combination."),
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Train a language detector on labelled text.

    It is quantised, combined with another, and measured on what was held out.
    """
    from core.config import RunConfig
    from corpus.lid_config import LidConfig
    from corpus.train_lid import summary
    from corpus.train_lid import train_lid as train

    section = RunConfig(config, set_ or ()).section("lid", LidConfig)
    if combine_with is not None:
        section = LidConfig(**(section.model_dump() | {"combine_with": combine_with}))
    print(summary(train(inputs, output, config=section, overwrite=overwrite)))


@app.command("lid-quality")
def lid_quality(
    inputs: Annotated[
        list[str],
        typer.Option("--input", metavar="PATH", help="JSON Lines with a text and its language or id; repeatable."),
    ],
    output: Annotated[Path, typer.Option("--output", metavar="PREFIX", help="PREFIX.md, PREFIX.json and figures.")],
    gold: Annotated[
        Path | None, typer.Option("--gold", help="Table of ids and languages (.tsv or .csv), where records have none.")
    ] = None,
    lid_models: Annotated[
        list[Path] | None,
        typer.Option(
            "--lid-model", help="Detector to compare with lid.176, on what it was not trained on; repeatable."
        ),
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> None:
    """Measure language detectors on labelled text.

    F1 by language, confusions, the effect of threshold and length.
    """
    from core.config import RunConfig
    from corpus.lid_config import LidConfig
    from corpus.lid_quality import lid_quality as measure

    section = RunConfig(config, set_ or ()).section("lid", LidConfig)
    result = measure(inputs, output, models=lid_models or [], gold=gold, config=section)
    for name, found in result["detectors"].items():
        scores = found["documents"]
        print(
            f"{name}: accuracy {scores['accuracy']:.4f}, macro-F1 {scores['macro_f1']:.4f}, {scores['texts']} documents"
        )


@app.command()
def report(
    documents: Annotated[Path, typer.Option("--documents", help="Directory made by `mglm corpus build`.")],
    output: Annotated[
        Path | None, typer.Option("--output", help="Directory for a page with plots, index.html; without it the table.")
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Show what a corpus holds, and where other records went.

    A table by language; with --output, also a page with plots.
    """
    from corpus.report import report as report_on

    typer.echo(report_on(documents, output, overwrite=overwrite))


@app.command()
def delete(
    documents: Annotated[Path, typer.Option("--documents", help="Directory made by `mglm corpus build`.")],
    ids: Annotated[Path | None, typer.Option("--ids", help="File of doc_ids, one a line.")] = None,
    urls: Annotated[Path | None, typer.Option("--urls", help="File of URLs as the documents have them.")] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> None:
    """Take documents out of a corpus, by id or URL.

    `mglm delete` does it for shards and runs too.
    """
    from core.config import RunConfig
    from core.spark import SparkConfig
    from corpus.delete import delete_documents, wanted_ids

    spark = RunConfig(config, set_ or ()).section("spark", SparkConfig)
    for doc_id in delete_documents(documents, ids=wanted_ids(documents, ids, urls, spark), spark=spark):
        typer.echo(doc_id)
