"""Who may see whom in GLM: a bidirectional context, causal spans after it; and the attention that obeys."""

from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from megatron.core.tensor_parallel import get_cuda_rng_tracker
from megatron.core.transformer.module import MegatronModule
from torch import Tensor


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


class MaskedAttention(MegatronModule):
    """megatron's `core_attention` with torch's scaled_dot_product_attention and a boolean mask; scale 1/√d."""

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
