"""A stop signal is noted, not obeyed at once."""

import itertools
import os
import signal

import pytest

from train.signals import STOP_SIGNALS, StopRequest, agreed, vote


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_is_noted_and_the_former_handler_comes_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert stop.signal is None
        os.kill(os.getpid(), number)
        assert stop.signal == number
    assert signal.getsignal(number) is before


def test_a_process_that_only_has_to_end_is_not_hurried_unless_it_failed() -> None:
    former = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    with pytest.raises(ValueError, match="broken"), StopRequest(then_ends=True):
        raise ValueError("broken")
    assert {number: signal.getsignal(number) for number in STOP_SIGNALS} == former
    try:
        with StopRequest(then_ends=True) as stop:
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal is None
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def test_processes_agree_on_a_signal() -> None:
    assert agreed(vote(None)) == agreed(vote(0)) == 0
    for one, other in itertools.product(STOP_SIGNALS, STOP_SIGNALS):
        for ones, others in ((1, 0), (1, 1), (3, 2), (4_096, 4_095)):
            wanted = one if one == other or not others else signal.SIGTERM
            assert agreed(ones * vote(one) + others * vote(other)) == wanted, (one, other, ones, others)
