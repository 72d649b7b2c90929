"""A checkpoint grown: to a tokenizer that extends its own, to more positions, or both; weights and optimiser of a run.

Ids of old pieces stay; the commands stand behind the pieces and move. The row of a new piece begins as the mean of the
rows of the pieces that the old tokenizer spells it with, and so do the optimiser's moments for it: the model goes on
reading new words as it read them in parts, until it learns better. Rows of the vocabulary's padding are made anew.

More positions are rows appended to both tables, drawn from N(0, init_std), as the authors' code has it. A context that
fitted before gives the very same logits: that is checked before anything is written.

One process holds it all: some 40 bytes a parameter, 70 of a run with the distributed optimizer (measured on 38
million), so 73 GB for the paper's. Training then continues under any layout. Of a run with frozen layers, which is
fine-tuning, the weights alone are grown: no other run goes on with its optimiser.
"""

import gc
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.errors import MGLMError
from core.log import get_logger
from core.manifest import Manifest
from core.stage import open_stage
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
from model.execution import PRECISION_OF_DTYPE, Execution
from model.optimizer import build_optimizer, main_parameters
from model.parallel import build_chunks, initialize, shut_down
from model.topology import Topology
from tokenizer.encoding import COMMANDS, Tokenizer

_TABLE = "word_embeddings.weight"
_POSITIONS = (".position_embeddings.weight", ".block_position_embeddings.weight")
_COMMAND_ROWS = 1 + max(COMMANDS.values())


def extend_checkpoint(
    checkpoint: Path,
    tokenizer: Path | None,
    output: Path,
    *,
    positions: int | None = None,
    overwrite: bool = False,
) -> Manifest:
    """Makes a checkpoint directory at the same step, with the extended tokenizer, or its own, beside it.

    Raises:
        MGLMError: no checkpoint, nothing to extend, a tokenizer that does not extend the checkpoint's, or no more
            positions than it has.
    """
    if tokenizer is None and positions is None:
        raise MGLMError("mglm model extend", found="neither --tokenizer nor --positions", expected="one, or both")
    log, started = get_logger("model"), time.monotonic()
    step_directory, tokenizer_directory = locate_checkpoint(checkpoint)
    meta = read_meta(step_directory)
    old = Tokenizer.load(tokenizer_directory)
    new = old if tokenizer is None else Tokenizer.load(tokenizer)
    if tokenizer is not None and not new.extends(old):
        raise MGLMError(
            f"--tokenizer {tokenizer}",
            found=f"{new.pieces:,} pieces that do not begin with the checkpoint's {old.pieces:,}",
            expected=f"an extension of {tokenizer_directory}",
            action="run mglm tokenizer extend on that one",
        )
    model = ModelConfig.model_validate(meta["model"])
    if positions is not None and positions <= model.max_positions:
        raise MGLMError(
            f"--positions {positions}",
            found=f"{model.max_positions} in {step_directory}",
            expected="more than it has",
            action="raise it, or leave it out",
        )
    longer = model.model_copy(update={"max_positions": positions or model.max_positions})
    stage = open_stage(
        output,
        schema=CHECKPOINT,
        config={"extended": True, "max_positions": longer.max_positions},
        inputs={"checkpoint": checkpoint_hash(checkpoint), "tokenizer": new.sha256},
        overwrite=overwrite,
    )
    if stage.manifest is not None:
        log.info("%s: already made", output)
        return stage.manifest
    chapter = {
        "step": meta["step"],
        "checkpoint": f"{step_directory.resolve().parent.parent.name}/{step_directory.name}",
        "changed": {name: list(pair) for name, pair in _sizes(old, new, model, longer).items() if pair[0] != pair[1]},
    }
    kept = {name: value for name, value in meta.items() if name not in ("schema", "files", "dtype", "optimizer")}
    grown = {
        **kept,
        "model": longer.model_dump(),
        "vocab_size": new.vocab_size,
        "tokenizer_sha256": new.sha256,
        "lineage": [*meta.get("lineage", []), chapter],
    }
    with cpu_runtime():
        initialize(Topology(), 0)
        try:
            before, after = _built(model, meta, old.vocab_size), _built(longer, meta, new.vocab_size)
            load_checkpoint(step_directory, *before)
            with torch.no_grad():
                _transfer(before, after, old, new)
                if tokenizer is None:
                    _check_unchanged(before[0], after[0], model, old)
            del before
            gc.collect()  # its hooks are cycles; saving takes its room for a copy
            save_checkpoint(output / CHECKPOINTS_NAME, *after, None, grown)
        finally:
            shut_down()
    new.save(output / TOKENIZER_NAME)
    facts = {"parameters": longer.parameters(new.vocab_size), "step": meta["step"], "lineage": grown["lineage"]}
    manifest = stage.finish(facts=facts)
    log.info(
        "%s: %d new pieces, %d new positions, %d parameters, %.1f s",
        output, new.pieces - old.pieces, longer.max_positions - model.max_positions, facts["parameters"],
        time.monotonic() - started,
    )  # fmt: skip
    return manifest


def grown_rows(rows_VH: Tensor, old: Tokenizer, new: Tokenizer, fresh_VH: Tensor) -> Tensor:
    """A table of the old vocabulary as one of the new: `fresh_VH` with every row that has a meaning filled in."""
    grown_VH = fresh_VH.clone()
    grown_VH[: old.pieces] = rows_VH[: old.pieces]
    grown_VH[new.pieces : new.pieces + _COMMAND_ROWS] = rows_VH[old.pieces : old.pieces + _COMMAND_ROWS]
    for index in range(old.pieces, new.pieces):
        # Nothing, where the old model drops it, as that of mT5 does white space: it begins as any new row.
        if spelled := old.encode(new.piece_text(index)):
            grown_VH[index] = rows_VH[spelled].mean(0)
    return grown_VH


def _built(model: ModelConfig, meta: dict[str, Any], vocab_size: int) -> tuple[list[Any], Any]:
    """Chunks and optimizer of one process, of the kinds that the checkpoint holds; none where weights alone go on."""
    execution = Execution.model_validate({"precision": PRECISION_OF_DTYPE[meta["dtype"]], "attention": "sdpa"})
    distributed = meta["optimizer"] == "a distributed"
    chunks = build_chunks(
        model, vocab_size, Topology(), execution=execution, distributed_optimizer=distributed, overlap=False
    )
    if meta["optimizer"] is None or meta.get("training", {}).get("freeze_upper_layers"):
        return chunks, None
    optimizer = build_optimizer(
        chunks, learning_rate=1.0, precision=execution.precision, distributed_optimizer=distributed
    )
    return chunks, optimizer


def _transfer(before: tuple[list[Any], Any], after: tuple[list[Any], Any], old: Tokenizer, new: Tokenizer) -> None:
    """Copies parameters, their fp32 copies and Adam's state, the word embeddings grown."""
    sources, targets = (dict(chunks[0].named_parameters()) for chunks, _ in (before, after))
    has_state = before[1] is not None
    masters, grown_masters = (main_parameters(*side) if has_state else {} for side in (before, after))
    for name, target in targets.items():

        def moved(value: Tensor, fresh: Tensor, name: str = name, hidden: int = target.shape[-1]) -> Tensor:
            if not name.endswith((_TABLE, *_POSITIONS)):
                return value
            rows_VH, fresh_VH = value.reshape(-1, hidden).float(), fresh.reshape(-1, hidden).float()
            if name.endswith(_TABLE) and new is not old:
                return grown_rows(rows_VH, old, new, fresh_VH).reshape(fresh.shape)
            return torch.cat([rows_VH, fresh_VH[len(rows_VH) :]]).reshape(fresh.shape)

        if not has_state:
            target.copy_(moved(sources[name], target))
            continue
        (main, adam), (grown_main, grown_adam) = masters[name], grown_masters[name]
        target.copy_(moved(sources[name], target))
        grown_main.copy_(moved(main, grown_main))
        grown_adam.state[grown_main] = {
            key: moved(value, torch.zeros_like(grown_main)).clone() if value.dim() else value.clone()
            for key, value in adam.state[main].items()
        }


def _sizes(old: Tokenizer, new: Tokenizer, model: ModelConfig, longer: ModelConfig) -> dict[str, tuple[Any, Any]]:
    return {
        "tokenizer_sha256": (old.sha256, new.sha256),
        "pieces": (old.pieces, new.pieces),
        "vocab_size": (old.vocab_size, new.vocab_size),
        "max_positions": (model.max_positions, longer.max_positions),
    }


def _check_unchanged(before: list[Any], after: list[Any], model: ModelConfig, tokenizer: Tokenizer) -> None:
    """Whether a row that fitted before gives the same logits, bit for bit: a context with a span behind it."""
    context = min(model.max_positions, 64) - 1
    span = min(context, 8)
    ids_S = torch.arange(context + span) * 7 % tokenizer.pieces
    places_S = torch.cat([torch.arange(context), torch.full((span,), context - 1)])
    within_S = torch.cat([torch.zeros(context, dtype=torch.long), torch.arange(1, span + 1)])
    positions_2S = torch.stack([places_S, within_S])
    device = torch.cuda.current_device()
    row = [tensor[None].to(device) for tensor in (ids_S, positions_2S)]
    length_B = torch.tensor([context], device=device)
    logits = []
    for chunks in (before, after):
        chunks[0].eval()
        logits.append(chunks[0](*row, length_B))
        chunks[0].train()
    if not torch.equal(*logits):
        worst = float((logits[0] - logits[1]).abs().max())
        raise MGLMError(
            "the extended model", found=f"logits that differ by {worst:g}", expected="those of the old one, exactly"
        )
