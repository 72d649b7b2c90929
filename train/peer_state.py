"""The state of a fine-tuning of another's model: weights, moments, step. A directory of safetensors, meta.json last."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.manifest import write_atomically

META = "meta.json"
_WEIGHTS, _MOMENTS = "weights.safetensors", "moments.safetensors"
_FIRST, _SECOND = "exp_avg", "exp_avg_sq"


def save_state(
    work: Path, parameters: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, meta: Mapping[str, Any]
) -> None:
    """Writes step-N below `work`, then removes what was there before."""
    directory = work / f"step-{meta['step']}"
    shutil.rmtree(directory, ignore_errors=True)
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
    for other in work.glob("step-*"):
        if other != directory:
            shutil.rmtree(other, ignore_errors=True)


def last_state(work: Path) -> Path | None:
    """The newest whole one; a killed process leaves the one before it until its own is whole."""
    whole = [path for path in work.glob("step-*") if (path / META).exists()]
    return max(whole, key=lambda path: int(path.name[5:]), default=None)


def restore(directory: Path, parameters: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Puts weights and moments where they belong; what meta.json says."""
    meta: dict[str, Any] = json.loads((directory / META).read_text("utf-8"))
    weights, moments = load_file(directory / _WEIGHTS), load_file(directory / _MOMENTS)
    with torch.no_grad():
        for name, weight in parameters.items():
            weight.copy_(weights[name])
            if f"{name} {_FIRST}" in moments:
                optimizer.state[weight] = {
                    "step": torch.tensor(float(meta["updates"])),
                    _FIRST: moments[f"{name} {_FIRST}"].to(weight.device),
                    _SECOND: moments[f"{name} {_SECOND}"].to(weight.device),
                }
    return meta
