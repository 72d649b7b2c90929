"""Weak scaling: the same work for each process, on more processes; and the model of a step held against it.

    python -m benchmarks.train_weak_scaling [--steps 10] [--rows 4] [--gpus 64] [--mfu 0.5] [--slow-gbytes 40]

Each process is one core with one thread. Two runs of one process at the same time, which know nothing of each other,
give the model its arithmetic on cores that share memory bandwidth; an all-reduce of the gradients' size gives it the
link; from both it says what two processes take, which is then measured. The rows for a cluster use the same formulas
(model/scaling.py) with the figures given, which are assumptions, not measurements.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.record import write_record
from benchmarks.texts import make_shards
from mglm.estimate import padded_rows
from model.config import ModelConfig
from model.describe import flops_per_token
from model.execution import Execution
from model.scaling import Cluster, step_time
from model.topology import Topology
from tokenizer.encoding import Tokenizer
from train.config import PretrainConfig
from train.metrics import read_metrics

PAPER_VOCABULARY, PAPER_BATCH = 250_112, 2_560
H200_TFLOPS = 989.0
SHAPE = {"num_layers": 2, "hidden_size": 128, "num_attention_heads": 4}


def main() -> None:
    """Measures one and two processes, and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rows", type=int, default=4, help="of one process in a step [4]")
    parser.add_argument("--vocab-size", type=int, default=6_000, help="pieces [6000]")
    parser.add_argument("--gpus", type=int, default=64, help="of the cluster that is reckoned [64]")
    parser.add_argument("--mfu", type=float, default=0.5, help="of one of them, assumed [0.5]")
    parser.add_argument("--fast-gbytes", type=float, default=370.0, help="a second inside a machine, assumed [370]")
    parser.add_argument("--slow-gbytes", type=float, default=40.0, help="a second between machines, assumed [40]")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mglm-bench-") as folder:
        work = Path(folder)
        make_shards(work, arguments.vocab_size, 6_000)
        alone, beside, two = (_step_s(work, *runs, arguments) for runs in ((1, 1), (2, 1), (1, 2)))
        vocab_size = Tokenizer.load(work / "tokenizer").vocab_size
    model, execution = padded_rows(ModelConfig.model_validate(SHAPE), PretrainConfig()), Execution()
    link = _link_bytes_per_s(model.parameters(vocab_size) * 4)
    flops = arguments.rows * model.sequence_length * flops_per_token(model, vocab_size, execution) / beside
    host = Cluster(flops, link, link, devices_per_machine=2, hidden=0.0)
    reckoned = step_time(
        model, vocab_size, Topology(), 2, execution, host,
        micro_batch=arguments.rows, global_batch=2 * arguments.rows,
    )  # fmt: skip
    rows = [
        ["1 process, measured", f"{alone:.3f}", "1"],
        ["1 process beside another's run, measured", f"{beside:.3f}", f"{alone / beside:.2f}"],
        ["2 processes, measured", f"{two:.3f}", f"{alone / two:.2f}"],
        ["2 processes, by the model", f"{reckoned.seconds:.3f}", f"{alone / reckoned.seconds:.2f}"],
    ]
    rows += _cluster_rows(arguments)
    write_record(
        "train_weak_scaling",
        "Weak scaling of training",
        ["what", "seconds a step", "efficiency"],
        rows,
        remarks=[
            f"{arguments.rows} rows of {model.sequence_length} positions for each process, data parallel, fp32, one "
            "thread each; the median step of "
            f"{arguments.steps}. Efficiency: a step of one process ÷ a step of all.",
            f"The link between the two processes passes {link / 1e9:.2f} GB/s, measured with an all-reduce of the "
            "gradients. Cores share memory bandwidth: the model's arithmetic is that of a process beside another's.",
            f"`large`, reckoned: {arguments.mfu:.0%} of {H200_TFLOPS:.0f} TFLOP/s on each GPU, "
            f"{arguments.fast_gbytes:g} GB/s inside a machine of 8, {arguments.slow_gbytes:g} GB/s for each GPU "
            f"between machines, half of what can be hidden is; {PAPER_BATCH:,} rows of 576 a step. Efficiency is "
            "arithmetic's share of the step. No GPU has been measured.",
        ],
    )


def _cluster_rows(arguments: argparse.Namespace) -> list[list[str]]:
    """The paper's model on GPUs: data parallel, and split over tensor and pipeline, to see what each costs."""
    model, execution = padded_rows(ModelConfig(preset="large"), PretrainConfig()), Execution(precision="bf16")
    cluster = Cluster(
        H200_TFLOPS * 1e12 * arguments.mfu, arguments.fast_gbytes * 1e9, arguments.slow_gbytes * 1e9
    )  # fmt: skip
    rows = []
    for gpus, tensor, pipeline in ((8, 1, 1), (arguments.gpus, 1, 1), (arguments.gpus, 2, 1), (arguments.gpus, 1, 2)):
        data = gpus // (tensor * pipeline)
        made = step_time(
            model, PAPER_VOCABULARY, Topology(tensor=tensor, pipeline=pipeline), data, execution, cluster,
            micro_batch=20, global_batch=PAPER_BATCH,
        )  # fmt: skip
        name = f"{gpus} H200, TP {tensor} × PP {pipeline} × DP {data}, reckoned"
        rows.append([name, f"{made.seconds:.3f}", f"{made.efficiency:.2f}"])
    return rows


def _step_s(work: Path, runs: int, processes: int, arguments: argparse.Namespace) -> float:
    """The median step of `runs` runs of `mglm train pretrain` at the same time."""
    settings = {
        **{f"model.{name}": value for name, value in SHAPE.items()},
        "pretrain.steps": arguments.steps,
        "pretrain.global_batch_size": arguments.rows * processes,
        "pretrain.micro_batch_size": arguments.rows,
        "pretrain.tensorboard": "false",
    }
    command = [sys.executable, "-m", "mglm", "train", "pretrain", "--nproc", str(processes)]
    command += ["--shards", str(work / "shards"), "--plan", str(work / "plan.json")]
    command += [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    outputs = [work / f"run{runs}-{processes}-{number}" for number in range(runs)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen([*command, "--output", str(output)], env=environment, stderr=subprocess.DEVNULL)
        for output in outputs
    ]
    statuses = [process.wait() for process in started]
    assert not any(statuses), f"runs ended with {statuses}"
    return statistics.median(row["step_s"] for path in outputs for row in read_metrics(path / "metrics.jsonl")[2:])


def _link_bytes_per_s(size: int) -> float:
    """Bytes that each of two processes sends a second in an all-reduce of `size` bytes over gloo."""
    code = (
        "import json, sys, time, torch, torch.distributed as d\n"
        "d.init_process_group('gloo'); x = torch.ones(int(sys.argv[1]) // 4)\n"
        "d.all_reduce(x); t = []\n"
        "for _ in range(7):\n"
        "    s = time.perf_counter(); d.all_reduce(x); t.append(time.perf_counter() - s)\n"
        "print(json.dumps(t)) if d.get_rank() == 0 else None\n"
        "d.destroy_process_group()\n"
    )
    with tempfile.TemporaryDirectory(prefix="mglm-bench-") as folder:
        script = Path(folder) / "link.py"
        script.write_text(code)
        runner = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        done = subprocess.run(
            [*runner, "--master-port", str(20_000 + int(time.time()) % 10_000), str(script), str(size)],
            check=True, capture_output=True, text=True, env=environment,
        )  # fmt: skip
    return size / statistics.median(
        json.loads(done.stdout.strip().splitlines()[-1])
    )  # each sends (d − 1)/d of it twice


if __name__ == "__main__":
    main()
