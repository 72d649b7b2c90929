"""`mglm tokenizer`: train the vocabulary, write the shards."""

from pathlib import Path
from typing import Annotated

import typer

from core.options import ConfigOption, OutputOption, OverwriteOption, SetOption

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Train the vocabulary and write Arrow shards.")


@app.command()
def train(
    sample: Annotated[Path, typer.Option("--sample", help="Directory made by `mglm balancing sample`.")],
    output: OutputOption,
    vocab_size: Annotated[
        int | None, typer.Option("--vocab-size", help="Pieces, before commands and padding; default 250000.")
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Train a SentencePiece model on a balanced sample."""
    from core.config import RunConfig
    from tokenizer.config import TokenizerConfig
    from tokenizer.train import train_tokenizer

    overrides = [*(set_ or []), *([f"tokenizer.vocab_size={vocab_size}"] if vocab_size is not None else [])]
    section = RunConfig(config, overrides).section("tokenizer", TokenizerConfig)
    train_tokenizer(sample, output, section, overwrite=overwrite)


@app.command()
def shard(
    documents: Annotated[Path, typer.Option("--documents", help="Directory made by `mglm corpus build`.")],
    plan: Annotated[Path, typer.Option("--plan", help="plan.json, or the directory of `mglm balancing fit`.")],
    tokenizer: Annotated[Path, typer.Option("--tokenizer", help="Directory made by `mglm tokenizer train`.")],
    output: OutputOption,
    config: ConfigOption = None,
    set_: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Tokenise the training documents of the plan's languages into Arrow shards, with Spark."""
    from core.config import RunConfig
    from core.spark import SparkConfig
    from tokenizer.config import TokenizerConfig
    from tokenizer.shard_job import shard as run

    settings = RunConfig(config, set_ or [])
    section, spark = settings.section("tokenizer", TokenizerConfig), settings.section("spark", SparkConfig)
    run(documents, plan, tokenizer, output, section, spark, overwrite=overwrite)
