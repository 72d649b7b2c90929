"""Bad steps are found by finite numbers and by the median of the losses before, and are borne up to a limit."""

import math

import pytest

from train.config import TrainingConfig
from train.guard import StepGuard


def guard_after(losses: list[float | None], **settings: object) -> StepGuard:
    return StepGuard(TrainingConfig.model_validate({"spike_window": 10, "max_skipped": 2, **settings}), losses)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_bad_from_the_first_step_on(loss: float) -> None:
    assert guard_after([]).reason(loss) == f"loss {loss}"


def test_a_spike_is_a_loss_far_above_the_median_once_the_window_is_full() -> None:
    steady = [3.0, 3.2, 2.9, 3.1, 3.0, 9.0, 3.0, 3.1, 2.9, 3.0]
    assert "2 above 3.000" in guard_after(list(steady)).reason(5.1)
    assert guard_after(list(steady)).reason(4.9) == ""
    assert guard_after(list(steady[:9])).reason(50.0) == ""
    assert guard_after(list(steady), spike_nats=0.0).reason(50.0) == ""


def test_a_fall_is_no_spike_and_neither_is_the_level_after_it() -> None:
    guard = guard_after([])
    for step in range(40):
        loss = 12.0 / (1 + step / 4)
        assert guard.reason(loss) == ""
        guard.note(loss)


def test_bad_steps_are_borne_up_to_the_limit_and_forgotten_with_the_window() -> None:
    guard = guard_after([3.0] * 10)
    for _ in range(2):
        guard.note(None)
        assert not guard.enough()
    for _ in range(8):
        guard.note(3.0)
    assert guard.skipped == 2
    guard.note(None)  # the oldest leaves
    assert not guard.enough()
    guard.note(None)
    guard.note(None)
    assert guard.enough()
    stopping = guard_after([3.0] * 10, on_bad_step="stop")
    stopping.note(None)
    assert stopping.enough()


def test_a_continued_run_decides_as_the_one_before() -> None:
    guard = guard_after([])
    for loss in (3.0, None, 3.1, 2.9, 3.0, 3.0, 3.1, 3.0, None, 3.0, 3.0):
        guard.note(loss)
    again = guard_after(guard.state)
    assert again.state == guard.state
    assert again.skipped == guard.skipped == 2
    assert again.reason(5.5) == guard.reason(5.5) != ""
