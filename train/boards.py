"""TensorBoard and Weights & Biases: where they are installed they are shown what metrics.jsonl records."""

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.log import get_logger
from core.manifest import hash_of
from train.job import TENSORBOARD, Job


class Boards:
    """Those of one run, from the step it goes on at. None of them can end the run: one that raises, e.g. on a full disk
    or where nobody is logged in, is told of and given up."""

    def __init__(self, job: Job, step: int) -> None:
        self._tensorboard, self._wandb = None, None
        with self._bearing("_tensorboard"):
            if job.config.tensorboard:
                self._tensorboard = _tensorboard(job.output / TENSORBOARD, step)
        with self._bearing("_wandb"):
            if job.config.wandb:
                self._wandb = _wandb(job)

    def show(self, step: int, values: Mapping[str, Any]) -> None:
        """Numbers by name; a mapping's numbers get its name before theirs."""
        flat = dict(_flat("", values))
        with self._bearing("_tensorboard"):
            if self._tensorboard is not None:
                for name, value in flat.items():
                    self._tensorboard.add_scalar(name, value, step)
        with self._bearing("_wandb"):
            if self._wandb is not None:
                self._wandb.log(flat, step=step)

    def show_text(self, step: int, name: str, text: str) -> None:
        with self._bearing("_tensorboard"):
            if self._tensorboard is not None:
                self._tensorboard.add_text(name, text, step)

    def close(self) -> None:
        with self._bearing("_tensorboard"):
            if self._tensorboard is not None:
                self._tensorboard.close()
        with self._bearing("_wandb"):
            if self._wandb is not None:
                self._wandb.finish()

    @contextlib.contextmanager
    def _bearing(self, board: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # W&B has errors of its own
            said = f"{type(error).__name__}: {error}"
            get_logger("train").warning("%s shows no more: %s; metrics.jsonl goes on", board.strip("_"), said)
            setattr(self, board, None)


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
