"""`mglm train`: pretrain, finetune, preview, curves."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.options import ConfigOption, OutputOption, OverwriteOption, SetOption

if TYPE_CHECKING:
    from train.dry_run import DryRun

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Pretrain, fine-tune, and look at training samples."
)

ShardsOption = Annotated[Path, typer.Option("--shards", help="Directory made by `mglm tokenizer shard`.")]
NprocOption = Annotated[
    int | None,
    typer.Option(
        "--nproc", min=1, help="Processes on this machine; default: one per GPU, else what the model is split over."
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, say what the run will take, start nothing.")
]
RateOption = Annotated[
    float | None,
    typer.Option("--tokens-per-second", min=1e-3, help="With --dry-run: the rate of all processes together."),
]
MeasuredOption = Annotated[
    Path | None, typer.Option("--measured", help="With --dry-run: a former run's output, whose rate is taken.")
]
JSONOption = Annotated[bool, typer.Option("--json", help="With --dry-run: one JSON object.")]


@app.command()
def pretrain(
    shards: ShardsOption,
    plan: Annotated[Path, typer.Option("--plan", help="plan.json, or the directory of `mglm balancing fit`.")],
    output: OutputOption,
    heldout: Annotated[
        Path | None,
        typer.Option("--heldout", help="Directory made by `mglm corpus build`: measure on its held-out documents."),
    ] = None,
    continue_from: Annotated[
        Path | None,
        typer.Option(
            "--continue-from",
            help="Another run's output, or one step of it: go on from there, with other data or another schedule.",
        ),
    ] = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
    nproc: NprocOption = None,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    tokens_per_second: RateOption = None,
    measured: MeasuredOption = None,
    as_json: JSONOption = False,
) -> None:
    """Train a GLM from nothing, in the plan's language shares.

    The same command continues a run that was stopped; under torchrun each process is a worker.
    """
    from train.pretrain import pretrain as train

    train(
        config=config,
        overrides=overrides or [],
        shards=shards,
        plan=plan,
        output=output,
        heldout=heldout,
        continue_from=continue_from,
        nproc=nproc,
        overwrite=overwrite,
        dry_run=_dry_run(dry_run, tokens_per_second, measured, as_json),
    )


@app.command()
def finetune(
    context: typer.Context,
    init: Annotated[
        Path,
        typer.Option(
            "--init",
            help="Output of pretraining or fine-tuning, one of its step directories, or another's Hugging Face model.",
        ),
    ],
    examples: Annotated[Path, typer.Option("--examples", help="Directory made by `mglm eval prepare`.")],
    output: OutputOption,
    task: Annotated[str | None, typer.Option("--task", help="Take the examples of this task alone.")] = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
    nproc: NprocOption = None,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    tokens_per_second: RateOption = None,
    measured: MeasuredOption = None,
    as_json: JSONOption = False,
) -> None:
    """Train a checkpoint further on prompted examples.

    A Hugging Face model that is not ours (mT5, BLOOM, NLLB …) is trained likewise, to compare with.

    The same command continues a run that was stopped; under torchrun each process is a worker.
    """
    from train.finetune import finetune as train

    train(
        config=config,
        overrides=overrides or [],
        init=init,
        examples=examples,
        output=output,
        task=task,
        nproc=nproc,
        overwrite=overwrite,
        dry_run=_dry_run(dry_run, tokens_per_second, measured, as_json),
        find_development=(context.find_root().obj or {}).get("find_development"),
    )


@app.command()
def preview(
    shards: ShardsOption,
    plan: Annotated[Path | None, typer.Option("--plan", help="Take its shares; default: all languages alike.")] = None,
    number: Annotated[int, typer.Option("--count", min=1, help="How many samples.")] = 5,
    language: Annotated[str | None, typer.Option("--language", help="Samples of this language alone.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with ids and positions.")] = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Show the samples that pretraining would see, as text or as ids."""
    import json

    from core.config import RunConfig
    from train.preview import as_text
    from train.preview import preview as records

    for record in records(RunConfig(config, overrides or []), shards, plan, number, language):
        typer.echo(json.dumps(record, ensure_ascii=False) if as_json else as_text(record) + "\n")


def _dry_run(wanted: bool, tokens_per_s: float | None, measured: Path | None, as_json: bool) -> "DryRun | None":
    from core.errors import MGLMError
    from train.dry_run import DryRun

    given = {"--tokens-per-second": tokens_per_s, "--measured": measured, "--json": as_json or None}
    names = [name for name, value in given.items() if value is not None]
    if names and not wanted:
        raise MGLMError(names[0], found="no --dry-run", expected="both", action="add --dry-run, or leave it out")
    if tokens_per_s is not None and measured is not None:
        raise MGLMError("--tokens-per-second", found="--measured too", expected="one of them", action="leave one out")
    return DryRun(tokens_per_s, measured, as_json) if wanted else None


@app.command()
def curves(
    runs: Annotated[list[Path], typer.Option("--run", help="Output of pretraining or fine-tuning; repeatable.")],
    output: Annotated[Path, typer.Option("--output", help="File to draw: .png, .svg or .pdf.")],
) -> None:
    """Draw the curves of one run or several.

    They are loss, held-out bits per byte, throughput, gradient norm and waits.
    """
    from train.curves import draw_curves

    draw_curves(runs, output)
    typer.echo(str(output))
