"""The state of a fine-tuning of another's model: weights, moments, step. A directory of safetensors, meta.json last."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.errors import MGLMError
from core.manifest import write_atomically
from train.checkpoints import best_of

META = "meta.json"
_WEIGHTS, _MOMENTS = "weights.safetensors", "moments.safetensors"
_FIRST, _SECOND = "exp_avg", "exp_avg_sq"


def save_state(
    work: Path, parameters: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, meta: Mapping[str, Any]
) -> None:
    """Writes step-N below `work`, then removes all others but the best of those that were measured.

    Raises:
        MGLMError: it cannot be written, as when the disk is full; those before it are as they were.
    """
    directory = work / f"step-{meta['step']:08d}"
    shutil.rmtree(directory, ignore_errors=True)
    try:
        _write_state(directory, parameters, optimizer, meta)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(directory, ignore_errors=True)  # half of it would only take room
        raise MGLMError(
            f"state of the training {directory}",
            found=str(error),
            action="make room there, and run the same command again: it goes on from the state before",
        ) from None
    _remove_others(work, directory)


def add_to_state(work: Path, found: Mapping[str, Any]) -> None:
    """Has the newest state say what was found of its weights, and removes all others but the best."""
    newest = last_state(work)
    assert newest is not None, f"no state in {work}"
    write_atomically(newest / META, json.dumps({**read_state(newest), **found}))
    _remove_others(work, newest)


def _remove_others(work: Path, newest: Path) -> None:
    kept = (newest, best_state(work))
    for other in work.glob("step-*"):
        if other not in kept:
            (other / META).unlink(missing_ok=True)  # first, so that what a kill leaves of it is not whole
            shutil.rmtree(other, ignore_errors=True)


def _write_state(
    directory: Path, parameters: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, meta: Mapping[str, Any]
) -> None:
    directory.mkdir(parents=True)
    save_file({name: weight.detach().contiguous() for name, weight in parameters.items()}, directory / _WEIGHTS)
    moments = {
        f"{name} {moment}": optimizer.state[weight][moment].contiguous()
        for name, weight in parameters.items()
        if weight in optimizer.state
        for moment in (_FIRST, _SECOND)
    }
    save_file(moments, directory / _MOMENTS)
    updates = next((int(state["step"]) for state in optimizer.state.values()), 0)
    write_atomically(directory / META, json.dumps({**meta, "updates": updates}))


def last_state(work: Path) -> Path | None:
    """The newest whole one; a killed process leaves the one before it until its own is whole."""
    return max(_whole(work), default=None)


def is_whole(state: Path) -> bool:
    """Whether it was written to its end."""
    return (state / META).exists()


def best_state(work: Path) -> Path | None:
    """The whole one of the highest score, as `train.checkpoints.best_of` has it; None when none was measured."""
    best = best_of([(read_state(path), path.name) for path in _whole(work)])
    return None if best is None else work / best


def read_state(directory: Path) -> dict[str, Any]:
    """What its meta.json says."""
    meta: dict[str, Any] = json.loads((directory / META).read_text("utf-8"))
    return meta


def load_weights(directory: Path, parameters: Mapping[str, Tensor]) -> None:
    """Puts its weights where they belong."""
    weights = load_file(directory / _WEIGHTS)
    with torch.no_grad():
        for name, weight in parameters.items():
            weight.copy_(weights[name])


def _whole(work: Path) -> list[Path]:
    return sorted(path for path in work.glob("step-*") if is_whole(path))


def restore(directory: Path, parameters: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Puts weights and moments where they belong; what meta.json says."""
    meta, moments = read_state(directory), load_file(directory / _MOMENTS)
    load_weights(directory, parameters)
    for name, weight in parameters.items():
        if f"{name} {_FIRST}" in moments:
            optimizer.state[weight] = {
                "step": torch.tensor(float(meta["updates"])),
                _FIRST: moments[f"{name} {_FIRST}"].to(weight.device),
                _SECOND: moments[f"{name} {_SECOND}"].to(weight.device),
            }
    return meta
