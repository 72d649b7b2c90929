"""checkpoint/1: a megatron `dist_checkpointing` directory with a `meta.json`, loadable under any TP, PP and DP.

`ROOT/step-NNNNNNNN/` appears by rename, its meta.json already inside: what has that name is complete. megatron's own
part holds pickled metadata, so load only checkpoints you trust; models are shared as exports (safetensors).
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
from megatron.core import dist_checkpointing

from core.errors import MGLMError
from core.manifest import write_atomically
from model.checkpoint_meta import CHECKPOINT, META_NAME, latest_checkpoint, read_meta
from model.config import ModelConfig
from model.optimizer import after_load, optimizer_kind, ready_for_load
from model.parallel import unwrap

__all__ = ["latest_checkpoint", "load_checkpoint", "save_checkpoint"]

# Saves Adam's moments per parameter, so that they can be cut anew for another layout.
_SHARDING = {"distrib_optim_sharding_type": "fully_reshardable"}


def save_checkpoint(
    root: Path, chunks: list[Any], optimizer: Any | None, scheduler: Any | None, meta: Mapping[str, Any]
) -> Path:
    """Writes `root/step-NNNNNNNN`, named by `meta["step"]`, and returns it. Every process must call it.

    `meta` must hold step, samples, model (a ModelConfig's dump), vocab_size and tokenizer_sha256; what else it holds,
    JSON values, comes back from `load_checkpoint`. `dtype` and `optimizer` (its kind) are added.
    """
    missing = {"step", "samples", "model", "vocab_size", "tokenizer_sha256"} - set(meta)
    assert not missing, f"checkpoint meta lacks {sorted(missing)}"
    final = root / f"step-{meta['step']:08d}"
    partial, replaced = root / f".{final.name}.partial", root / f".{final.name}.replaced"
    if dist.get_rank() == 0:
        for leftover in (partial, replaced):
            shutil.rmtree(leftover, ignore_errors=True)
        partial.mkdir(parents=True)
    dist.barrier()
    dist_checkpointing.save(_state(chunks, optimizer, scheduler), str(partial))
    dist.barrier()
    if dist.get_rank() == 0:
        added = {"dtype": str(unwrap(chunks[0]).config.params_dtype)[6:], "optimizer": optimizer_kind(optimizer)}
        text = json.dumps({"schema": CHECKPOINT, **meta, **added}, indent=1, ensure_ascii=False)
        write_atomically(partial / META_NAME, text)
        if final.exists():
            final.rename(replaced)
        partial.rename(final)
        shutil.rmtree(replaced, ignore_errors=True)
    dist.barrier()
    return final


def load_checkpoint(
    directory: Path, chunks: list[Any], optimizer: Any | None = None, scheduler: Any | None = None
) -> dict[str, Any]:
    """Loads weights, and the optimizer's and scheduler's state when given, from a step directory; returns its meta.

    Without `optimizer` the weights alone are loaded; an optimizer made before that must be told by its
    `reload_model_params()`. Every process must call it.

    Raises:
        MGLMError: no checkpoint there, another model's, or the state of another kind of optimizer.
    """
    meta = read_meta(directory)
    _check_same_model(directory, meta, chunks)
    if optimizer is not None:
        if meta["optimizer"] != optimizer_kind(optimizer):
            raise MGLMError(
                f"checkpoint {directory}",
                found=f"the state of {meta['optimizer'] or 'no'} optimizer",
                expected=f"that of {optimizer_kind(optimizer)} optimizer",
                action="set distributed_optimizer as the run began, or begin a new run with these weights",
            )
        ready_for_load(optimizer)
    loaded = dist_checkpointing.load(_state(chunks, optimizer, None, is_loading=True), str(directory))
    for name, chunk in _named(chunks).items():
        unwrap(chunk).load_state_dict(loaded[name])
    if optimizer is not None:
        optimizer.load_state_dict(loaded["optimizer"])
        after_load(optimizer)
    if scheduler is not None:
        scheduler.load_state_dict(loaded["scheduler"])
    return meta


def _state(
    chunks: list[Any], optimizer: Any | None, scheduler: Any | None, *, is_loading: bool = False
) -> dict[str, Any]:
    state: dict[str, Any] = {
        name: unwrap(chunk).sharded_state_dict(metadata=dict(_SHARDING)) for name, chunk in _named(chunks).items()
    }
    if optimizer is not None:
        state["optimizer"] = optimizer.sharded_state_dict(dict(state), is_loading=is_loading, metadata=dict(_SHARDING))
    if scheduler is not None:
        state["scheduler"] = scheduler.state_dict()
    return state


def _named(chunks: list[Any]) -> dict[str, Any]:
    """Parts by the name of their state in this process; weights in the file are named by their place in the model."""
    return {"model": chunks[0]} if len(chunks) == 1 else {f"model{index}": part for index, part in enumerate(chunks)}


def _check_same_model(directory: Path, meta: Mapping[str, Any], chunks: list[Any]) -> None:
    stage = unwrap(chunks[0])
    has = {"vocab_size": meta["vocab_size"], **ModelConfig.model_validate(meta["model"]).weight_shape()}
    for name, value in has.items():
        wanted = getattr(stage, name, None) or getattr(stage.config, name)
        if wanted != value:
            raise MGLMError(
                f"checkpoint {directory}",
                found=f"{name} {value}",
                expected=f"{name} {wanted}, as configured",
                action="use the configuration and the tokenizer it was trained with",
            )
