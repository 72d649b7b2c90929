"""The repairs of megatron's optimizer that a step's speed on a GPU depends on."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from core.errors import MGLMError
from model import optimizer
from model.checkpoint import load_checkpoint, save_checkpoint
from model.config import ModelConfig
from model.optimizer import update_weights
from model.parity import MODEL
from model.tiny_training import MICRO_ROWS, ROWS, TinyTraining
from model.topology import Topology

pytestmark = pytest.mark.usefixtures("megatron_world")
SCALAR, PLACES = torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default


class HostReads(TorchDispatchMode):
    """Counts what makes the host wait for a GPU: numbers read, and places whose number must be known."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[Any] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found[func] += func in (SCALAR, PLACES)
        return func(*args, **(kwargs or {}))


def reads_of_a_step(model: ModelConfig, *, distributed_optimizer: bool) -> dict[Any, int]:
    training = TinyTraining(model, Topology(), distributed_optimizer=distributed_optimizer)
    training.step(0)
    with HostReads() as reads:
        training.step(1, update=update_weights)
    return {func: count for func, count in reads.found.items() if count}


@pytest.mark.parametrize("distributed_optimizer", [False, True])
def test_a_step_waits_for_the_device_as_often_for_a_deep_model(distributed_optimizer: bool) -> None:
    deeper = ModelConfig(**{**MODEL.model_dump(), "num_layers": 12})
    few = reads_of_a_step(MODEL, distributed_optimizer=distributed_optimizer)
    assert few == reads_of_a_step(deeper, distributed_optimizer=distributed_optimizer)
    # The norm, and the loss and its number as TinyTraining tells them; in each pass, the places that are scored.
    assert few == {SCALAR: 3, PLACES: ROWS // MICRO_ROWS}


@pytest.mark.parametrize("distributed_optimizer", [False, True])
def test_gradients_are_clipped_to_the_norm_that_is_told(distributed_optimizer: bool) -> None:
    training = TinyTraining(MODEL, Topology(), distributed_optimizer=distributed_optimizer)
    (part,) = getattr(training.optimizer, "chained_optimizers", [training.optimizer])
    part.config.clip_grad = 0.1

    def norm() -> float:
        return float(torch.cat([weight.grad.flatten() for weight in part.get_parameters()]).norm())

    def update(optimizer: Any) -> None:
        assert not optimizer.prepare_grads()
        before, made = norm(), update_weights(optimizer)
        assert made.gradient_norm == pytest.approx(before, rel=1e-5)
        assert before > 0.1
        assert norm() == pytest.approx(0.1, rel=1e-4)

    training.step(0, update=update)


@pytest.mark.parametrize("distributed_optimizer", [False, True])
def test_the_rate_rises_falls_to_its_least_value_and_stays_there(distributed_optimizer: bool, tmp_path: Path) -> None:
    def rates(training: TinyTraining, steps: int) -> list[float]:
        found = []
        for _ in range(steps):
            (rate,) = {group["lr"] for group in training.optimizer.param_groups}
            found.append(rate)
            training.scheduler.step(1)
        return found

    begun = TinyTraining(MODEL, Topology(), distributed_optimizer=distributed_optimizer)  # 5e-3 to 1e-3 at step 20
    begun.train(0, 1)
    assert rates(begun, 25)[1:] == pytest.approx([5e-3 - 4e-3 * min(step, 19) / 19 for step in range(1, 25)])
    # The state of earlier versions says 0.
    for group in begun.optimizer.param_groups:
        group["min_lr"] = 0.0
    saved = save_checkpoint(tmp_path, begun.chunks, begun.optimizer, begun.scheduler, begun.meta(26))
    resumed = TinyTraining(MODEL, Topology(), distributed_optimizer=distributed_optimizer)
    load_checkpoint(saved, resumed.chunks, resumed.optimizer, resumed.scheduler)
    assert rates(resumed, 2) == pytest.approx([1e-3, 1e-3])


@pytest.mark.parametrize("distributed_optimizer", [False, True])
def test_adam_updates_all_parameters_in_one_go(distributed_optimizer: bool) -> None:
    training = TinyTraining(MODEL, Topology(), distributed_optimizer=distributed_optimizer)
    calls: Counter[Any] = Counter()

    class Updates(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            calls[func] += 1
            return func(*args, **(kwargs or {}))

    training.step(0)
    with Updates():
        training.optimizer.step_with_ready_grads()
    groups = [group for group in training.optimizer.param_groups if group["params"]]
    assert calls[torch.ops.aten._fused_adamw_.default] == len(groups)
    assert not calls[torch.ops.aten._foreach_addcdiv_.ScalarList]


def test_another_adamw_than_torch_s_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizer, "HAVE_APEX_OR_TE", True)
    with pytest.raises(MGLMError, match="found that of apex or TransformerEngine"):
        TinyTraining(MODEL, Topology(), distributed_optimizer=True)
