"""Batches made ahead, in a thread, while the one before is trained on.

A batch is a function of its step, so making it earlier changes nothing: the wrapped batches and these give the same
arrays, a resumed run asks for its step and gets it, and a step that is skipped costs a batch. An error is raised where
the batch is asked for, as it would be without the thread. A thread cannot outlive its process.

A thread is enough: making the rows that one GPU trains on takes about a twentieth of one core (benchmarks/train_data).
"""

from concurrent.futures import Future, ThreadPoolExecutor

from train.batches import Batches, MicroBatch

_Key = tuple[int, int, int]


class Prefetched:
    """`Batches` that has the next `ahead` steps before `steps` made or in the making; with 0 it only passes on."""

    def __init__(self, batches: Batches, steps: int, ahead: int) -> None:
        self._batches, self._steps, self._ahead = batches, steps, ahead
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._made: dict[_Key, Future[list[MicroBatch]]] = {}

    def batch(self, step: int, data_rank: int, data_size: int) -> list[MicroBatch]:
        """The micro-batches of one data-parallel rank in one step."""
        if not self._ahead:
            return self._batches.batch(step, data_rank, data_size)
        following = range(step, min(step + self._ahead + 1, max(self._steps, step + 1)))
        wanted: list[_Key] = [(later, data_rank, data_size) for later in following]
        for key in [key for key in self._made if key not in wanted]:
            self._made.pop(key).cancel()
        for key in wanted:
            if key not in self._made:
                self._made[key] = self._maker.submit(self._batches.batch, *key)
        return self._made.pop(wanted[0]).result()
