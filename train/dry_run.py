"""What a run will take and leave, before it starts: time, disk, memory, and how often its data will be repeated.

Everything that training itself would refuse has been refused by then: a `Job` is a checked run.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from core.errors import MGLMError
from core.stage import stage_state
from model.checkpoint_meta import CHECKPOINT
from model.describe import ADAM_BYTES, WEIGHT_BYTES, describe
from train.job import CHECKPOINTS, METRICS, Job, nothing_trained
from train.metrics import read_metrics

_METRICS_ROW_BYTES = 600  # of metrics.jsonl, with the rows of languages and events that belong to it
_REPEATED = 1.05  # epochs from which a language's data counts as repeated
_DAY_S = 86_400


@dataclass(frozen=True)
class DryRun:
    """What was asked: a rate, or a former run that has one, and the form of the answer."""

    tokens_per_s: float | None = None
    measured: Path | None = None
    as_json: bool = False

    def tell(self, prepare: Callable[[], Job], *, overwrite: bool) -> None:
        """Prints the forecast; under torchrun the first process does, for all."""
        if int(os.environ.get("RANK", "0")):
            return
        made = forecast(prepare(), overwrite=overwrite, tokens_per_s=self.tokens_per_s, measured=self.measured)
        print(json.dumps(made.as_dict(), ensure_ascii=False) if self.as_json else as_text(made))


@dataclass(frozen=True)
class Forecast:
    """Bytes are of files, or of one process; `tokens` counts positions without padding, as tokens per second do."""

    name: str
    state: str  # of the output: new, unfinished (continues), finished (nothing to do) or other
    parameters: int
    tensor: int
    pipeline: int
    data: int
    micro_batches: int  # of a process in a step
    steps: int
    steps_left: int
    tokens: int
    epochs: dict[str, float]
    memory_bytes_per_process: int
    row_length: int  # positions of the longest rows, which that memory is for
    checkpoint_bytes: int
    checkpoints_kept: int
    disk_bytes: int  # still to be written and kept at once
    disk_free_bytes: int
    flops_per_token: int
    tokens_per_s: float | None  # over all processes
    rate_source: str
    days: float | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def forecast(
    job: Job,
    *,
    overwrite: bool = False,
    tokens_per_s: float | None = None,
    measured: Path | None = None,
) -> Forecast:
    """Looks at the job and at the disk it writes to; starts nothing and writes nothing.

    The rate is the one given, or that of a former run (`measured`: its output or its metrics.jsonl), or else that of
    the output's own steps so far.

    Raises:
        MGLMError: the output is other work's, the disk has too little room, or `measured` holds no rate.
    """
    config = job.config
    state = stage_state(job.output, schema=CHECKPOINT, config=job.identity, inputs=job.inputs)
    if state == "other" and nothing_trained(job.output):
        state = "new"
    if state == "other" and not overwrite:
        raise MGLMError(
            f"output {job.output}",
            found="other files, or work of another configuration or input",
            expected="an empty directory or the same work",
            action="choose another --output, or pass --overwrite to replace it",
        )
    data = job.topology.data(job.world_size)
    described = describe(
        job.model.model_copy(update={"sequence_length": job.row_length}),
        job.tokenizer.vocab_size,
        job.topology,
        data,
        config.execution(),
        micro_batch=config.micro_batch_size,
        global_batch=config.global_batch_size,
    )
    memory = described.bytes_per_rank
    if job.make_development is not None:  # it answers with the whole model, when nothing of a step is held
        of_step = described.activation_bytes_per_rank + described.head_bytes_per_rank
        memory += max(0, described.parameters * WEIGHT_BYTES[config.precision] - of_step)
    if not config.distributed_optimizer:
        memory += described.optimizer_bytes_per_rank - described.optimizer_bytes_per_rank_distributed
    own = read_metrics(job.output / METRICS) if state == "unfinished" else []
    reached = max([job.first_step, *(int(row["step"]) for row in own)])
    left = 0 if state == "finished" else job.steps - reached
    kept = config.keep_checkpoints + 2  # the newest, the best, and the one being written
    checkpoint = checkpoint_bytes(described.parameters, config.precision, distributed=config.distributed_optimizer)
    there = sum(path.stat().st_size for path in (job.output / CHECKPOINTS).rglob("*") if path.is_file())
    disk = max(0, kept * checkpoint - there) + left * _METRICS_ROW_BYTES if left else 0
    free = _free_bytes(job.output)
    if disk > free:
        raise MGLMError(
            f"output {job.output}",
            found=f"{_size(free)} free",
            expected=f"{_size(disk)}: {kept} checkpoints of {_size(checkpoint)} and the metrics",
            action="make room, choose another --output or lower keep_checkpoints",
        )
    rate, source = _rate(tokens_per_s, measured, own)
    tokens_a_step = config.global_batch_size * job.row_tokens
    return Forecast(
        name=job.name,
        state=state,
        parameters=described.parameters,
        tensor=config.tensor_parallel,
        pipeline=config.pipeline_parallel,
        data=data,
        micro_batches=config.global_batch_size // (config.micro_batch_size * data),
        steps=job.steps,
        steps_left=left,
        tokens=job.steps * tokens_a_step,
        epochs=dict(sorted(job.epochs.items(), key=lambda item: (-item[1], item[0]))),
        memory_bytes_per_process=memory,
        row_length=job.row_length,
        checkpoint_bytes=checkpoint,
        checkpoints_kept=kept,
        disk_bytes=disk,
        disk_free_bytes=free,
        flops_per_token=described.flops_per_token,
        tokens_per_s=rate,
        rate_source=source,
        days=left * tokens_a_step / rate / _DAY_S if rate else None,
    )


def checkpoint_bytes(parameters: int, precision: str, *, distributed: bool) -> int:
    """Size of one checkpoint, but for kilobytes of metadata: the weights in their precision, and the optimiser's fp32
    weights (where it keeps any) and moments."""
    master = 4 if precision != "fp32" or distributed else 0
    return parameters * (WEIGHT_BYTES[precision] + master + ADAM_BYTES)


def as_text(forecast: Forecast) -> str:
    """For a terminal."""
    f = forecast
    state = {
        "new": "a new run",
        "unfinished": f"continues, {f.steps_left:,} steps left",
        "finished": "already trained to its end: nothing to do",
        "other": "other work there is replaced (--overwrite)",
    }[f.state]
    days = _duration(f.days) if f.days is not None else "unknown"
    rate = f"{f.tokens_per_s:,.0f} tokens/s ({f.rate_source})" if f.tokens_per_s else f.rate_source
    lines = [
        f"{f.name}: {state}",
        f"model        {f.parameters:,} parameters, {f.flops_per_token / 1e9:.2f} GFLOP a token",
        f"layout       tensor {f.tensor} × pipeline {f.pipeline} × data {f.data} = "
        f"{f.tensor * f.pipeline * f.data} processes, {f.micro_batches} micro-batches each a step",
        f"memory       {_size(f.memory_bytes_per_process)} in each process with rows of {f.row_length}, "
        "without the libraries' own",
        f"data         {f.steps:,} steps, {f.tokens:,} tokens",
        f"disk         {_size(f.disk_bytes)} of {_size(f.disk_free_bytes)} free: "
        f"{f.checkpoints_kept} checkpoints of {_size(f.checkpoint_bytes)}",
        f"time         {days} for {f.steps_left:,} steps at {rate}",
    ]
    if f.epochs:
        repeated = [lang for lang, epochs in f.epochs.items() if epochs > _REPEATED]
        most, times = next(iter(f.epochs.items()))
        lines.append(
            f"repetition   {len(repeated)} of {len(f.epochs)} languages are drawn more than once; most {most}, "
            f"{times:.2f} times"
        )
        cells = [f"{lang:>4} {epochs:9.3f}" for lang, epochs in f.epochs.items()]
        lines += ["  " + "   ".join(cells[start : start + 6]) for start in range(0, len(cells), 6)]
    return "\n".join(lines)


def _duration(days: float) -> str:
    return f"{days:.2f} days ({days * 24:.1f} h)" if days > 1 / 24 else f"{days * 24 * 60:.1f} minutes"


def _rate(given: float | None, measured: Path | None, own: list[dict[str, Any]]) -> tuple[float | None, str]:
    """Tokens per second over all processes, and where the figure is from."""
    if given is not None:
        return given, "given"
    if measured is not None:
        path = measured / METRICS if measured.is_dir() else measured
        rate = _measured_rate(read_metrics(path))
        if rate is None:
            raise MGLMError(
                f"--measured {measured}",
                found="no metrics of three steps or more" if path.exists() else "no such file",
                expected=f"a run's output, or its {METRICS}",
                action="give --tokens-per-second instead",
            )
        return rate, f"median of the steps in {path}"
    rate = _measured_rate(own)
    return rate, "median of its own steps so far" if rate else "no rate: give --tokens-per-second or --measured"


def _measured_rate(rows: list[dict[str, Any]]) -> float | None:
    """The median, so that the first steps, saves and evaluations do not count."""
    rates = [float(row["tokens_per_s"]) for row in rows if row.get("tokens_per_s")]
    return median(rates) if len(rates) >= 3 else None


def _free_bytes(output: Path) -> int:
    """Of the disk that `output` is or will be on.

    Raises:
        MGLMError: nobody may write there.
    """
    place = output.resolve()
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        raise MGLMError(f"output {output}", found=f"{place}, which may not be written to", expected="a place to write")
    return shutil.disk_usage(place).free


def _size(count: int) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count / 1e3:.1f} kB"
