"""The [lid] section: how `mglm corpus train-lid` reads, splits and learns, and what `lid-quality` measures."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from core.config import Section


class LidConfig(Section):
    """How `mglm corpus train-lid` learns. Defaults were chosen on the dev side of 78 MB in 101 languages;
    docs/corpus.md has the table."""

    text_field: str = "text"
    """The field of a record that holds the text."""
    lang_field: str = "lang"
    """The field that holds its language."""
    id_field: str = "doc_id"
    """The field that a table of gold labels is joined by."""
    heldout_share: float = Field(default=0.2, gt=0, lt=1)
    """Share never trained on: what the evaluation measures."""
    dev_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of the rest that is not trained on either: weights are fitted on it."""
    characters_per_language: int = Field(default=300_000, ge=1_000)
    """Text that a language gives to an epoch, at most."""
    max_rounds: int = Field(default=8, ge=1)
    """How often a small language is cut anew to get there."""
    snippet_characters: tuple[int, int] = (20, 400)
    """The shortest and longest snippet that documents are cut into; their lengths are log-uniform."""
    both_alphabets: bool = True
    """Serbian, Uzbek and Azerbaijani are learned in Latin and in Cyrillic letters, whichever they are given in."""
    dim: int = Field(default=16, ge=1)
    """Numbers of a vector, fastText's dim."""
    minn: int = Field(default=2, ge=1)
    """Shortest character n-gram."""
    maxn: int = Field(default=4, ge=1)
    """Longest character n-gram."""
    min_count: int = Field(default=1_000_000_000, ge=1)
    """How often a word must come to be a feature of its own; so high: none is."""
    bucket: int = Field(default=200_000, ge=1)
    """Vectors that n-grams are hashed to."""
    epoch: int = Field(default=6, ge=1)
    """Passes over the snippets."""
    lr: float = Field(default=0.5, gt=0, allow_inf_nan=False)
    """Learning rate."""
    loss: Literal["softmax", "hs", "ova", "ns"] = "softmax"
    """fastText's loss: softmax, hierarchical softmax, one-vs-all, negative sampling."""
    cutoff: int = Field(default=0, ge=0)
    """N-grams that quantisation keeps; 0: all."""
    dsub: int = Field(default=2, ge=1)
    """Numbers of a vector that share one byte after quantisation."""
    combine_with: str | None = "embedded"
    """A fastText model to combine with, "embedded" for lid.176; "none": no combination."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of the split and of the snippets."""

    @field_validator("snippet_characters", mode="before")
    @classmethod
    def _as_pair(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value  # TOML has lists alone

    @field_validator("combine_with", mode="before")
    @classmethod
    def _none_in_words(cls, value: object) -> object:
        return None if value == "none" else value

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.minn > self.maxn:
            raise ValueError(f"lid.minn ({self.minn}) must not exceed lid.maxn ({self.maxn})")
        shortest, longest = self.snippet_characters
        if not 1 <= shortest <= longest:
            raise ValueError(f"lid.snippet_characters must be two lengths in order, not {shortest} and {longest}")
        return self
