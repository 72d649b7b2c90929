"""Processes and their groups, random states, and the model of each process: megatron's set-up in one place.

On the CPU everything here and every step of training runs inside `model.cpu.cpu_runtime()`.
"""

import os
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from megatron.core import parallel_state
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig
from megatron.core.tensor_parallel import model_parallel_cuda_manual_seed
from megatron.core.transformer import TransformerConfig
from megatron.core.transformer.module import Float16Module

from core.errors import MGLMError
from model.config import ModelConfig
from model.execution import Execution
from model.glm import GLMModel
from model.initialisation import initialise
from model.topology import Topology

__all__ = [
    "Topology",
    "build_chunks",
    "build_stages",
    "initialize",
    "seed_step",
    "shut_down",
    "transformer_config",
    "unwrap",
]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_SEED_STRIDE = 100_003  # prime and above any rank number megatron adds to a seed


def initialize(topology: Topology, seed: int) -> int:
    """Starts the process group (nccl on GPUs, gloo on CPUs) and megatron's in it; returns the data-parallel size.

    Under torchrun it takes its place among the others; otherwise it is a world of one. May be called again with another
    topology in the same processes.
    """
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "1")  # keeps kernels in the order megatron's overlap counts on
    if not dist.is_initialized():
        on_gpu = torch.cuda.is_available()
        if on_gpu:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        backend = "nccl" if on_gpu else "gloo"
        if "RANK" in os.environ:
            dist.init_process_group(backend)
        else:
            dist.init_process_group(backend, store=torch._C._distributed_c10d.HashStore(), rank=0, world_size=1)
    data = topology.data(dist.get_world_size())
    parallel_state.destroy_model_parallel()
    parallel_state.initialize_model_parallel(
        topology.tensor, topology.pipeline, topology.virtual_pipeline if topology.virtual_pipeline > 1 else None
    )
    seed_step(seed, 0)
    return data


def shut_down() -> None:
    """Ends megatron's groups and the process group."""
    parallel_state.destroy_model_parallel()
    if dist.is_initialized():
        dist.destroy_process_group()


def seed_step(seed: int, step: int) -> None:
    """Sets every random state (dropout) from the seed, the step and this process's place alone.

    Called before each step, it lets a resumed run draw what the uninterrupted one drew without saving any state.
    Tensor-parallel ranks share the state of whole activations and differ in that of split ones; data-parallel ranks
    differ.
    """
    place = parallel_state.get_data_parallel_rank() * 64 + parallel_state.get_pipeline_model_parallel_rank()
    own = (seed * 1_000_003 + step * _SEED_STRIDE + place * 4_001) % 2**31
    torch.manual_seed(own)
    model_parallel_cuda_manual_seed(own)


def transformer_config(model: ModelConfig, topology: Topology, execution: Execution) -> TransformerConfig:
    """megatron's configuration of our layers. Losses count per token, so they do not depend on the batch's split."""
    dtype = DTYPES[execution.precision]
    interleaved = topology.virtual_pipeline > 1
    recompute = {"recompute_granularity": "full", "recompute_method": "uniform", "recompute_num_layers": 1}
    return TransformerConfig(
        num_layers=model.num_layers,
        hidden_size=model.hidden_size,
        num_attention_heads=model.num_attention_heads,
        ffn_hidden_size=model.ffn_hidden_size,
        hidden_dropout=model.hidden_dropout,
        attention_dropout=model.attention_dropout,
        layernorm_epsilon=model.layernorm_epsilon,
        activation_func=_tanh_gelu,
        add_bias_linear=True,
        params_dtype=dtype,
        pipeline_dtype=dtype,
        bf16=execution.precision == "bf16",
        fp16=execution.precision == "fp16",
        tensor_model_parallel_size=topology.tensor,
        pipeline_model_parallel_size=topology.pipeline,
        virtual_pipeline_model_parallel_size=topology.virtual_pipeline if interleaved else None,
        sequence_parallel=topology.sequence_parallel,
        # Rows may have any length. Interleaved stages exchange several tensors at a time, in a fixed order and shape:
        # megatron's batched exchange would mix up those of two ranks.
        variable_seq_lengths=topology.pipeline > 1 and not interleaved,
        overlap_p2p_comm=interleaved,
        batch_p2p_comm=not interleaved,
        moe_token_dispatcher_type="alltoall",  # no experts here; the default refuses variable lengths
        batch_p2p_sync=False,
        init_method=_leave,
        output_layer_init_method=_leave,
        calculate_per_token_loss=True,
        bias_dropout_fusion=False,
        bias_activation_fusion=False,
        masked_softmax_fusion=False,
        gradient_accumulation_fusion=False,
        **(recompute if execution.recompute == "full" else {}),
    )


def build_stages(
    model: ModelConfig, vocab_size: int, topology: Topology, execution: Execution | None = None
) -> list[GLMModel]:
    """This process's parts of the model, bare and with arbitrary weights: to load a checkpoint into.

    Raises:
        MGLMError: the model cannot be split this way, or flex attention is demanded where it cannot run.
    """
    execution = execution or Execution()
    if execution.attention == "flex" and not torch.cuda.is_available():
        needed = "one: on the CPU it has no backward pass"
        raise MGLMError("attention flex", found="no GPU", expected=needed, action="use auto or sdpa")
    topology.check(model, vocab_size, dist.get_world_size())
    config = transformer_config(model, topology, execution)  # shared: megatron's schedules read the first part's
    backend = execution.attention_backend(model.attention_dropout, on_gpu=torch.cuda.is_available())
    parts: list[int | None] = [*range(topology.virtual_pipeline)] if topology.virtual_pipeline > 1 else [None]
    return [
        GLMModel(
            config,
            vocab_size,
            model.max_positions,
            backend=backend,
            head_chunk=execution.head_chunk,
            pre_process=parallel_state.is_pipeline_first_stage(ignore_virtual=part is None, vp_stage=part),
            post_process=parallel_state.is_pipeline_last_stage(ignore_virtual=part is None, vp_stage=part),
            virtual_stage=part,
        )
        for part in parts
    ]


def build_chunks(
    model: ModelConfig,
    vocab_size: int,
    topology: Topology,
    *,
    seed: int = 0,
    execution: Execution | None = None,
    distributed_optimizer: bool = True,
    overlap: bool = False,
    frozen_layers: int = 0,
) -> list[Any]:
    """This process's parts of the model, freshly initialised, wrapped for data-parallel training.

    Args:
        frozen_layers: so many topmost layers, and the LayerNorm above them, are left as they are by training.
        distributed_optimizer: splits the optimizer's state over the data-parallel ranks; the optimizer must match.
        overlap: communicates gradients and parameters during the passes; worth it on GPUs."""
    execution = execution or Execution()
    settings = DistributedDataParallelConfig(
        use_distributed_optimizer=distributed_optimizer,
        overlap_grad_reduce=overlap,
        overlap_param_gather=overlap and distributed_optimizer,
        grad_reduce_in_fp32=True,
    )
    chunks = []
    for index, stage in enumerate(build_stages(model, vocab_size, topology, execution)):
        initialise(stage, model, seed)
        _freeze(stage, frozen_layers)
        wrapped = Float16Module(stage.config, stage) if execution.precision != "fp32" else stage
        # Later parts finish their backward pass first and in one go: cutting their gradients up gains nothing.
        chunk = DistributedDataParallel(stage.config, settings, wrapped, disable_bucketing=index > 0)
        chunk.broadcast_params()
        chunks.append(chunk)
    return chunks


def _freeze(stage: GLMModel, count: int) -> None:
    """Takes the topmost `count` layers of the whole model out of what is trained, before gradients get their buffers.

    megatron leaves such parameters out of buffers, optimizers and their states; checkpoints hold them as weights.
    """
    stage.frozen_layers = count
    if not count:
        return
    for layer in stage.decoder.layers:
        if layer.layer_number > stage.config.num_layers - count:  # counts from 1, over all stages
            layer.requires_grad_(False)
    if stage.decoder.final_layernorm is not None:
        stage.decoder.final_layernorm.requires_grad_(False)


def unwrap(chunk: Any) -> GLMModel:
    """The GLMModel inside its data-parallel and precision wrappers."""
    while not isinstance(chunk, GLMModel):
        chunk = chunk.module
    return chunk


def _leave(weight: torch.Tensor) -> None:
    """model.initialisation draws the weights. (`perform_initialization=False` would lose its split marks too.)"""


def _tanh_gelu(hidden: torch.Tensor) -> torch.Tensor:
    return F.gelu(hidden, approximate="tanh")
