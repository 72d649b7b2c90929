"""A training step of our GLM on megatron-core against the same GLM in plain PyTorch, one process each, in turn.

    python -m benchmarks.model_step [--preset tiny] [--vocab-size 8192] [--rows 8] [--rounds 5]

Plain PyTorch is the Hugging Face class with torch's AdamW: once with the head on every position, and once with the head
on the positions that have a target, as ours. Same rows, same weights, fp32, no dropout; the losses are compared.
"""

import argparse
import importlib.metadata
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.record import in_turn, median_s, ratio, write_record
from model.config import ModelConfig
from model.cpu import cpu_runtime
from model.hf.configuration_mglm import MGLMConfig
from model.hf.modeling_mglm import GLMForConditionalGeneration, glm_mask
from model.topology import Topology
from model.weights import megatron_to_hf

LENGTH, CONTEXT, TARGETS = 512, 440, 90  # of a row; 90 of 512 positions have a target, as blank infilling makes
STEPS_A_ROUND = 3


def main() -> None:
    """Measures and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny", help="of the model [tiny]")
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--rows", type=int, default=8, help="rows of a step")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    model = ModelConfig.model_validate({"preset": arguments.preset, "hidden_dropout": 0.0, "attention_dropout": 0.0})
    with cpu_runtime():
        from model.parallel import initialize, shut_down

        initialize(Topology(), seed=1)
        rows = made_up_rows(arguments.rows, arguments.vocab_size)
        ours, twin = Ours(model, arguments.vocab_size, rows), GLMForConditionalGeneration(twin_config(model, arguments))
        twin.load_state_dict(ours.weights(model.num_attention_heads), strict=False)
        twin.tie_weights()
        names = ("plain PyTorch, head on every position", "plain PyTorch, head on targets", "ours")
        plain = [Plain(twin, rows, whole) for whole in (True, False)]
        losses = dict(zip(names, [*(way.loss() for way in plain), ours.loss()], strict=True))
        calls: dict[str, Callable[[], object]] = dict(
            zip(names, [*(way.steps for way in plain), ours.steps], strict=True)
        )
        for call in calls.values():
            call()  # warm
        measured = in_turn(calls, arguments.rounds)
        shut_down()
    table = [
        [
            name,
            f"{median_s(measured[name]) / STEPS_A_ROUND:.3f}",
            f"{ratio(measured[name], measured[names[1]]):.2f}",
            f"{losses[name]:.6f}",
        ]
        for name in names
    ]
    write_record(
        f"model_step_{arguments.preset}",
        f"A training step of the {arguments.preset} GLM",
        ["implementation", "seconds a step", "of plain with the head on targets", "first loss"],
        table,
        remarks=[
            f"{arguments.rows} rows of {LENGTH}, {TARGETS} targets each, vocabulary {arguments.vocab_size:,}, fp32, "
            f"{torch.get_num_threads()} threads; forward, backward, clipping, AdamW."
        ],
        versions={name: importlib.metadata.version(name) for name in ("torch", "megatron-core")},
    )


def made_up_rows(
    rows: int, vocab_size: int, length: int = LENGTH, context: int = CONTEXT, targets: int = TARGETS
) -> dict[str, Tensor]:
    """Rows with a context, a mask in its middle and one span."""
    generator = torch.Generator().manual_seed(1)
    ids_BS = torch.randint(0, vocab_size, (rows, length), generator=generator)
    place_S = torch.arange(length)
    in_span_S = place_S >= context
    positions_2S = torch.stack([
        torch.where(in_span_S, context // 2, place_S), torch.where(in_span_S, place_S - context + 1, 0)
    ])  # fmt: skip
    scored_S = place_S >= length - targets
    return {
        "input_ids_BS": ids_BS,
        "position_ids_B2S": positions_2S.expand(rows, 2, length),
        "context_length_B": torch.full((rows,), context),
        "labels_BS": torch.where(scored_S, ids_BS.roll(-1, 1), -100),
    }


class Ours:
    """GLM on megatron-core with its optimizer, as train/loop.py steps it, on one process."""

    def __init__(self, model: ModelConfig, vocab_size: int, rows: dict[str, Tensor]) -> None:
        from megatron.core.pipeline_parallel import get_forward_backward_func

        from model.optimizer import build_optimizer
        from model.parallel import build_chunks

        self.rows, self.passes = rows, get_forward_backward_func()
        self.chunks = build_chunks(model, vocab_size, Topology(), seed=1, distributed_optimizer=False)
        self.optimizer = build_optimizer(self.chunks, learning_rate=1e-5, distributed_optimizer=False)

    def weights(self, heads: int) -> dict[str, Tensor]:
        from model.parallel import unwrap

        return megatron_to_hf(unwrap(self.chunks[0]).state_dict(), heads)

    def loss(self) -> float:
        with torch.no_grad():
            return float(self.chunks[0](**self.rows).mean())

    def steps(self) -> None:
        for _ in range(STEPS_A_ROUND):
            self.chunks[0].zero_grad_buffer()
            self.optimizer.zero_grad()
            self.passes(
                forward_step_func=lambda rows, model: (model(**next(rows)), _sums),
                data_iterator=iter([self.rows]),
                model=self.chunks,
                num_microbatches=1,
                seq_length=LENGTH,
                micro_batch_size=len(self.rows["context_length_B"]),
                forward_only=False,
            )
            self.optimizer.step()


def _sums(losses_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return losses_N.sum(), torch.tensor(losses_N.numel(), dtype=torch.int), losses_N.detach().sum()


class Plain:
    """The Hugging Face class and torch's AdamW."""

    def __init__(self, twin: Any, rows: dict[str, Tensor], whole_head: bool) -> None:
        self.twin, self.rows, self.whole_head = twin, rows, whole_head
        self.optimizer = torch.optim.AdamW(twin.parameters(), lr=1e-5, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01)

    def loss(self) -> float:
        with torch.no_grad():
            return float(self._loss())

    def steps(self) -> None:
        for _ in range(STEPS_A_ROUND):
            self.optimizer.zero_grad()
            torch.autograd.backward(self._loss())
            torch.nn.utils.clip_grad_norm_(self.twin.parameters(), 1.0)
            self.optimizer.step()

    def _loss(self) -> Tensor:
        ids_BS, positions_B2S, context_B, labels_BS = self.rows.values()
        mask_B1SS = glm_mask(context_B, torch.ones_like(ids_BS), 0, LENGTH)
        hidden_BSH = self.twin.transformer(ids_BS, positions_B2S, mask_B1SS, None)
        if self.whole_head:
            logits_NV, labels_N = self.twin.lm_head(hidden_BSH).flatten(0, 1), labels_BS.flatten()
        else:
            scored_BS = labels_BS != -100
            logits_NV, labels_N = self.twin.lm_head(hidden_BSH[scored_BS]), labels_BS[scored_BS]
        return F.cross_entropy(logits_NV, labels_N)


def twin_config(model: ModelConfig, arguments: argparse.Namespace) -> MGLMConfig:
    return MGLMConfig(
        vocab_size=arguments.vocab_size,
        hidden_size=model.hidden_size,
        num_hidden_layers=model.num_layers,
        num_attention_heads=model.num_attention_heads,
        intermediate_size=model.ffn_hidden_size,
        max_position_embeddings=model.max_positions,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        pad_token_id=0,
        cls_token_id=2,
        mask_token_ids=[3],
        sop_token_id=6,
        eos_token_id=7,
    )


if __name__ == "__main__":
    main()
