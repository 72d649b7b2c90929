"""GLM for Hugging Face transformers: bidirectional context, causal spans, two position tables, tied head.

A row is `[pad]* [CLS] context … [sMASK] … [sop] span`, in generation padded on the left. Shape suffixes: B batch row,
S position in the row, K column that is attended (cached ones and S), H hidden, V vocabulary, A head.
"""

from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache
from transformers.generation import (
    LogitsProcessor,
    LogitsProcessorList,
    MaxLengthCriteria,
    NoRepeatNGramLogitsProcessor,
)
from transformers.modeling_outputs import CausalLMOutputWithPast

from .beam_cache import BeamCache
from .configuration_mglm import MGLMConfig

_END_COUNTS = ContextVar("whether the end token counts in the length penalty of the search under way", default=True)


class SpanNoRepeatNGram(LogitsProcessor):
    """Bans n-grams the generated span holds already. transformers' own also bans those of the article, row by row."""

    def __init__(self, ngram_size: int, prompt_length: int) -> None:
        self.ngram_size, self.prompt_length = ngram_size, prompt_length

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        span_RS = input_ids[:, self.prompt_length :]
        if span_RS.shape[1] < self.ngram_size:
            return scores
        ngrams_RSN = span_RS.unfold(1, self.ngram_size, 1)
        begun_R1N = span_RS[:, None, span_RS.shape[1] - self.ngram_size + 1 :]
        again_RS = (ngrams_RSN[:, :, :-1] == begun_R1N).all(-1)
        ban_RS = torch.zeros_like(again_RS, dtype=scores.dtype).masked_fill(again_RS, -torch.inf)
        return scores.scatter_add(1, ngrams_RSN[:, :, -1], ban_RS)


def glm_mask(context_length_B: Tensor, attention_mask_BK: Tensor, past: int, length: int) -> Tensor:
    """[B, 1, S, K], True where a row sees a column: all of the context, and in the span what came before. No padding.

    Every row sees itself, padding too, so that no softmax is empty. `past` columns are cached.
    """
    column_K = torch.arange(past + length, device=attention_mask_BK.device)
    row_S = column_K[past:]
    causal_SK = column_K[None, :] <= row_S[:, None]
    in_context_BK = column_K[None, :] < context_length_B[:, None]
    sees_BSK = (causal_SK[None] | in_context_BK[:, None]) & attention_mask_BK[:, None, : past + length].bool()
    itself_SK = row_S[:, None] == column_K[None, :]
    return (sees_BSK | itself_SK[None])[:, None]


class GLMAttention(nn.Module):
    def __init__(self, config: MGLMConfig, layer: int) -> None:
        super().__init__()
        self.layer, self.heads, self.dropout = layer, config.num_attention_heads, config.attention_dropout
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden_BSH: Tensor, mask_B1SK: Tensor | None, cache: Cache | None) -> Tensor:
        rows, length, width = hidden_BSH.shape
        query, key, value = (
            part.view(rows, length, self.heads, -1).transpose(1, 2)
            for part in self.query_key_value(hidden_BSH).chunk(3, dim=-1)
        )
        if cache is not None:
            key, value = cache.update(key, value, self.layer)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask_B1SK, dropout_p=dropout)
        return self.dense(mixed.transpose(1, 2).reshape(rows, length, width))


class GLMFeedForward(nn.Module):
    def __init__(self, config: MGLMConfig) -> None:
        super().__init__()
        self.dense_h_to_4h = nn.Linear(config.hidden_size, config.intermediate_size)
        self.dense_4h_to_h = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden_BSH: Tensor) -> Tensor:
        return self.dense_4h_to_h(F.gelu(self.dense_h_to_4h(hidden_BSH), approximate="tanh"))


class GLMLayer(nn.Module):
    def __init__(self, config: MGLMConfig, layer: int) -> None:
        super().__init__()
        self.input_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = GLMAttention(config, layer)
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = GLMFeedForward(config)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, hidden_BSH: Tensor, mask_B1SK: Tensor | None, cache: Cache | None) -> Tensor:
        hidden_BSH = hidden_BSH + self.dropout(self.attention(self.input_layernorm(hidden_BSH), mask_B1SK, cache))
        return hidden_BSH + self.dropout(self.mlp(self.post_attention_layernorm(hidden_BSH)))


class GLMTransformer(nn.Module):
    """Embeddings, layers and the final LayerNorm."""

    def __init__(self, config: MGLMConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.block_position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.layers = nn.ModuleList(GLMLayer(config, layer) for layer in range(config.num_hidden_layers))
        self.final_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(
        self, input_ids_BS: Tensor, position_ids_B2S: Tensor, mask_B1SK: Tensor | None, cache: Cache | None
    ) -> Tensor:
        hidden_BSH = self.dropout(
            self.word_embeddings(input_ids_BS)
            + self.position_embeddings(position_ids_B2S[:, 0])
            + self.block_position_embeddings(position_ids_B2S[:, 1])
        )
        for layer in self.layers:
            hidden_BSH = layer(hidden_BSH, mask_B1SK, cache)
        return self.final_layernorm(hidden_BSH)


class GLMForConditionalGeneration(PreTrainedModel, GenerationMixin):
    config_class = MGLMConfig
    base_model_prefix = "transformer"
    _supports_sdpa = True
    _tied_weights_keys = {"lm_head.weight": "transformer.word_embeddings.weight"}  # noqa: RUF012 transformers' own form
    _no_split_modules = ("GLMLayer",)

    def __init__(self, config: MGLMConfig) -> None:
        super().__init__(config)
        self.transformer = GLMTransformer(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.transformer.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.transformer.word_embeddings = value

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        context_length: Tensor | None = None,
        past_key_values: Cache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        **_: Any,
    ) -> CausalLMOutputWithPast:
        """Logits [B, S, V] and, with labels, their mean loss.

        Args:
            attention_mask: [B, K] of 1 and 0 for padding; all ones when missing.
            position_ids: [B, 2, S], position in the context and within the span. Derived when missing: `[sop]` opens
                the span and takes the position of the context's mask. That is exact for one mask and one span; rows
                with several need position_ids.
            context_length: [B], columns (padding counted) that every row sees. Derived when missing: up to the first
                [sop].
            labels: [B, S], aligned with the logits (no shift: a span's `[sop]` is labelled with its first token);
                −100 is not scored.
            logits_to_keep: only the last so many positions get logits; all when 0.

        Raises:
            ValueError: positions must be derived for several masks or spans, or in the middle of a cached decode.
        """
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        length = input_ids.shape[1]
        if past and isinstance(past_key_values, BeamCache):
            return self._step_beams(input_ids, position_ids, past_key_values)
        if attention_mask is None:
            attention_mask = input_ids.new_ones(input_ids.shape[0], past + length)
        if position_ids is None or context_length is None:
            if past:
                raise ValueError("with a filled cache, forward needs position_ids and context_length")
            if position_ids is None:
                self._check_one_span(input_ids, attention_mask)
            derived_positions, derived_length = self.geometry(input_ids, attention_mask)
            position_ids = derived_positions if position_ids is None else position_ids
            context_length = derived_length if context_length is None else context_length
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)

        mask_B1SK = glm_mask(context_length, attention_mask, past, length)
        hidden_BSH = self.transformer(input_ids, position_ids, mask_B1SK, past_key_values)
        kept = slice(-logits_to_keep, None) if logits_to_keep else slice(None)
        logits_BSV = self.lm_head(hidden_BSH[:, kept])
        loss = None
        if labels is not None:
            wide = logits_BSV if logits_BSV.dtype == torch.float64 else logits_BSV.float()
            loss = F.cross_entropy(wide.flatten(0, 1), labels[:, kept].flatten(), ignore_index=-100)
        return CausalLMOutputWithPast(loss=loss, logits=logits_BSV, past_key_values=past_key_values)

    @torch.no_grad()
    def read(self, input_ids: Tensor, attention_mask: Tensor, beams: int) -> BeamCache:
        """Reads articles [B, S] up to their [sop], once for all beams: for `generate` as `past_key_values`, with the
        same ids and mask. `beams` is the larger of its num_beams and num_return_sequences. The same tokens come out.
        """
        positions_B2S, _ = self.geometry(input_ids, attention_mask)
        real_BS = attention_mask[:, :-1].bool()
        cache = BeamCache(real_BS, beams)
        mask_B11S = None if bool(real_BS.all()) else real_BS[:, None, None]  # a context sees all of itself
        self.transformer(input_ids[:, :-1], positions_B2S[:, :, :-1], mask_B11S, cache)
        return cache

    def _step_beams(self, input_ids: Tensor, position_ids: Tensor | None, cache: BeamCache) -> CausalLMOutputWithPast:
        """One token of every beam, the beams of an article side by side in one row."""
        if position_ids is None or input_ids.shape[1] != 1:
            raise ValueError("with a BeamCache, forward takes one token a beam and its position_ids")
        ids_BJ = input_ids.view(-1, cache.beams)
        positions_B2J = position_ids.view(-1, cache.beams, 2).transpose(1, 2)
        hidden_BJH = self.transformer(ids_BJ, positions_B2J, cache.step(), cache)
        logits_R1V = self.lm_head(hidden_BJH.flatten(0, 1)[:, None])
        return CausalLMOutputWithPast(logits=logits_R1V, past_key_values=cache)

    def geometry(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Position ids [B, 2, S] and context lengths [B] of rows with one mask and at most one span."""
        in_span_BS = (input_ids == self.config.sop_token_id).cumsum(-1) > 0
        place_BS = (attention_mask.cumsum(-1) - 1).clamp_min(0)
        is_mask_BS = self._is_mask(input_ids) & ~in_span_BS
        mask_place_B1 = place_BS.gather(1, is_mask_BS.int().argmax(-1, keepdim=True))
        positions_B2S = torch.stack([torch.where(in_span_BS, mask_place_B1, place_BS), in_span_BS.cumsum(-1)], dim=1)
        return positions_B2S, (~in_span_BS).sum(-1)

    def _is_mask(self, input_ids: Tensor) -> Tensor:
        return torch.isin(input_ids, torch.tensor(self.config.mask_token_ids, device=input_ids.device))

    def _check_one_span(self, input_ids: Tensor, attention_mask: Tensor) -> None:
        real_BS = attention_mask.bool()
        spans_B = ((input_ids == self.config.sop_token_id) & real_BS).sum(-1)
        masks_B = (self._is_mask(input_ids) & real_BS).sum(-1)
        if bool((spans_B > 1).any()) or bool((masks_B[spans_B > 0] != 1).any()):
            raise ValueError("position_ids are derived for one mask and one span a row; give them for other rows")

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        next_sequence_length: int | None = None,
        past_key_values: Cache | None = None,
        attention_mask: Tensor | None = None,
        use_cache: bool | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        """What `forward` needs for the columns that the cache lacks; the geometry comes from the whole row."""
        if attention_mask is None:  # transformers drops one that is all ones
            attention_mask = torch.ones_like(input_ids)
        positions_B2S, context_length_B = self.geometry(input_ids, attention_mask)
        new = slice(-next_sequence_length, None) if next_sequence_length else slice(None)
        return {
            "input_ids": input_ids[:, new],
            "position_ids": positions_B2S[:, :, new],
            "context_length": context_length_B,
            "attention_mask": attention_mask,
            "past_key_values": past_key_values,
            "use_cache": use_cache,
            "logits_to_keep": 1,  # logits of a whole article would be gigabytes
        }

    # transformers divides a beam's log-probability by its length with the end token; the authors' search, which one
    # asks for by `length_penalty_counts_end=False`, without. The three methods below stand around transformers' own.

    def _beam_search(self, *arguments: Any, generation_config: Any, **others: Any) -> Any:
        before = _END_COUNTS.set(getattr(generation_config, "length_penalty_counts_end", True))
        try:
            return super()._beam_search(*arguments, generation_config=generation_config, **others)
        finally:
            _END_COUNTS.reset(before)

    def _update_finished_beams(self, **state: Any) -> Any:
        if not _END_COUNTS.get():
            place, penalty = state["cur_len"], state["length_penalty"]
            ended_BK = state["topk_running_sequences"][:, :, place] == self.config.eos_token_id
            length = place + 1 - state["decoder_prompt_len"]
            longer = (length / max(1, length - 1)) ** penalty
            state["topk_log_probs"] = state["topk_log_probs"] * torch.where(ended_BK, longer, 1.0)
        return super()._update_finished_beams(**state)

    def _check_early_stop_heuristic(self, *, cur_len: int, decoder_prompt_len: int, **state: Any) -> Any:
        if not _END_COUNTS.get():
            cur_len = max(cur_len - 1, decoder_prompt_len + 1)
        return super()._check_early_stop_heuristic(cur_len=cur_len, decoder_prompt_len=decoder_prompt_len, **state)

    def _get_logits_processor(
        self, generation_config: Any, input_ids_seq_length: int | None = None, **others: Any
    ) -> LogitsProcessorList:
        processors = super()._get_logits_processor(
            generation_config, input_ids_seq_length=input_ids_seq_length, **others
        )
        return LogitsProcessorList(
            SpanNoRepeatNGram(processor.ngram_size, input_ids_seq_length or 0)
            if type(processor) is NoRepeatNGramLogitsProcessor
            else processor
            for processor in processors
        )

    def _get_stopping_criteria(self, *arguments: Any, **others: Any) -> Any:
        criteria = super()._get_stopping_criteria(*arguments, **others)
        for criterion in criteria:
            if isinstance(criterion, MaxLengthCriteria):
                # It would warn of too long a text, but a span's tokens stand at its mask and use up no position.
                criterion.max_position_embeddings = None
        return criteria
