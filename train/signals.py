"""Stopping on request: a signal lets the loop finish its step, save and end, instead of ending it at once."""

import signal
from types import FrameType, TracebackType
from typing import Any

# Slurm announces a pre-emption with whatever `--signal` names, by custom one of the last two.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


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


def agreed(total: float, count: float) -> int:
    """The signal that `count` processes got, from the sum of its numbers; SIGTERM where they got different ones, 0 when
    none got any."""
    if not count:
        return 0
    number = round(total / count)
    return number if number in set(STOP_SIGNALS) else int(signal.SIGTERM)


def signal_name(number: int) -> str:
    return signal.Signals(number).name
