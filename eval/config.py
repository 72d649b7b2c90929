"""The [eval] section: what is held out, how much is measured and how summaries are decoded."""

from typing import Any

from pydantic import Field

from core.config import Section

# The fields that decide what a model writes; they travel inside the manifest of predictions/1.
DECODING_FIELDS = ("max_source_tokens", "max_new_tokens", "num_beams", "length_penalty", "no_repeat_ngram_size")


class EvalConfig(Section):
    """Decoding defaults are the paper's summariser (section 4). `heldout_share` must equal the [corpus] section's."""

    heldout_share: float = Field(default=0.01, ge=0, lt=1)
    max_source_tokens: int | None = Field(default=None, ge=16)  # None: the longest source the model was trained on
    max_new_tokens: int = Field(default=200, ge=1)
    num_beams: int = Field(default=4, ge=1)
    length_penalty: float = 0.7
    no_repeat_ngram_size: int = Field(default=3, ge=0)  # 0: repetition allowed
    batch_size: int = Field(default=8, ge=1)
    max_examples_per_pair: int | None = Field(default=None, ge=1)  # of each source and target language; None: all
    max_documents_per_language: int = Field(default=100, ge=1)  # for bits per byte

    def decoding(self) -> dict[str, Any]:
        """The settings that decide what a model writes."""
        return {name: getattr(self, name) for name in DECODING_FIELDS}
