"""The development metric of fine-tuning: the model answers examples by generation, and the task's scorer judges.

What answers and what judges is evaluation's business and comes from the roof, as a `Development`. Here is when, by
which process, and what is kept of it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch.distributed as dist

from core.config import RunConfig

if TYPE_CHECKING:
    from model.summarizer import Summarizer
    from train.config import FinetuneConfig
    from train.job import Job

DEV_FILE = "dev.jsonl"


class Development(Protocol):
    """Examples to answer, and what the answers are worth."""

    @property
    def identity(self) -> str:
        """Tells figures apart that must not be compared: other examples, decoding or measure."""

    @property
    def examples(self) -> int:
        """How many."""

    def answers(self, model: "Summarizer", numbers: Sequence[int]) -> list[str]:
        """What the model answers to the examples of these numbers."""

    def scores(self, answers: Sequence[str]) -> Mapping[str, Any]:
        """{"score", "best_by", and the measures by name} of the answers to all examples, in their order."""


@dataclass(frozen=True)
class DevelopmentRequest:
    """What the roof is asked for; it refuses what could not be measured, before training begins."""

    run_config: RunConfig
    config: "FinetuneConfig"
    examples: Path  # directory of examples/1
    task: str | None
    max_positions: int


FindDevelopment = Callable[[DevelopmentRequest], Development | None]


class DevelopmentMetric:
    """Measures one job's model, at any layout: every process holds all of it for a while and answers its share."""

    def __init__(self, job: "Job", development: Development) -> None:
        self._job, self._development = job, development

    def measure(self, chunks: list[Any]) -> dict[str, Any]:
        """The scores with `identity` and `seconds`; every process must call it, and all get them."""
        from model.whole import whole_summarizer

        job, started = self._job, time.perf_counter()
        summarizer = whole_summarizer(
            chunks, job.model, job.tokenizer.vocab_size, job.tokenizer, job.config.model_dump()
        )
        rank, size = dist.get_rank(), dist.get_world_size()
        mine = range(rank, self._development.examples, size)
        told: list[Any] = [None] * size
        dist.all_gather_object(told, self._development.answers(summarizer, mine))
        answers = [""] * self._development.examples
        for share, given in enumerate(told):
            answers[share::size] = given
        result: list[Any] = [None]
        if rank == 0:
            scores = self._development.scores(answers)
            result = [
                {**scores, "identity": self._development.identity, "seconds": round(time.perf_counter() - started, 3)}
            ]
        dist.broadcast_object_list(result)
        found: dict[str, Any] = result[0]
        return found
