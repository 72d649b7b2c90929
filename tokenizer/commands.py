"""`mglm tokenizer`: train or import a vocabulary, report on it, write the shards."""

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
    model_type: Annotated[str | None, typer.Option("--model-type", help="unigram (the default) or bpe.")] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Train a SentencePiece model on a balanced sample."""
    from core.config import RunConfig
    from tokenizer.config import TokenizerConfig
    from tokenizer.train import train_tokenizer

    run = RunConfig(config, set_ or [])
    run.take_options("tokenizer", vocab_size=vocab_size, model_type=model_type)
    train_tokenizer(sample, output, run.section("tokenizer", TokenizerConfig), overwrite=overwrite)


@app.command("import")
def import_(
    model: Annotated[Path, typer.Option("--model", help="SentencePiece .model file, e.g. mT5's or the authors'.")],
    output: OutputOption,
    overwrite: OverwriteOption = False,
) -> None:
    """Take a SentencePiece model from elsewhere, ids unchanged."""
    from tokenizer.foreign import import_model

    import_model(model, output, overwrite=overwrite)


@app.command()
def extend(
    tokenizer: Annotated[Path, typer.Option("--tokenizer", help="Directory of the tokenizer to extend.")],
    sample: Annotated[
        Path, typer.Option("--sample", help="Directory made by `mglm balancing sample`: text of the new languages.")
    ],
    pieces: Annotated[int, typer.Option("--pieces", min=1, help="New pieces to append.")],
    output: OutputOption,
    config: ConfigOption = None,
    set_: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Append pieces for new languages to a unigram vocabulary.

    The old ones keep their ids.
    """
    from core.config import RunConfig
    from tokenizer.config import TokenizerConfig
    from tokenizer.extend import extend_tokenizer

    section = RunConfig(config, set_ or []).section("tokenizer", TokenizerConfig)
    extend_tokenizer(tokenizer, sample, output, pieces, section, overwrite=overwrite)


@app.command()
def report(
    tokenizer: Annotated[Path, typer.Option("--tokenizer", help="Directory of `mglm tokenizer train` or `import`.")],
    documents: Annotated[Path, typer.Option("--documents", help="Directory made by `mglm corpus build`.")],
    output: OutputOption,
    against: Annotated[
        list[Path] | None, typer.Option("--against", help="Another tokenizer directory to compare with; repeatable.")
    ] = None,
    parallel: Annotated[
        list[Path] | None,
        typer.Option("--parallel", help="JSON Lines of group, lang and text, or a directory of them; repeatable."),
    ] = None,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="plan.json that ranks the languages; default: by their documents.")
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Measure what a vocabulary spends on each language.

    It is measured on held-out text and, with --parallel, on texts that say the same in English.
    """
    from core.config import RunConfig
    from tokenizer.config import TokenizerConfig
    from tokenizer.report import make_report

    section = RunConfig(config, set_ or []).section("tokenizer", TokenizerConfig)
    make_report(
        tokenizer,
        documents,
        output,
        section,
        against=against or (),
        parallel=parallel or (),
        plan=plan,
        overwrite=overwrite,
    )


@app.command()
def shard(
    documents: Annotated[Path, typer.Option("--documents", help="Directory made by `mglm corpus build`.")],
    plan: Annotated[Path, typer.Option("--plan", help="plan.json, or the directory of `mglm balancing fit`.")],
    tokenizer: Annotated[Path, typer.Option("--tokenizer", help="Directory made by `mglm tokenizer train`.")],
    output: OutputOption,
    budget_tokens: Annotated[
        float | None,
        typer.Option(
            "--budget-tokens", help="Tokens of the whole training: no language is tokenised beyond its share."
        ),
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Tokenise the plan's languages into Arrow shards.

    A Spark job over their training documents; held-out ones are left out.
    """
    from core.config import RunConfig
    from core.spark import SparkConfig
    from tokenizer.config import TokenizerConfig
    from tokenizer.shard_job import shard as run

    settings = RunConfig(config, set_ or [])
    settings.take_options("tokenizer", budget_tokens=budget_tokens)
    section, spark = settings.section("tokenizer", TokenizerConfig), settings.section("spark", SparkConfig)
    run(documents, plan, tokenizer, output, section, spark, overwrite=overwrite)
