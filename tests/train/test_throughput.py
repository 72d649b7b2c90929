"""MFU against a stated peak, and the time left."""

from types import SimpleNamespace
from typing import Any

import pytest

from model.config import ModelConfig
from model.describe import step_flops
from train.config import PretrainConfig
from train.throughput import Throughput, peak_tflops

LARGE = ModelConfig.model_validate({"preset": "large"})


def job(**settings: Any) -> Any:
    tokenizer = SimpleNamespace(vocab_size=250_112)
    return SimpleNamespace(
        config=PretrainConfig.model_validate(settings), model=LARGE, tokenizer=tokenizer, world_size=8
    )


@pytest.mark.parametrize(
    ("name", "settings", "peak"),
    [
        ("NVIDIA H200", {"precision": "bf16"}, 989.0),
        ("NVIDIA H100 PCIe", {"precision": "fp16"}, 756.0),
        ("NVIDIA A100-SXM4-80GB", {"precision": "bf16"}, 312.0),
        ("NVIDIA H200", {"precision": "fp32"}, None),
        ("NVIDIA L40S", {"precision": "bf16"}, 362.0),
        ("NVIDIA RTX A4000", {"precision": "bf16"}, None),  # no A40
        ("A card to come", {"precision": "bf16"}, None),
        ("CPU", {}, None),
        ("CPU", {"peak_tflops": 0.5}, 0.5),
    ],
)
def test_the_peak_is_that_of_a_known_gpu_unless_it_is_configured(
    name: str, settings: dict[str, Any], peak: float | None
) -> None:
    assert peak_tflops(job(**settings), name) == peak


def test_flops_are_six_a_weight_for_each_position_and_the_head_s_for_targets_alone() -> None:
    rows, length, targets = 20, 576, 2_000
    weights = 24 * 12 * 1536 * 1536
    attention = 24 * 2 * 2 * length * 1536 * 3  # scores and values, forward once and backward twice
    wanted = rows * length * (6 * weights + attention) + 6 * targets * 250_112 * 1536
    assert step_flops(LARGE, 250_112, rows, length, targets) == wanted


def test_mfu_is_the_work_done_over_what_all_processes_could_do() -> None:
    throughput = Throughput(job(peak_tflops=100.0, global_batch_size=20))
    work = step_flops(LARGE, 250_112, 20, 576, 2_000)
    assert throughput.mfu(0.5, 576, 2_000) == pytest.approx(work / (0.5 * 8 * 100e12))
    assert Throughput(job()).mfu(0.5, 576, 2_000) is None


def test_the_time_left_follows_the_recent_steps() -> None:
    throughput = Throughput(job())
    assert throughput.time_left(2.0, 10) == "20 s left"
    assert throughput.time_left(4.0, 100) == "5.0 min left"
    assert throughput.time_left(3.0, 60_000) == "2.1 d left"
