"""`mglm train`: pretrain, finetune, preview."""

from pathlib import Path
from typing import Annotated

import typer

from core.options import ConfigOption, OutputOption, OverwriteOption, SetOption

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Pretrain, fine-tune, and look at training samples."
)

ShardsOption = Annotated[Path, typer.Option("--shards", help="Directory made by `mglm tokenizer shard`.")]
NprocOption = Annotated[
    int | None,
    typer.Option("--nproc", help="Processes on this machine; default: one per GPU, else what the model is split over."),
]


@app.command()
def pretrain(
    shards: ShardsOption,
    plan: Annotated[Path, typer.Option("--plan", help="plan.json made by `mglm balancing fit`.")],
    output: OutputOption,
    config: ConfigOption = None,
    overrides: SetOption = None,
    nproc: NprocOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Train a GLM from nothing on shards, in the plan's language shares.

    The same command continues a run that was stopped; under torchrun each process is a worker.
    """
    from train.pretrain import pretrain as train

    train(
        config=config,
        overrides=overrides or [],
        shards=shards,
        plan=plan,
        output=output,
        nproc=nproc,
        overwrite=overwrite,
    )


@app.command()
def finetune(
    init: Annotated[
        Path, typer.Option("--init", help="Output of pretraining or fine-tuning, or one of its step directories.")
    ],
    examples: Annotated[Path, typer.Option("--examples", help="Directory made by `mglm eval prepare`.")],
    output: OutputOption,
    task: Annotated[str | None, typer.Option("--task", help="Take the examples of this task alone.")] = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
    nproc: NprocOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Train a checkpoint further on prompted examples.

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
