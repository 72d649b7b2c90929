"""Keys and values for beam search: an article is read once for all its beams, and choosing beams moves nothing.

The beams of an article are queries side by side over the same columns: `[prompt | J columns per token written]`, J
beams. Who sees which column is a mask, so that reordering beams, which transformers' cache does by copying every key
and value, reorders rows of the mask. Shape suffixes: B article, J beam, K column, A head, S new columns, D head's size.
"""

import torch
from torch import Tensor
from transformers.cache_utils import Cache

BLOCK = 64  # tokens of each beam that room is made for at once


class BeamCache(Cache):
    """The cache of B articles with J beams each. First comes one forward of the prompts, all [B, S], then any number of
    forwards of one token a beam. `generate` takes it as `past_key_values`."""

    def __init__(self, real_BK: Tensor, beams: int) -> None:
        """`real_BK` is False where the prompts are padding."""
        super().__init__(layers=[])
        self.beams, self.prompt_length = beams, real_BK.shape[1]
        self.sees_BJK = real_BK.bool()[:, None].repeat(1, beams, 1)
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.filled: list[int] = []  # columns of each layer

    def update(self, key_BASD: Tensor, value_BASD: Tensor, layer_idx: int, *_: object) -> tuple[Tensor, Tensor]:
        """Adds the columns to a layer's; returns views of all that it has."""
        if layer_idx == len(self.filled):
            self.keys.append(key_BASD[:, :, :0])
            self.values.append(value_BASD[:, :, :0])
            self.filled.append(0)
        start = self.filled[layer_idx]
        end = start + key_BASD.shape[2]
        self.filled[layer_idx] = end
        held = []
        for buffers, new_BASD in ((self.keys, key_BASD), (self.values, value_BASD)):
            if end > buffers[layer_idx].shape[2]:
                rows, heads, size = *new_BASD.shape[:2], new_BASD.shape[3]
                longer = new_BASD.new_empty(rows, heads, (start or end) + BLOCK * self.beams, size)
                longer[:, :, :start] = buffers[layer_idx][:, :, :start]
                buffers[layer_idx] = longer
            buffers[layer_idx][:, :, start:end] = new_BASD
            held.append(buffers[layer_idx][:, :, :end])
        return held[0], held[1]

    def step(self) -> Tensor:
        """[B, 1, J, K], True where a beam's next token sees a column, its own among them. Call once a forward."""
        own_JJ = torch.eye(self.beams, dtype=torch.bool, device=self.sees_BJK.device)
        self.sees_BJK = torch.cat([self.sees_BJK, own_JJ.expand(len(self.sees_BJK), -1, -1)], dim=-1)
        return self.sees_BJK[:, None]

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """`beam_idx` [B·J]: the row, among all B·J, that each beam goes on from."""
        self.sees_BJK = self.sees_BJK.flatten(0, 1)[beam_idx].view_as(self.sees_BJK)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens of one beam, its prompt's among them."""
        if layer_idx >= len(self.filled):
            return 0
        return self.prompt_length + (self.filled[layer_idx] - self.prompt_length) // self.beams
