"""`mglm eval …`: tasks, prepare, predict, score, sweep, bits-per-byte, report, rating, harness, contamination."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import MGLMError
from core.options import ConfigOption, OutputOption, OverwriteOption, SetOption

if TYPE_CHECKING:
    from eval.config import EvalConfig

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Make examples, predict, score and report on held-out text."
)

ModelOption = Annotated[
    Path, typer.Option("--model", help="Hugging Face directory: of `mglm model convert --to hf`, or any other model.")
]
ExamplesOption = Annotated[Path, typer.Option("--examples", help="Directory of `mglm eval prepare`.")]
ExampleSetsOption = Annotated[
    list[Path], typer.Option("--examples", help="Directory of `mglm eval prepare`; repeatable.")
]
DocumentsOption = Annotated[Path, typer.Option("--documents", help="Directory of `mglm corpus build`.")]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="Examples, spread over language pairs; all without it.")
]


def _section(config: Path | None, overrides: list[str] | None) -> "EvalConfig":
    """[eval] of the user's configuration."""
    from core.config import RunConfig
    from eval.config import EvalConfig

    return RunConfig(config, overrides or ()).section("eval", EvalConfig)


@app.command("tasks")
def tasks_command() -> None:
    """List the tasks, with the files that each is made from."""
    from eval.tasks import tasks

    for task in tasks().values():
        print(f"{task.name}  {task.title}")
        for source in task.sources:
            name = f"{source.split} {source.part}".rstrip()
            print(f"    {name}: {' or '.join(source.files)}{''.join(f' with {beside}' for beside in source.beside)}")


@app.command("prepare")
def prepare_command(
    task: Annotated[
        str, typer.Option("--task", help="A name of `mglm eval tasks`, or a TOML file that declares a task.")
    ],
    inputs: Annotated[
        list[Path], typer.Option("--input", help="Folder with the published files, or a file; repeatable.")
    ],
    output: OutputOption,
    config: ConfigOption = None,
    overrides: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Make a task's prompted examples: train, dev, held-out."""
    from eval.prepare import prepare

    prepare(task, inputs, output, _section(config, overrides), overwrite=overwrite)


@app.command("few-shot")
def few_shot_command(
    examples: ExamplesOption,
    output: OutputOption,
    shots: Annotated[int, typer.Option("--shots", min=0, help="Training examples before each question.")] = 4,
    shown: Annotated[
        str, typer.Option("--shown", help="Target language of these examples; default: the question's own.")
    ] = "",
    asked: Annotated[str, typer.Option("--asked", help="Questions of this target language alone.")] = "",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed that picks the examples shown.")] = 0,
    overwrite: OverwriteOption = False,
) -> None:
    """Put answered examples before every held-out question.

    Then `mglm eval predict` as always.
    """
    from eval.few_shot import few_shot

    few_shot(examples, output, shots=shots, shown=shown, asked=asked, seed=seed, overwrite=overwrite)


@app.command("predict")
def predict_command(
    model: ModelOption,
    examples: ExamplesOption,
    output: OutputOption,
    limit: LimitOption = None,
    split: Annotated[str, typer.Option("--split", help="Which examples: heldout or dev.")] = "heldout",
    config: ConfigOption = None,
    overrides: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Let a model write the targets of held-out examples. A killed run continues where it was."""
    from eval.predict import predict

    predict(model, examples, output, _section(config, overrides), limit=limit, split=split, overwrite=overwrite)


@app.command("score")
def score_command(
    task: Annotated[
        str | None, typer.Option("--task", help="Of files: rouge (mean F, 0 to 1; default), squad or mlqa (percent).")
    ] = None,
    language: Annotated[
        str | None, typer.Option("--language", help="Of files: language of the texts, e.g. zh.")
    ] = None,
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
    scorer: Annotated[
        str | None, typer.Option("--scorer", help="Of files: standard (default), or authors, the paper's way.")
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option("--tokenizer", help="SentencePiece model or tokenizer directory, for the authors' ROUGE."),
    ] = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Score predictions. Two files give one JSON object on stdout; a predictions directory gives a scores directory."""
    from eval.score import score_directory
    from eval.score_files import score_files

    section = _section(config, overrides)
    if predictions is None:
        raise MGLMError("--predictions", found="nothing", expected="a file (with --references) or a directory")
    if references is not None:
        if output is not None:
            raise MGLMError("--output", found="--references too", expected="files, whose score goes to stdout")
        way = scorer or "standard"
        print(json.dumps(score_files(task or "rouge", language, references, predictions, way, tokenizer)))
        return
    if output is None:
        expected = "--references FILE to score a file, or --output DIR to score a directory of mglm eval predict"
        raise MGLMError(f"--predictions {predictions}", found="it alone", expected=expected)
    for option, value in (("--task", task), ("--language", language), ("--scorer", scorer)):
        if value is not None:
            expected = "--references FILE with it: a directory of mglm eval predict says by itself how it is scored"
            raise MGLMError(f"{option} {value}", found="--output", expected=expected, action="leave it out")
    score_directory(predictions, output, tokenizer=tokenizer, resamples=section.resamples, overwrite=overwrite)


@app.command("bits-per-byte")
def bits_per_byte_command(
    model: Annotated[Path, typer.Option("--model", help="Directory of `mglm model convert --to hf`.")],
    documents: DocumentsOption,
    output: OutputOption,
    config: ConfigOption = None,
    overrides: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Measure the bits a model needs per byte of held-out text.

    It is measured language by language.
    """
    from eval.bits_per_byte import measure

    measure(model, documents, output, _section(config, overrides), overwrite=overwrite)


@app.command("sweep")
def sweep_command(
    model: ModelOption,
    examples: ExamplesOption,
    output: OutputOption,
    beams: Annotated[str, typer.Option("--beams", help="Numbers with commas, e.g. 1,4,5.")] = "",
    length_penalties: Annotated[str, typer.Option("--length-penalties", help="E.g. 0,0.7,1.")] = "",
    temperatures: Annotated[str, typer.Option("--temperatures", help="E.g. 0,0.7; 0 samples nothing.")] = "",
    split: Annotated[str, typer.Option("--split", help="dev (held-out figures stay honest) or heldout.")] = "dev",
    limit: LimitOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Predict and score at every combination of settings.

    The settings are those of decoding; the rows come as JSON, best first.
    """
    from eval.sweep import numbers, sweep

    section = _section(config, overrides)
    rows = sweep(
        model, examples, output, section,
        beams=[int(value) for value in numbers("--beams", beams, least=1, whole=True)],
        length_penalties=numbers("--length-penalties", length_penalties),
        temperatures=numbers("--temperatures", temperatures, least=0),
        split=split, limit=limit, overwrite=overwrite,
    )  # fmt: skip
    print(json.dumps(rows, indent=1))


@app.command("rating")
def rating_command(
    predictions: Annotated[
        list[Path] | None, typer.Option("--predictions", help="Directory of `mglm eval predict`; give two.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Directory to make for the sheet and its key.")
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="Examples to rate.")] = 50,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of what is drawn and in which order.")] = 0,
    sheet: Annotated[Path | None, typer.Option("--sheet", help="A filled sheet, to be counted.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="The key of the filled sheet.")] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Make a blinded sheet for people to rate, or count one.

    A sheet sets two systems side by side; what a filled one counts to is JSON.
    """
    from eval.rating import make_sheet, tally

    if sheet is not None and key is not None and not predictions:
        print(json.dumps(tally(sheet, key), ensure_ascii=False))
        return
    if sheet is not None or key is not None or output is None or len(predictions or ()) != 2:
        expected = "--predictions twice and --output, to make a sheet; or --sheet and --key, to count one"
        raise MGLMError("mglm eval rating", found="neither of its two forms", expected=expected)
    assert predictions is not None
    make_sheet(predictions[0], predictions[1], output, count=count, seed=seed, overwrite=overwrite)


@app.command("report")
def report_command(
    scores: Annotated[list[Path], typer.Option("--scores", help="Directory of `mglm eval score`; repeatable.")],
    names: Annotated[
        list[str] | None, typer.Option("--name", help="What a system is called, in the order of --scores.")
    ] = None,
    bits_per_byte: Annotated[
        Path | None, typer.Option("--bits-per-byte", help="Directory of `mglm eval bits-per-byte`.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="File: .html for a page, else Markdown; stdout without it.")
    ] = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Show scores beside the paper's and other systems'.

    Bits per byte go in, too, where they are given.
    """
    from core.manifest import write_atomically
    from eval.report import report

    section = _section(config, overrides)
    if output is not None and (output.is_dir() or not output.parent.is_dir()):
        found = "a directory" if output.is_dir() else f"no directory {output.parent}"
        raise MGLMError(f"--output {output}", found=found, expected="a file to write", action="name a file")
    html = output is not None and output.suffix == ".html"
    text = report(scores, bits_per_byte, names=names or (), html=html, resamples=section.resamples)
    if output is None:
        print(text, end="")
    else:
        write_atomically(output, text)


@app.command("harness")
def harness_command(
    examples: ExampleSetsOption,
    output: OutputOption,
    config: ConfigOption = None,
    overrides: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write examples as tasks of lm-evaluation-harness.

    `python -m eval.harness run --model mglm` then runs them.
    """
    from eval.harness_tasks import write_harness_tasks

    section = _section(config, overrides)
    manifest = write_harness_tasks(examples, output, section, overwrite=overwrite)
    for entry in manifest.files:
        if entry.path.endswith(".yaml"):
            print(entry.path.removesuffix(".yaml"))


@app.command("contamination")
def contamination_command(
    documents: DocumentsOption,
    examples: ExampleSetsOption,
    output: OutputOption,
    config: ConfigOption = None,
    overrides: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Count test text that stands in the training documents.

    A Spark job.
    """
    from core.config import RunConfig
    from core.spark import SparkConfig
    from eval.contamination import contamination, table

    spark = RunConfig(config, overrides or ()).section("spark", SparkConfig)
    section = _section(config, overrides)
    manifest = contamination(documents, examples, output, section, spark, overwrite=overwrite)
    print(table(manifest.facts["sets"]))
