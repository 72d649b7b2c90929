"""What a Summarizer is asked, how it read that, and what it answers. Light: imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SummaryRequest:
    """A text and the language of its summary. `generation` is whatever transformers' `generate` takes, over the
    export's defaults, e.g. {"num_beams": 1, "max_new_tokens": 64}; requests with equal `generation` share a batch."""

    text: str
    target: str = "en"
    generation: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """A summary. `input_tokens` counts what the model read (article and prompt, in all rounds), `output_tokens` the
    summary's own.

    An article longer than the context was read in `passages`, which were summarised, and their summaries again, in so
    many `rounds` before the last. `left_out_tokens` of it were not read, which is the share 1 − `read_share`.
    """

    text: str
    input_tokens: int
    output_tokens: int
    left_out_tokens: int = 0
    passages: int = 1
    rounds: int = 0
    read_share: float = 1.0

    @property
    def truncated(self) -> bool:
        return self.left_out_tokens > 0


@dataclass(frozen=True)
class Source:
    """A request as the model reads it last, without [sop]; what was read before that, and what was not."""

    ids: list[int]
    left_out_tokens: int
    passages: int = 1
    rounds: int = 0
    read_share: float = 1.0
    read_tokens: int = 0
