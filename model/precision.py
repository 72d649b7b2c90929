"""In how many bits a model's weights serve: fp32, bf16, or int8 (torchao, weights alone, rounded to nearest per row).

The paper used BMInf for 8 bits, which has not been maintained since January 2023. int8 here takes the linear maps of
the layers; the word embeddings, which are also the head, positions and LayerNorms stay bf16. It saves memory, not time.
"""

import ctypes
import importlib.util
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn
from transformers.utils.logging import disable_progress_bar

from core.errors import MGLMError, how_to_install
from core.log import get_logger
from model.hf.modeling_mglm import GLMForConditionalGeneration

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.bfloat16}


def load_model(directory: Path, device: str | None, precision: str | None) -> GLMForConditionalGeneration:
    """The model of an export on a device, in a precision; by default on the GPU if there is one, bf16 there and fp32 on
    a CPU. Runs no code from the directory.

    Raises:
        MGLMError: no such device or precision, or files that do not belong together.
    """
    where = device_of(device)
    precision = precision or ("fp32" if where.type == "cpu" else "bf16")
    if precision not in PRECISIONS:
        raise MGLMError(f"precision {precision!r}", found="an unknown name", expected=f"one of {', '.join(PRECISIONS)}")
    if precision == "int8" and importlib.util.find_spec("torchao") is None:
        raise MGLMError("precision int8", found="no torchao", action=how_to_install("serve"))
    disable_progress_bar()  # of transformers, which shows one for the weights
    try:
        model = GLMForConditionalGeneration.from_pretrained(
            directory, local_files_only=True, dtype=PRECISIONS[precision], use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise MGLMError(f"model {directory}", found=str(error).splitlines()[0], action="export it again") from None
    if precision == "int8":
        quantise(model)
    get_logger("summarize").debug("%s on %s", precision, where)
    return model.to(where).eval()


def quantise(model: GLMForConditionalGeneration) -> None:
    """Rounds the weights of the layers' linear maps to int8, in place."""
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    quantize_(model.transformer.layers, Int8WeightOnlyConfig(), filter_fn=lambda part, _: isinstance(part, nn.Linear))
    # The old weights leave holes in the heap, which glibc keeps: half a GiB of the paper's model.
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def device_of(name: str | None) -> torch.device:
    """The device of that name; without one the GPU, if there is any. Raises MGLMError for one that is not there."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:
        usable = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
        raise MGLMError(
            f"device {name!r}", found=str(error).splitlines()[0], expected=f"one of {', '.join(usable)}"
        ) from None
