import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

from model.head import head_losses

pytestmark = pytest.mark.usefixtures("megatron_world")


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_losses_and_gradients_are_those_of_torch(smoothing: float, chunk: int) -> None:
    hidden = torch.randn(7, 12, dtype=torch.float64, requires_grad=True)
    weight = (3 * torch.randn(40, 12, dtype=torch.float64)).requires_grad_()
    labels, weights = torch.randint(0, 40, (7,)), torch.rand(7, dtype=torch.float64)
    losses = head_losses(hidden, weight, labels, smoothing, dist.group.WORLD, chunk)
    wanted = F.cross_entropy(hidden @ weight.T, labels, label_smoothing=smoothing, reduction="none")
    torch.testing.assert_close(losses, wanted, rtol=0, atol=1e-12)
    found = torch.autograd.grad((losses * weights).sum(), (hidden, weight))
    expected = torch.autograd.grad((wanted * weights).sum(), (hidden, weight))
    for gradient, wanted_gradient in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, wanted_gradient, rtol=0, atol=1e-12)


def test_no_positions_give_no_losses_and_no_gradient() -> None:
    hidden, weight = torch.zeros(0, 8, requires_grad=True), torch.randn(16, 8, requires_grad=True)
    losses = head_losses(hidden, weight, torch.zeros(0, dtype=torch.long), 0.1, dist.group.WORLD, 4)
    losses.sum().backward()
    assert losses.shape == (0,)
    assert weight.grad is not None
    assert not weight.grad.any()


def test_half_precision_is_widened_and_its_gradients_do_not_suffer_from_chunks() -> None:
    hidden = torch.randn(64, 8, dtype=torch.bfloat16, requires_grad=True)
    weight = torch.randn(32, 8, dtype=torch.bfloat16, requires_grad=True)
    labels = torch.randint(0, 32, (64,))
    losses = head_losses(hidden, weight, labels, 0.0, dist.group.WORLD, 8)
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses, F.cross_entropy((hidden @ weight.T).float(), labels, reduction="none"))
    gradients = [
        torch.autograd.grad(head_losses(hidden, weight, labels, 0.0, dist.group.WORLD, chunk).sum(), weight)[0]
        for chunk in (1, 64)
    ]
    torch.testing.assert_close(*gradients, rtol=0.02, atol=0.02)
