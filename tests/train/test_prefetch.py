"""Batches made ahead are the batches asked for, and their errors are raised where they belong."""

import threading

import numpy as np
import pytest

from core.errors import MGLMError
from train.batches import MicroBatch
from train.prefetch import Prefetched


class Numbered:
    """Batches that hold their step; counts how often each is made, and by which thread."""

    def __init__(self, broken: int | None = None) -> None:
        self.made: list[tuple[int, str]] = []
        self.broken = broken

    def batch(self, step: int, data_rank: int, data_size: int) -> list[MicroBatch]:
        self.made.append((step, threading.current_thread().name))
        if step == self.broken:
            raise MGLMError("part-00003.arrow", found="no such file")
        number = np.array([[step, data_rank, data_size]])
        return [MicroBatch(number, number, number, number, None, 1)]


def steps_of(batches: Prefetched, steps: list[int]) -> list[list[int]]:
    return [batches.batch(step, 1, 2)[0].input_ids_BS[0].tolist() for step in steps]


@pytest.mark.parametrize("ahead", [0, 1, 3])
@pytest.mark.parametrize("steps", [[0, 1, 2, 3], [2, 3], [0, 1, 1, 0, 3], [7, 9]])
def test_what_is_made_ahead_is_what_is_asked_for(ahead: int, steps: list[int]) -> None:
    assert steps_of(Prefetched(Numbered(), 4, ahead), steps) == [[step, 1, 2] for step in steps]


def test_each_batch_is_made_once_in_another_thread_and_none_beyond_the_last() -> None:
    numbered = Numbered()
    batches = Prefetched(numbered, 5, 2)
    steps_of(batches, [0, 1, 2, 3, 4])
    batches._maker.shutdown()
    assert [step for step, _ in numbered.made] == [0, 1, 2, 3, 4]
    assert all(thread.startswith("batches") for _, thread in numbered.made)


def test_an_error_comes_with_its_line_when_its_step_is_asked_for() -> None:
    batches = Prefetched(Numbered(broken=2), 5, 3)
    steps_of(batches, [0, 1])
    with pytest.raises(MGLMError, match=r"part-00003\.arrow; found no such file"):
        batches.batch(2, 1, 2)
    assert steps_of(batches, [3]) == [[3, 1, 2]]
