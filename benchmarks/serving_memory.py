"""What serving takes in memory: computed from the configuration against measured, in each precision.

    python -m benchmarks.serving_memory                                        # preset small, CPU
    python -m benchmarks.serving_memory --preset large --precisions bf16 int8  # the paper's model, 768-token articles

Random weights, a vocabulary of 250,112. Each precision is a process of its own; on a CPU it is charged what its memory
(PSS) grew by from before the model, at its peak; on a GPU what PyTorch's allocator held.
"""

import argparse
import multiprocessing
import os
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import torch
import transformers
from torch import nn

from benchmarks.record import measure, write_record
from core.log import set_up_logging
from core.processes import end_with_parent, tree_bytes
from model.config import PRESETS, ModelConfig
from model.hf.configuration_mglm import MGLMConfig
from model.hf.modeling_mglm import GLMForConditionalGeneration
from model.precision import PRECISIONS, quantise
from model.serving_memory import serving_memory
from model.summarizer import Summarizer

PIECES = 250_000
VOCABULARY = 250_112
CLS, SMASK, SOP, EOP, PAD = PIECES + 2, PIECES + 8, PIECES + 6, PIECES + 7, PIECES
GIB = 1024**3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=list(PRESETS), default="small")
    parser.add_argument("--precisions", nargs="+", choices=list(PRECISIONS), default=list(PRECISIONS))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--articles", type=int, default=1, help="at the same time")
    parser.add_argument("--source-tokens", type=int, default=768)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--beams", type=int, default=4)
    options = parser.parse_args()
    load = {
        "articles": options.articles,
        "source_tokens": options.source_tokens,
        "new_tokens": options.new_tokens,
        "beams": options.beams,
    }
    context = multiprocessing.get_context("spawn")
    rows = []
    for precision in options.precisions:
        here, there = context.Pipe()
        process = context.Process(target=work, args=(there, precision, options))
        process.start()
        there.close()
        peak_bytes = here.recv()
        process.join()
        model = ModelConfig(preset=options.preset)
        computed = serving_memory(model, VOCABULARY, precision, **load)
        copied = serving_memory(model, VOCABULARY, precision, **load, shared=False)
        figures = (computed.weights, computed.cache, computed.workspace, computed.total, peak_bytes, copied.total)
        rows.append([precision, *(f"{size / GIB:.2f}" for size in figures)])
    where = torch.cuda.get_device_name() if options.device.startswith("cuda") else "cpu"
    write_record(
        f"serving_memory_{options.preset}" + ("" if where == "cpu" else "_gpu"),
        f"Memory of preset {options.preset} serving {options.articles} article(s), on {where}, in GiB",
        ["", "weights", "keys and values", "workspace", "computed", "measured", "computed for transformers' cache"],
        rows,
        remarks=[
            f"{options.source_tokens}-token articles, {options.beams} beams, {options.new_tokens} new tokens; measured "
            "is the peak beyond the process with its libraries."
        ],
        versions={"torch": torch.__version__, "transformers": transformers.__version__},
    )


def work(pipe: Connection, precision: str, options: argparse.Namespace) -> None:
    """Builds the model and serves once; answers the bytes it took at most."""
    end_with_parent()
    set_up_logging()
    on_gpu = options.device.startswith("cuda")
    if precision == "int8":
        quantise_nothing()
    before = tree_bytes(os.getpid())
    model = build(options, precision)
    tokenizer: Any = SimpleNamespace(pieces=PIECES, sop_id=SOP, eop_id=EOP, pad_id=PAD)
    summarizer = Summarizer(model, tokenizer)
    text = torch.randint(300, PIECES, (options.source_tokens - 2,)).tolist()
    settings = {
        "num_beams": options.beams,
        "no_repeat_ngram_size": 3,
        "renormalize_logits": True,
        "min_new_tokens": options.new_tokens,
        "max_new_tokens": options.new_tokens,
    }
    measured = measure(lambda: summarizer.generate([[CLS, *text, SMASK]] * options.articles, **settings))
    pipe.send(torch.cuda.max_memory_allocated() if on_gpu else measured.peak_bytes - before)


def build(options: argparse.Namespace, precision: str) -> GLMForConditionalGeneration:
    """Layer by layer in its precision, so that the peak is the model and not its making."""
    shape = PRESETS[options.preset]
    config = MGLMConfig(
        vocab_size=VOCABULARY,
        hidden_size=shape["hidden_size"],
        num_hidden_layers=shape["num_layers"],
        num_attention_heads=shape["num_attention_heads"],
        intermediate_size=4 * shape["hidden_size"],
        source_length=options.source_tokens,
    )
    with torch.device("meta"):
        model = GLMForConditionalGeneration(config).to(PRECISIONS[precision])
    model.to_empty(device=options.device)
    model.tie_weights()
    for weight in model.parameters():
        nn.init.normal_(weight.data, std=0.02)
    if precision == "int8":
        quantise(model)
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = PAD, EOP
    return model


def quantise_nothing() -> None:
    """Loads torchao, whose own memory is no part of a model's."""
    from torchao.quantization import quantize_  # noqa: F401


if __name__ == "__main__":
    main()
