"""The schedule of a run that takes up another's optimiser: its own settings, at the step that was reached."""

from typing import Any

from model.optimizer import keep_limits
from train.job import Job


def take_up(optimizer: Any, scheduler: Any, job: Job) -> None:
    """Puts the run's settings in place of those that came with the optimiser's state, and counts up to its step.

    The state holds the former run's rates and decays, which megatron's scheduler would go on with.
    """
    config = job.config
    for group in optimizer.param_groups:
        group["betas"], group["eps"] = (config.adam_beta1, config.adam_beta2), config.adam_eps
    keep_limits(scheduler)
    scheduler.step(job.first_step - job.schedule_from)
