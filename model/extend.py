"""A checkpoint for a larger vocabulary: weights and optimiser of a run, grown to a tokenizer that extends its own.

Ids of old pieces stay; the commands stand behind the pieces and move. The row of a new piece begins as the mean of the
rows of the pieces that the old tokenizer spells it with, and so do the optimiser's moments for it: the model goes on
reading new words as it read them in parts, until it learns better. Rows of the vocabulary's padding are made anew.

One process holds the whole model twice: 30 bytes a parameter, 32 GB for the paper's. Training then continues under any
layout.
"""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.errors import MGLMError
from core.log import get_logger
from core.manifest import Manifest, open_stage
from model.checkpoint import load_checkpoint, save_checkpoint
from model.checkpoint_meta import (
    CHECKPOINT,
    CHECKPOINTS_NAME,
    TOKENIZER_NAME,
    checkpoint_hash,
    locate_checkpoint,
    read_meta,
)
from model.config import ModelConfig
from model.cpu import cpu_runtime
from model.execution import Execution
from model.optimizer import build_optimizer, main_parameters
from model.parallel import build_chunks, initialize, shut_down
from model.topology import Topology
from tokenizer.encoding import COMMANDS, Tokenizer

_TABLE = "word_embeddings.weight"
_COMMAND_ROWS = 1 + max(COMMANDS.values())
_PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


def extend_checkpoint(checkpoint: Path, tokenizer: Path, output: Path, *, overwrite: bool = False) -> Manifest:
    """Makes a checkpoint directory at the same step, with the extended tokenizer beside it.

    Raises:
        MGLMError: no checkpoint, or a tokenizer that does not extend the checkpoint's.
    """
    log, started = get_logger("model"), time.monotonic()
    step_directory, tokenizer_directory = locate_checkpoint(checkpoint)
    meta = read_meta(step_directory)
    old, new = Tokenizer.load(tokenizer_directory), Tokenizer.load(tokenizer)
    if not new.extends(old):
        raise MGLMError(
            f"--tokenizer {tokenizer}",
            found=f"{new.pieces:,} pieces that do not begin with the checkpoint's {old.pieces:,}",
            expected=f"an extension of {tokenizer_directory}",
            action="run mglm tokenizer extend on that one",
        )
    stage = open_stage(
        output,
        schema=CHECKPOINT,
        config={"extended": True},
        inputs={"checkpoint": checkpoint_hash(checkpoint), "tokenizer": new.sha256},
        overwrite=overwrite,
    )
    if stage.manifest is not None:
        log.info("%s: already made", output)
        return stage.manifest
    model = ModelConfig.model_validate(meta["model"])
    chapter = {
        "step": meta["step"],
        "checkpoint": f"{step_directory.resolve().parent.parent.name}/{step_directory.name}",
        "changed": {
            "tokenizer_sha256": [old.sha256, new.sha256],
            "pieces": [old.pieces, new.pieces],
            "vocab_size": [old.vocab_size, new.vocab_size],
        },
    }
    kept = {name: value for name, value in meta.items() if name not in ("schema", "files", "dtype", "optimizer")}
    grown = {
        **kept,
        "vocab_size": new.vocab_size,
        "tokenizer_sha256": new.sha256,
        "lineage": [*meta.get("lineage", []), chapter],
    }
    with cpu_runtime():
        initialize(Topology(), 0)
        try:
            before, after = (_built(model, meta, vocabulary) for vocabulary in (old.vocab_size, new.vocab_size))
            load_checkpoint(step_directory, *before)
            with torch.no_grad():
                _transfer(before, after, old, new)
            save_checkpoint(output / CHECKPOINTS_NAME, *after, None, grown)
        finally:
            shut_down()
    new.save(output / TOKENIZER_NAME)
    facts = {"parameters": model.parameters(new.vocab_size), "step": meta["step"], "lineage": grown["lineage"]}
    manifest = stage.finish(facts=facts)
    log.info(
        "%s: %d new pieces, %d parameters, %.1f s",
        output, new.pieces - old.pieces, facts["parameters"], time.monotonic() - started,
    )  # fmt: skip
    return manifest


def grown_rows(rows_VH: Tensor, old: Tokenizer, new: Tokenizer, fresh_VH: Tensor) -> Tensor:
    """A table of the old vocabulary as one of the new: `fresh_VH` with every row that has a meaning filled in."""
    grown_VH = fresh_VH.clone()
    grown_VH[: old.pieces] = rows_VH[: old.pieces]
    grown_VH[new.pieces : new.pieces + _COMMAND_ROWS] = rows_VH[old.pieces : old.pieces + _COMMAND_ROWS]
    for index in range(old.pieces, new.pieces):
        spelled = old.encode(new.piece_text(index))
        grown_VH[index] = rows_VH[spelled].mean(0)
    return grown_VH


def _built(model: ModelConfig, meta: dict[str, Any], vocab_size: int) -> tuple[list[Any], Any]:
    """Chunks and optimizer of one process, of the kinds that the checkpoint holds."""
    execution = Execution.model_validate({"precision": _PRECISIONS[meta["dtype"]], "attention": "sdpa"})
    distributed = meta["optimizer"] == "a distributed"
    chunks = build_chunks(
        model, vocab_size, Topology(), execution=execution, distributed_optimizer=distributed, overlap=False
    )
    optimizer = build_optimizer(
        chunks, learning_rate=1.0, precision=execution.precision, distributed_optimizer=distributed
    )
    return chunks, optimizer


def _transfer(before: tuple[list[Any], Any], after: tuple[list[Any], Any], old: Tokenizer, new: Tokenizer) -> None:
    """Copies parameters, their fp32 copies and Adam's state, the word embeddings grown."""
    sources, targets = (dict(chunks[0].named_parameters()) for chunks, _ in (before, after))
    masters, grown_masters = main_parameters(*before), main_parameters(*after)
    for name, target in targets.items():
        is_table = name.endswith(_TABLE)

        def moved(value: Tensor, fresh: Tensor, is_table: bool = is_table, hidden: int = target.shape[-1]) -> Tensor:
            if not is_table:
                return value
            rows_VH, fresh_VH = value.reshape(-1, hidden).float(), fresh.reshape(-1, hidden).float()
            return grown_rows(rows_VH, old, new, fresh_VH).reshape(fresh.shape)

        (main, adam), (grown_main, grown_adam) = masters[name], grown_masters[name]
        target.copy_(moved(sources[name], target))
        grown_main.copy_(moved(main, grown_main))
        grown_adam.state[grown_main] = {
            key: moved(value, torch.zeros_like(grown_main)).clone() if value.dim() else value.clone()
            for key, value in adam.state[main].items()
        }
