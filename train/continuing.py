"""Continuing a run as another one: more steps, other data, another schedule, a larger vocabulary.

A run continues itself when its command is given again. Here a new run, in an output of its own, takes up a checkpoint
of another: weights, optimiser and step, and the place in the data where that is still the same data. What has changed
goes into the lineage, which every checkpoint and the manifest carry on. Light: imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from core.errors import MGLMError
from model.checkpoint_meta import checkpoint_hash, locate_checkpoint, read_meta
from model.config import ModelConfig
from model.execution import PRECISION_OF_DTYPE
from tokenizer.encoding import Tokenizer
from tokenizer.sampler import Sampler
from tokenizer.shards import Shards
from train.batches import window_length
from train.config import PretrainConfig

_SAME_DATA = ("shards", "shares", "window", "seed", "windows_per_step")


@dataclass(frozen=True)
class DataPlace:
    """Which data a run sees: sample 0 of its sampler belongs to `first_step`, with `begun` windows gone through before.

    `window` tokens a draw, `windows_per_step` draws a step.
    """

    shards: str  # content hash
    shares: dict[str, float]
    window: int
    windows_per_step: int
    seed: int
    first_step: int = 0
    begun: dict[str, int] = field(default_factory=dict)

    def sampler(self, shards: Shards) -> Sampler:
        return Sampler(shards.stream_lengths(), self.shares, self.window, self.seed, self.begun)


@dataclass(frozen=True)
class Continued:
    """The checkpoint a run begins with."""

    step_directory: Path
    tokenizer_directory: Path
    meta: dict[str, Any]
    hash: str

    @property
    def step(self) -> int:
        return int(self.meta["step"])


def open_continued(path: Path) -> Continued:
    """What `--continue-from PATH` means: a run's output, finished or not (its latest checkpoint), or one step of it.

    Raises:
        MGLMError: neither of these.
    """
    step, tokenizer = locate_checkpoint(path)
    return Continued(step, tokenizer, read_meta(step), checkpoint_hash(path))


def check_continued(
    continued: Continued, model: ModelConfig, tokenizer: Tokenizer, config: PretrainConfig, shards: Path
) -> None:
    """Whether these weights and this optimiser can go on under the new configuration and shards.

    Raises:
        MGLMError: names both sides.
    """
    meta, name = continued.meta, f"--continue-from {continued.step_directory}"
    if tokenizer.sha256 != meta["tokenizer_sha256"]:
        raise MGLMError(
            f"shards {shards}",
            found=f"a tokenizer of {tokenizer.pieces:,} pieces, {_short(tokenizer.sha256)}",
            expected=f"that of {continued.step_directory}, {_short(meta['tokenizer_sha256'])}",
            action="shard with its tokenizer; or, if this one extends it, run mglm model extend and continue from that",
        )
    has = ModelConfig.model_validate(meta["model"]).weight_shape()
    for field_name, wanted in model.weight_shape().items():
        if has[field_name] != wanted:
            raise MGLMError(
                name,
                found=f"{field_name} {has[field_name]}",
                expected=f"{field_name} {wanted}, as configured",
                action="give the [model] section that it was trained with",
            )
    precision = PRECISION_OF_DTYPE[meta["dtype"]]
    if precision != config.precision:
        raise MGLMError(
            name,
            found=f"weights and optimiser of {precision}",
            expected=f"{config.precision}, as configured",
            action=f"set pretrain.precision={precision}",
        )
    if frozen := meta.get("training", {}).get("freeze_upper_layers"):
        raise MGLMError(
            name,
            found=f"a run that was fine-tuned with finetune.freeze_upper_layers={frozen}",
            expected="the optimizer's state of all layers",
            action="continue from the run that it began with; the weights of this one can begin a fine-tuning: "
            "mglm train finetune --init",
        )
    kind = "a distributed" if config.distributed_optimizer else "a plain"
    if meta.get("optimizer") != kind:
        raise MGLMError(
            name,
            found=f"the state of {meta.get('optimizer') or 'no'} optimizer",
            expected=f"that of {kind} optimizer, as configured",
            action=f"set pretrain.distributed_optimizer={str(not config.distributed_optimizer).lower()}"
            if meta.get("optimizer")
            else "give a checkpoint of mglm train: one that was converted holds weights alone, for fine-tuning",
        )
    if config.steps <= continued.step:
        raise MGLMError(
            "pretrain.steps",
            found=str(config.steps),
            expected=f"more than the {continued.step} steps that {continued.step_directory} has done",
            action="steps count from the first run's beginning: raise pretrain.steps",
        )


def data_place(
    config: PretrainConfig,
    sequence_length: int,
    shards: Shards,
    shares: Mapping[str, float],
    continued: Continued | None,
) -> DataPlace:
    """Where in its data a run begins.

    The same data goes on where it was. With another plan or batch on the same shards, every language goes on at the
    window where it was, in the order that the first seed gave them: another would draw some again before others came.
    Other shards have other windows: every language begins at its first.
    """
    window = window_length(sequence_length, config)
    rows = config.global_batch_size * config.windows_per_sequence
    new = DataPlace(shards.sha256, dict(sorted(shares.items())), window, rows, config.seed)
    if continued is None:
        return new
    kept: dict[str, Any] | None = continued.meta.get("data")
    if kept is not None:
        old = DataPlace(**kept)
        if (old.shards, old.window) == (new.shards, new.window):
            new = replace(new, seed=old.seed)
        if all(getattr(old, name) == getattr(new, name) for name in _SAME_DATA):
            return old
        if (old.shards, old.window) == (new.shards, new.window):
            begun = old.sampler(shards).windows_begun((continued.step - old.first_step) * old.windows_per_step)
            return replace(new, first_step=continued.step, begun={**old.begun, **begun})
    return replace(new, first_step=continued.step)


def lineage(continued: Continued | None, now: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The chapters of a run up to its beginning: what it was continued from, at which step, and what changed there.

    `now` is what checkpoints keep as `training`, `data`, `tokenizer_sha256` and so on. When it was is in events.jsonl.
    """
    if continued is None:
        return []
    before: list[dict[str, Any]] = list(continued.meta.get("lineage", []))
    chapter = {
        "step": continued.step,
        "checkpoint": f"{continued.step_directory.resolve().parent.parent.name}/{continued.step_directory.name}",
        "sha256": continued.hash,
        "changed": _changes({name: _same_fields(name, continued.meta.get(name), now[name]) for name in now}, now),
    }
    return [*before, chapter]


def _same_fields(name: str, old: Any, new: Any) -> Any:
    """Of the former run's settings those that decide results, which are all that the new one gives."""
    return {key: old.get(key) for key in new} if name == "training" and isinstance(old, dict) else old


def _changes(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> dict[str, list[Any]]:
    """Field → [before, after] of what differs, nested tables by their fields' full names."""
    found: dict[str, list[Any]] = {}
    for name in sorted({*old, *new} - {"first_step", "begun"}):  # a consequence, no change
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            found |= _changes(before, after, f"{prefix}{name}.")
        elif before != after:
            found[f"{prefix}{name}"] = [before, after]
    return found


def _short(sha256: str) -> str:
    return f"sha256 {sha256[:12]}…"
