"""Summaries per second, first result, peak memory: our Summarizer, transformers' `generate` left alone, and mT5.

    python -m benchmarks.generation                                    # small models, two cores, < 5 minutes
    python -m benchmarks.generation --preset large --pieces 250000 --device cuda --source-tokens 768 --new-tokens 200

All have random weights, as many pieces, the same articles and the paper's search: 4 beams, no trigram twice.
Every summary has `--new-tokens` tokens, so that all do the same work. Each system is a process of its own, and they
take turns.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import GenerationConfig, MT5Config, MT5ForConditionalGeneration
from transformers.cache_utils import DynamicCache

from benchmarks.record import measure, write_record
from core.log import set_up_logging
from core.processes import end_with_parent
from model.config import PRESETS
from model.hf.configuration_mglm import MGLMConfig
from model.hf.modeling_mglm import GLMForConditionalGeneration
from model.precision import quantise
from model.summarizer import Summarizer, left_padded
from tokenizer.encoding import PADDED_TO

# mT5's published shapes, of the size nearest to each of our presets.
MT5 = {
    "tiny": {"name": "mT5-small", "d_model": 512, "d_ff": 1024, "num_layers": 8, "num_heads": 6, "d_kv": 64},
    "base": {"name": "mT5-base", "d_model": 768, "d_ff": 2048, "num_layers": 12, "num_heads": 12, "d_kv": 64},
    "large": {"name": "mT5-large", "d_model": 1024, "d_ff": 2816, "num_layers": 24, "num_heads": 16, "d_kv": 64},
}
MT5["small"] = MT5["tiny"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.bfloat16}
OURS, ONCE, UNTOUCHED, OTHER = "Summarizer", "article read once, cache per beam", "generate untouched", "mT5"

Write = Callable[[list[list[int]]], list[list[int]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="small")
    parser.add_argument("--pieces", type=int, default=64_000, help="the paper's and mT5's: 250000")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=sorted(DTYPES), help="default bf16 on a GPU, fp32 on a CPU")
    parser.add_argument("--requests", type=int, nargs="+", default=[1, 8, 32], help="at the same time")
    parser.add_argument("--batch-size", type=int, default=32, help="most requests generated together")
    parser.add_argument("--source-tokens", type=int, default=512, help="of the longest article; the shortest has half")
    parser.add_argument("--new-tokens", type=int, default=24)
    parser.add_argument("--beams", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=[OURS, UNTOUCHED, OTHER])
    options = parser.parse_args()
    options.precision = options.precision or ("bf16" if options.device.startswith("cuda") else "fp32")

    context = multiprocessing.get_context("spawn")
    workers: dict[str, Any] = {}
    for system in options.systems:
        here, there = context.Pipe()
        context.Process(target=work, args=(there, system, options), daemon=True).start()
        there.close()  # so that a worker that dies is noticed
        workers[system] = here
        here.recv()  # it has loaded
    results: dict[int, dict[str, list[dict[str, Any]]]] = {}
    for number in options.requests:
        results[number] = {system: [] for system in workers}
        for _ in range(options.rounds):
            for system, worker in workers.items():
                worker.send(number)
                results[number][system].append(worker.recv())
    for worker in workers.values():
        worker.send(0)
    record(options, results)


def work(pipe: Connection, system: str, options: argparse.Namespace) -> None:
    """One system, loaded once; answers each number of requests with what they took."""
    end_with_parent()
    set_up_logging()
    torch.manual_seed(0)
    write = SYSTEMS[system](options)
    write(articles(1, options)[:1])
    pipe.send("loaded")
    while number := pipe.recv():
        sources = sorted(articles(number, options), key=len)
        spans: list[list[int]] = []
        first_s = 0.0

        def run(sources: list[list[int]] = sources, spans: list[list[int]] = spans) -> None:
            nonlocal first_s
            started = time.perf_counter()
            for start in range(0, len(sources), options.batch_size):
                spans += write(sources[start : start + options.batch_size])
                first_s = first_s or time.perf_counter() - started

        if on_gpu := options.device.startswith("cuda"):
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        measured = measure(run)
        peak = torch.cuda.max_memory_allocated() if on_gpu else measured.peak_bytes
        pipe.send({"seconds": measured.seconds, "first_s": first_s, "peak": peak, "spans": spans})


def articles(number: int, options: argparse.Namespace) -> list[list[int]]:
    """Made-up articles as the model reads them, without [sop]."""
    ids = tokenizer(options)
    generator = torch.Generator().manual_seed(number)
    half = options.source_tokens // 2
    lengths = torch.randint(half, options.source_tokens - 1, (number,), generator=generator).tolist()
    lengths[0] = options.source_tokens - 2
    return [
        [ids.cls_id, *torch.randint(300, ids.pieces, (length,), generator=generator).tolist(), ids.smask_id]
        for length in lengths
    ]


def tokenizer(options: argparse.Namespace) -> Any:
    """What a Tokenizer of so many pieces would say of its ids."""
    pieces = options.pieces
    rows = -(-(pieces + 11) // PADDED_TO) * PADDED_TO
    places = {"pad_id": 0, "cls_id": 2, "mask_id": 3, "sop_id": 6, "eop_id": 7, "smask_id": 8, "gmask_id": 9}
    return SimpleNamespace(pieces=pieces, vocab_size=rows, **{name: pieces + at for name, at in places.items()})


def search(options: argparse.Namespace, **ids: int) -> GenerationConfig:
    return GenerationConfig(
        num_beams=options.beams,
        length_penalty=0.7,
        no_repeat_ngram_size=3,
        min_new_tokens=options.new_tokens,
        max_new_tokens=options.new_tokens,
        renormalize_logits=True,
        do_sample=False,
        **ids,
    )


def glm(options: argparse.Namespace) -> GLMForConditionalGeneration:
    shape, ids = PRESETS[options.preset], tokenizer(options)
    config = MGLMConfig(
        vocab_size=ids.vocab_size,
        hidden_size=shape["hidden_size"],
        num_hidden_layers=shape["num_layers"],
        num_attention_heads=shape["num_attention_heads"],
        intermediate_size=4 * shape["hidden_size"],
        max_position_embeddings=max(1025, options.source_tokens + 1),
        source_length=options.source_tokens,
        pad_token_id=ids.pad_id,
        cls_token_id=ids.cls_id,
        mask_token_ids=[ids.mask_id, ids.smask_id, ids.gmask_id],
        sop_token_id=ids.sop_id,
        eos_token_id=ids.eop_id,
    )
    with torch.device(options.device):
        model: GLMForConditionalGeneration
        model = GLMForConditionalGeneration._from_config(config, dtype=DTYPES[options.precision])
    model.generation_config = search(options, pad_token_id=ids.pad_id, eos_token_id=ids.eop_id)
    if options.precision == "int8":
        quantise(model)
    return model.eval()


def ours(options: argparse.Namespace) -> Write:
    return Summarizer(glm(options), tokenizer(options)).generate


def once(options: argparse.Namespace) -> Write:
    """transformers' own cache, filled once for each article and repeated for its beams."""
    model = glm(options)

    def fill(ids_BS: Tensor, mask_BS: Tensor) -> DynamicCache:
        cache = DynamicCache(config=model.config)
        positions_B2S, context_length_B = model.geometry(ids_BS, mask_BS)
        past = positions_B2S[:, :, :-1]
        model(ids_BS[:, :-1], mask_BS[:, :-1], past, context_length_B, past_key_values=cache, logits_to_keep=1)
        cache.batch_repeat_interleave(options.beams)
        return cache

    return plain(model, fill)


def plain(model: GLMForConditionalGeneration, fill: Callable[[Tensor, Tensor], DynamicCache] | None = None) -> Write:
    @torch.inference_mode()
    def write(sources: list[list[int]]) -> list[list[int]]:
        config = model.config
        ids_BS, mask_BS = left_padded([[*ids, config.sop_token_id] for ids in sources], config.pad_token_id)
        ids_BS, mask_BS = ids_BS.to(model.device), mask_BS.to(model.device)
        cache = {"past_key_values": fill(ids_BS, mask_BS)} if fill else {}
        output_BS = model.generate(input_ids=ids_BS, attention_mask=mask_BS, **cache)
        spans: list[list[int]] = output_BS[:, ids_BS.shape[1] :].tolist()
        return [[index for index in span if index < config.pad_token_id] for span in spans]

    return write


def shape_of_mt5(options: argparse.Namespace) -> dict[str, Any]:
    return MT5.get(options.preset, MT5["large"])


def mt5(options: argparse.Namespace) -> Write:
    shape = {name: value for name, value in shape_of_mt5(options).items() if name != "name"}
    config = MT5Config(
        vocab_size=tokenizer(options).vocab_size, feed_forward_proj="gated-gelu", decoder_start_token_id=0, **shape
    )
    with torch.device(options.device):
        model = MT5ForConditionalGeneration._from_config(config, dtype=DTYPES[options.precision]).eval()
    model.generation_config = search(options, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)

    @torch.inference_mode()
    def write(sources: list[list[int]]) -> list[list[int]]:
        ids_BS, mask_BS = left_padded([[*ids, 1] for ids in sources], 0)
        output_BS = model.generate(input_ids=ids_BS.to(model.device), attention_mask=mask_BS.to(model.device))
        spans: list[list[int]] = output_BS.tolist()
        return spans

    return write


SYSTEMS: dict[str, Callable[[argparse.Namespace], Write]] = {
    OURS: ours,
    ONCE: once,
    UNTOUCHED: lambda options: plain(glm(options)),
    OTHER: mt5,
}


def record(options: argparse.Namespace, results: dict[int, dict[str, list[dict[str, Any]]]]) -> None:
    rows: list[list[Any]] = []
    remarks = []
    for number, of_system in results.items():
        base = of_system.get(UNTOUCHED)
        for system, runs in of_system.items():
            seconds = statistics.median(run["seconds"] for run in runs)
            turns = zip(base or (), runs, strict=base is not None)
            ratios = [of_base["seconds"] / run["seconds"] for of_base, run in turns]
            rows.append(
                [
                    f"{shape_of_mt5(options)['name'] if system == OTHER else system}, {number} at once",
                    f"{number / seconds:.3g}",
                    f"{statistics.median(ratios):.2f}" if ratios else "",
                    f"{statistics.median(run['first_s'] for run in runs):.2f}",
                    f"{max(run['peak'] for run in runs) / 1024**3:.2f}",
                ]
            )
        if base and OURS in of_system:
            pairs = list(zip(of_system[OURS][0]["spans"], base[0]["spans"], strict=True))
            same = sum(a == b for a, b in pairs)
            remarks.append(f"{number} at once: {same} of {number} summaries are the same tokens as generate's.")
    where = torch.cuda.get_device_name() if options.device.startswith("cuda") else "cpu"
    remarks.append(
        f"Preset {options.preset}, {options.pieces:,} pieces, {options.precision} on {where}: articles of "
        f"{options.source_tokens // 2} to {options.source_tokens} tokens, {options.new_tokens} new tokens, "
        f"{options.beams} beams, random weights. Peak memory is that of the "
        f"{'GPU allocator' if where != 'cpu' else 'process'}, weights included."
    )
    suffix = "" if where == "cpu" else "_gpu"
    write_record(
        f"generation_{options.preset}_{options.precision}{suffix}",
        f"Summaries with preset {options.preset} in {options.precision} on {where}",
        ["", "summaries/s", "× untouched", "first result, s", "peak memory, GiB"],
        rows,
        remarks=remarks,
        versions={"torch": torch.__version__, "transformers": transformers.__version__},
    )


if __name__ == "__main__":
    main()
