import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from model.checkpoint import load_checkpoint
from model.describe import parameters_of_stage
from model.topology import Topology
from tests.model.layouts_worker import LAYOUTS, SAVED_AT, STEPS
from tests.model.tiny_training import PLAIN, VOCAB_SIZE, TinyTraining

pytestmark = pytest.mark.distributed
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory where two workers left what they trained."""
    directory = tmp_path_factory.mktemp("layouts")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "tests.model.layouts_worker", str(directory)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=300, capture_output=True)
    return directory


@pytest.fixture
def alone(megatron_world: None) -> TinyTraining:
    return TinyTraining(PLAIN, Topology(), distributed_optimizer=True)


def results_of(directory: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((directory / "layouts.json").read_text("utf-8"))
    return results


def test_every_layout_trains_as_one_process_does(two_processes: Path, alone: TinyTraining) -> None:
    wanted = alone.train(0, STEPS)
    assert wanted[-1] != pytest.approx(wanted[0], abs=1e-2)
    for name, result in results_of(two_processes).items():
        assert result["losses"] == pytest.approx(wanted, abs=1e-5), name
        assert result["norms"] == pytest.approx(alone.gradient_norms, rel=1e-4), name


def test_a_checkpoint_of_tensor_parallel_two_continues_at_one(two_processes: Path, alone: TinyTraining) -> None:
    saved = two_processes / "tensor" / f"step-{SAVED_AT:08d}"
    load_checkpoint(saved, alone.chunks, alone.optimizer, alone.scheduler)
    wanted = results_of(two_processes)["tensor"]["losses"][SAVED_AT:]
    assert alone.train(SAVED_AT, STEPS) == pytest.approx(wanted, abs=1e-5)


def test_each_rank_holds_the_parameters_that_describe_says(two_processes: Path) -> None:
    for name, result in results_of(two_processes).items():
        topology, _ = LAYOUTS[name]
        stages = [rank if topology.pipeline == 2 else 0 for rank in range(2)]
        counted = [parameters_of_stage(PLAIN, VOCAB_SIZE, topology, stage) for stage in stages]
        assert result["parameters"] == counted, name
