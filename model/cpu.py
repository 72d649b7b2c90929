"""megatron-core on a machine without CUDA: the one place that knows how. Inert where CUDA is there.

megatron-core 0.16.1 names the CUDA device in its code in three ways, all answered here:
1. `device="cuda"`, `device=torch.cuda.current_device()` and `tensor.cuda()` mean the CPU;
2. `tensor.type() == "torch.cuda.FloatTensor"` is answered as on CUDA;
3. `torch.cuda.current_device`, `synchronize` and the random state become their CPU equivalents.
`@jit_fuser`, which is torch.compile, is off: no compiler needed.
"""

import importlib.metadata
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from core.errors import MGLMError, how_to_install

MEGATRON_VERSION = "0.16.1"
# What megatron-core 0.16.1 says on torch 2.13 without apex and TransformerEngine: known, and nothing to do about it.
KNOWN_WARNINGS: tuple[tuple[str, type[Warning]], ...] = (
    ("(Transformer Engine and )?Apex (is|are) not installed", UserWarning),
    ("full scope is deprecated", UserWarning),
    ("Please use DTensor instead", FutureWarning),
    (".(load|save)_state_dict. is deprecated", FutureWarning),
    ("The .grad attribute of a Tensor that is not a leaf Tensor", UserWarning),
    (".torch.distributed.(reduce_scatter_tensor|all_gather_into_tensor). is deprecated", FutureWarning),
)

_CPU = torch.device("cpu")


class _CudaNamesOnCPU(TorchFunctionMode):
    """Rewrites CUDA device names to the CPU in every torch call made inside the block."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.cuda:
            return args[0]
        if func is torch.Tensor.type and len(args) == 1 and not kwargs:
            return func(*args).replace("torch.", "torch.cuda.", 1)
        device = kwargs.get("device")
        if isinstance(device, str) and device.startswith("cuda"):
            kwargs = {**kwargs, "device": _CPU}
        return func(*args, **kwargs)


def _current_device() -> torch.device:
    return _CPU


@contextmanager
def cpu_runtime() -> Iterator[bool]:
    """Lets megatron-core run on the CPU inside the block; yields whether it had to. May be nested.

    Also keeps megatron-core's known warnings quiet, so import what imports megatron inside the block.

    Raises:
        MGLMError: another megatron-core than the one whose internals this stands in for.
    """
    check_version()
    if torch.cuda.current_device.__module__ == __name__:  # its stand-in below: nested
        yield True
        return
    with warnings.catch_warnings():
        for message, category in KNOWN_WARNINGS:
            warnings.filterwarnings("ignore", message, category)
        if torch.cuda.is_available():
            yield False
        else:
            with _stand_ins(), _CudaNamesOnCPU():
                yield True


@contextmanager
def _stand_ins() -> Iterator[None]:
    from megatron.core.tensor_parallel import random as megatron_random
    from torch import _dynamo

    stand_ins: list[tuple[Any, str, Any]] = [
        (torch.cuda, "current_device", _current_device),
        (torch.cuda, "synchronize", lambda device=None: None),
        (_dynamo.config, "disable", True),
        (megatron_random, "_get_cuda_rng_state", lambda *args, **kwargs: torch.get_rng_state()),
        (megatron_random, "_set_cuda_rng_state", lambda state, *args, **kwargs: torch.set_rng_state(state)),
        (megatron_random, "_CUDA_RNG_STATE_TRACKER", _cpu_tracker()),
        (megatron_random, "_CUDA_RNG_STATE_TRACKER_INITIALIZED", True),
    ]
    originals = [getattr(holder, name) for holder, name, _ in stand_ins]
    for holder, name, stand_in in stand_ins:
        setattr(holder, name, stand_in)
    try:
        yield
    finally:
        for (holder, name, _), original in zip(stand_ins, originals, strict=True):
            setattr(holder, name, original)


def check_version() -> None:
    """Raises MGLMError unless exactly the pinned megatron-core is installed."""
    try:
        found = importlib.metadata.version("megatron-core")
    except importlib.metadata.PackageNotFoundError:
        found = "none"
    if found != MEGATRON_VERSION:
        raise MGLMError("megatron-core", found=found, expected=MEGATRON_VERSION, action=how_to_install("train"))


def _cpu_tracker() -> Any:
    from megatron.core.tensor_parallel.random import CudaRNGStatesTracker

    class CPUTracker(CudaRNGStatesTracker):
        """Named CPU generator states. Its own fork(): megatron's takes a moved CPU generator for a mistake."""

        _current_state_name: str  # megatron's; of the common state it has none in `states_`

        def add(self, name: str, seed: int) -> None:
            assert seed not in self.seeds_, f"seed {seed} is in use"
            assert name not in self.states_, f"random state {name} exists"
            self._is_initialized = True
            self.seeds_.add(seed)
            kept = torch.get_rng_state()
            torch.manual_seed(seed)
            self.states_[name] = torch.get_rng_state()
            torch.set_rng_state(kept)

        @contextmanager
        def fork(self, name: str = "model-parallel-rng") -> Iterator[None]:
            kept, outer = torch.get_rng_state(), self._current_state_name
            if outer in self.states_:  # inside another fork: an inner one of the same name goes on where it stands
                self.states_[outer] = kept
            torch.set_rng_state(self.states_[name])
            self._current_state_name = name
            try:
                yield
            finally:
                self.states_[name] = torch.get_rng_state()
                torch.set_rng_state(self.states_.get(outer, kept))
                self._current_state_name = outer

    return CPUTracker()
