"""How much memory a model takes while it writes summaries, from its configuration alone.

Three parts: weights; keys and values; what one step computes. With `shared` they are those of the Summarizer, which
keeps an article once for all its beams; without, those of transformers' cache, which keeps it once for each, and a
layer's twice while it reorders them.
"""

from dataclasses import dataclass

from model.config import ModelConfig
from model.hf.beam_cache import BLOCK

_WEIGHT_BYTES = {"fp32": 4, "bf16": 2, "int8": 1}
_OTHER_BYTES = {"fp32": 4, "bf16": 2, "int8": 2}  # embeddings, LayerNorms, biases, activations, cache


@dataclass(frozen=True)
class ServingMemory:
    """Bytes. `workspace` is the larger of reading the articles and of one step of writing."""

    weights: int
    cache: int
    workspace: int

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.workspace


def serving_memory(
    model: ModelConfig,
    vocab_size: int,
    precision: str,
    *,
    articles: int = 1,
    source_tokens: int = 768,
    new_tokens: int = 200,
    beams: int = 4,
    shared: bool = True,
) -> ServingMemory:
    """Bytes for so many articles at once, of `source_tokens` each with prompt, and `new_tokens` for each beam."""
    hidden, ffn = model.hidden_size, model.ffn_hidden_size
    other = _OTHER_BYTES[precision]
    quantised = model.num_layers * (4 * hidden * hidden + 2 * hidden * ffn)
    rows = model.num_layers * (5 * hidden + ffn)  # of those matrices: int8 keeps one scale a row
    weights = quantised * _WEIGHT_BYTES[precision] + (model.parameters(vocab_size) - quantised) * other
    weights += rows * 4 if precision == "int8" else 0

    column = 2 * model.num_layers * hidden * other  # one key and one value in every layer
    if shared:
        blocks = -(-new_tokens // BLOCK) * BLOCK
        cache = articles * (source_tokens + beams * blocks) * column
    else:
        cache = articles * beams * (source_tokens + new_tokens) * column
        cache += cache // model.num_layers

    # Reading: residual, LayerNorm's output, and the FFN before and after its GELU. Writing: the head's logits, and in
    # fp32 their copy, log-probabilities before and after the bans, and those of whole beams.
    read_rows = articles if shared else articles * beams
    reading = read_rows * source_tokens * (2 * hidden + 2 * ffn) * other
    writing = articles * beams * vocab_size * (other + 4 * 4)
    return ServingMemory(weights, cache, max(reading, writing))
