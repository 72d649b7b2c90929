"""Configuration of GLM for Hugging Face transformers."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedConfig


class MGLMConfig(PreTrainedConfig):
    """A GLM's shape and the token ids its geometry hangs on.

    `sop_token_id` opens a span, `mask_token_ids` are [MASK], [sMASK] and [gMASK], `eos_token_id` is <|endofpiece|>,
    which ends generation, `pad_token_id` the document separator. `sequence_length` is the context length of
    pretraining, `source_length` the longest context the model was trained on, fine-tuning included.
    """

    model_type = "mglm"
    keys_to_ignore_at_inference = ("past_key_values",)

    def __init__(
        self,
        vocab_size: int = 250_112,
        hidden_size: int = 1536,
        num_hidden_layers: int = 24,
        num_attention_heads: int = 16,
        intermediate_size: int = 6144,
        max_position_embeddings: int = 1025,
        sequence_length: int = 512,
        source_length: int = 512,
        hidden_dropout: float = 0.1,
        attention_dropout: float = 0.1,
        layer_norm_eps: float = 1e-5,
        initializer_range: float = 0.02,
        pad_token_id: int = 250_000,
        cls_token_id: int = 250_002,
        mask_token_ids: Sequence[int] = (250_003, 250_008, 250_009),
        sop_token_id: int = 250_006,
        eos_token_id: int = 250_007,
        tie_word_embeddings: bool = True,
        **others: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.max_position_embeddings = max_position_embeddings
        self.sequence_length = sequence_length
        self.source_length = source_length
        self.hidden_dropout = hidden_dropout
        self.attention_dropout = attention_dropout
        self.layer_norm_eps = layer_norm_eps
        self.initializer_range = initializer_range
        self.pad_token_id = pad_token_id
        self.cls_token_id = cls_token_id
        self.mask_token_ids = list(mask_token_ids)
        self.sop_token_id = sop_token_id
        self.eos_token_id = eos_token_id
        self.tie_word_embeddings = tie_word_embeddings
        super().__init__(
            pad_token_id=pad_token_id, eos_token_id=eos_token_id, tie_word_embeddings=tie_word_embeddings, **others
        )
