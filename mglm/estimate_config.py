"""The [estimate] section: how large the crawl is, what it runs on, what that costs."""

from typing import Self

from pydantic import Field, model_validator

from core.config import Section

# Dense bf16 tensor-core TFLOP/s, memory in GB, NVLink in GB/s one way: NVIDIA's data sheets.
GPUS = {
    "a100-40gb": (312.0, 40.0, 300.0),
    "a100-80gb": (312.0, 80.0, 300.0),
    "h100": (989.0, 80.0, 450.0),
    "h200": (989.0, 141.0, 450.0),
}


class EstimateConfig(Section):
    """What `mglm estimate` reckons with. Defaults are the paper's run: 25 TB on 64 A100 of 80 GB. Prices are the
    user's; without them no euros."""

    crawl_tb: float = Field(default=25.0, gt=0)
    """Size of the crawl in 10^12 bytes, uncompressed, as the build reads them."""
    spark_cores: int = Field(default=512, ge=1)
    """Cores that Spark runs on."""
    gpus: int = Field(default=64, ge=1)
    """GPUs that pretraining runs on."""
    gpus_per_node: int = Field(default=8, ge=1)
    """Of them, those in one machine."""
    gpu: str = "a100-80gb"
    """a100-40gb, a100-80gb, h100 or h200; another by any name, with the next three fields."""
    gpu_tflops: float | None = Field(default=None, gt=0)
    """Dense bf16 TFLOP/s of a GPU. Unset: as the data sheet of a known one says."""
    gpu_memory_gb: float | None = Field(default=None, gt=0)
    """Memory of a GPU in 10^9 bytes. Unset: as the data sheet of a known one says."""
    nvlink_gb_s: float | None = Field(default=None, gt=0)
    """GB/s between GPUs of a node, one way. Unset: as the data sheet of a known one says."""
    network_gb_s: float = Field(default=25.0, gt=0)
    """GB/s of each GPU to other nodes, one way; 25 is 200 Gbit/s."""
    mfu_low: float | None = Field(default=None, gt=0, le=1)
    """Least share of a GPU's peak that training uses, of a measured run, where you have one. Unset: as
    mglm/coefficients.toml says."""
    mfu_high: float | None = Field(default=None, gt=0, le=1)
    """Most of it; both or none. Unset: as mglm/coefficients.toml says."""
    eur_per_core_hour: float | None = Field(default=None, ge=0)
    """Euros for an hour of a core. Unset: it costs nothing."""
    eur_per_gpu_hour: float | None = Field(default=None, ge=0)
    """Euros for an hour of a GPU. Unset: it costs nothing."""
    eur_per_tb_month: float | None = Field(default=None, ge=0)
    """Euros for storing 10^12 bytes for a month. Unset: it costs nothing."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.gpu not in GPUS and None in (self.gpu_tflops, self.gpu_memory_gb, self.nvlink_gb_s):
            known = ", ".join(GPUS)
            raise ValueError(f"gpu {self.gpu!r} is none of {known}: set gpu_tflops, gpu_memory_gb and nvlink_gb_s")
        if (self.mfu_low is None) != (self.mfu_high is None):
            raise ValueError("mfu_low and mfu_high go together")
        if self.mfu_low is not None and self.mfu_high is not None and self.mfu_low > self.mfu_high:
            raise ValueError(f"mfu_low {self.mfu_low} is above mfu_high {self.mfu_high}")
        return self

    @property
    def peak_flops(self) -> float:
        """Operations a second of one GPU in bf16."""
        return (self.gpu_tflops or GPUS[self.gpu][0]) * 1e12

    @property
    def memory_bytes(self) -> float:
        return (self.gpu_memory_gb or GPUS[self.gpu][1]) * 1e9

    @property
    def nvlink_bytes_s(self) -> float:
        return (self.nvlink_gb_s or GPUS[self.gpu][2]) * 1e9
