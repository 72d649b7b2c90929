"""checkpoint/1: a megatron `dist_checkpointing` directory with a `meta.json`, loadable under any TP, PP and DP.

`ROOT/step-NNNNNNNN/` appears by rename, its meta.json, which lists size and sha256 of the others, already inside: what
has that name is complete. Saving copies the state to memory and writes it from a thread, while training goes on; no
process is started, so that none is left behind when training is killed. megatron's own part holds pickled metadata, so
load only checkpoints you trust; models are shared as exports (safetensors).
"""

import copy
import json
import os
import queue
import shutil
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.core import CheckpointingConfig, save_config
from megatron.core.dist_checkpointing.dict_utils import dict_list_map_inplace
from megatron.core.dist_checkpointing.mapping import ShardedTensor
from megatron.core.dist_checkpointing.state_dict_utils import save_preprocess
from megatron.core.dist_checkpointing.strategies import filesystem_async
from megatron.core.dist_checkpointing.strategies.filesystem_async import FileSystemWriterAsync
from megatron.core.dist_checkpointing.strategies.torch import TorchDistSaveShardedStrategy

from core.errors import MGLMError
from core.manifest import sha256_file, write_atomically
from model.checkpoint_meta import CHECKPOINT, META_NAME, check_sizes, latest_checkpoint, read_meta
from model.config import ModelConfig
from model.optimizer import (
    after_load,
    gather_weights,
    has_work,
    keep_limits,
    optimizer_kind,
    ready_for_load,
    ready_for_save,
    with_step,
)
from model.parallel import unwrap

__all__ = ["CheckpointSave", "latest_checkpoint", "load_checkpoint", "save_checkpoint"]

# Saves Adam's moments per parameter, so that they can be cut anew for another layout.
_SHARDING = {"distrib_optim_sharding_type": "fully_reshardable"}
_BACKEND = CheckpointingConfig("torch_dist", 1)
_COMMON_NAME = "common.pt"  # megatron's: what is not split, the schedule among it
_LOOK_EVERY_S = 60.0  # at whether the others have written: well below any backend's limit
_OWN_NAMES = (".metadata", "metadata.json")  # written by the first process when all others are done


class CheckpointSave:
    """A checkpoint under way. Every process makes one, at the same step, and later calls `finish`.

    When it is made the state has been copied and training may go on; a thread writes the copy.
    """

    def __init__(
        self, root: Path, chunks: list[Any], optimizer: Any | None, scheduler: Any | None, meta: Mapping[str, Any]
    ) -> None:
        """`meta` must hold step, samples, model (a ModelConfig's dump), vocab_size and tokenizer_sha256; what else it
        holds, JSON values, comes back from `load_checkpoint`. `dtype`, `optimizer` (its kind) and `files` are added.

        Raises:
            MGLMError: the directory cannot be made.
        """
        missing = {"step", "samples", "model", "vocab_size", "tokenizer_sha256"} - set(meta)
        assert not missing, f"checkpoint meta lacks {sorted(missing)}"
        self.final = root / f"step-{meta['step']:08d}"
        self._partial = root / f".{self.final.name}.partial"
        self._replaced = root / f".{self.final.name}.replaced"
        added = {"dtype": str(unwrap(chunks[0]).config.params_dtype)[6:], "optimizer": optimizer_kind(optimizer)}
        self._meta = copy.deepcopy({"schema": CHECKPOINT, **meta, **added})  # as it is now, not when all is written
        self._refuse(self._make_room() if dist.get_rank() == 0 else "")
        gather_weights(chunks)
        if optimizer is not None:
            ready_for_save(optimizer)
        parts, common = save_preprocess(_state(chunks, optimizer, scheduler))
        self._common = copy.deepcopy(common)
        self._writer, self._metadata = _Plan(_BACKEND.sharded_backend, _BACKEND.sharded_backend_version).async_save(
            parts, self._partial
        )
        self._buckets = [_copied(bucket) for bucket in self._writer.write_buckets]
        self._results: list[Any] = []
        self._files: dict[str, dict[str, Any]] = {}
        self._failure = ""
        # No daemon: a process that ends for another reason waits for it, or C++ would abort when the thread is cut off.
        self._thread = threading.Thread(target=self._write, name="checkpoint")
        self._thread.start()

    @property
    def written(self) -> bool:
        """Whether this process has nothing left to write; `finish` is quick when all say so."""
        return not self._thread.is_alive()

    def finish(self) -> Path:
        """Waits for the threads of all processes and lets the checkpoint appear; returns its directory.

        Raises:
            MGLMError: a process could not write; nothing of it is left, on all processes.
        """
        self._wait_for_all()
        is_first = dist.get_rank() == 0
        gathered: list[Any] = [None] * dist.get_world_size()
        dist.gather_object((self._failure, self._files, self._results), gathered if is_first else None)
        failure = ""
        if is_first:
            failure = next((failure for failure, _, _ in gathered if failure), "")
            try:
                if not failure:
                    self._complete(gathered)
            except OSError as error:
                failure = str(error)
            if failure:
                shutil.rmtree(self._partial, ignore_errors=True)
        self._refuse(failure)
        return self.final

    def _wait_for_all(self) -> None:
        """Until the threads of all processes have ended, by short waits: a collective that waits for a slow disk longer
        than NCCL's ten minutes would end the run, and again at every try."""
        writing = torch.ones((), device=torch.cuda.current_device())
        while writing.item():
            self._thread.join(_LOOK_EVERY_S)
            writing.fill_(float(not self.written))
            dist.all_reduce(writing)

    def _make_room(self) -> str:
        """Makes the directory to write into; what went wrong, if anything."""
        try:
            for leftover in (self._partial, self._replaced):
                shutil.rmtree(leftover, ignore_errors=True)
            self._partial.mkdir(parents=True)
        except OSError as error:
            return str(error)
        return ""

    def _write(self) -> None:
        """The thread: this process's part of the state, and the checksums of its files."""
        try:
            for bucket in self._buckets:
                self._results += _write_bucket(self._writer, bucket)
            names = [name for _, name, _ in self._buckets]
            if dist.get_rank() == 0:
                names.append(_COMMON_NAME)
                with (self._partial / _COMMON_NAME).open("wb") as file:
                    torch.save(self._common, file)
                    file.flush()
                    os.fsync(file.fileno())
            self._files = {name: _checksum(self._partial / name) for name in names}
        except Exception as error:  # told by `finish`, on all processes
            self._failure = _reason(error)
        finally:
            self._buckets = []  # gives the copy's memory back

    def _complete(self, gathered: list[Any]) -> None:
        """On the first process, when all have written: what belongs to the whole, and the name it is known by."""
        self._writer.finish(self._metadata, [results for _, _, results in gathered])
        save_config(_BACKEND, str(self._partial))
        files = {name: entry for _, written, _ in gathered for name, entry in written.items()}
        files |= {name: _checksum(self._partial / name) for name in _OWN_NAMES}
        meta = {**self._meta, "files": dict(sorted(files.items()))}
        write_atomically(self._partial / META_NAME, json.dumps(meta, indent=1, ensure_ascii=False))
        if self.final.exists():
            self.final.rename(self._replaced)
        self._partial.rename(self.final)
        shutil.rmtree(self._replaced, ignore_errors=True)

    def _refuse(self, failure: str) -> None:
        """Raises on all processes what failed on the first."""
        told = [failure]
        dist.broadcast_object_list(told)
        if told[0]:
            raise MGLMError(
                f"checkpoint {self.final}", found=told[0], action="make room there; the last checkpoint is kept"
            )


class _Plan(TorchDistSaveShardedStrategy):
    """Plans who writes what, and leaves the writing to us: (the writer with its buckets, metadata on rank 0)."""

    def _get_save_and_finalize_callbacks(self, writer: Any, save_state_dict_ret: Any) -> tuple[Any, Any]:
        return writer, save_state_dict_ret[1]

    def async_save(self, sharded_state_dict: Any, checkpoint_dir: Path) -> tuple[Any, Any]:
        if filesystem_async._results_queue is None:
            filesystem_async._results_queue = queue.Queue()  # else megatron starts a process for it
        return super().async_save(sharded_state_dict, checkpoint_dir)


def save_checkpoint(
    root: Path, chunks: list[Any], optimizer: Any | None, scheduler: Any | None, meta: Mapping[str, Any]
) -> Path:
    """Writes `root/step-NNNNNNNN` as `CheckpointSave` does and waits for it; returns it. Every process must call it."""
    return CheckpointSave(root, chunks, optimizer, scheduler, meta).finish()


def load_checkpoint(
    directory: Path, chunks: list[Any], optimizer: Any | None = None, scheduler: Any | None = None
) -> dict[str, Any]:
    """Loads weights, and the optimizer's and scheduler's state when given, from a step directory; returns its meta.

    Without `optimizer` the weights alone are loaded; an optimizer made before that must be told by its
    `reload_model_params()`. Every process must call it.

    Raises:
        MGLMError: no checkpoint there, one cut short, another model's, or the state of another kind of optimizer.
    """
    meta = read_meta(directory)
    check_sizes(directory, meta)
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
    if optimizer is not None and has_work(optimizer):
        optimizer.load_state_dict(with_step(optimizer, loaded["optimizer"]))
        after_load(optimizer)
    if scheduler is not None:
        scheduler.load_state_dict(loaded["scheduler"])
        keep_limits(scheduler)
    return meta


def _copied(bucket: Any) -> Any:
    """A bucket whose tensors nobody else changes, in main memory."""
    path, name, (bytes_data, tensor_data) = bucket
    return path, name, (bytes_data, [(item, tensor.detach().to("cpu", copy=True)) for item, tensor in tensor_data])


def _write_bucket(writer: Any, bucket: Any) -> list[Any]:
    """Writes one file with megatron's own function, meant for a process, and returns what it says of each item."""
    outcome: queue.SimpleQueue[Any] = queue.SimpleQueue()
    count: queue.Queue[int] = queue.Queue()
    count.put(0)
    transforms = [writer.transforms] if hasattr(writer, "transforms") else []
    FileSystemWriterAsync.write_preloaded_data(transforms, 0, bucket, outcome, count, use_fsync=True)
    _, results = outcome.get()
    if isinstance(results, Exception):
        raise results
    return list(results)


def _reason(error: BaseException) -> str:
    """What the system said, where torch's writer hides it behind a complaint of its own."""
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, OSError):
            return str(behind)
        behind = behind.__cause__ or behind.__context__
    return f"{type(error).__name__}: {error}"


def _checksum(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256_file(path)}


def _state(
    chunks: list[Any], optimizer: Any | None, scheduler: Any | None, *, is_loading: bool = False
) -> dict[str, Any]:
    state: dict[str, Any] = {
        name: unwrap(chunk).sharded_state_dict(metadata=dict(_SHARDING)) for name, chunk in _named(chunks).items()
    }
    if optimizer is not None and has_work(optimizer):
        state["optimizer"] = optimizer.sharded_state_dict(dict(state), is_loading=is_loading, metadata=dict(_SHARDING))
        if unwrap(chunks[0]).frozen_layers:
            dict_list_map_inplace(_layer_by_layer, state["optimizer"])
    if scheduler is not None:
        state["scheduler"] = scheduler.state_dict()
    return state


def _layer_by_layer(value: Any) -> Any:
    """A layer's state under a name of its own: megatron stacks all layers, and refuses a stack with gaps."""
    if not isinstance(value, ShardedTensor) or not value.prepend_axis_num:
        return value
    begin = value.prepend_axis_num
    return replace(
        value,
        key=f"{value.key}.{'.'.join(map(str, value.global_offset[:begin]))}",
        global_shape=value.global_shape[begin:],
        global_offset=value.global_offset[begin:],
        axis_fragmentations=value.axis_fragmentations and value.axis_fragmentations[begin:],
        prepend_axis_num=0,
    )


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
