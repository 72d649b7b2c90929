from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.waiting import Job, Waiting

JOBS = st.lists(
    st.builds(
        lambda length, beams, stream, attempts: {
            "text": "x" * length, "generation": {"num_beams": beams}, "stream": stream, "attempts": attempts
        },
        st.integers(1, 6000), st.integers(1, 2), st.booleans(), st.integers(0, 1),
    ),
    max_size=30,
)  # fmt: skip


def job(number: int, **fields: Any) -> Job:
    def nobody(message: Mapping[str, Any]) -> None: ...

    settings = {"text": "a river", "target": "en", "generation": {}, "listener": nobody, **fields}
    return Job(id=number, arrived_s=float(number), deadline_s=1e9, **settings)


@given(JOBS, st.integers(1, 8))
def test_batches_hold_every_job_once_the_oldest_first_and_only_of_a_kind(
    described: list[dict[str, Any]], most: int
) -> None:
    jobs = [job(number, **fields) for number, fields in enumerate(described)]
    waiting = Waiting(len(jobs))
    waiting.add(jobs)
    left = list(jobs)
    while batch := waiting.take_batch(most, source_length=512):
        assert batch[0] is left[0]
        assert 1 <= len(batch) <= most
        assert len({one.kind(512) for one in batch}) == 1
        assert [one.id for one in batch] == sorted(one.id for one in batch)
        if len(batch) < most:  # nobody of its kind was left behind
            assert all(one.kind(512) != batch[0].kind(512) for one in left if one not in batch)
        if batch[0].stream or batch[0].attempts:
            assert len(batch) == 1
        left = [one for one in left if one not in batch]
    assert left == []
    assert len(waiting) == 0


def test_a_request_is_taken_whole_or_not_at_all() -> None:
    waiting = Waiting(3)
    waiting.add([job(1), job(2)])
    with pytest.raises(ValueError, match="no room"):
        waiting.add([job(3), job(4)])
    assert len(waiting) == 2
    assert waiting.has_room(1)


def test_what_comes_back_from_a_dead_worker_is_first_again() -> None:
    waiting = Waiting(2)
    first, second, third = job(1), job(2), job(3)
    waiting.add([first, second])
    batch = waiting.take_batch(1, 512)
    waiting.add([third])
    waiting.put_back(batch)
    assert waiting.oldest() is first
    assert len(waiting) == 3  # accepted is accepted
    assert not waiting.has_room(1)


def test_who_left_is_gone() -> None:
    waiting = Waiting(2)
    first, second = job(1), job(2)
    waiting.add([first, second])
    assert waiting.remove(first)
    assert not waiting.remove(first)
    assert waiting.take_batch(8, 512) == [second]


def test_lengths_alike_share_a_batch_and_what_gets_cut_is_alike() -> None:
    assert job(1, text="x" * 1000).kind(512) == job(2, text="x" * 900).kind(512)
    assert job(1, text="x" * 1000).kind(512) != job(2, text="x" * 10).kind(512)
    assert job(1, text="x" * 5000).kind(512) == job(2, text="x" * 50_000).kind(512)
    assert job(1, text="河" * 300).kind(512) == job(2, text="x" * 900).kind(512)
