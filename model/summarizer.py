"""Articles to summaries with an exported model: what `mglm summarize`, evaluation and the service call."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, overload

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from core.errors import MGLMError
from core.log import get_logger
from core.manifest import MADE_BY
from model.convert import HF
from model.hf.modeling_mglm import GLMForConditionalGeneration
from tokenizer.encoding import Tokenizer
from tokenizer.inputs import encode_source
from tokenizer.prompts import summary_source

NO_CHARACTER = "\ufffd"  # what decoding puts for bytes that are not UTF-8


class Summarizer:
    """A model with its tokenizer, ready to generate; its generation_config.json gives the defaults."""

    def __init__(self, model: GLMForConditionalGeneration, tokenizer: Tokenizer) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer

    @classmethod
    def from_pretrained(cls, directory: Path | str, device: str | None = None) -> Self:
        """The model of an export, on the GPU if there is one unless `device` says otherwise. Runs no code from there.

        Raises:
            MGLMError: the directory holds no export.
        """
        path = Path(directory)
        if not (path / "config.json").is_file():
            raise MGLMError(f"model {path}", found="no config.json", expected=HF, action=f"run {MADE_BY[HF]}")
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        model = GLMForConditionalGeneration.from_pretrained(path, local_files_only=True, dtype="auto")
        return cls(model.to(device), Tokenizer.load(path))

    @overload
    def summarize(self, text: str, target: str = "en", *, batch_size: int = 8, **generation: Any) -> str: ...
    @overload
    def summarize(
        self, text: Sequence[str], target: str = "en", *, batch_size: int = 8, **generation: Any
    ) -> list[str]: ...
    def summarize(
        self, text: str | Sequence[str], target: str = "en", *, batch_size: int = 8, **generation: Any
    ) -> str | list[str]:
        """A summary in the language `target` of each text; a single text gives a single summary.

        Args:
            target: language code of the summary; those of tokenizer.prompts.
            batch_size: texts generated together; it does not change what comes out.
            generation: whatever transformers' `generate` takes, e.g. num_beams=1, max_new_tokens=64.

        Raises:
            MGLMError: an empty text, or a target language without a prompt.
        """
        texts = [text] if isinstance(text, str) else list(text)
        limit = int(self.model.config.source_length)
        sources = [self._encode(one, target, limit, f"text {number}") for number, one in enumerate(texts, start=1)]
        summaries = [""] * len(texts)
        by_length = sorted(range(len(texts)), key=lambda index: len(sources[index]))  # little padding
        for start in range(0, len(by_length), batch_size):
            batch = by_length[start : start + batch_size]
            written = self.generate_text([sources[index] for index in batch], **generation)
            for index, summary in zip(batch, written, strict=True):
                summaries[index] = summary
        return summaries[0] if isinstance(text, str) else summaries

    def generate_text(self, sources: Sequence[list[int]], **generation: Any) -> list[str]:
        """The text that follows each source, a list that `encode_source` made. Byte pieces that form no character,
        which a weak model may write, are left out."""
        spans = self.generate(sources, **generation)
        return [self.tokenizer.decode(span).replace(NO_CHARACTER, "").strip() for span in spans]

    @torch.inference_mode()
    def generate(self, sources: Sequence[list[int]], **generation: Any) -> list[list[int]]:
        """Token ids that follow each source, a list that `encode_source` made; commands and padding are removed."""
        input_ids_BS, attention_mask_BS = left_padded(
            [[*ids, self.tokenizer.sop_id] for ids in sources], self.tokenizer.pad_id
        )
        device = self.model.device
        input_ids_BS, attention_mask_BS = input_ids_BS.to(device), attention_mask_BS.to(device)
        beams = int(generation.get("num_beams") or self.model.generation_config.num_beams or 1)
        cache = self._read(input_ids_BS, attention_mask_BS, beams)
        output_BS: Tensor = self.model.generate(
            input_ids=input_ids_BS, attention_mask=attention_mask_BS, past_key_values=cache, **generation
        )
        spans = output_BS[:, input_ids_BS.shape[1] :].tolist()
        return [[index for index in span if index < self.tokenizer.pieces] for span in spans]

    def _read(self, input_ids_BS: Tensor, attention_mask_BS: Tensor, beams: int) -> DynamicCache:
        """The cache of all but [sop], read once and shared by the beams, each of which would else read the article."""
        cache = DynamicCache(config=self.model.config)
        positions_B2S, context_length_B = self.model.geometry(input_ids_BS, attention_mask_BS)
        self.model(
            input_ids_BS[:, :-1],
            attention_mask_BS[:, :-1],
            positions_B2S[:, :, :-1],
            context_length_B,
            past_key_values=cache,
            logits_to_keep=1,
        )
        cache.batch_repeat_interleave(beams)
        return cache

    def _encode(self, text: str, target: str, limit: int, name: str) -> list[int]:
        if not text.strip():
            raise MGLMError(name, found="an empty text", expected="an article", action="give some text")
        segments = summary_source(text.strip(), target)
        whole = encode_source(self.tokenizer, segments, max_tokens=2**31).ids
        if len(whole) <= limit:
            return whole
        get_logger("summarize").warning("%s: its %d tokens are cut to the %d the model takes", name, len(whole), limit)
        return encode_source(self.tokenizer, segments, max_tokens=limit).ids


def left_padded(rows: Sequence[list[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Ids and attention mask, both [B, S], of rows of different lengths."""
    length = max(map(len, rows))
    ids_BS = torch.full((len(rows), length), pad_id)
    mask_BS = torch.zeros(len(rows), length, dtype=torch.long)
    for index, row in enumerate(rows):
        ids_BS[index, length - len(row) :] = torch.tensor(row)
        mask_BS[index, length - len(row) :] = 1
    return ids_BS, mask_BS
