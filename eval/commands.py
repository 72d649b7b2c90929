"""`mglm eval …`: prepare, predict, score, bits-per-byte, report."""

import json
from pathlib import Path
from typing import Annotated

import typer

from core.errors import MGLMError
from core.options import ConfigOption, OutputOption, OverwriteOption, SetOption

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Make examples, predict, score and report on held-out text."
)

ModelOption = Annotated[Path, typer.Option("--model", help="Hugging Face directory of `mglm model convert --to hf`.")]


@app.command("prepare")
def prepare_command(
    task: Annotated[str, typer.Option("--task", help="What to make examples of: summaries.")],
    inputs: Annotated[list[Path], typer.Option("--input", help="JSONL file of records; repeatable.")],
    output: OutputOption,
    config: ConfigOption = None,
    overrides: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Make prompted examples of a task, training and held-out ones."""
    from core.config import RunConfig
    from eval.config import EvalConfig
    from eval.prepare import prepare

    section = RunConfig(config, overrides or ()).section("eval", EvalConfig)
    prepare(task, inputs, output, section, overwrite=overwrite)


@app.command("predict")
def predict_command(
    model: ModelOption,
    examples: Annotated[Path, typer.Option("--examples", help="Directory of `mglm eval prepare`.")],
    output: OutputOption,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Examples, spread over language pairs.")] = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Let a model write the targets of held-out examples. A killed run continues where it was."""
    from core.config import RunConfig
    from eval.config import EvalConfig
    from eval.predict import predict

    section = RunConfig(config, overrides or ()).section("eval", EvalConfig)
    predict(model, examples, output, section, limit=limit, overwrite=overwrite)


@app.command("score")
def score_command(
    task: Annotated[str, typer.Option("--task", help="rouge (mean F, 0 to 1) or squad (percent).")] = "rouge",
    language: Annotated[str | None, typer.Option("--language", help="Language of the texts, e.g. zh.")] = None,
    references: Annotated[
        Path | None, typer.Option("--references", help="JSONL with id and text, one text per line, or SQuAD JSON.")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", help="JSONL, lines or {id: text}; or a directory of `mglm eval predict`."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Directory to make, for a directory's scores.")
    ] = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Score predictions. Two files give one JSON object on stdout; a predictions directory gives a scores directory."""
    from core.config import RunConfig
    from eval.config import EvalConfig
    from eval.score import score_directory, score_files

    RunConfig(config, overrides or ()).section("eval", EvalConfig)  # no field decides a score; a mistake is one still
    if predictions is None:
        raise MGLMError("--predictions", found="nothing", expected="a file (with --references) or a directory")
    if references is not None:
        if output is not None:
            raise MGLMError("--output", found="--references too", expected="files, whose score goes to stdout")
        print(json.dumps(score_files(task, language, references, predictions)))
        return
    if output is None:
        expected = "--references FILE to score a file, or --output DIR to score a directory of mglm eval predict"
        raise MGLMError(f"--predictions {predictions}", found="it alone", expected=expected)
    score_directory(predictions, output, overwrite=overwrite)


@app.command("bits-per-byte")
def bits_per_byte_command(
    model: ModelOption,
    documents: Annotated[Path, typer.Option("--documents", help="Directory of `mglm corpus build`.")],
    output: OutputOption,
    config: ConfigOption = None,
    overrides: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Measure how many bits a model needs for a byte of held-out text, language by language."""
    from core.config import RunConfig
    from eval.bits_per_byte import measure
    from eval.config import EvalConfig

    section = RunConfig(config, overrides or ()).section("eval", EvalConfig)
    measure(model, documents, output, section, overwrite=overwrite)


@app.command("report")
def report_command(
    scores: Annotated[Path, typer.Option("--scores", help="Directory of `mglm eval score`.")],
    bits_per_byte: Annotated[
        Path | None, typer.Option("--bits-per-byte", help="Directory of `mglm eval bits-per-byte`.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", help="Markdown file; stdout without it.")] = None,
) -> None:
    """Show scores and bits per byte as Markdown tables."""
    from core.manifest import write_atomically
    from eval.report import report

    text = report(scores, bits_per_byte)
    if output is None:
        print(text, end="")
        return
    if output.is_dir() or not output.parent.is_dir():
        found = "a directory" if output.is_dir() else f"no directory {output.parent}"
        raise MGLMError(f"--output {output}", found=found, expected="a file to write", action="name a file")
    write_atomically(output, text)
