import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

from model.cross_entropy import vocab_parallel_cross_entropy


@pytest.mark.usefixtures("megatron_world")
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_losses_and_gradients_are_those_of_torch(smoothing: float) -> None:
    logits = (10 * torch.randn(7, 40, dtype=torch.float64)).requires_grad_()
    labels, weights = torch.randint(0, 40, (7,)), torch.rand(7, dtype=torch.float64)
    kept = logits.detach().clone()
    losses = vocab_parallel_cross_entropy(logits, labels, smoothing, dist.group.WORLD)
    wanted = F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
    torch.testing.assert_close(losses, wanted, rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad((losses * weights).sum(), logits)
    (wanted_gradient,) = torch.autograd.grad((wanted * weights).sum(), logits)
    torch.testing.assert_close(gradient, wanted_gradient, rtol=0, atol=1e-12)
    assert torch.equal(logits, kept)


@pytest.mark.usefixtures("megatron_world")
def test_no_positions_give_no_losses_and_half_precision_is_widened() -> None:
    empty = torch.zeros(0, 8, requires_grad=True)
    losses = vocab_parallel_cross_entropy(empty, torch.zeros(0, dtype=torch.long), 0.1, dist.group.WORLD)
    losses.sum().backward()
    assert losses.shape == (0,)
    assert empty.grad is not None
    half = torch.randn(3, 8, dtype=torch.bfloat16)
    losses = vocab_parallel_cross_entropy(half, torch.arange(3), 0.0, dist.group.WORLD)
    torch.testing.assert_close(losses, F.cross_entropy(half.float(), torch.arange(3), reduction="none"))
