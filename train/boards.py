"""TensorBoard and Weights & Biases: where they are installed they are shown what metrics.jsonl records."""

import contextlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.log import get_logger
from core.manifest import hash_of
from train.job import TENSORBOARD, Job


class Boards:
    """Those of one run, from the step it goes on at. None of them can end the run."""

    def __init__(self, job: Job, step: int) -> None:
        self._tensorboard = _tensorboard(job.output / TENSORBOARD, step) if job.config.tensorboard else None
        self._wandb = _wandb(job) if job.config.wandb else None

    def show(self, step: int, values: Mapping[str, Any]) -> None:
        """Numbers by name; a mapping's numbers get its name before theirs."""
        flat = dict(_flat("", values))
        try:
            if self._tensorboard is not None:
                for name, value in flat.items():
                    self._tensorboard.add_scalar(name, value, step)
            if self._wandb is not None:
                self._wandb.log(flat, step=step)
        except OSError as error:  # e.g. a full disk
            get_logger("train").warning("the boards show no more: %s; metrics.jsonl goes on", error)
            self._tensorboard = self._wandb = None

    def show_text(self, step: int, name: str, text: str) -> None:
        if self._tensorboard is not None:
            with contextlib.suppress(OSError):  # `show` tells of it
                self._tensorboard.add_text(name, text, step)

    def close(self) -> None:
        if self._tensorboard is not None:
            self._tensorboard.close()
        if self._wandb is not None:
            self._wandb.finish()


def _tensorboard(directory: Path, step: int) -> Any | None:
    if importlib.util.find_spec("tensorboard") is None:
        get_logger("train").info("no tensorboard package: metrics.jsonl alone records this run")
        return None
    from torch.utils.tensorboard import SummaryWriter

    # What a killed run showed after its last checkpoint is shown no more.
    return SummaryWriter(str(directory), purge_step=step + 1 if step else None)


def _wandb(job: Job) -> Any | None:
    if importlib.util.find_spec("wandb") is None:
        get_logger("train").warning("wandb=true, but no wandb package: install it, or set wandb=false")
        return None
    import wandb

    run_id = hash_of([job.identity, str(job.output.resolve())])[:16]  # the same when the run continues
    return wandb.init(id=run_id, resume="allow", dir=str(job.output), config=job.identity)


def _flat(prefix: str, values: Mapping[str, Any]) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(f"{prefix}{name}/", value)
        elif isinstance(value, int | float):
            found.append((f"{prefix}{name}", float(value)))
    return found
