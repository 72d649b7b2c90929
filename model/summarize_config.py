"""The `[summarize]` section: where a model runs and how it writes. Light: imports no torch."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from core.config import Section


class SummarizeConfig(Section):
    """What is not given keeps the default of the export's generation_config.json: the paper's search (section 4.2).

    `length_penalty_counts_end` = false divides a beam's log-probability by its length without the end token, as the
    authors' search does. `do_sample` draws tokens, at temperature 0.7 (paper) unless told otherwise; the same `seed`
    then gives the same summary on the same machine.
    """

    device: str | None = None  # cpu, cuda, cuda:1; the GPU if there is one
    precision: Literal["fp32", "bf16", "int8"] | None = None  # bf16 on a GPU, fp32 on a CPU
    long_articles: Literal["passages", "cut"] = "passages"  # of what is longer than the context: read all, or cut
    max_passages: Annotated[int, Field(ge=1)] | None = None  # that are read of it, evenly spread; None: all
    num_beams: Annotated[int, Field(ge=1, le=64)] | None = None
    max_new_tokens: Annotated[int, Field(ge=1)] | None = None
    length_penalty: float | None = None
    length_penalty_counts_end: bool | None = None
    no_repeat_ngram_size: Annotated[int, Field(ge=0)] | None = None
    do_sample: bool | None = None
    temperature: Annotated[float, Field(gt=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=0)] = 1

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
