"""`mglm eval transfer` and `mglm world`: experiments that both tune and evaluate. Light: what they use loads later."""

from pathlib import Path
from typing import Annotated

import typer

from core.options import ConfigOption, OutputOption, OverwriteOption, SetOption

world_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Made-up languages, in which transfer shows within minutes."
)


def transfer(
    task: Annotated[str, typer.Option("--task", help="A name of `mglm eval tasks`, or a TOML file that declares one.")],
    inputs: Annotated[list[Path], typer.Option("--input", help="Folder with the task's files; repeatable.")],
    init: Annotated[Path, typer.Option("--init", help="Output of `mglm train pretrain`: every tuning begins there.")],
    output: OutputOption,
    train: Annotated[
        list[str] | None, typer.Option("--train", metavar="PAIR", help="Tune a model on it, e.g. en-zh; repeatable.")
    ] = None,
    evaluate: Annotated[
        list[str] | None,
        typer.Option("--evaluate", metavar="PAIR", help="Ask for it; repeatable. Default: all of what is tuned."),
    ] = None,
    mixed: Annotated[bool, typer.Option("--mixed", help="Tune a model on all pairs that are asked, too.")] = False,
    ask: Annotated[
        list[str] | None, typer.Option("--ask", metavar="PROMPT", help="Ask under this prompt, too; repeatable.")
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            "--variant", metavar="NAME:SETTING", help="Tune the first pair another way, too; settings part by `;`."
        ),
    ] = None,
    nproc: Annotated[int | None, typer.Option("--nproc", help="Processes that tune, as of `mglm train`.")] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> None:
    """Tune on some pairs of languages, ask for all.

    Shows matrix, prompts and weights.

    The same command continues a run that was stopped; finished tunings are not done again.
    """
    from mglm.transfer_run import plan_experiment, run_experiment, variant_of

    experiment = plan_experiment(
        task=task, inputs=inputs, init=init, output=output, train=train or [], evaluate=evaluate or [], ask=ask or [],
        variants=[variant_of(text) for text in variant or []], mixed=mixed, config=config, overrides=set_ or [],
        nproc=nproc,
    )  # fmt: skip
    typer.echo(run_experiment(experiment))


@world_app.command("make")
def make(
    output: OutputOption,
    config: ConfigOption = None,
    set_: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write a small world: documents, articles with titles.

    And the task's declaration. [world] has its size.
    """
    from core.config import RunConfig
    from mglm.world import WorldConfig, make_world

    make_world(RunConfig(config, set_ or []).section("world", WorldConfig), output, overwrite=overwrite)


@world_app.command("run")
def run(
    output: Annotated[Path, typer.Option("--output", help="Directory for all that is made.")] = Path("runs/world"),
    config: ConfigOption = None,
    set_: SetOption = None,
) -> None:
    """Make a small world, pretrain, run the transfer experiment.

    With every switch against forgetting.

    Run it again after a kill and it continues.
    """
    from mglm.world_run import run_world

    typer.echo(run_world(output, config, set_ or []))
