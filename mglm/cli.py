"""The front door: `mglm STAGE VERB`. Stages' command modules are light; heavy libraries load when a verb runs."""

import errno
import os
import signal
import sys
from typing import Annotated, Any, get_args

import typer

from balancing.commands import app as balancing_app
from core.errors import MGLMError, how_to_install
from core.log import set_up_logging
from corpus.commands import app as corpus_app
from eval.commands import app as eval_app
from mglm.commands import delete, demo, estimate, package, pull, push, show_config, summarize
from mglm.experiment_commands import transfer, world_app
from model.commands import app as model_app
from serve.commands import serve
from tokenizer.commands import app as tokenizer_app
from train.commands import app as train_app

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo)
app.add_typer(corpus_app, name="corpus")
app.add_typer(balancing_app, name="balancing")
app.add_typer(tokenizer_app, name="tokenizer")
app.add_typer(model_app, name="model")
app.add_typer(train_app, name="train")
eval_app.command()(transfer)  # tunes and evaluates, so it belongs to neither stage
app.add_typer(eval_app, name="eval")
app.add_typer(world_app, name="world")
app.command("config")(show_config)
app.command()(summarize)
app.command()(serve)
app.command()(package)
app.command()(push)
app.command()(pull)
app.command()(delete)
app.command()(estimate)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"mglm {version('mglm')}")
        raise typer.Exit


@app.callback()
def front_door(
    context: typer.Context,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log more of what happens.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Make a multilingual GLM of your own: crawl, balance, tokenize, pretrain, fine-tune, evaluate, summarise."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # for loading weights; our own steps have theirs
    set_up_logging(verbose=verbose)
    context.obj = {"find_development": _find_development}


def _find_development(request: Any) -> Any:
    """What train asks of eval: stages do not know each other, so it is handed down from here."""
    from mglm.development import find_development

    return find_development(request)


# A library that is missing → the extra of pyproject.toml that brings it: clusters install each stage's part alone.
EXTRA_OF = {
    "datasketch": "corpus",
    "fastapi": "serve",
    "fasttext": "corpus",
    "ftfy": "corpus",
    "h11": "serve",
    "jieba": "eval",
    "megatron": "train",
    "pandas": "corpus",
    "phonenumbers": "corpus",
    "prometheus_client": "serve",
    "psutil": "train",
    "pyspark": "corpus",
    "pythainlp": "eval",
    "rapidfuzz": "eval",
    "safetensors": "train",
    "sentencepiece": "train",
    "starlette": "serve",
    "stdnum": "corpus",
    "torch": "train",
    "transformers": "train",
    "uvicorn": "serve",
}


# What an option takes, as a user reads it; typer would print the types of Python.
VALUE_NAMES = {"Path": "PATH", "int": "N", "float": "NUMBER", "str": "TEXT"}


def name_values(command: Any) -> None:
    """Gives the options of a command, and of those below it, that have no name for their value one by its type, and
    takes Python's from its arguments."""
    for parameter in command.params:
        described = parameter.type_descriptor
        kind = getattr(next(iter(get_args(described.annotation)), described.annotation), "__name__", "")
        takes_a_value = not getattr(parameter, "is_flag", True)
        if parameter.param_type_name == "argument":  # its name says it
            parameter.display_type_rich = lambda ctx: None
        if parameter.metavar is None and takes_a_value and not described.is_choice and kind in VALUE_NAMES:
            parameter.metavar = VALUE_NAMES[kind]
    for below in getattr(command, "commands", {}).values():
        name_values(below)


# What a machine refuses at a place where no stage expected it: the user's to mend, so one line and no traceback.
REFUSALS = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE,
    errno.ENFILE, errno.ENOTDIR, errno.ENAMETOOLONG,
}  # fmt: skip


INTERRUPTED = 128 + signal.SIGINT


def main() -> None:
    """Runs a command. A mistake of the user's is one line on stderr and exit status 2, never a traceback."""
    try:
        _run()
    except MGLMError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as stopped:
        if stopped.code == INTERRUPTED:  # typer has taken the KeyboardInterrupt itself
            print("interrupted: run the same command again to continue", file=sys.stderr)
        raise
    except BrokenPipeError:  # e.g. `| head`
        sys.exit(0)
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        refused = MGLMError(
            str(error.filename or "a file"),
            found=error.strerror or str(error),
            expected="a place with room, and the right to read and write",
            action="mend that and run the same command again: what is finished is kept",
        )
        print(f"error: {refused}", file=sys.stderr)
        sys.exit(2)


def _run() -> None:
    command = typer.main.get_command(app)
    name_values(command)
    try:
        command()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRA_OF:
            raise
        action = how_to_install(EXTRA_OF[package])
        raise MGLMError(f"the {package} package", found="not installed", action=action) from None


if __name__ == "__main__":
    main()
