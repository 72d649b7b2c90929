"""The `[tokenizer]` section: how the vocabulary is trained and how shards are cut."""

from typing import Annotated, Any, Literal

from pydantic import Field

from core.config import Section

# 256 byte pieces, <unk> and the newline come first; fewer than these leave no room for a single letter.
MINIMUM_VOCABULARY = 300

TRAINING_FIELDS = (
    "vocab_size",
    "model_type",
    "character_coverage",
    "input_sentence_size",
    "max_sentence_bytes",
    "num_threads",
    "seed",
)


class TokenizerConfig(Section):
    """Defaults are the paper's vocabulary (250,000 unigram pieces) and files of 256 MiB of text.

    `input_sentence_size` bounds memory: SentencePiece draws that many lines at random from the stream (0: all lines).
    `num_threads` is a part of the result, not only of the speed: sums of floats depend on how lines are shared out.
    """

    vocab_size: Annotated[int, Field(ge=MINIMUM_VOCABULARY)] = 250_000
    model_type: Literal["unigram", "bpe"] = "unigram"
    character_coverage: Annotated[float, Field(ge=0.98, le=1)] = 0.99995  # SentencePiece takes no less
    input_sentence_size: Annotated[int, Field(ge=0)] = 5_000_000
    max_sentence_bytes: Annotated[int, Field(ge=64)] = 4_192
    num_threads: Annotated[int, Field(ge=1)] = 4
    seed: Annotated[int, Field(ge=0)] = 1
    shard_text_bytes: Annotated[int, Field(ge=1)] = 256 << 20

    def training(self) -> dict[str, Any]:
        """The fields that decide what `tokenizer train` makes."""
        return self.model_dump(include=set(TRAINING_FIELDS))
