"""The [eval] section: what is held out, how much is measured, how answers are decoded, how sure the figures are."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from core.config import Section

# The fields that decide what a model writes; they travel inside predictions/1.
DECODING_FIELDS = (
    "max_source_tokens", "window_stride", "long_articles", "max_passages",
    "max_new_tokens", "min_new_tokens", "num_beams", "length_penalty",
    "no_repeat_ngram_size", "temperature", "seed",
)  # fmt: skip


class EvalConfig(Section):
    """Decoding defaults are the paper's summariser (section 4). `heldout_share` must equal the [corpus] section's.

    A task brings its own decoding; fields that a config or `--set` writes out go before it, defaults after.
    """

    heldout_share: float = Field(default=0.01, ge=0, lt=1)
    pairs: list[str] = Field(default=[])  # source-target, e.g. en-zh: examples are made of these alone; none: of all
    prompt: str | None = None  # asked instead of the task's: a prompt of tokenizer/prompts.py, or one the task declares
    weights: dict[str, float] = Field(default={})  # of a mixture's parts: how often each training example is taken
    translator: str | None = None  # package.module:function, for the parts of `summarizer` that need one
    max_source_tokens: int | None = Field(default=None, ge=16)  # None: the longest source the model was trained on
    window_stride: int | None = Field(default=None, ge=1)  # None: long sources as below; else read in windows
    long_articles: Literal["cut", "passages"] = "cut"  # as the paper did; or condensed in passages, all of it read
    max_passages: int | None = Field(default=None, ge=1)  # that are read of a source, evenly spread; None: all
    max_new_tokens: int = Field(default=200, ge=1)
    min_new_tokens: int = Field(default=0, ge=0)
    num_beams: int = Field(default=4, ge=1)
    length_penalty: float = 0.7
    no_repeat_ngram_size: int = Field(default=3, ge=0)  # 0: repetition allowed
    temperature: float | None = Field(default=None, gt=0)  # None: nothing is sampled
    seed: int = Field(default=0, ge=0)  # of sampling
    batch_size: int = Field(default=8, ge=1)
    trust_remote_code: bool = False  # of a model directory that is not ours: run the code that lies in it
    max_examples_per_pair: int | None = Field(default=None, ge=1)  # of each source and target language; None: all
    max_documents_per_language: int = Field(default=100, ge=1)  # for bits per byte
    contamination_words: int = Field(default=13, ge=4)  # a stretch that two texts share only if one knew the other
    contamination_characters: int = Field(default=26, ge=8)  # the same where a language spaces no words
    resamples: int = Field(default=1000, ge=100)  # of the bootstrap behind intervals and tests

    def decoding(self, task: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The settings that decide what a model writes: written out here, else the task's, else the defaults."""
        declared = task or {}
        return {
            name: getattr(self, name) if name in self.model_fields_set or name not in declared else declared[name]
            for name in DECODING_FIELDS
        }
