"""Adam and its schedule from megatron-core, connected to the model, and the repairs their saving and loading need.

Without apex and TransformerEngine, megatron-core 0.16.1 runs on torch's AdamW, whose `step` it mishandles when it
loads; `ready_for_load` and `after_load` mend that; and it reads the norm of each gradient on the host, for which a GPU
stands still: `_norm` and `_scale` replace that. The distributed optimizer saves the wrong stretches of its state
where its buffer has several buckets with padding between them; `_padded_between_buckets` mends that.
tests/model/test_checkpoint.py resumes and compares.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from megatron.core.distributed import finalize_model_grads
from megatron.core.optimizer import OptimizerConfig, clip_grads, get_megatron_optimizer
from megatron.core.optimizer.clip_grads import clip_grad_by_total_norm_fp32
from megatron.core.optimizer.distrib_optimizer import HAVE_APEX_OR_TE, DistributedOptimizer
from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler
from torch import Tensor

from core.errors import MGLMError
from model.execution import Precision
from model.parallel import DTYPES

INITIAL_LOSS_SCALE, LOSS_SCALE_WINDOW = 65_536.0, 1_000


def build_optimizer(
    chunks: list[Any],
    *,
    learning_rate: float,
    weight_decay: float = 0.01,
    betas: tuple[float, float] = (0.9, 0.98),
    epsilon: float = 1e-6,
    clip_grad: float = 1.0,
    precision: Precision = "fp32",
    distributed_optimizer: bool = True,
    initial_loss_scale: float = INITIAL_LOSS_SCALE,
    loss_scale_window: int = LOSS_SCALE_WINDOW,
) -> Any:
    """AdamW over the chunks' parameters, and the chunks' configuration set so that megatron's schedules use it.

    Biases and LayerNorms, that is every parameter of one dimension, are not decayed. Defaults as the authors trained.
    `precision` and `distributed_optimizer` must be those given to `build_chunks`. In fp16 losses are scaled before the
    backward pass: halved when a gradient overflows twice, doubled after `loss_scale_window` steps without.

    Raises:
        MGLMError: megatron would take another AdamW, whose state what is mended here does not fit.
    """
    if HAVE_APEX_OR_TE:
        raise MGLMError(
            "megatron-core's AdamW",
            found="that of apex or TransformerEngine, which are installed",
            expected="torch's: checkpoints hold its state",
            action="use an environment without them, as `make` sets one up",
        )
    config = OptimizerConfig(
        optimizer="adam",
        lr=learning_rate,
        min_lr=0.0,
        weight_decay=weight_decay,
        adam_beta1=betas[0],
        adam_beta2=betas[1],
        adam_eps=epsilon,
        clip_grad=clip_grad,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        initial_loss_scale=initial_loss_scale,
        loss_scale_window=loss_scale_window,
        params_dtype=DTYPES[precision],
        use_distributed_optimizer=distributed_optimizer,
    )
    clip_grads.l2_norm_impl, clip_grads.multi_tensor_scale_impl = _norm, _scale
    optimizer = get_megatron_optimizer(config, chunks)
    use_fused(optimizer)
    for part in filter(_is_distributed, _at_work(optimizer)):
        part.get_parameter_state_dp_zero = _padded_between_buckets(part)
    model_config = chunks[0].config
    model_config.grad_scale_func = optimizer.scale_loss
    model_config.finalize_model_grads_func = finalize_model_grads
    if chunks[0].ddp_config.overlap_grad_reduce:
        syncs = [chunk.no_sync for chunk in chunks]
        model_config.no_sync_func = syncs if len(syncs) > 1 else syncs[0]
    return optimizer


def use_fused(optimizer: Any, *, fused: bool = True) -> None:
    """Has AdamW update all parameters in one kernel instead of a dozen passes over memory, each with its copy."""
    for part in _at_work(optimizer):
        for group in part.optimizer.param_groups:
            group["fused"], group["foreach"] = fused, not fused


def build_scheduler(
    optimizer: Any,
    *,
    learning_rate: float,
    min_learning_rate: float,
    warmup: int,
    decay: int,
    weight_decay: float = 0.01,
    style: str = "linear",
) -> OptimizerParamScheduler:
    """Warm-up from 0 over `warmup`, then `style` decay to `min_learning_rate` at `decay`, flat after that.

    Both are counted in whatever `scheduler.step(increment)` is given: steps or samples.
    """
    scheduler = OptimizerParamScheduler(
        optimizer,
        init_lr=0.0,
        max_lr=learning_rate,
        min_lr=min_learning_rate,
        lr_warmup_steps=warmup,
        lr_decay_steps=decay,
        lr_decay_style=style,
        start_wd=weight_decay,
        end_wd=weight_decay,
        wd_incr_steps=0,
        wd_incr_style="constant",
    )
    keep_limits(scheduler)
    return scheduler


def keep_limits(scheduler: OptimizerParamScheduler) -> None:
    """Has every group of parameters follow the schedule's own highest and lowest rate.

    A group has limits of its own, which win: those of the optimizer's configuration, or of the state it loaded.
    """
    for group in scheduler.optimizer.param_groups:
        group["max_lr"], group["min_lr"] = scheduler.max_lr, scheduler.min_lr
    scheduler.step(0)


@dataclass(frozen=True)
class Update:
    """What became of a step's gradients. `overflow`: not finite after unscaling, in fp16; then there is no norm."""

    done: bool
    gradient_norm: float
    overflow: bool = False


def update_weights(optimizer: Any) -> Update:
    """Clips and steps, unless a gradient is not finite: then weights and moments stay as they were.

    megatron's own `step` does the same in another order: it multiplies by the norm before anyone has looked at it.
    """
    if optimizer.prepare_grads():
        return Update(done=False, gradient_norm=math.nan, overflow=True)
    norm = float(optimizer.get_grad_norm())
    if not math.isfinite(norm):
        return Update(done=False, gradient_norm=norm)
    for part in _at_work(optimizer):
        parameters = part.get_parameters()
        if parameters and part.config.clip_grad > 0:
            clip_grad_by_total_norm_fp32(parameters, part.config.clip_grad, norm)
    optimizer.step_with_ready_grads()
    return Update(done=True, gradient_norm=norm)


def loss_scale(optimizer: Any) -> float:
    """What losses are multiplied by before the backward pass; 1 but in fp16."""
    return float(optimizer.get_loss_scale())


def gather_weights(chunks: list[Any]) -> None:
    """Has every data-parallel rank hold the last update's weights, which overlap leaves to the next forward pass."""
    for chunk in chunks:
        settings = getattr(chunk, "ddp_config", None)  # bare parts have none
        if settings is not None and settings.overlap_param_gather:
            chunk.start_param_sync(force_sync=True)


def has_work(optimizer: Any) -> bool:
    """Whether this process trains anything: a pipeline stage whose layers are all frozen does not, nor do its peers."""
    return bool(_at_work(optimizer))


def optimizer_kind(optimizer: Any | None) -> str | None:
    """`a distributed` or `a plain`; the two keep their states in different forms. None without an optimizer."""
    if optimizer is None:
        return None
    return "a distributed" if any(map(_is_distributed, _parts(optimizer))) else "a plain"


def ready_for_load(optimizer: Any) -> None:
    """Fills a fresh optimizer's state, which megatron reads, for its shapes, before it loads one."""
    for part in _at_work(optimizer):
        if _is_distributed(part):  # the plain ones fill their own
            _fill(part)
            part._set_main_param_and_optimizer_states = _keeping_step(part)


def with_step(optimizer: Any, state: dict[Any, Any]) -> dict[Any, Any]:
    """A loaded state that has the `step` of an optimizer without an update: megatron leaves it out where it is 0."""
    parts = _parts(optimizer)
    for part, of_part in zip(parts, [state] if len(parts) == 1 else [state[k] for k in sorted(state)], strict=True):
        if not _is_distributed(part):  # those gather moments alone, and keep the step they were filled with
            of_part.get("optimizer", of_part)["state"].setdefault("common_step", torch.zeros(()))
    return state


def ready_for_save(optimizer: Any) -> None:
    """Fills the state of an optimizer that has not made an update yet, e.g. in fp16 while the scale is too high."""
    for part in _at_work(optimizer):
        _fill(part)


def _fill(part: Any) -> None:
    for group in part.param_groups:
        for parameter in group["params"]:
            if not part.optimizer.state[parameter]:
                on_device = group.get("fused") or group.get("capturable")
                part.optimizer.state[parameter] = {
                    "step": torch.zeros((), device=parameter.device if on_device else "cpu"),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }


def after_load(optimizer: Any) -> None:
    """Gives every parameter a `step` of its own, on its device, where the fused AdamW reads it.

    megatron hands all of them one tensor (distrib_optimizer.py, load_state_dict), which AdamW would then count up once
    per parameter: a silently wrong bias correction.
    """
    use_fused(optimizer)  # a checkpoint says what the AdamW was that wrote it
    for part in _at_work(optimizer):
        for parameter, state in part.optimizer.state.items():
            if "step" in state:
                state["step"] = state["step"].to(parameter.device, copy=True)


def main_parameters(chunks: list[Any], optimizer: Any) -> dict[str, tuple[Tensor, Any]]:
    """Parameter's name → the tensor that AdamW updates, and that AdamW. For one process that holds the whole model.

    The tensor is the parameter itself, its fp32 copy, or, in a distributed optimizer, a flat view or copy of it.
    """
    found = {}
    for chunk in chunks:
        for name, parameter in chunk.named_parameters():
            for part in _parts(optimizer):
                if _is_distributed(part):
                    if parameter in part.model_param_group_index_map:
                        group, order = part.model_param_group_index_map[parameter]
                        found[name] = (part.optimizer.param_groups[group]["params"][order], part.optimizer)
                    continue
                main = getattr(parameter, "main_param", None)
                main = parameter if main is None else main
                if any(main is held for group in part.optimizer.param_groups for held in group["params"]):
                    found[name] = (main, part.optimizer)
    return found


def _norm(_chunk: int, _flag: Tensor, tensors: list[list[Tensor]], *_: Any) -> tuple[Tensor, None]:
    """megatron's `l2_norm_impl`: the norm of all tensors as one of one element, on their device."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors[0]))).reshape(1), None


def _scale(_chunk: int, _flag: Tensor, tensors: list[list[Tensor]], factor: float) -> None:
    """megatron's `multi_tensor_scale_impl`, which clipping gives the same tensors twice."""
    torch._foreach_mul_(tensors[1], factor)


def _padded_between_buckets(part: Any) -> Any:
    """`get_parameter_state_dp_zero` that leaves the padding between buckets in.

    megatron-core 0.16.1 leaves it out and then cuts parameters from the result by their places in the padded buffer
    (distrib_optimizer.py, sharded_param_state_fully_reshardable): behind the first padding, weights and moments are
    saved shifted, and zeros fill the end. There are several buckets with pipeline parallelism, where the tied embedding
    has its own, and with overlap; there is padding where a bucket's size is no multiple of 128 and of the data-parallel
    size. It warns of "data corruption" at most.
    """
    original = type(part).get_parameter_state_dp_zero

    def state(*given: Any, **named: Any) -> Any:
        found = original(part, *given, **named)
        for number, buffer in enumerate(part.buffers if found is not None else ()):
            for tensors in found[number].values():
                for key in ("param", "exp_avg", "exp_avg_sq"):
                    if key in tensors:
                        tensors[key] = _spread(tensors[key], buffer)
        return found

    return state


def _spread(coalesced: Tensor, buffer: Any) -> Tensor:
    """A buffer's values, its buckets one after another, each put where it begins in the padded buffer."""
    whole, offset = coalesced.new_zeros(buffer.numel), 0
    for (start, _), bucket in zip(buffer.bucket_indices, buffer.buckets, strict=True):
        whole[start : start + bucket.numel_unpadded] = coalesced[offset : offset + bucket.numel_unpadded]
        offset += bucket.numel_unpadded
    return whole


def _keeping_step(part: Any) -> Any:
    """`_set_main_param_and_optimizer_states` that finds `step`, which fully_reshardable states lack."""
    original = type(part)._set_main_param_and_optimizer_states

    def set_states(model_param: Any, tensors: dict[str, Any]) -> None:
        group, order = part.model_param_group_index_map[model_param]
        state = part.optimizer.state[part.optimizer.param_groups[group]["params"][order]]
        original(part, model_param, {"step": state["step"].clone(), **tensors})

    return set_states


def _is_distributed(part: Any) -> bool:
    return isinstance(part, DistributedOptimizer)


def _parts(optimizer: Any) -> list[Any]:
    return list(getattr(optimizer, "chained_optimizers", [optimizer]))


def _at_work(optimizer: Any) -> list[Any]:
    """Those that have parameters: megatron makes stubs for stages without, or distributed ones without a buffer."""
    return [
        part
        for part in _parts(optimizer)
        if not getattr(part, "is_stub_optimizer", False) and (not _is_distributed(part) or part.buffers)
    ]
