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
    fp16 = "fp16"


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
    micro_batch: Annotated[int, typer.Option("--micro-batch", min=1, help="Rows of one pass.")] = 1,
    global_batch: Annotated[
        int | None, typer.Option("--global-batch", min=1, help="Rows of a step [one pass on each process].")
    ] = None,
    sequence_parallel: Annotated[bool, typer.Option("--sequence-parallel", help="With --tp.")] = False,
    virtual_pipeline: Annotated[int, typer.Option("--virtual-pipeline", min=1, help="Parts of a stage.")] = 1,
    recompute: Annotated[bool, typer.Option("--recompute", help="Layers keep their input alone.")] = False,
    precision: Annotated[Precision, typer.Option("--precision", help="Of the weights.")] = Precision.bf16,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Count parameters, memory and arithmetic of a layout.

    It also counts the bytes that each process sends in a step.
    """
    from core.config import RunConfig
    from model.config import ModelConfig
    from model.describe import describe as count
    from model.execution import Execution
    from model.topology import Topology

    model = RunConfig(config, set_ or ()).section("model", ModelConfig)
    topology = Topology(tensor=tp, pipeline=pp, sequence_parallel=sequence_parallel, virtual_pipeline=virtual_pipeline)
    execution = Execution(precision=precision.value, recompute="full" if recompute else "none")
    counts = count(
        model, vocab_size, topology, dp, execution, micro_batch=micro_batch, global_batch=global_batch
    ).as_dict()
    if as_json:
        sys.stdout.write(json.dumps(counts) + "\n")
        return
    for name, value in counts.items():
        gib = f"{value / 1024**3:10.2f} GiB" if "bytes" in name else ""
        sys.stdout.write(f"{name.replace('_', ' '):40} {value:>22,}{gib}\n")


@app.command()
def parity(
    nproc: Annotated[int, typer.Option("--nproc", min=1, help="Processes to start on this machine.")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a layout instead of a table.")] = False,
) -> None:
    """Check that every layout of N processes trains alike.

    Trains a tiny GLM under each and in one process, and compares losses and gradients.

    Exit status 1 if a layout differs by more than rounding explains.
    """
    from dataclasses import asdict

    from model.parity import GRADIENT_TOLERANCE, LOSS_TOLERANCE, check_parity

    row = "{:50} {:>4} {:>12} {:>12}  {}\n"
    if not as_json:
        sys.stdout.write(row.format("layout", "DP", "Δ loss", "Δ gradient", "largest in"))
    holds = True
    for result in check_parity(nproc):
        holds &= result.holds
        if as_json:
            sys.stdout.write(json.dumps({**asdict(result), "holds": result.holds}) + "\n")
            continue
        figures = f"{result.loss_difference:.1e}", f"{result.gradient_difference:.1e}"
        note = "" if result.holds else "  ABOVE TOLERANCE"
        sys.stdout.write(row.format(result.layout, result.data, *figures, result.worst + note))
        sys.stdout.flush()
    if not as_json:
        sys.stdout.write(f"tolerances: loss {LOSS_TOLERANCE:g}, gradient {GRADIENT_TOLERANCE:g} of a tensor's norm\n")
    if not holds:
        raise typer.Exit(1)


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
    from model.config import authors_shape
    from model.convert import convert as run

    model = authors_shape(RunConfig(config, set_ or ()))
    run(source, target, path, output, model=model, tokenizer=tokenizer, overwrite=overwrite)


@app.command()
def extend(
    checkpoint: Annotated[Path, typer.Option("--checkpoint", help="Output of mglm train, or one step of it.")],
    output: OutputOption,
    tokenizer: Annotated[
        Path | None, typer.Option("--tokenizer", help="Directory made by `mglm tokenizer extend`.")
    ] = None,
    positions: Annotated[
        int | None, typer.Option("--positions", min=2, help="Rows of both position tables, so of the longest context.")
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Grow a checkpoint to more pieces or to longer contexts.

    `mglm train` goes on from there.
    """
    from model.extend import extend_checkpoint

    extend_checkpoint(checkpoint, tokenizer, output, positions=positions, overwrite=overwrite)


@app.command("weight-change")
def weight_change(
    before: Annotated[Path, typer.Option("--before", help="Hugging Face directory, e.g. of the pretrained model.")],
    after: Annotated[Path, typer.Option("--after", help="One of the same shape, e.g. after fine-tuning.")],
    as_json: Annotated[bool, typer.Option("--json", help="A list of JSON objects instead of a table.")] = False,
) -> None:
    """Show how far training has moved each layer.

    Each layer's norm of the difference, divided by the norm of its weights before.
    """
    from dataclasses import asdict

    from model.weight_change import weight_change as changes_between

    changes = changes_between(before, after)
    if as_json:
        sys.stdout.write(json.dumps([asdict(change) for change in changes]) + "\n")
        return
    for change in changes:
        shown = "–" if change.change is None else f"{change.change:.4%}"
        sys.stdout.write(f"{change.part:40} {change.parameters:>15,} {shown:>10}\n")
