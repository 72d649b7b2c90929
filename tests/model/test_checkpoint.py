import json
import math
import os
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import torch.distributed as dist

from core import manifest
from core.errors import MGLMError
from core.manifest import describe_files, hash_of, sha256_file
from model import checkpoint, parallel
from model.checkpoint import CheckpointSave, latest_checkpoint, load_checkpoint, save_checkpoint
from model.checkpoint_meta import checkpoint_hash, damage, locate_checkpoint
from model.config import ModelConfig
from model.execution import Execution, Precision
from model.optimizer import Update, loss_scale, update_weights
from model.parallel import build_chunks, unwrap
from model.parity import MODEL
from model.tiny_training import VOCAB_SIZE, TinyTraining
from model.topology import Topology
from tests.small_disk import files_no_larger_than

pytestmark = pytest.mark.usefixtures("megatron_world")

WITH_DROPOUT = MODEL.model_copy(update={"hidden_dropout": 0.1, "attention_dropout": 0.1})


def final_norm(training: TinyTraining) -> torch.Tensor:
    weight: torch.Tensor = unwrap(training.chunks[0]).decoder.final_layernorm.weight
    return weight.detach()


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


def test_an_input_is_told_by_the_sums_it_was_written_with_and_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = TinyTraining(MODEL, Topology(), distributed_optimizer=False)
    step = save_checkpoint(tmp_path / "checkpoints", training.chunks, None, None, training.meta(2))
    of_bytes = hash_of([entry.model_dump() for entry in describe_files(step, {})])
    read: list[str] = []
    monkeypatch.setattr(manifest, "sha256_file", lambda path: read.append(path.name) or sha256_file(path))
    assert checkpoint_hash(step) == of_bytes
    assert read == ["meta.json"]
    with (step / "common.pt").open("ab") as file:
        file.write(b"more")  # of another size than was written
    assert checkpoint_hash(step) == hash_of([entry.model_dump() for entry in describe_files(step, {})]) != of_bytes


def test_training_goes_on_while_a_checkpoint_is_written_by_this_process_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = TinyTraining(MODEL, Topology(), distributed_optimizer=True)
    training.train(0, 2)
    wanted = final_norm(training).clone()
    may_write = threading.Event()
    write = checkpoint._write_bucket

    def write_later(writer: Any, bucket: Any) -> Any:
        may_write.wait()
        return write(writer, bucket)

    monkeypatch.setattr(checkpoint, "_write_bucket", write_later)
    others = {child.pid for child in psutil.Process().children(recursive=True)}  # such as an earlier test's Java
    kept = {"sums": [1.0]}
    meta = {**training.meta(2), "kept": kept}
    save = CheckpointSave(tmp_path, training.chunks, training.optimizer, training.scheduler, meta)
    kept["sums"].append(2.0)
    assert not save.written
    after = training.train(2, 4)
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= others
    assert latest_checkpoint(tmp_path) is None
    # It is waited for by short exchanges: a single long one would end a run on GPUs.
    looks: list[float] = []
    exchange = dist.all_reduce

    def noted(told: torch.Tensor, *more: Any, **most: Any) -> Any:
        done = exchange(told, *more, **most)
        looks.append(float(told.sum()))
        return done

    monkeypatch.setattr(checkpoint, "_LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(dist, "all_reduce", noted)
    threading.Timer(0.5, may_write.set).start()
    saved = save.finish()
    monkeypatch.setattr(dist, "all_reduce", exchange)
    assert looks.count(1.0) > 3
    assert looks[-1] == 0.0
    assert damage(saved) == ""

    resumed = TinyTraining(MODEL, Topology(), distributed_optimizer=True, seed=8)
    resumed.seed = training.seed
    loaded = load_checkpoint(saved, resumed.chunks, resumed.optimizer, resumed.scheduler)
    assert loaded["kept"] == {"sums": [1.0]}
    assert torch.equal(final_norm(resumed), wanted)
    assert resumed.train(2, 4) == pytest.approx(after, abs=1e-6)


def test_a_save_that_cannot_write_says_so_and_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    training = TinyTraining(MODEL, Topology(), distributed_optimizer=True)
    root = tmp_path / "checkpoints"
    good = save_checkpoint(root, training.chunks, training.optimizer, training.scheduler, training.meta(1))
    largest = max(path.stat().st_size for path in good.iterdir())
    with (
        files_no_larger_than(largest // 2),
        pytest.raises(MGLMError, match="step-00000002; found .*File too large"),
    ):
        save_checkpoint(root, training.chunks, training.optimizer, training.scheduler, training.meta(2))
    assert [path.name for path in root.iterdir()] == [good.name]
    assert damage(good) == ""
    (root / "in the way").write_text("")
    with pytest.raises(MGLMError, match="Not a directory"):
        save_checkpoint(root / "in the way", training.chunks, None, None, training.meta(3))


def test_files_cut_short_are_named_before_anything_is_loaded(tmp_path: Path) -> None:
    training = TinyTraining(MODEL, Topology(), distributed_optimizer=False)
    saved = save_checkpoint(tmp_path, training.chunks, None, None, training.meta(1))
    weights = saved / "__0_0.distcp"
    size = weights.stat().st_size
    os.truncate(weights, size - 1)
    with pytest.raises(MGLMError, match=f"found {size - 1} of {size} bytes of __0_0.distcp"):
        load_checkpoint(saved, training.chunks)


@pytest.mark.parametrize("distributed_optimizer", [True, False])
def test_fp16_finds_its_loss_scale_skips_what_overflows_and_resumes_with_both(
    tmp_path: Path, distributed_optimizer: bool
) -> None:
    def begin(seed: int) -> TinyTraining:
        training = TinyTraining(
            MODEL,
            Topology(),
            distributed_optimizer=distributed_optimizer,
            seed=seed,
            execution=Execution(precision="fp16"),
        )
        training.seed = 7
        return training

    def train(training: TinyTraining, steps: range) -> list[tuple[float, float, bool]]:
        """Loss, the scale it was computed with, whether the weights were updated."""
        found = []
        for step in steps:
            updates: list[Update] = []
            scale = loss_scale(training.optimizer)
            loss = training.step(step, update=lambda optimizer, into=updates: into.append(update_weights(optimizer)))
            found.append((loss, scale, updates[0].done))
        return found

    whole = begin(7)
    for part in whole.optimizer.chained_optimizers:
        part.grad_scaler._scale *= 2.0**6  # overflows at once
    before = final_norm(whole).clone()
    first = train(whole, range(1))
    assert not first[0][2]
    assert torch.equal(final_norm(whole), before)
    not_updated = save_checkpoint(tmp_path, whole.chunks, whole.optimizer, whole.scheduler, whole.meta(1))
    scaled_down = train(whole, range(1, 20))
    assert loss_scale(whole.optimizer) < first[0][1]
    saved = save_checkpoint(tmp_path, whole.chunks, whole.optimizer, whole.scheduler, whole.meta(20))
    wanted = train(whole, range(20, 23))
    assert all(done for _, _, done in wanted)

    first_updates = scaled_down[:12]
    assert any(done for _, _, done in first_updates)
    for directory, steps, expected in ((saved, range(20, 23), wanted), (not_updated, range(1, 13), first_updates)):
        resumed = begin(8)
        load_checkpoint(directory, resumed.chunks, resumed.optimizer, resumed.scheduler)
        found = train(resumed, steps)
        assert [loss for loss, _, _ in found] == pytest.approx([loss for loss, _, _ in expected], abs=1e-6)
        assert [scale for _, scale, _ in found] == [scale for _, scale, _ in expected]


def test_gradients_that_are_not_finite_leave_weights_and_moments_alone() -> None:
    training = TinyTraining(MODEL, Topology(), distributed_optimizer=True)
    training.train(0, 1)
    before = [weight.detach().clone() for weight in training.chunks[0].parameters()]
    (part,) = training.optimizer.chained_optimizers
    moments = [state["exp_avg"].clone() for state in part.optimizer.state.values()]

    def poison() -> None:
        next(training.chunks[0].parameters()).main_grad[0] = torch.nan

    updates: list[Update] = []
    training.step(1, poison, lambda optimizer: updates.append(update_weights(optimizer)))
    assert not updates[0].done
    assert math.isnan(updates[0].gradient_norm)
    for weight, former in zip(training.chunks[0].parameters(), before, strict=True):
        assert torch.equal(weight, former)
    for state, former in zip(part.optimizer.state.values(), moments, strict=True):
        assert torch.equal(state["exp_avg"], former)


def test_the_state_of_a_buffer_with_padding_between_its_buckets_is_saved_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tied embedding has a bucket of its own under pipeline parallelism; here in one process."""
    initialise = parallel.initialise

    def with_a_bucket_of_its_own(stage: Any, *given: Any) -> None:
        initialise(stage, *given)
        stage.embedding.word_embeddings.weight.shared_embedding = True

    monkeypatch.setattr(parallel, "initialise", with_a_bucket_of_its_own)
    odd = ModelConfig(**{**MODEL.model_dump(), "num_layers": 1, "max_positions": 35, "ffn_hidden_size": 144})
    whole = TinyTraining(odd, Topology(), distributed_optimizer=True)
    (buffer,) = whole.chunks[0].buffers
    assert len(buffer.buckets) > 1
    assert buffer.bucket_indices[1][0] != buffer.buckets[0].numel_unpadded  # padded
    whole.train(0, 4)
    saved = save_checkpoint(tmp_path, whole.chunks, whole.optimizer, whole.scheduler, whole.meta(4))
    wanted = whole.train(4, 8)
    resumed = TinyTraining(odd, Topology(), distributed_optimizer=True, seed=8)
    resumed.seed = whole.seed
    load_checkpoint(saved, resumed.chunks, resumed.optimizer, resumed.scheduler)
    assert resumed.train(4, 8) == pytest.approx(wanted, abs=1e-6)
