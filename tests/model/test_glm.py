from typing import Any

import pytest
import torch

from core.errors import MGLMError
from model.config import ModelConfig
from model.execution import Execution
from model.parallel import build_chunks, build_stages, seed_step, unwrap
from model.tiny_training import micro_batches_of
from model.topology import Topology
from model.weights import authors_to_hf, hf_to_megatron, megatron_to_hf

SMALL = ModelConfig(num_layers=2, hidden_size=32, num_attention_heads=2, sequence_length=16, max_positions=33)


def stage_of(reference: Any) -> Any:
    (stage,) = build_stages(reference.model, reference.vocab_size, Topology())
    weights = hf_to_megatron(authors_to_hf(reference.weights), reference.model.num_attention_heads)
    stage.load_state_dict({**stage.state_dict(), **weights})
    return stage


def inputs(case: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    return case["input_ids"], case["position_ids"], case["sep"]


@pytest.mark.usefixtures("megatron_world")
def test_logits_are_those_of_the_authors_model(reference: Any) -> None:
    stage = stage_of(reference).eval()
    with torch.no_grad():
        for _, case in reference.cases():
            torch.testing.assert_close(stage(*inputs(case)).double(), case["logits_f64"], rtol=0, atol=1e-5)


@pytest.mark.usefixtures("megatron_world")
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_losses_plain_and_smoothed_are_those_of_the_authors(reference: Any, smoothing: float) -> None:
    stage = stage_of(reference).eval()
    checked = 0
    for described, case in reference.cases():
        if "labels" not in case:
            continue
        losses_N = stage(*inputs(case), labels_BS=case["labels"], label_smoothing=smoothing)
        assert losses_N.shape == ((case["labels"] != -100).sum(),)
        wanted = described["loss_label_smoothing_0.1" if smoothing else "loss"]
        assert float(losses_N.detach().mean()) == pytest.approx(wanted, abs=1e-5)
        checked += 1
    assert checked == 8


@pytest.mark.usefixtures("megatron_world")
def test_gradients_are_those_of_the_authors(reference: Any) -> None:
    stage = stage_of(reference)
    for index, (_, case) in enumerate(reference.cases()):
        wanted = reference.gradients(index)
        if not wanted:
            continue
        stage.zero_grad()
        stage(*inputs(case), labels_BS=case["labels"]).mean().backward()
        found = megatron_to_hf(
            {name: p.grad for name, p in stage.named_parameters()}, reference.model.num_attention_heads
        )
        for name, gradient in authors_to_hf(wanted).items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("megatron_world")
def test_the_model_has_the_parameters_its_config_counts() -> None:
    (stage,) = build_stages(SMALL, 256, Topology())
    assert sum(weight.numel() for weight in stage.parameters()) == SMALL.parameters(256)


@pytest.mark.usefixtures("megatron_world")
def test_losses_come_in_row_major_order_of_the_labelled_positions() -> None:
    stage = unwrap(build_chunks(SMALL, 256, Topology())[0]).eval()
    ids = torch.randint(0, 256, (2, 12))
    positions = torch.arange(12).expand(2, 2, 12)
    labels = torch.where(torch.rand(2, 12) < 0.5, ids, -100)
    context = torch.tensor([5, 8])
    losses_N = stage(ids, positions, context, labels)
    log_probabilities = stage(ids, positions, context).log_softmax(-1)
    rows, columns = torch.nonzero(labels != -100, as_tuple=True)
    torch.testing.assert_close(losses_N, -log_probabilities[rows, columns, labels[rows, columns]])


@pytest.mark.usefixtures("megatron_world")
def test_segments_that_share_a_row_are_as_if_alone() -> None:
    stage = unwrap(build_chunks(SMALL, 256, Topology())[0]).eval()
    ids, positions = torch.randint(0, 256, (1, 10)), torch.arange(10).expand(1, 2, 10)
    segments = torch.tensor([[0] * 6 + [1] * 4])
    together = stage(ids, positions, torch.tensor([10]), segment_ids_BS=segments)
    alone = stage(ids[:, :6], positions[:, :, :6], torch.tensor([6]))
    torch.testing.assert_close(together[:, :6], alone, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("megatron_world")
def test_initial_weights_follow_the_seed_and_the_paper() -> None:
    wide = SMALL.model_copy(update={"hidden_size": 128, "ffn_hidden_size": 512})

    def drawn(seed: int) -> dict[str, torch.Tensor]:
        stage = unwrap(build_chunks(wide, 512, Topology(), seed=seed)[0])
        return {name: weight.detach() for name, weight in stage.named_parameters()}

    weights, again, other = drawn(5), drawn(5), drawn(6)
    seen = set()
    for name, weight in weights.items():
        assert torch.equal(weight, again[name])
        if weight.dim() == 1:
            assert bool((weight == (1.0 if name.endswith("layernorm.weight") else 0.0)).all())
            continue
        assert not torch.equal(weight, other[name])
        is_output = "linear_proj" in name or "linear_fc2" in name
        assert float(weight.std()) == pytest.approx(0.02 / (2 if is_output else 1), rel=0.05)  # √(2 · 2 layers) = 2
        seen.add(round(float(weight.flatten()[0]), 9))
    assert len(seen) == sum(weight.dim() == 2 for weight in weights.values())  # no two matrices alike


@pytest.mark.usefixtures("megatron_world")
def test_dropout_depends_on_the_step_alone() -> None:
    stage = unwrap(build_chunks(SMALL, 256, Topology())[0]).train()
    ids, positions, context = torch.randint(0, 256, (1, 10)), torch.arange(10).expand(1, 2, 10), torch.tensor([6])

    def logits_at(step: int) -> torch.Tensor:
        seed_step(1, step)
        return stage(ids, positions, context)

    first, second = logits_at(3), logits_at(4)
    assert torch.equal(logits_at(3), first)
    assert not torch.equal(first, second)


@pytest.mark.usefixtures("megatron_world")
@pytest.mark.parametrize(
    "execution", [Execution(head_chunk=3), Execution(recompute="full")], ids=["head in chunks", "recompute"]
)
def test_saving_memory_changes_no_gradient(execution: Execution) -> None:
    plain = SMALL.model_copy(update={"hidden_dropout": 0.0, "attention_dropout": 0.0})
    gradients = []
    for way in (Execution(), execution):
        (chunk,) = build_chunks(plain, 256, Topology(), execution=way)  # held: its hooks fill main_grad
        rows = micro_batches_of(0)[0]
        chunk.train()(**rows, label_smoothing=0.1).sum().backward()
        gradients.append({name: parameter.main_grad.clone() for name, parameter in unwrap(chunk).named_parameters()})
    for name, wanted in gradients[0].items():
        assert bool(wanted.any()), name
        torch.testing.assert_close(gradients[1][name], wanted, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.usefixtures("megatron_world")
@pytest.mark.skipif(torch.cuda.is_available(), reason="flex attention runs on this machine")
def test_flex_attention_is_refused_without_a_gpu() -> None:
    with pytest.raises(MGLMError, match="attention flex; found no GPU"):
        build_stages(SMALL.model_copy(update={"attention_dropout": 0.0}), 256, Topology(), Execution(attention="flex"))
