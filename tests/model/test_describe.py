import json

import pytest
from typer.testing import CliRunner

from core.errors import MGLMError
from model.commands import app
from model.config import ModelConfig
from model.describe import describe
from model.topology import Topology

LARGE = ModelConfig(preset="large")


def test_the_papers_model_on_one_process() -> None:
    counts = describe(LARGE, 250_112, Topology(), 1, "bf16")
    assert counts.parameters == counts.parameters_per_rank == 1_067_280_384
    assert counts.weight_bytes_per_rank == 2 * 1_067_280_384
    assert counts.optimizer_bytes_per_rank == 12 * 1_067_280_384


def test_the_distributed_optimizer_divides_the_state_alone() -> None:
    whole, split = (describe(LARGE, 250_112, Topology(), data, "bf16") for data in (1, 8))
    assert split.optimizer_bytes_per_rank_distributed * 8 == whole.optimizer_bytes_per_rank
    assert split.parameters_per_rank == whole.parameters_per_rank


def test_splitting_leaves_no_parameter_out() -> None:
    counts = describe(LARGE, 250_112, Topology(tensor=4, pipeline=2), 1, "fp32")
    assert counts.world_size == 8
    assert counts.parameters / 8 < counts.parameters_per_rank < counts.parameters / 4
    with pytest.raises(MGLMError, match="num_attention_heads 16"):
        describe(LARGE, 250_112, Topology(tensor=3), 1, "fp32")


def test_the_command_prints_a_table_or_json() -> None:
    arguments = ["describe", "--set", "model.preset=large", "--tp", "2"]
    table = CliRunner().invoke(app, arguments)
    assert table.exit_code == 0
    assert "1,067,280,384" in table.stdout
    counts = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert counts["parameters"] == 1_067_280_384
