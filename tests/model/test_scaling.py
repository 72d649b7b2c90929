"""The model of a step does what its formulas say, and tends where it must."""

from dataclasses import replace

import pytest

from model.config import ModelConfig
from model.describe import flops_per_token
from model.execution import Execution
from model.scaling import Cluster, StepTime, step_time
from model.topology import Topology

LENGTH = 576  # of rows that are made of 512 tokens
LARGE, BF16 = ModelConfig(preset="large", sequence_length=LENGTH), Execution(precision="bf16")
CLUSTER = Cluster(flops=500e12, fast_bytes_per_s=400e9, slow_bytes_per_s=40e9)


def of(data: int, cluster: Cluster = CLUSTER, topology: Topology | None = None, batch: int = 2_560) -> StepTime:
    return step_time(
        LARGE, 250_112, topology or Topology(), data, BF16, cluster, micro_batch=20, global_batch=batch
    )  # fmt: skip


def test_one_device_does_nothing_but_arithmetic() -> None:
    alone = of(1)
    operations = 2_560 * LENGTH * flops_per_token(LARGE, 250_112, BF16)
    assert alone.seconds == alone.compute_s == pytest.approx(operations / 500e12)
    assert alone.efficiency == 1
    assert alone.tokens_per_s == pytest.approx(2_560 * LENGTH / alone.seconds)


def test_positions_that_blanks_and_padding_add_are_computed_too() -> None:
    tokens = step_time(
        ModelConfig(preset="large"), 250_112, Topology(), 1, BF16, CLUSTER, micro_batch=20, global_batch=2_560
    )
    assert of(1).seconds / tokens.seconds > LENGTH / 512  # attention grows faster


def test_devices_that_slow_each_other_down_are_told_by_what_they_do_together() -> None:
    crowded = replace(CLUSTER, flops=0.8 * CLUSTER.flops)
    assert of(8, crowded).compute_s == pytest.approx(of(8).compute_s / 0.8)
    assert of(8, crowded).data_s == of(8).data_s


def test_arithmetic_is_shared_out_and_communication_is_not() -> None:
    eight, many = of(8), of(64)
    assert many.compute_s == pytest.approx(eight.compute_s / 8)
    assert many.data_s > 8 * eight.data_s  # another link, and a larger part of the whole is sent
    assert many.efficiency < eight.efficiency
    assert of(64, replace(CLUSTER, hidden=0.0)).data_s > many.data_s > of(64, replace(CLUSTER, hidden=1.0)).data_s > 0


def test_links_without_end_leave_the_idle_pipeline_alone() -> None:
    endless = replace(CLUSTER, fast_bytes_per_s=1e30, slow_bytes_per_s=1e30)
    split = of(16, endless, Topology(pipeline=2))
    assert split.bubble_s == pytest.approx(split.compute_s / 8)  # (2 − 1) / (2560 / (20 · 16)) micro-batches
    assert split.seconds == pytest.approx(split.compute_s + split.bubble_s)
    interleaved = of(16, endless, Topology(pipeline=2, virtual_pipeline=2))
    assert interleaved.bubble_s == pytest.approx(split.bubble_s / 2)


def test_tensor_parallelism_stays_on_the_fast_link() -> None:
    slower = replace(CLUSTER, slow_bytes_per_s=1e9)
    assert of(32, slower, Topology(tensor=2)).tensor_s == of(32, CLUSTER, Topology(tensor=2)).tensor_s > 0
