"""What waits for the model: a bounded queue of texts, oldest first, and which of them are generated together.

Plain data, no asyncio: the scheduler decides when, this module decides which. A batch is the oldest text and others
with the same generation settings and about its length, so nobody is overtaken for ever and little is padded.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# What a job's owner is told: {"piece": …} while a stream is written, then a summary or an {"error": …}, once.
Listener = Callable[[Mapping[str, Any]], None]


@dataclass(eq=False)
class Job:
    """One text on its way to a summary. Times are of the event loop's clock, seconds."""

    id: int
    text: str
    target: str
    generation: Mapping[str, Any]
    listener: Listener
    arrived_s: float
    deadline_s: float
    stream: bool = False
    attempts: int = 0  # how many workers died with it
    begun: bool = False  # something of it was told
    answered: bool = False  # all of it was
    abandoned: bool = False  # nobody waits for it any more

    def kind(self, source_length: int) -> tuple[Any, ...]:
        """Jobs of one kind share a batch. Lengths within a factor of four are alike, and so are all that get cut."""
        if self.stream or self.attempts:
            # Alone: a stream's pieces go out as they are written; and what may have killed a worker kills no others.
            return (self.id,)
        read_bytes = min(len(self.text.encode("utf-8", "replace")), 4 * source_length)
        return (tuple(sorted(self.generation.items())), read_bytes.bit_length() // 2)


class Waiting:
    """At most `most` jobs, in the order of their arrival."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._jobs: dict[int, Job] = {}  # keeps the order, and takes one out of the middle at once

    def __len__(self) -> int:
        return len(self._jobs)

    def has_room(self, texts: int) -> bool:
        return len(self._jobs) + texts <= self.most

    def add(self, jobs: list[Job]) -> None:
        """All of them or, where they do not fit, none.

        Raises:
            ValueError: no room; ask `has_room` first.
        """
        if not self.has_room(len(jobs)):
            raise ValueError(f"no room for {len(jobs)} jobs")
        self._jobs.update((job.id, job) for job in jobs)

    def put_back(self, jobs: list[Job]) -> None:
        """Jobs of a worker that died, before all others: they were accepted first, so the bound does not hold."""
        self._jobs = {**{job.id: job for job in jobs}, **self._jobs}

    def remove(self, job: Job) -> bool:
        """True where it still waited."""
        return self._jobs.pop(job.id, None) is not None

    def oldest(self) -> Job | None:
        return next(iter(self._jobs.values()), None)

    def take_batch(self, most: int, source_length: int) -> list[Job]:
        """The oldest job and, up to `most` in all, the next oldest of its kind."""
        oldest = self.oldest()
        if oldest is None:
            return []
        kind = oldest.kind(source_length)
        batch: list[Job] = []
        for job in self._jobs.values():
            if len(batch) == most:
                break
            if job.kind(source_length) == kind:
                batch.append(job)
        for job in batch:
            del self._jobs[job.id]
        return batch

    def take_all(self) -> list[Job]:
        jobs = list(self._jobs.values())
        self._jobs = {}
        return jobs
