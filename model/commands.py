"""`mglm model …`: what a model weighs, and its way from one home to another."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from core.options import ConfigOption, OutputOption, OverwriteOption, SetOption

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Describe models; convert checkpoints.")

PAPER_VOCABULARY = 250_112


class Source(StrEnum):
    megatron = "megatron"
    hf = "hf"
    authors = "authors"


class Target(StrEnum):
    hf = "hf"
    megatron = "megatron"


class Precision(StrEnum):
    fp32 = "fp32"
    bf16 = "bf16"


@app.command()
def describe(
    config: ConfigOption = None,
    set_: SetOption = None,
    tp: Annotated[int, typer.Option("--tp", min=1, help="Tensor-parallel size.")] = 1,
    pp: Annotated[int, typer.Option("--pp", min=1, help="Pipeline-parallel size.")] = 1,
    dp: Annotated[int, typer.Option("--dp", min=1, help="Data-parallel size.")] = 1,
    vocab_size: Annotated[
        int, typer.Option("--vocab-size", min=1, help="Rows of the vocabulary, padding included.")
    ] = (PAPER_VOCABULARY),
    precision: Annotated[Precision, typer.Option("--precision", help="Of the weights.")] = Precision.bf16,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Count the parameters and the bytes that each process holds, without activations."""
    from core.config import RunConfig
    from model.config import ModelConfig
    from model.describe import describe as count
    from model.topology import Topology

    model = RunConfig(config, set_ or ()).section("model", ModelConfig)
    counts = count(model, vocab_size, Topology(tensor=tp, pipeline=pp), dp, precision).as_dict()
    if as_json:
        sys.stdout.write(json.dumps(counts) + "\n")
        return
    for name, value in counts.items():
        sys.stdout.write(f"{name.replace('_', ' '):40} {value:>20,}\n")


@app.command()
def convert(
    source: Annotated[
        Source, typer.Option("--from", help="What --input is: a directory of ours, or a released .pt file.")
    ],
    target: Annotated[Target, typer.Option("--to", help="What to make.")],
    path: Annotated[
        Path, typer.Option("--input", help="Output of mglm train or one step of it, an export, or a file.")
    ],
    output: OutputOption,
    tokenizer: Annotated[
        Path | None, typer.Option("--tokenizer", help="Directory with tokenizer.model; by default the model's own.")
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Convert a model. For --from authors, [model] of --config tells the shape; without it, the paper's."""
    from core.config import RunConfig
    from model.config import ModelConfig
    from model.convert import convert as run

    run_config = RunConfig(config, set_ or ())
    run_config.tables.setdefault("model", {"preset": "large"})
    model = run_config.section("model", ModelConfig)
    run(source, target, path, output, model=model, tokenizer=tokenizer, overwrite=overwrite)
