"""Checkpoints of a run while it trains: written beside the steps, rotated, the best kept; the last good one restored.

Every process holds one and calls the same methods at the same steps.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist

from core.errors import MGLMError
from core.log import get_logger
from model.checkpoint import CheckpointSave
from model.checkpoint_meta import complete_checkpoints, damage
from train.checkpoints import mark_best, put_aside, remove_old
from train.metrics import EventLog


class Saver:
    """At most one save is under way; the next waits for it, and how long steps stood still for saves is summed up."""

    def __init__(self, root: Path, keep: int, max_failed: int, events: EventLog | None) -> None:
        self._root, self._keep, self._max_failed, self._events = root, keep, max_failed, events
        self._under_way: CheckpointSave | None = None
        self._step, self._failed, self._waited_s = 0, 0, 0.0

    @property
    def pending(self) -> bool:
        """Whether this process's part of a save is still being written."""
        return self._under_way is not None and not self._under_way.written

    def take_waited_s(self) -> float:
        """Seconds waited since the last call."""
        waited, self._waited_s = self._waited_s, 0.0
        return waited

    def begin(self, chunks: list[Any], optimizer: Any, scheduler: Any, meta: Mapping[str, Any]) -> None:
        """Copies the state and returns while it is written.

        Raises:
            MGLMError: it cannot be written, and too many before it could not.
        """
        self.finish()
        started = time.perf_counter()
        self._step = int(meta["step"])
        try:
            self._under_way = CheckpointSave(self._root, chunks, optimizer, scheduler, meta)
        except MGLMError as error:
            self._bear(error)
        self._waited_s += time.perf_counter() - started

    def finish_if(self, *, all_written: bool) -> None:
        """To be called after each step, with what the processes have agreed on."""
        if all_written:
            self.finish()

    def finish(self, *, must: bool = False) -> None:
        """Waits for the save under way, if any, and lets it appear. `must`: there will be no later one.

        Raises:
            MGLMError: as `begin`; with `must`, at the first failure.
        """
        started = time.perf_counter()
        if self._under_way is not None:
            save, self._under_way = self._under_way, None
            try:
                save.finish()
                self._failed = 0
                self._rotate()
            except MGLMError as error:
                self._bear(error)
            self._waited_s += time.perf_counter() - started
        if must and self._failed:
            raise MGLMError(
                f"checkpoint of step {self._step}",
                found="nothing written",
                action="see the warning above; run the same command again to continue from the last good checkpoint",
            )

    def _rotate(self) -> None:
        """On the first process: the checkpoint is good already, so what goes wrong here ends nothing."""
        if self._events is None:
            return
        best = None
        try:
            best = mark_best(self._root)
            remove_old(self._root, self._keep, best)
        except (OSError, MGLMError) as error:
            get_logger("train").warning("old checkpoints stay: %s", error)
        self._events.tell("checkpoint", self._step, best=best)

    def _bear(self, error: MGLMError) -> None:
        self._failed += 1
        if self._events is not None:
            self._events.tell("checkpoint failed", self._step, reason=str(error))
        if self._failed > self._max_failed:
            raise error
        if dist.get_rank() == 0:
            get_logger("train").warning(
                "%s; training goes on (failure %d in a row, %d are borne)", error, self._failed, self._max_failed
            )


def last_good(root: Path, events: EventLog | None) -> Path | None:
    """The newest checkpoint whose files are what was written; those after it are put aside, by another name.

    None when there is no checkpoint at all.

    Raises:
        MGLMError: there are some, and none is good.
    """
    # As the first process sees them: on a shared disk another host may not see the newest yet, and would load another.
    told = [[path.name for path in complete_checkpoints(root)]]
    dist.broadcast_object_list(told)
    found = [root / name for name in told[0]]
    for path in reversed(found):
        problem = _problem(path)
        if not problem:
            return path
        if dist.get_rank() == 0:
            aside = put_aside(path)
            get_logger("train").warning("checkpoint %s is damaged (%s): put aside as %s", path, problem, aside.name)
            if events is not None:
                events.tell("checkpoint damaged", int(path.name[5:]), reason=problem)
        dist.barrier()
    if found:
        raise MGLMError(
            f"{root}",
            found=f"{len(found)} checkpoints, all damaged",
            expected="a good one to continue from",
            action="restore one, or begin anew in another --output",
        )
    return None


def check_init(path: Path) -> None:
    """Whether the files of another run's checkpoint, to begin with, are what was written. It is left as it is.

    Raises:
        MGLMError: on all processes, what is wrong with it.
    """
    if problem := _problem(path):
        raise MGLMError(
            f"checkpoint {path}",
            found=problem,
            expected="what was written there",
            action="restore it, or take another step directory of that run",
        )


def _problem(path: Path) -> str:
    """What is wrong with a checkpoint, "" if nothing is. The processes share the reading, and all are told."""
    told: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(told, damage(path, dist.get_rank(), dist.get_world_size()))
    return next(filter(None, told), "")
