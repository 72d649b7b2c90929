import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from model.checkpoint import load_checkpoint, save_checkpoint
from model.cpu import cpu_runtime
from model.describe import parameters_of_stage
from model.execution import Execution
from model.optimizer import loss_scale, update_weights
from model.parity import MODEL, STEPS, Layout, compare, layouts_of, measure_layouts, read_result
from model.tiny_training import VOCAB_SIZE, TinyTraining
from model.topology import Topology
from model.weights import authors_to_hf, hf_to_megatron
from tests.model.conftest import REFERENCE, read_reference
from tests.model.layouts_worker import SAVED, SAVED_AT

pytestmark = pytest.mark.distributed
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reference_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """The reference's weights as a checkpoint, its cases beside it; None where the reference is absent."""
    if not REFERENCE.is_dir():
        return None
    directory = tmp_path_factory.mktemp("reference")
    found = read_reference()
    with cpu_runtime():
        from model.parallel import build_stages, initialize, shut_down

        initialize(Topology(), seed=1)
        (stage,) = build_stages(found.model, found.vocab_size, Topology())
        weights = hf_to_megatron(authors_to_hf(found.weights), found.model.num_attention_heads)
        stage.load_state_dict({**stage.state_dict(), **weights})
        meta = {"step": 0, "samples": 0, "model": found.model.model_dump(), "vocab_size": found.vocab_size}
        save_checkpoint(directory, [stage], None, None, {**meta, "tokenizer_sha256": "none"})
        shut_down()
    for index, (_, case) in enumerate(found.cases()):
        save_file({name: part.contiguous() for name, part in case.items()}, directory / f"case{index}.safetensors")
    return directory


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory, reference_checkpoint: Path | None) -> Path:
    """The directory where two workers left what they trained."""
    directory = tmp_path_factory.mktemp("layouts")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "tests.model.layouts_worker", str(directory)]
    command += [str(reference_checkpoint)] if reference_checkpoint else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=300)
    return directory


@pytest.fixture(scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of one worker."""
    directory = tmp_path_factory.mktemp("alone")
    with cpu_runtime():
        from model.parallel import shut_down

        measure_layouts(directory, layouts_of(1))
        shut_down()
    return directory


def test_every_layout_computes_what_one_process_does(one_process: Path, two_processes: Path) -> None:
    losses, gradients = read_result(one_process, Layout(Topology()))
    assert losses[-1] != pytest.approx(losses[0], abs=1e-3)  # it learns: the updates are compared too
    assert sum(gradient.numel() for gradient in gradients.values()) == MODEL.parameters(VOCAB_SIZE)
    results = list(compare(one_process, two_processes, layouts_of(2), 2))
    assert {result.layout for result in results} == {
        "TP2 PP1", "TP2 PP1 sequence parallel", "TP1 PP2", "TP1 PP2 interleaved 2", "TP1 PP1",
        "TP1 PP1 distributed optimizer",
        *(f"{split} distributed optimizer overlapped" for split in (
            "TP2 PP1", "TP2 PP1 sequence parallel", "TP1 PP2", "TP1 PP2 interleaved 2", "TP1 PP1"
        )),
    }  # fmt: skip
    assert [result for result in results if not result.holds] == []


def test_a_wrong_gradient_would_be_seen(one_process: Path, tmp_path: Path) -> None:
    alone = Layout(Topology())
    shutil.copytree(one_process, tmp_path, dirs_exist_ok=True)
    (path,) = tmp_path.glob("*.safetensors")
    with safe_open(path, "pt") as parts:
        places, tensors = parts.metadata(), {key: parts.get_tensor(key) for key in parts.keys()}  # noqa: SIM118
    name = next(key for key in tensors if key.endswith("final_layernorm.weight"))
    tensors[name] *= 1.001
    save_file(tensors, path, metadata=places)
    (result,) = compare(one_process, tmp_path, [alone], 1)
    assert not result.holds
    assert result.worst == "decoder.final_layernorm.weight"
    assert result.gradient_difference == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.usefixtures("megatron_world")
@pytest.mark.parametrize("name", sorted(SAVED))
def test_a_checkpoint_of_two_processes_continues_in_one(two_processes: Path, name: str) -> None:
    layout = SAVED[name]
    alone = TinyTraining(MODEL, Topology(), distributed_optimizer=layout.distributed_optimizer)
    load_checkpoint(two_processes / name / f"step-{SAVED_AT:08d}", alone.chunks, alone.optimizer, alone.scheduler)
    wanted = read_result(two_processes, layout)[0][SAVED_AT:]
    assert alone.train(SAVED_AT, STEPS) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.usefixtures("megatron_world")
def test_a_checkpoint_in_fp16_continues_at_another_layout_with_its_loss_scale(two_processes: Path) -> None:
    wanted = json.loads((two_processes / "fp16.json").read_text("utf-8"))
    assert wanted["scale"] > 1
    alone = TinyTraining(MODEL, Topology(), distributed_optimizer=True, execution=Execution(precision="fp16"), seed=8)
    alone.seed = 7
    saved = two_processes / "fp16" / f"step-{STEPS:08d}"
    load_checkpoint(saved, alone.chunks, alone.optimizer, alone.scheduler)
    assert loss_scale(alone.optimizer) == wanted["scale"]
    losses = [alone.step(step, update=update_weights) for step in range(STEPS, 2 * STEPS)]
    assert losses == pytest.approx(wanted["losses"], abs=2e-3)


def test_each_rank_holds_the_parameters_that_describe_says(two_processes: Path) -> None:
    held = json.loads((two_processes / "parameters.json").read_text("utf-8"))
    for layout in layouts_of(2):
        stages = [rank if layout.topology.pipeline == 2 else 0 for rank in range(2)]
        counted = [parameters_of_stage(MODEL, VOCAB_SIZE, layout.topology, stage) for stage in stages]
        assert held[layout.name] == counted, layout.name


def test_two_tensor_parallel_processes_compute_the_reference(two_processes: Path, reference: Any) -> None:
    compared = 0
    for index, (described, case) in enumerate(reference.cases()):
        parts = [load_file(two_processes / f"case{index}.{rank}") for rank in range(2)]
        logits = torch.cat([part["logits"] for part in parts], dim=-1).double()
        torch.testing.assert_close(logits, case["logits_f64"], rtol=0, atol=1e-5)
        if "labels" in case:
            for part in parts:
                assert float(part["loss 0.0"]) == pytest.approx(described["loss"], abs=1e-5)
                assert float(part["loss 0.1"]) == pytest.approx(described["loss_label_smoothing_0.1"], abs=1e-5)
        wanted = hf_to_megatron(authors_to_hf(reference.gradients(index)), reference.model.num_attention_heads)
        for name in wanted.keys() & parts[0].keys():
            found = torch.cat([part[name] for part in parts])  # both are split by rows
            torch.testing.assert_close(found, wanted[name], rtol=1e-4, atol=1e-5)
            compared += 1
    assert compared == 4
