"""Stopping on request: a signal lets the loop finish its step, save and end, instead of ending it at once."""

import signal
from types import FrameType, TracebackType
from typing import Any

# Slurm announces a pre-emption with whatever `--signal` names, by custom one of the last two.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
_COUNTER_BITS = 13  # four of them are exact in a float64, up to 8,191 processes


class StopRequest:
    """Notes the first stop signal while active. Afterwards the former handlers are back; or, of a process that has
    nothing left to do but to end well (`then_ends`), signals are ignored: finished work is not to look interrupted."""

    def __init__(self, *, then_ends: bool = False) -> None:
        self.signal: int | None = None
        self._then_ends = then_ends
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in STOP_SIGNALS:
            self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, signal.SIG_IGN if self._then_ends and error is None else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = self.signal or number


def vote(number: int | None) -> float:
    """A process's signal, or none, as a number to be added up: a counter for each of STOP_SIGNALS in one float64."""
    return float(1 << _COUNTER_BITS * STOP_SIGNALS.index(signal.Signals(number))) if number else 0.0


def agreed(votes: float) -> int:
    """The signal that processes got, from the sum of their votes; SIGTERM where they got different ones, 0 when none
    got any."""
    counters = (int(votes) >> _COUNTER_BITS * place & (1 << _COUNTER_BITS) - 1 for place in range(len(STOP_SIGNALS)))
    told = [number for number, count in zip(STOP_SIGNALS, counters, strict=True) if count]
    return int(told[0] if len(told) == 1 else signal.SIGTERM) if told else 0


def signal_name(number: int) -> str:
    return signal.Signals(number).name
