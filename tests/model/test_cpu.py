import importlib.metadata
import inspect

import pytest
import torch
from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer
from megatron.core.tensor_parallel import random as megatron_random

from core.errors import MGLMError
from model.cpu import MEGATRON_VERSION, cpu_runtime

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="the layer is inert on a machine with CUDA")


def test_the_pinned_megatron_is_installed_and_another_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert importlib.metadata.version("megatron-core") == MEGATRON_VERSION
    monkeypatch.setattr("importlib.metadata.version", lambda _: "0.17.0")
    with pytest.raises(MGLMError, match="0.17.0"), cpu_runtime():
        pass


def test_what_is_replaced_in_megatron_is_what_it_was() -> None:
    def parameters(function: object) -> list[str]:
        return list(inspect.signature(function).parameters)  # type: ignore[arg-type]

    assert parameters(megatron_random._get_cuda_rng_state) == ["device", "clone", "graph_safe"]
    assert parameters(megatron_random._set_cuda_rng_state) == ["new_state", "device", "graph_safe"]
    assert parameters(megatron_random.CudaRNGStatesTracker.add) == ["self", "name", "seed"]
    assert parameters(megatron_random.CudaRNGStatesTracker.fork) == ["self", "name"]
    assert megatron_random._MODEL_PARALLEL_RNG_TRACKER_NAME == "model-parallel-rng"
    assert hasattr(megatron_random, "_CUDA_RNG_STATE_TRACKER_INITIALIZED")
    assert parameters(DistributedOptimizer._set_main_param_and_optimizer_states) == ["self", "model_param", "tensors"]


def test_cuda_names_mean_the_cpu_inside_and_nothing_outside() -> None:
    before = torch.cuda.current_device, torch.cuda.synchronize, megatron_random._CUDA_RNG_STATE_TRACKER
    with cpu_runtime() as active, cpu_runtime() as nested:
        assert active
        assert nested
        made = torch.zeros(2, device="cuda")
        assert made.cuda().device.type == "cpu"
        assert torch.zeros(1, device=torch.cuda.current_device()).device.type == "cpu"
        assert made.type() == "torch.cuda.FloatTensor"
    assert (torch.cuda.current_device, torch.cuda.synchronize, megatron_random._CUDA_RNG_STATE_TRACKER) == before
    assert made.type() == "torch.FloatTensor"


def test_named_random_states_are_apart_from_the_common_one() -> None:
    with cpu_runtime():
        tracker = megatron_random.get_cuda_rng_tracker()
        tracker.add("model-parallel-rng", 11)
        torch.manual_seed(3)
        common = torch.rand(2)
        with tracker.fork():
            first = torch.rand(2)
        torch.manual_seed(3)
        assert torch.equal(torch.rand(2), common)
        with tracker.fork():
            assert not torch.equal(torch.rand(2), first)
        assert torch.equal(first, torch.rand(2, generator=torch.Generator().manual_seed(11)))


def test_a_fork_inside_a_fork_goes_on_with_its_draws_and_so_does_the_outer_one_after_it() -> None:
    names = ("model-parallel-rng", "other")
    for inner in names:
        with cpu_runtime():
            tracker = megatron_random.get_cuda_rng_tracker()
            for seed, name in enumerate(names):
                tracker.add(name, seed)
            drawn: dict[str, list[torch.Tensor]] = {name: [] for name in names}
            torch.manual_seed(3)
            for _ in range(2):
                with tracker.fork(names[0]):
                    for _ in range(2):
                        with tracker.fork(inner):
                            drawn[inner].append(torch.rand(3))
                        drawn[names[0]].append(torch.rand(3))
            for seed, name in enumerate(names):
                generator = torch.Generator().manual_seed(seed)
                for found in drawn[name]:
                    assert torch.equal(found, torch.rand(3, generator=generator))
            assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(3)))
