"""How far training has moved each layer: ‖W' − W‖ / ‖W‖ between two exports of one shape.

The paper explains the lack of prompt transferring by it (§3.4): upper layers, which hold what a task is, are updated
much more than lower ones. A layer's W is all its weights and biases as one vector; what lies outside the layers
(embeddings, the last LayerNorm) is named by itself. Any two Hugging Face directories with safetensors of the same
names will do.
"""

import json
import math
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from core.errors import MGLMError

_LAYER = re.compile(r"(.*?)\b(?:layers|layer|blocks|block|h)\.(\d+)\.")
_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class PartChange:
    """A part of a model: `layer` counts from 0 at the input, None outside the layers; `change` is relative, None where
    the part was all zeros."""

    part: str
    layer: int | None
    parameters: int
    change: float | None


def weight_change(before: Path, after: Path) -> list[PartChange]:
    """Every part's relative change, layers from the input upwards, then the rest by name.

    Raises:
        MGLMError: no safetensors in one of the directories, or tensors of other names or shapes.
    """
    files, others = _files_of(before), _files_of(after)
    if files.keys() != others.keys():
        differing = sorted(files.keys() ^ others.keys())
        found = f"{len(differing)} tensors that the other lacks, e.g. {differing[0]}"
        raise MGLMError(f"weights of {after}", found=found, expected=f"those of {before}")
    moved: dict[tuple[str, int | None], float] = defaultdict(float)
    lengths: dict[tuple[str, int | None], float] = defaultdict(float)
    counts: dict[tuple[str, int | None], int] = defaultdict(int)
    for name in sorted(files):
        old, new = _tensor(files[name], name), _tensor(others[name], name)
        if old.shape != new.shape:
            found = f"{name} of shape {list(new.shape)}"
            raise MGLMError(f"weights of {after}", found=found, expected=f"{list(old.shape)} as in {before}")
        key = _part(name)
        moved[key] += float((new - old).square().sum())
        lengths[key] += float(old.square().sum())
        counts[key] += old.numel()
    changes = [
        PartChange(part, layer, counts[key], math.sqrt(moved[key] / lengths[key]) if lengths[key] else None)
        for key in counts
        for part, layer in [key]
    ]
    return sorted(changes, key=lambda one: (one.layer is None, one.part.rstrip("0123456789"), one.layer or 0))


def _part(name: str) -> tuple[str, int | None]:
    """`transformer.layers.3.mlp.weight` → ("layer 3", 3); a stack of its own (encoder, decoder) keeps its name."""
    if match := _LAYER.match(name):
        stack = next((word for word in ("encoder", "decoder") if word in match[1]), "")
        return f"{stack} layer {match[2]}".strip(), int(match[2])
    return name.removesuffix(".weight").removesuffix(".bias").removeprefix("transformer."), None


def _files_of(directory: Path) -> dict[str, Path]:
    """Tensor name → the file it lies in."""
    try:
        if (directory / _INDEX).exists():
            placed: dict[str, str] = json.loads((directory / _INDEX).read_text("utf-8"))["weight_map"]
            return {name: directory / file for name, file in placed.items()}
        with safe_open(directory / "model.safetensors", framework="pt") as file:
            return dict.fromkeys(file.keys(), directory / "model.safetensors")
    except (OSError, SafetensorError, ValueError, KeyError):
        found = "no readable safetensors" if directory.is_dir() else "no such directory"
        expected, action = "a Hugging Face model directory", "make one with mglm model convert --to hf"
        raise MGLMError(f"model {directory}", found=found, expected=expected, action=action) from None


def _tensor(file: Path, name: str) -> torch.Tensor:
    try:
        with safe_open(file, framework="pt") as opened:
            tensor: torch.Tensor = opened.get_tensor(name)
    except (OSError, SafetensorError) as error:
        raise MGLMError(f"weights {file}", found=str(error), action="copy or export the model again") from None
    return tensor.double()
