import json
from pathlib import Path
from typing import Any

import pytest
import torch

from core.errors import MGLMError
from model.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from model.checkpoint_meta import checkpoint_hash, locate_checkpoint
from model.config import ModelConfig
from model.execution import Execution, Precision
from model.parallel import build_chunks
from model.parity import MODEL
from model.tiny_training import VOCAB_SIZE, WITH_DROPOUT, TinyTraining
from model.topology import Topology

pytestmark = pytest.mark.usefixtures("megatron_world")


@pytest.mark.parametrize(
    ("distributed_optimizer", "precision"), [(True, "fp32"), (False, "fp32"), (True, "bf16"), (False, "bf16")]
)
def test_a_resumed_run_equals_the_uninterrupted_one(
    tmp_path: Path, distributed_optimizer: bool, precision: Precision
) -> None:
    settings: Any = {"distributed_optimizer": distributed_optimizer, "execution": Execution(precision=precision)}
    whole = TinyTraining(WITH_DROPOUT, Topology(), **settings)
    whole.train(0, 3)
    save_checkpoint(tmp_path, whole.chunks, whole.optimizer, whole.scheduler, {**whole.meta(3), "cursor": [1, 2]})
    wanted = whole.train(3, 8)

    resumed = TinyTraining(WITH_DROPOUT, Topology(), **settings, seed=8)
    resumed.seed = whole.seed
    found = latest_checkpoint(tmp_path)
    assert found == tmp_path / "step-00000003"
    meta = load_checkpoint(found, resumed.chunks, resumed.optimizer, resumed.scheduler)
    assert (meta["step"], meta["cursor"]) == (3, [1, 2])
    assert resumed.train(3, 8) == pytest.approx(wanted, abs=1e-6)


def test_after_loading_no_two_parameters_share_a_step(tmp_path: Path) -> None:
    first = TinyTraining(MODEL, Topology(), distributed_optimizer=True)
    first.train(0, 2)
    saved = save_checkpoint(tmp_path, first.chunks, first.optimizer, first.scheduler, first.meta(2))
    second = TinyTraining(MODEL, Topology(), distributed_optimizer=True)
    load_checkpoint(saved, second.chunks, second.optimizer, second.scheduler)
    (part,) = second.optimizer.chained_optimizers
    steps = [state["step"] for state in part.optimizer.state.values()]
    assert {float(step) for step in steps} == {2.0}
    assert len({step.data_ptr() for step in steps}) == len(steps)


def test_biases_and_layernorms_are_not_decayed() -> None:
    training = TinyTraining(MODEL, Topology(), distributed_optimizer=False)
    for group in training.optimizer.param_groups:
        for parameter in group["params"]:
            assert group["wd_mult"] == (0.0 if parameter.dim() == 1 else 1.0)


def test_another_model_or_optimizer_is_refused_by_name(tmp_path: Path) -> None:
    training = TinyTraining(MODEL, Topology(), distributed_optimizer=True)
    saved = save_checkpoint(tmp_path, training.chunks, None, None, training.meta(1))
    wider = ModelConfig(**{**MODEL.model_dump(), "ffn_hidden_size": 64})
    with pytest.raises(MGLMError, match="ffn_hidden_size 128; expected ffn_hidden_size 64"):
        load_checkpoint(saved, build_chunks(wider, VOCAB_SIZE, Topology()))
    with pytest.raises(MGLMError, match="vocab_size 256; expected vocab_size 384"):
        load_checkpoint(saved, build_chunks(MODEL, 384, Topology()))
    with pytest.raises(MGLMError, match="no optimizer"):
        load_checkpoint(saved, training.chunks, training.optimizer)


def test_weights_alone_can_begin_another_run(tmp_path: Path) -> None:
    first = TinyTraining(MODEL, Topology(), distributed_optimizer=True)
    first.train(0, 2)
    saved = save_checkpoint(tmp_path, first.chunks, first.optimizer, first.scheduler, first.meta(2))
    second = TinyTraining(MODEL, Topology(), distributed_optimizer=False, seed=9)
    load_checkpoint(saved, second.chunks)
    second.optimizer.reload_model_params()
    for one, other in zip(first.chunks[0].parameters(), second.chunks[0].parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_is_incomplete_is_not_the_latest(tmp_path: Path) -> None:
    training = TinyTraining(MODEL, Topology(), distributed_optimizer=False)
    assert latest_checkpoint(tmp_path / "none") is None
    root = tmp_path / "checkpoints"
    for step in (2, 10):
        save_checkpoint(root, training.chunks, None, None, training.meta(step))
    (root / "step-00000099").mkdir()
    (root / ".step-00000100.partial").mkdir()
    assert latest_checkpoint(root) == root / "step-00000010"
    assert locate_checkpoint(tmp_path) == (root / "step-00000010", tmp_path / "tokenizer")
    assert locate_checkpoint(root / "step-00000002") == (root / "step-00000002", tmp_path / "tokenizer")
    save_checkpoint(root, training.chunks, None, None, {**training.meta(10), "again": True})
    assert json.loads((root / "step-00000010" / "meta.json").read_text("utf-8"))["again"]
    with pytest.raises(MGLMError, match="no complete checkpoint"):
        locate_checkpoint(root)


def test_other_weights_are_another_input_however_alike_the_rest(tmp_path: Path) -> None:
    step = tmp_path / "checkpoints" / "step-00000002"
    step.mkdir(parents=True)
    (step / "meta.json").write_text('{"schema": "checkpoint/1", "step": 2}', "utf-8")
    (step / "__0_0.distcp").write_bytes(b"weights")
    first = checkpoint_hash(step)
    assert checkpoint_hash(tmp_path) == first
    (step / "__0_0.distcp").write_bytes(b"WEIGHTS")
    assert checkpoint_hash(step) != first
