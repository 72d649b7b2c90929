"""A stop signal is noted, not obeyed at once, and does not end the processes that write a checkpoint."""

import os
import signal
import subprocess
import sys

import pytest

from train.signals import STOP_SIGNALS, StopRequest, signals_blocked


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_and_the_former_handler_comes_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert stop.signal is None
        os.kill(os.getpid(), number)
        assert stop.signal == number
    assert signal.getsignal(number) is before


def test_children_begun_while_a_checkpoint_is_written_are_deaf_to_the_signals() -> None:
    ask = [sys.executable, "-c", "import signal; print(*map(int, signal.pthread_sigmask(signal.SIG_BLOCK, [])))"]
    with signals_blocked():
        inside = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.split()
    outside = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.split()
    assert {str(int(number)) for number in STOP_SIGNALS} <= set(inside)
    assert not {str(int(number)) for number in STOP_SIGNALS} & set(outside)
