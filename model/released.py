"""The authors' released checkpoints from disk: one file, or the parts of a model-parallel one put together.

In: a DeepSpeed `.pt` with `module`, or a bare state, in either naming; a directory of `mp_rank_NN_model_states.pt`.
Out: the whole model's weights in the authors' names. Nothing is unpickled but tensors and plain containers.
"""

import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.errors import MGLMError
from model.config import ModelConfig
from model.weights import WORD_EMBEDDINGS

_PART = re.compile(r"mp_rank_(\d+)_model_states\.pt$")
# How a weight is split over model-parallel ranks: along which axis; the others are the same on all.
_SPLIT_ROWS = ("word_embeddings.weight", "mlp.dense_h_to_4h.weight", "mlp.dense_h_to_4h.bias")
_SPLIT_COLUMNS = ("attention.dense.weight", "mlp.dense_4h_to_h.weight")
_SPLIT_IN_THREE = (
    "attention.query_key_value.weight",
    "attention.query_key_value.bias",
)  # its own [q; k; v] each


def released_files(path: Path) -> list[Path]:
    """The file, or the directory's parts in the order of their ranks.

    Raises:
        MGLMError: nothing there, or a rank's part is missing.
    """
    if path.is_file():
        return [path]
    parts = {int(match[1]): file for file in path.glob("*.pt") if (match := _PART.search(file.name))}
    if not parts:
        raise MGLMError(
            f"{path}",
            found="no such file" if not path.is_dir() else "no mp_rank_NN_model_states.pt in it",
            expected="a released .pt checkpoint, or a directory of its model-parallel parts",
        )
    if missing := sorted(set(range(max(parts) + 1)) - set(parts)):
        raise MGLMError(
            f"{path}",
            found=f"parts of {len(parts)} ranks",
            expected=", ".join(f"mp_rank_{rank:02}_model_states.pt" for rank in missing) + " as well",
            action="fetch all parts of the checkpoint",
        )
    return [parts[rank] for rank in sorted(parts)]


def read_released(path: Path) -> dict[str, Tensor]:
    """The whole model's weights, in the authors' names and precision.

    Raises:
        MGLMError: not such a checkpoint, or parts that do not belong together.
    """
    return merge_parts([_module(file) for file in released_files(path)], path)


def merge_parts(parts: Sequence[Mapping[str, Tensor]], path: Path) -> dict[str, Tensor]:
    """One state from those of all model-parallel ranks, in their order."""
    if len(parts) == 1:
        return dict(parts[0])
    if odd := set(parts[0]).symmetric_difference(*map(set, parts[1:])):
        raise MGLMError(f"{path}", found=f"{min(odd)} in some parts alone", expected="the same names in all")
    merged = {}
    for name, first in parts[0].items():
        pieces = [part[name] for part in parts]
        if name.endswith(_SPLIT_IN_THREE):
            thirds = [piece.chunk(3) for piece in pieces]
            merged[name] = torch.cat([third[which] for which in range(3) for third in thirds])
        elif name.endswith(_SPLIT_ROWS):
            merged[name] = torch.cat(pieces)
        elif name.endswith(_SPLIT_COLUMNS):
            merged[name] = torch.cat(pieces, dim=1)
        else:
            if not all(torch.equal(first, piece) for piece in pieces[1:]):
                raise MGLMError(
                    f"{path}", found=f"{name} differs between parts", expected="parts of one checkpoint, of one step"
                )
            merged[name] = first
    return merged


def check_weights(weights: Mapping[str, Tensor], model: ModelConfig, path: Path) -> None:
    """Whether these, in Hugging Face names, are all weights of `model` and no others.

    Raises:
        MGLMError: lists what is unknown, missing or of another shape.
    """
    wanted = weight_shapes(model, weights[WORD_EMBEDDINGS].shape[0] if WORD_EMBEDDINGS in weights else 0)
    problems = [f"unknown {name}" for name in weights.keys() - wanted.keys()]
    problems += [f"missing {name}" for name in wanted.keys() - weights.keys()]
    problems += [
        f"{name} of shape {tuple(weights[name].shape)}, not {shape}"
        for name, shape in wanted.items()
        if name in weights and tuple(weights[name].shape) != shape
    ]
    if problems:
        shown = "; ".join(sorted(problems)[:8]) + (f"; and {len(problems) - 8} more" if len(problems) > 8 else "")
        expected = f"the weights of {model.num_layers} layers, hidden {model.hidden_size}, as in [model]"
        raise MGLMError(f"{path}", found=shown, expected=expected, action="set [model] as the checkpoint was trained")


def weight_shapes(model: ModelConfig, vocab_size: int) -> dict[str, tuple[int, ...]]:
    """Name in Hugging Face's naming → shape, of every weight but the tied head."""
    hidden, ffn = model.hidden_size, model.ffn_hidden_size
    layer: dict[str, tuple[int, int]] = {
        "attention.query_key_value": (3 * hidden, hidden),
        "attention.dense": (hidden, hidden),
        "mlp.dense_h_to_4h": (ffn, hidden),
        "mlp.dense_4h_to_h": (hidden, ffn),
    }
    shapes: dict[str, tuple[int, ...]] = {
        WORD_EMBEDDINGS: (vocab_size, hidden),
        "transformer.position_embeddings.weight": (model.max_positions, hidden),
        "transformer.block_position_embeddings.weight": (model.max_positions, hidden),
    }
    norms = ["transformer.final_layernorm"]
    for index in range(model.num_layers):
        prefix = f"transformer.layers.{index}."
        for name, (rows, columns) in layer.items():
            shapes |= {f"{prefix}{name}.weight": (rows, columns), f"{prefix}{name}.bias": (rows,)}
        norms += [prefix + "input_layernorm", prefix + "post_attention_layernorm"]
    for norm in norms:
        shapes |= {f"{norm}.weight": (hidden,), f"{norm}.bias": (hidden,)}
    return shapes


def _module(path: Path) -> dict[str, Tensor]:
    try:
        # A zip archive is mapped, so that the file's pages and their fp32 copies need not all be in memory.
        state: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise MGLMError(
            f"{path}",
            found=f"what torch does not load as plain weights ({first_line[:160]})",
            expected="a .pt file of tensors, whole and without other objects",
        ) from None
    inner = state["module"] if isinstance(state, dict) and isinstance(state.get("module"), dict) else state
    if not isinstance(inner, dict) or not all(isinstance(value, Tensor) for value in inner.values()):
        raise MGLMError(
            f"{path}", found="something else", expected="a state of tensors, alone or as `module` of a DeepSpeed file"
        )
    return inner
