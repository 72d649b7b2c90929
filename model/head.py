"""The head and its cross-entropy in one: tied weights split over the vocabulary, exact label smoothing, no full logits.

Takes the hidden states of the N positions that have a label, a chunk of them at a time; the backward pass computes a
chunk's logits again instead of keeping them. At a vocabulary of 250k, logits in fp32 are a megabyte a position.
megatron-core's own cross-entropy takes the rank's share for the whole vocabulary when it smooths, so its loss depends
on the split.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def head_losses(
    hidden_NH: Tensor,
    weight_VH: Tensor,
    labels_N: Tensor,
    label_smoothing: float,
    group: dist.ProcessGroup,
    chunk: int,
) -> Tensor:
    """Losses [N] in fp32 (fp64 for fp64), natural log.

    `weight_VH` holds this rank's rows of the vocabulary, `labels_N` global ids; `hidden_NH` is the same on all ranks of
    the group, and its gradient is this rank's part of the sum. The target is 1 − ε on the label plus ε / V on every one
    of the V ids, as in the authors' fine-tuning and in torch.nn.functional.cross_entropy. At most `chunk` positions
    have logits at a time.
    """
    apply: Callable[..., Tensor] = _HeadLosses.apply
    return apply(hidden_NH, weight_VH, labels_N, label_smoothing, group, chunk)


class _HeadLosses(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        labels_N: Tensor,
        smoothing: float,
        group: dist.ProcessGroup,
        chunk: int,
    ) -> Tensor:
        columns = weight_VH.shape[0]
        vocab_size = columns * dist.get_world_size(group)
        local_N = labels_N - columns * dist.get_rank(group)
        mine_N = (local_N >= 0) & (local_N < columns)
        local_N = torch.where(mine_N, local_N, 0)
        dtype = torch.float64 if hidden_NH.dtype == torch.float64 else torch.float32
        losses_N = torch.empty(labels_N.shape, dtype=dtype, device=hidden_NH.device)
        log_total_N = torch.empty_like(losses_N)
        probability_NV = None
        for rows in _chunks(len(labels_N), chunk):
            shifted_NV = (hidden_NH[rows] @ weight_VH.T).to(dtype)
            highest_N = shifted_NV.amax(-1)
            dist.all_reduce(highest_N, op=dist.ReduceOp.MAX, group=group)
            shifted_NV -= highest_N[:, None]
            label_N = torch.where(mine_N[rows], shifted_NV.gather(1, local_N[rows, None])[:, 0], 0.0)
            sum_N = shifted_NV.sum(-1) if smoothing else torch.zeros_like(label_N)
            probability_NV = shifted_NV.exp_()
            sums_3N = torch.stack([probability_NV.sum(-1), label_N, sum_N])
            dist.all_reduce(sums_3N, group=group)
            total_N, label_N, sum_N = sums_3N
            losses_N[rows] = total_N.log() - (1 - smoothing) * label_N - (smoothing / vocab_size) * sum_N
            log_total_N[rows] = total_N.log() + highest_N
            probability_NV /= total_N[:, None]
        ctx.kept_NV = probability_NV if len(labels_N) <= chunk else None  # one chunk: no need to compute it again
        ctx.save_for_backward(hidden_NH, weight_VH, local_N, mine_N, log_total_N)
        ctx.smoothing, ctx.vocab_size, ctx.chunk = smoothing, vocab_size, chunk
        return losses_N

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        hidden_NH, weight_VH, local_N, mine_N, log_total_N = ctx.saved_tensors
        gradient_NH = torch.empty_like(hidden_NH)
        # Several chunks are summed in fp32, or half precision would lose the last ones.
        gradient_VH = torch.zeros_like(weight_VH, dtype=None if ctx.kept_NV is not None else log_total_N.dtype)
        for rows in _chunks(len(local_N), ctx.chunk):
            if ctx.kept_NV is not None:
                gradient_NV, ctx.kept_NV = ctx.kept_NV, None
            else:
                logits_NV = (hidden_NH[rows] @ weight_VH.T).to(log_total_N.dtype)
                gradient_NV = logits_NV.sub_(log_total_N[rows, None]).exp_()
            if ctx.smoothing:
                gradient_NV -= ctx.smoothing / ctx.vocab_size
            held_N1 = mine_N[rows, None].to(gradient_NV.dtype) * (1 - ctx.smoothing)
            gradient_NV.scatter_add_(1, local_N[rows, None], -held_N1)
            gradient_NV = gradient_NV.mul_(gradients[0][rows, None]).to(hidden_NH.dtype)
            gradient_NH[rows] = gradient_NV @ weight_VH
            if gradient_VH.dtype == gradient_NV.dtype:
                gradient_VH.addmm_(gradient_NV.T, hidden_NH[rows])  # in place: the product is as large as the weight
            else:
                gradient_VH += gradient_NV.T @ hidden_NH[rows]
        return gradient_NH, gradient_VH.to(weight_VH.dtype), None, None, None, None


def _chunks(length: int, chunk: int) -> Iterator[slice]:
    return (slice(start, min(start + chunk, length)) for start in range(0, length, chunk))
