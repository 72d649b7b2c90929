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
    """How `mglm eval` prepares, asks and measures. Decoding defaults are the paper's summariser (section 4).

    A task brings its own decoding; fields that a config or `--set` writes out go before it, defaults after.
    """

    heldout_share: float = Field(default=0.01, ge=0, lt=1)
    """As the [corpus] section's where its text holds these, too: what is held out there is held out here."""
    pairs: list[str] = Field(default=[])
    """Pairs source-target, e.g. en-zh: examples are made of these alone; none: of all."""
    prompt: str | None = None
    """A prompt of tokenizer/prompts.py, or one the task declares, to ask by. Unset: the task's."""
    weights: dict[str, float] = Field(default={})
    """Of a mixture's parts: how often each training example is taken, e.g. {ncls_en2zh = 0.5}; others once."""
    translator: str | None = None
    """package.module:function, for the parts of the task `summarizer` that need one. Unset: they are left out."""
    max_source_tokens: int | None = Field(default=None, ge=16)
    """Tokens of the source at most. Unset: the task's, else the longest source the model was trained on."""
    window_stride: int | None = Field(default=None, ge=1)
    """Long sources are read in windows that begin so many tokens apart. Unset: the task's, else as long_articles
    says."""
    long_articles: Literal["cut", "passages"] = "cut"
    """Long sources are cut, as the paper did, or condensed in passages, all of it read. Unset: the task's, else cut."""
    max_passages: int | None = Field(default=None, ge=1)
    """Passages that are read of a source, evenly spread. Unset: the task's, else all."""
    max_new_tokens: int = Field(default=200, ge=1)
    """Tokens of an answer at most. Unset: the task's, else 200."""
    min_new_tokens: int = Field(default=0, ge=0)
    """Tokens of an answer at least. Unset: the task's, else 0."""
    num_beams: int = Field(default=4, ge=1)
    """Beams of the search. Unset: the task's, else 4."""
    length_penalty: float = 0.7
    """Exponent of the length that a beam's log-probability is divided by. Unset: the task's, else 0.7."""
    no_repeat_ngram_size: int = Field(default=3, ge=0)
    """No run of so many tokens comes twice; 0: any may. Unset: the task's, else 3."""
    temperature: float | None = Field(default=None, gt=0)
    """Answers are drawn, at this temperature. Unset: the task's, else nothing is sampled."""
    seed: int = Field(default=0, ge=0)
    """Seed of sampling. Unset: the task's, else 0."""
    batch_size: int = Field(default=8, ge=1)
    """Examples answered together."""
    trust_remote_code: bool = False
    """Of a model directory that is not ours: run the code that lies in it."""
    max_examples_per_pair: int | None = Field(default=None, ge=1)
    """Examples of each source and target language that are asked. Unset: all."""
    max_documents_per_language: int = Field(default=100, ge=1)
    """Documents of a language that bits per byte are measured on."""
    contamination_words: int = Field(default=13, ge=4)
    """Length of a stretch of words that two texts share only if one knew the other."""
    contamination_characters: int = Field(default=26, ge=8)
    """The same in characters where a language spaces no words."""
    resamples: int = Field(default=1000, ge=100)
    """Draws of the bootstrap behind intervals and tests."""

    def decoding(self, task: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The settings that decide what a model writes: written out here, else the task's, else the defaults."""
        declared = task or {}
        return {
            name: getattr(self, name) if name in self.model_fields_set or name not in declared else declared[name]
            for name in DECODING_FIELDS
        }
