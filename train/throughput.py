"""Tokens per second, model FLOP/s utilisation and the time left.

MFU = floating-point operations of the model, as `model.describe.step_flops` counts them, over what the devices could do
at their peak in that time. Peaks are those of dense half precision in the makers' data sheets.
"""

import re
from collections import deque

import torch

from model.describe import step_flops
from train.job import Job

# By words of torch's name of the device, the more particular first; TFLOP/s.
PEAK_TFLOPS = {
    "GB200": 2500.0, "B200": 2250.0, "GH200": 989.0, "H200": 989.0, "H100 PCIe": 756.0, "H100 NVL": 835.0,
    "H100": 989.0, "H800": 989.0, "H20": 148.0, "A100": 312.0, "A800": 312.0, "A40": 149.7, "A30": 165.0,
    "A10": 125.0, "L40S": 362.0, "L40": 181.0, "L4": 121.0, "V100": 125.0, "T4": 65.0,
}  # fmt: skip
_RECENT_STEPS = 20


def peak_tflops(job: Job, device_name: str) -> float | None:
    """Of one device, in the job's precision: as configured, else that of a known GPU; None where nobody knows."""
    if job.config.peak_tflops is not None or job.config.precision == "fp32":
        return job.config.peak_tflops
    return next((peak for name, peak in PEAK_TFLOPS.items() if re.search(rf"\b{name}\b", device_name)), None)


class Throughput:
    """Of the steps of one process's clock."""

    def __init__(self, job: Job) -> None:
        name = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
        self._job, self._peak, self._seconds = job, peak_tflops(job, name), deque[float](maxlen=_RECENT_STEPS)

    @property
    def peak(self) -> float | None:
        return self._peak

    def mfu(self, seconds: float, length: float, targets: int) -> float | None:
        """Of one step of `seconds`, its rows of `length` positions."""
        if self._peak is None:
            return None
        job = self._job
        done = step_flops(job.model, job.tokenizer.vocab_size, job.config.global_batch_size, length, targets)
        return done / (seconds * job.world_size * self._peak * 1e12)

    def time_left(self, seconds: float, steps: int) -> str:
        """What `steps` more steps take at the pace of the last ones, for people."""
        self._seconds.append(seconds)
        left_s = steps * sum(self._seconds) / len(self._seconds)
        for unit, size in (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
            if left_s >= size:
                return f"{left_s / size:.1f} {unit} left"
        return f"{left_s:.0f} s left"
