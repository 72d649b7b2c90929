"""The development metric of fine-tuning: the model answers examples by generation, and the task's scorer judges.

What answers and what judges is evaluation's business and comes from the roof, as a `Development`. Here is when, by
which process, and what is kept of it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from core.config import RunConfig
from core.log import get_logger
from train.metrics import EventLog

if TYPE_CHECKING:
    from model.peer import Peer
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

    def answers(self, model: "Summarizer | Peer", numbers: Sequence[int]) -> list[str]:
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
    max_positions: int | None  # None: another's model, whose lengths were checked


FindDevelopment = Callable[[DevelopmentRequest], Development | None]


class DevelopmentMetric:
    """Measures one job's model, at any layout: every process holds all of it for a while."""

    def __init__(self, job: "Job", development: Development) -> None:
        self._job, self._development = job, development

    def measure(self, chunks: list[Any]) -> dict[str, Any]:
        """As `measured`."""
        from model.whole import whole_summarizer

        job = self._job
        return measured(
            self._development,
            lambda: whole_summarizer(
                chunks, job.model, job.tokenizer.vocab_size, job.tokenizer, job.config.model_dump()
            ),
        )


def measured(development: Development, whole: Callable[[], "Summarizer | Peer"]) -> dict[str, Any]:
    """The scores of the `whole` model, with `identity` and `seconds`. Every process must call it and answers its share;
    all get them."""
    import torch.distributed as dist

    started, model = time.perf_counter(), whole()
    rank, size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    told: list[Any] = [development.answers(model, range(rank, development.examples, size))]
    if size > 1:
        (mine,), told = told, [None] * size
        dist.all_gather_object(told, mine)
    answers = [""] * development.examples
    for share, given in enumerate(told):
        answers[share::size] = given
    result: list[Any] = [None]
    if rank == 0:
        scores = development.scores(answers)
        result = [{**scores, "identity": development.identity, "seconds": round(time.perf_counter() - started, 3)}]
    if size > 1:
        dist.broadcast_object_list(result)
    found: dict[str, Any] = result[0]
    return found


def tell_development(events: EventLog, step: int, scores: Mapping[str, Any]) -> None:
    """Puts a measurement on record."""
    events.tell("development", step, **scores)
    get_logger("train").info(
        "step %d: %s %.4f on %d development examples", step, scores["best_by"], scores["score"], scores["examples"]
    )
