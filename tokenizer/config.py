"""The `[tokenizer]` section: how the vocabulary is trained and how shards are cut."""

from typing import Annotated, Any, Literal

from pydantic import Field

from core.config import Section

# <unk>, 256 byte pieces, the newline and the runs of spaces come first; fewer leave no room for a single letter.
MINIMUM_VOCABULARY = 300

TRAINING_FIELDS = (
    "vocab_size",
    "model_type",
    "character_coverage",
    "training_bytes",
    "max_sentence_bytes",
    "num_threads",
    "seed",
)


class TokenizerConfig(Section):
    """Defaults are the paper's vocabulary (250,000 unigram pieces) and files of 256 MiB of text."""

    vocab_size: Annotated[int, Field(ge=MINIMUM_VOCABULARY)] = 250_000
    """Pieces of the vocabulary; commands and padding come on top."""
    model_type: Literal["unigram", "bpe"] = "unigram"
    """SentencePiece's algorithm."""
    character_coverage: Annotated[float, Field(ge=0, le=1)] = 0.99995
    """Share of each language's text whose characters become pieces; the rest is spelled in bytes."""
    training_bytes: Annotated[int, Field(ge=1)] = 500_000_000
    """Bytes of lines drawn from the sample. It bounds the memory of training, whatever the sample's size: about 20
    bytes for each (docs/tokenizer.md)."""
    max_sentence_bytes: Annotated[int, Field(ge=64)] = 4_192
    """Longer lines are cut after a sentence, else at a space."""
    num_threads: Annotated[int, Field(ge=1)] = 4
    """Threads of training. They are a part of a unigram model, not only of the speed: sums of floats depend on how
    lines are shared out. So it is a fixed number and not this machine's."""
    seed: Annotated[int, Field(ge=0)] = 1
    """Seed of the lines drawn."""
    report_bytes: Annotated[int, Field(ge=1)] = 1_000_000
    """Bytes of held-out text, read of each language for `mglm tokenizer report`."""
    shard_text_bytes: Annotated[int, Field(ge=1)] = 256 << 20
    """Bytes of text of one file of shards, at most."""
    budget_tokens: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Tokens that training will draw: no language is tokenised beyond its share of them. Unset: all text is."""

    def training(self) -> dict[str, Any]:
        """The fields that decide what `tokenizer train` makes."""
        return self.model_dump(include=set(TRAINING_FIELDS))
