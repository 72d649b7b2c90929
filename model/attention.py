"""Who may see whom in GLM: a bidirectional context, causal spans after it; and the two backends that obey.

One door: `mask_for(backend, …)` makes what travels through the layers as `attention_mask`, `core_attention(backend)` is
the class that reads it. Both backends give the same numbers; sdpa reads a dense boolean mask, flex skips the blocks of
128 × 128 that nobody sees and never holds [S, S].
"""

from contextlib import nullcontext
from functools import cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from megatron.core.tensor_parallel import get_cuda_rng_tracker
from megatron.core.transformer.module import MegatronModule
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.utils.weak import WeakIdKeyDictionary

Backend = Literal["sdpa", "flex"]


def mask_for(backend: Backend, context_length_B: Tensor, length: int, segment_ids_BS: Tensor | None = None) -> Tensor:
    """The mask in the form its backend reads, as one tensor, so that recomputed layers can keep it."""
    if backend == "sdpa":
        return glm_mask(context_length_B, length, segment_ids_BS)
    if segment_ids_BS is None:
        segment_ids_BS = torch.zeros(len(context_length_B), length, dtype=torch.int64, device=context_length_B.device)
    return torch.cat([context_length_B[:, None].to(segment_ids_BS), segment_ids_BS], dim=1)


def glm_mask(context_length_B: Tensor, length: int, segment_ids_BS: Tensor | None = None) -> Tensor:
    """Boolean mask [B, 1, S, S], True where row (query) sees column (key).

    Every row sees the columns before it and itself, and all of the context, whose length is `context_length_B`. With
    segment ids, rows and columns of different segments never meet; padding gets an id of its own. Each row sees itself,
    so no softmax is empty. Source: GLM, section 2.1 (part A full, part B autoregressive).
    """
    place_S = torch.arange(length, device=context_length_B.device)
    causal_SS = place_S[None, :] <= place_S[:, None]
    in_context_B1S = place_S[None, None, :] < context_length_B[:, None, None]
    sees_BSS = causal_SS[None] | in_context_B1S
    if segment_ids_BS is not None:
        sees_BSS = sees_BSS & (segment_ids_BS[:, :, None] == segment_ids_BS[:, None, :])
    return sees_BSS[:, None]


def core_attention(backend: Backend) -> type[MegatronModule]:
    """The class that megatron's SelfAttention takes as `core_attention`."""
    return {"sdpa": DenseAttention, "flex": FlexAttention}[backend]


class DenseAttention(MegatronModule):
    """torch's scaled_dot_product_attention with a boolean mask [B, 1, S, S]; scale 1/√d."""

    def __init__(self, config: Any, attention_dropout: float | None = None, **_: Any) -> None:
        super().__init__(config)
        self.dropout = config.attention_dropout if attention_dropout is None else attention_dropout

    def forward(self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, **_: Any) -> Tensor:
        """[S, B, heads / tensor, d] three times → [S, B, hidden / tensor]."""
        query_BASD, key_BASD, value_BASD = (part.permute(1, 2, 0, 3) for part in (query, key, value))
        dropout = self.dropout if self.training else 0.0
        # Each tensor-parallel rank holds other heads, so it draws from its own random state.
        with get_cuda_rng_tracker().fork() if dropout else nullcontext():
            mixed_BASD = F.scaled_dot_product_attention(
                query_BASD, key_BASD, value_BASD, attn_mask=attention_mask, dropout_p=dropout
            )
        return mixed_BASD.permute(2, 0, 1, 3).flatten(2)


class FlexAttention(MegatronModule):
    """FlexAttention with a block mask made of [B, 1 + S]: context length, then segment ids. Without dropout."""

    def __init__(self, config: Any, **_: Any) -> None:
        super().__init__(config)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, **_: Any) -> Tensor:
        """[S, B, heads / tensor, d] three times → [S, B, hidden / tensor]."""
        query_BASD, key_BASD, value_BASD = (part.permute(1, 2, 0, 3).contiguous() for part in (query, key, value))
        attend = _compiled(flex_attention) if query.is_cuda else flex_attention
        mixed_BASD = attend(query_BASD, key_BASD, value_BASD, block_mask=block_mask(attention_mask))
        return mixed_BASD.permute(2, 0, 1, 3).flatten(2)


_BLOCK_MASKS = WeakIdKeyDictionary()  # the layers of one pass share the mask of their rows


def block_mask(mask_B1S: Tensor) -> BlockMask:
    """`glm_mask` as a block mask, from the form that `mask_for` gives flex."""
    if mask_B1S not in _BLOCK_MASKS:
        # Copies: views would keep the mask, the key of this entry, alive as long as the entry.
        context_length_B, segment_ids_BS = mask_B1S[:, 0].clone(), mask_B1S[:, 1:].clone()

        def sees(row: Tensor, _: Tensor, query: Tensor, key: Tensor) -> Tensor:
            ordered = (key <= query) | (key < context_length_B[row])
            return ordered & (segment_ids_BS[row, query] == segment_ids_BS[row, key])

        rows, length = segment_ids_BS.shape
        make = _compiled(create_block_mask) if mask_B1S.is_cuda else create_block_mask
        _BLOCK_MASKS[mask_B1S] = make(sees, rows, None, length, length, device=mask_B1S.device)
    found: BlockMask = _BLOCK_MASKS[mask_B1S]
    return found


@cache
def _compiled(function: Any) -> Any:
    """For GPUs, where it would else hold [S, S]."""
    return torch.compile(function)
