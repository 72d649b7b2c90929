import json

import pytest
from typer.testing import CliRunner

from core.errors import MGLMError
from model.commands import app
from model.config import ModelConfig
from model.describe import activation_bytes, describe, flops_per_token, head_bytes
from model.execution import Execution
from model.topology import Topology

BF16, FP32 = Execution(precision="bf16"), Execution()
LARGE = ModelConfig(preset="large")


def test_the_papers_model_on_one_process() -> None:
    counts = describe(LARGE, 250_112, Topology(), 1, BF16)
    assert counts.parameters == counts.parameters_per_rank == 1_067_280_384
    assert counts.weight_bytes_per_rank == 2 * 1_067_280_384
    assert counts.optimizer_bytes_per_rank == 12 * 1_067_280_384


def test_the_distributed_optimizer_divides_the_state_alone() -> None:
    whole, split = (describe(LARGE, 250_112, Topology(), data, BF16) for data in (1, 8))
    assert split.optimizer_bytes_per_rank_distributed * 8 == whole.optimizer_bytes_per_rank
    assert split.parameters_per_rank == whole.parameters_per_rank


def test_splitting_leaves_no_parameter_out() -> None:
    counts = describe(LARGE, 250_112, Topology(tensor=4, pipeline=2), 1, FP32)
    assert counts.world_size == 8
    assert counts.parameters / 8 < counts.parameters_per_rank < counts.parameters / 4
    with pytest.raises(MGLMError, match="num_attention_heads 16"):
        describe(LARGE, 250_112, Topology(tensor=3), 1, FP32)


def test_the_command_prints_a_table_or_json() -> None:
    arguments = ["describe", "--set", "model.preset=large", "--tp", "2"]
    table = CliRunner().invoke(app, arguments)
    assert table.exit_code == 0
    assert "1,067,280,384" in table.stdout
    counts = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert counts["parameters"] == 1_067_280_384


def test_a_model_above_one_gpu_fits_eight_by_eight() -> None:
    xxl = ModelConfig(preset="xxl")
    assert xxl.parameters(250_112) > 7 * 10**9
    alone = describe(xxl, 250_112, Topology(), 1, BF16, micro_batch=4)
    assert alone.bytes_per_rank > 141 * 10**9  # an H200
    split = describe(xxl, 250_112, Topology(tensor=8, sequence_parallel=True), 8, BF16, micro_batch=4)
    assert split.bytes_per_rank < 80 * 10**9


def test_arithmetic_is_six_a_weight_and_attention() -> None:
    layers = 679_956_480 - 24 * (3 + 1 + 4 + 1 + 4) * 1536  # without biases and norms, which are not matrices
    attention = 24 * 4 * 512 * 1536
    head = 250_112 * 1536
    assert flops_per_token(LARGE, 250_112, BF16, 1.0) == 6 * (layers + head) + 3 * attention
    again = Execution(precision="bf16", recompute="full")
    assert flops_per_token(LARGE, 250_112, again, 0.0) * 3 == flops_per_token(LARGE, 250_112, BF16, 0.0) * 4


def test_what_saves_memory_saves_it() -> None:
    whole = activation_bytes(LARGE, Topology(), BF16, 8)
    assert activation_bytes(LARGE, Topology(), Execution(precision="bf16", recompute="full"), 8) < whole / 8
    tensor = activation_bytes(LARGE, Topology(tensor=4), BF16, 8)
    assert activation_bytes(LARGE, Topology(tensor=4, sequence_parallel=True), BF16, 8) == whole / 4 < tensor < whole
    assert activation_bytes(LARGE, Topology(pipeline=4, virtual_pipeline=2), BF16, 8) > whole  # more passes under way
    chunk = Execution(precision="bf16", head_chunk=64)
    assert head_bytes(LARGE, 250_112, Topology(), chunk, 64) < head_bytes(LARGE, 250_112, Topology(), BF16, 64)


def test_only_what_is_split_is_sent() -> None:
    alone = describe(LARGE, 250_112, Topology(), 1, BF16)
    assert alone.data_parallel_bytes_sent + alone.tensor_parallel_bytes_sent + alone.pipeline_parallel_bytes_sent == 0
    split = describe(LARGE, 250_112, Topology(tensor=2, pipeline=2), 2, BF16, micro_batch=4, global_batch=64)
    hidden = 512 * 4 * 1536 * 2
    assert split.tensor_parallel_bytes_sent == 12 * 8 * (8 * hidden // 2)  # layers × passes × 4 all-reduces
    assert split.pipeline_parallel_bytes_sent == 8 * 2 * hidden
    assert split.data_parallel_bytes_sent == split.parameters_per_rank * 3
