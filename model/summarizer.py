"""Articles to summaries with an exported model: what `mglm summarize`, evaluation and the service call.

    summarizer = Summarizer.from_pretrained(DIR)                     # device and precision chosen, or named
    summarizer.summarize("…", target="zh")                           # one text or a list
    summarizer.summarize_batch([SummaryRequest("…", "en"), …])       # texts, targets and lengths may differ
    for piece in summarizer.stream(SummaryRequest("…", "en")): …     # as it is written, one beam

Generation is transformers' `generate`; its defaults stand in the export's generation_config.json. A Summarizer serves
one thread at a time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, overload

import torch
from torch import Tensor
from transformers.generation import StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from core.errors import MGLMError
from core.examples import Segment
from core.log import get_logger
from core.text import normalise
from model.convert import check_export
from model.hf.modeling_mglm import GLMForConditionalGeneration
from model.long_articles import LongReader
from model.precision import load_model
from model.streaming import Asked, clean, pieces, tokens_of
from model.summaries import Source, Summary, SummaryRequest
from tokenizer.encoding import Tokenizer
from tokenizer.inputs import encode_source
from tokenizer.prompts import PROMPTS, summary_source
from tokenizer.sentences import SentenceEnds

__all__ = ["Source", "Summarizer", "Summary", "SummaryRequest", "left_padded"]

LongArticles = Literal["passages", "cut"]
SAMPLING_TEMPERATURE = 0.7  # paper, section 4.2; transformers keeps none in a generation config that does not sample


class Summarizer:
    """A model with its tokenizer, ready to generate."""

    def __init__(
        self,
        model: GLMForConditionalGeneration,
        tokenizer: Tokenizer,
        *,
        long_articles: LongArticles = "passages",
        max_passages: int | None = None,
    ) -> None:
        """`long_articles`: "passages" reads an article that does not fit in passages, at most `max_passages`, evenly
        spread; "cut" leaves its end out.

        Raises:
            MGLMError: the tokenizer is not the model's.
        """
        wanted, found = (model.config.sop_token_id, model.config.eos_token_id), (tokenizer.sop_id, tokenizer.eop_id)
        if wanted != found:
            raise MGLMError(
                "the tokenizer",
                found=f"{tokenizer.pieces:,} pieces, so that a summary begins with id {found[0]:,}",
                expected=f"id {wanted[0]:,}, as in the model",
                action="take the tokenizer that the model was trained with",
            )
        if not hasattr(model.generation_config, "length_penalty_counts_end"):  # an older export
            model.generation_config.length_penalty_counts_end = True
        self.model, self.tokenizer = model.eval(), tokenizer
        self.long_articles, self.max_passages = long_articles, max_passages
        self._sentences: SentenceEnds | None = None

    @classmethod
    def from_pretrained(
        cls,
        directory: Path | str,
        device: str | None = None,
        precision: str | None = None,
        *,
        long_articles: LongArticles = "passages",
        max_passages: int | None = None,
    ) -> Self:
        """The model of an export; runs no code from there.

        Args:
            device: "cpu", "cuda", "cuda:1" …; the GPU if there is one.
            precision: "fp32", "bf16" or "int8" (weights alone); bf16 on a GPU, fp32 on a CPU.
            long_articles, max_passages: as in the constructor.

        Raises:
            MGLMError: the directory holds no export, or no such device or precision.
        """
        path = Path(directory)
        check_export(path)
        tokenizer = Tokenizer.load(path)
        return cls(
            load_model(path, device, precision), tokenizer, long_articles=long_articles, max_passages=max_passages
        )

    @property
    def targets(self) -> list[str]:
        """Languages that a summary can be asked in."""
        return list(PROMPTS["summary"])

    @property
    def source_length(self) -> int:
        """The most tokens of article and prompt that are read at once."""
        return int(self.model.config.source_length)

    @property
    def most_new_tokens(self) -> int:
        """The longest summary that can be asked for: a span begins with a token of its own, [sop]."""
        return int(self.model.config.max_position_embeddings) - 1

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
            target: language code of the summary; one of `targets`.
            batch_size: texts generated together.
            generation: whatever transformers' `generate` takes, e.g. num_beams=1, max_new_tokens=64.

        Raises:
            MGLMError: as `encode` and `settings`.
        """
        texts = [text] if isinstance(text, str) else list(text)
        sources = [
            self.encode(SummaryRequest(one, target, generation), f"text {number}", batch_size=batch_size)
            for number, one in enumerate(texts, start=1)
        ]
        summaries = [""] * len(texts)
        by_length = sorted(range(len(texts)), key=lambda index: len(sources[index].ids))  # little padding
        for start in range(0, len(by_length), batch_size):
            batch = by_length[start : start + batch_size]
            for index, summary in zip(batch, self._write([sources[i] for i in batch], generation), strict=True):
                summaries[index] = summary.text
        return summaries[0] if isinstance(text, str) else summaries

    def summarize_batch(
        self,
        requests: Sequence[SummaryRequest],
        stop: Callable[[Sequence[int]], bool] | None = None,
        tell: Callable[[int, Summary], None] | None = None,
        batch_size: int = 8,
    ) -> list[Summary]:
        """The summary of each request, in their order; all that have equal `generation` are generated together, and
        `batch_size` passages of a long article.

        Blocks. `stop` is asked after every token, with the numbers of those under way: once it says True these end, and
        their summaries hold what was written until then. `tell` hears of each by its number as soon as it is there:
        articles that fit come first, long ones after them, each alone.

        Raises:
            MGLMError: as `encode` and `settings`.
        """
        names = [f"text {number}" for number in range(1, len(requests) + 1)]
        fitting = [self._fitting(request, name) for request, name in zip(requests, names, strict=True)]
        summaries: dict[int, Summary] = {}

        def asked(batch: Sequence[int]) -> Callable[[], bool] | None:
            return None if stop is None else partial(stop, batch)

        def write(batch: Sequence[int], sources: Sequence[Source]) -> None:
            written = self._write(sources, requests[batch[0]].generation, asked(batch))
            for index, summary in zip(batch, written, strict=True):
                summaries[index] = summary
                if tell is not None:
                    tell(index, summary)

        while left := [index for index, source in enumerate(fitting) if source and index not in summaries]:
            generation = requests[left[0]].generation
            batch = [index for index in left if requests[index].generation == generation]
            write(batch, [source for index in batch if (source := fitting[index])])
        for index, source in enumerate(fitting):
            if source is None:
                write([index], [self.encode(requests[index], names[index], asked([index]), batch_size)])
        return [summaries[index] for index in range(len(requests))]

    def stream(
        self, request: SummaryRequest, stop: Callable[[], bool] | None = None, source: Source | None = None
    ) -> Iterator[str]:
        """The summary in pieces as they are written, whole characters each; joined they are the summary. One beam:
        num_beams is 1 unless the request says otherwise, which is refused. `source` is what `encode` made of the
        request, where that was called before.

        Closing the iterator, or `stop` saying True, ends generation after the token under way.

        Raises:
            MGLMError: num_beams above 1; or as `encode` and `settings`.
        """
        generation = {"num_beams": 1, **request.generation}
        if generation["num_beams"] != 1:
            found = f"num_beams {generation['num_beams']}"
            raise MGLMError("a stream", found=found, expected="num_beams 1", action="ask for it without streaming")
        settings = self.settings(generation)
        request = replace(request, generation=generation)
        ids = (source or self.encode(request, stop=stop)).ids
        tokens = tokens_of(lambda streamer, ask: self.generate([ids], stop=ask, streamer=streamer, **settings), stop)
        return pieces(tokens, self.tokenizer.decode)

    def encode(
        self,
        request: SummaryRequest,
        name: str = "text",
        stop: Callable[[], bool] | None = None,
        batch_size: int = 8,
    ) -> Source:
        """A request as the model reads it. Cheap where the article fits: what is wrong with a request shows here and in
        `settings`, before any model runs. A long article is read here, in passages, until it does fit.

        Raises:
            MGLMError: an empty text, or a target language without a prompt.
        """
        source = self._fitting(request, name)
        if source is not None:
            return source
        settings = self.settings(request.generation)
        lengths = {
            field: settings.get(field) or getattr(self.model.generation_config, field)
            for field in ("max_new_tokens", "min_new_tokens")
        }
        log = get_logger("summarize")
        reader = LongReader(
            self.tokenizer,
            lambda rows, shorter: self.generate(rows, stop=stop, **{**settings, **shorter}),
            lambda: self.sentences,
            batch_size=batch_size,
            max_passages=self.max_passages,
            stop=stop,
            tell=lambda words: log.info("%s: %s", name, words),
        )
        read = reader.read(self._segments(request, name), self.source_length, lengths)
        log.info(
            "%s: %d tokens read in %d passages and %d rounds, %.1f%% of it",
            name, read.text_tokens, read.passages, read.rounds, 100 * read.read_share,
        )  # fmt: skip
        return Source(
            read.source.ids, read.left_out_tokens, read.passages, read.rounds, read.read_share, read.read_tokens
        )

    @property
    def sentences(self) -> SentenceEnds:
        """Where sentences end; a table over the vocabulary, made when it is first needed."""
        if self._sentences is None:
            self._sentences = SentenceEnds(self.tokenizer)
        return self._sentences

    def _segments(self, request: SummaryRequest, name: str) -> list[Segment]:
        text = normalise(request.text)  # as every text it was trained on
        if not text:
            raise MGLMError(name, found="an empty text", expected="an article", action="give some text")
        return summary_source(text, request.target)

    def _fitting(self, request: SummaryRequest, name: str) -> Source | None:
        """A request as the model reads it; None for an article that must be read in passages."""
        segments = self._segments(request, name)
        whole = encode_source(self.tokenizer, segments, max_tokens=2**31).ids
        if len(whole) <= self.source_length:
            return Source(whole, 0)
        if self.long_articles == "passages":
            return None
        get_logger("summarize").warning(
            "%s: its %d tokens are cut to the %d the model takes", name, len(whole), self.source_length
        )
        cut = encode_source(self.tokenizer, segments, max_tokens=self.source_length).ids
        left_out = len(whole) - len(cut)
        text_tokens = max(len(self.tokenizer.encode(part.value)) for part in segments if part.kind == "text")
        return Source(cut, left_out, read_share=1 - left_out / text_tokens)

    def settings(self, generation: Mapping[str, Any]) -> dict[str, Any]:
        """What `generate` is called with for these options, beside the export's defaults.

        Raises:
            MGLMError: more new tokens than the model has positions, or several sequences for one text.
        """
        most = self.most_new_tokens
        if (generation.get("max_new_tokens") or 0) > most:
            found, action = f"{generation['max_new_tokens']}", f"ask for {most} or fewer"
            raise MGLMError("max_new_tokens", found=found, expected=f"at most {most} by this model", action=action)
        if (generation.get("num_return_sequences") or 1) != 1:
            raise MGLMError("num_return_sequences", found=str(generation["num_return_sequences"]), expected="1")
        settings = dict(generation)
        if settings.get("do_sample"):
            settings.setdefault("temperature", SAMPLING_TEMPERATURE)
            settings.setdefault("top_k", 0)  # transformers' own default leaves all but the 50 likeliest out
        if (settings.get("num_beams") or self.model.generation_config.num_beams) == 1:
            settings.setdefault("length_penalty", 1.0)  # the default's would do nothing, and be warned of
        return settings

    @torch.inference_mode()
    def generate(
        self,
        sources: Sequence[list[int]],
        *,
        stop: Callable[[], bool] | None = None,
        streamer: BaseStreamer | None = None,
        **generation: Any,
    ) -> list[list[int]]:
        """Token ids that follow each source, a list that `encode_source` made; commands and padding are removed."""
        ids_BS, mask_BS = left_padded([[*ids, self.tokenizer.sop_id] for ids in sources], self.tokenizer.pad_id)
        ids_BS, mask_BS = ids_BS.to(self.model.device), mask_BS.to(self.model.device)
        beams = int(generation.get("num_beams") or self.model.generation_config.num_beams or 1)
        output_BS: Tensor = self.model.generate(
            input_ids=ids_BS,
            attention_mask=mask_BS,
            past_key_values=self.model.read(ids_BS, mask_BS, beams),
            stopping_criteria=StoppingCriteriaList([Asked(stop)] if stop else []),
            streamer=streamer,
            **generation,
        )
        spans = output_BS[:, ids_BS.shape[1] :].tolist()
        return [[index for index in span if index < self.tokenizer.pieces] for span in spans]

    def _write(
        self, sources: Sequence[Source], generation: Mapping[str, Any], stop: Callable[[], bool] | None = None
    ) -> list[Summary]:
        spans = self.generate([source.ids for source in sources], stop=stop, **self.settings(generation))
        return [
            Summary(
                clean(self.tokenizer.decode(span)), source.read_tokens + len(source.ids), len(span),
                source.left_out_tokens, source.passages, source.rounds, source.read_share,
            )
            for source, span in zip(sources, spans, strict=True)
        ]  # fmt: skip


def left_padded(rows: Sequence[list[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Ids and attention mask, both [B, S], of rows of different lengths."""
    length = max(map(len, rows))
    ids_BS = torch.full((len(rows), length), pad_id)
    mask_BS = torch.zeros(len(rows), length, dtype=torch.long)
    for index, row in enumerate(rows):
        ids_BS[index, length - len(row) :] = torch.tensor(row)
        mask_BS[index, length - len(row) :] = 1
    return ids_BS, mask_BS
