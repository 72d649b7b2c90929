"""The `[summarize]` section: where a model runs and how it writes. Light: imports no torch."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from core.config import Section


class SummarizeConfig(Section):
    """How `mglm summarize` writes. What is not set keeps the default of the export's generation_config.json: the
    paper's search (section 4.2)."""

    device: str | None = None
    """cpu, cuda, cuda:1 … Unset: the GPU if there is one."""
    precision: Literal["fp32", "bf16", "int8"] | None = None
    """Precision of the weights. Unset: bf16 on a GPU, fp32 on a CPU."""
    long_articles: Literal["passages", "cut"] = "passages"
    """What is longer than the context is read in passages, all of it, or cut."""
    max_passages: Annotated[int, Field(ge=1)] | None = None
    """Passages that are read of it, evenly spread. Unset: all."""
    num_beams: Annotated[int, Field(ge=1, le=64)] | None = None
    """Beams of the search. Unset: the export's, 4 as in the paper."""
    max_new_tokens: Annotated[int, Field(ge=1)] | None = None
    """Tokens of a summary at most. Unset: the export's, up to 200."""
    length_penalty: float | None = None
    """Exponent of the length that a beam's log-probability is divided by. Unset: the export's, 0.7 as in the paper."""
    length_penalty_counts_end: bool | None = None
    """false divides by the length without the end token, as the authors' search does. Unset: the export's."""
    no_repeat_ngram_size: Annotated[int, Field(ge=0)] | None = None
    """No run of so many tokens comes twice; 0: any may. Unset: the export's, 3 as in the paper."""
    do_sample: bool | None = None
    """true draws tokens instead of taking the likeliest. Unset: false."""
    temperature: Annotated[float, Field(gt=0)] | None = None
    """Temperature of drawing. Unset: 0.7 (paper)."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """Draw among the likeliest tokens that have this probability together. Unset: among all."""
    seed: Annotated[int, Field(ge=0)] = 1
    """Seed of drawing: the same seed gives the same summary on the same machine."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.do_sample and (self.temperature is not None or self.top_p is not None):
            raise ValueError("temperature and top_p act with do_sample = true alone")
        return self

    def generation(self) -> dict[str, Any]:
        """What of it `generate` is told."""
        return self.model_dump(
            exclude={"device", "precision", "seed", "long_articles", "max_passages"}, exclude_none=True
        )
