"""Which steps are bad, and how many of them a run bears.

The state is the losses of the last steps, kept in checkpoints, so that a continued run decides as an uninterrupted one.
"""

import math
import statistics
from collections import deque
from collections.abc import Sequence

from train.config import TrainingConfig


class StepGuard:
    """Judges losses against the median of those before; every process does, and comes to the same."""

    def __init__(self, config: TrainingConfig, losses: Sequence[float | None] = ()) -> None:
        """`losses` of the last steps, None for those skipped: `state` of a checkpoint."""
        self._config = config
        self._losses = deque(losses, maxlen=config.spike_window)

    @property
    def state(self) -> list[float | None]:
        return list(self._losses)

    @property
    def skipped(self) -> int:
        """How many of the last `spike_window` steps were."""
        return sum(loss is None for loss in self._losses)

    def reason(self, loss: float) -> str:
        """Why a step of this loss is bad; "" when it is not."""
        if not math.isfinite(loss):
            return f"loss {loss}"
        good = [loss for loss in self._losses if loss is not None]
        config = self._config
        if config.spike_nats and len(self._losses) == config.spike_window and len(good) > config.spike_window // 2:
            median = statistics.median(good)
            if loss > median + config.spike_nats:
                return (
                    f"loss {loss:.3f}, more than {config.spike_nats:g} above {median:.3f}, the median of those before"
                )
        return ""

    def note(self, loss: float | None) -> None:
        """A step is over: its loss, or None when it was skipped."""
        self._losses.append(loss)

    def enough(self) -> bool:
        """Whether the step that was just skipped is one too many."""
        return self._config.on_bad_step == "stop" or self.skipped > self._config.max_skipped
