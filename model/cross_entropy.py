"""Cross-entropy over a vocabulary that is split across tensor-parallel ranks, with exact label smoothing.

megatron-core's own takes the rank's share for the whole vocabulary when it smooths, so its loss depends on the split.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def vocab_parallel_cross_entropy(
    logits_NV: Tensor, labels_N: Tensor, label_smoothing: float, group: dist.ProcessGroup
) -> Tensor:
    """Losses [N] in fp32 (fp64 for fp64), natural log.

    `logits_NV` holds this rank's columns of the vocabulary, `labels_N` global ids. The target is 1 − ε on the label
    plus ε / V on every one of the V ids, as in the authors' fine-tuning and in torch.nn.functional.cross_entropy.
    """
    apply: Callable[..., Tensor] = _VocabParallelCrossEntropy.apply
    return apply(logits_NV, labels_N, label_smoothing, group)


class _VocabParallelCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits_NV: Tensor, labels_N: Tensor, smoothing: float, group: dist.ProcessGroup) -> Tensor:
        columns = logits_NV.shape[1]
        vocab_size = columns * dist.get_world_size(group)
        local_N = labels_N - columns * dist.get_rank(group)
        mine_N = (local_N >= 0) & (local_N < columns)
        local_N = torch.where(mine_N, local_N, 0)

        wide_NV = logits_NV.double() if logits_NV.dtype == torch.float64 else logits_NV.float()
        highest_N = wide_NV.amax(-1)
        dist.all_reduce(highest_N, op=dist.ReduceOp.MAX, group=group)
        shifted_NV = wide_NV - highest_N[:, None]
        label_N = torch.where(mine_N, shifted_NV.gather(1, local_N[:, None])[:, 0], 0.0)
        sum_N = shifted_NV.sum(-1) if smoothing else torch.zeros_like(label_N)
        probability_NV = shifted_NV.exp_()
        sums_3N = torch.stack([probability_NV.sum(-1), label_N, sum_N])
        dist.all_reduce(sums_3N, group=group)
        total_N, label_N, sum_N = sums_3N

        ctx.save_for_backward(probability_NV.div_(total_N[:, None]), local_N, mine_N)
        ctx.smoothing, ctx.vocab_size, ctx.dtype = smoothing, vocab_size, logits_NV.dtype
        return total_N.log() - (1 - smoothing) * label_N - (smoothing / vocab_size) * sum_N

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        probability_NV, local_N, mine_N = ctx.saved_tensors
        gradient_NV = probability_NV - ctx.smoothing / ctx.vocab_size
        held_N1 = mine_N.to(gradient_NV.dtype)[:, None] * (1 - ctx.smoothing)
        gradient_NV.scatter_add_(1, local_N[:, None], -held_N1)
        return gradient_NV.mul_(gradients[0][:, None]).to(ctx.dtype), None, None, None
