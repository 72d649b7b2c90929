"""Does two-stage balancing do what the paper says? The same small GLM under several plans, tokenizers and objectives.

    python -m benchmarks.evidence [--work DIR] [--only plans mc4 tokenizers objectives targets] [--seeds 3]

Documents in 101 languages are split by their hash into those trained on and those measured on before anything else is
done. Then models are trained that differ in one thing alone: the plan that says how often each language is drawn, the
tokenizer that was trained on a plan's sample, or the blanks that are cut. All have the same shape, the same steps, the
same number of tokens (those of `targets`: as many tokens to write); a seed sets the weights a model begins with and
what it draws. Measured are bits per byte of the held-out documents, language by language; and, where the blanks differ,
of what stood in each kind of blank.

Plans are made of these documents' own sizes, which are far more even than the web's; and, where the mT5 paper's table
is there (--mc4), of mC4's: English then comes 60,000 times as often as Yoruba, unless a plan says otherwise.

A run that was finished is not made again, one that was killed goes on: start the same command again. With the defaults
`--only plans mc4 tokenizers` takes about an hour and a half on two cores, all of it two and a half. The outcome is
docs/evidence.md with its figures, and a record among the others.
"""

import argparse
import csv
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from balancing import fit_plan
from balancing.config import BalancingConfig, Strategy
from balancing.sample import make_sample
from benchmarks import evidence_report, texts
from benchmarks.evidence_blanks import filled
from core.languages import canonical_code
from core.log import get_logger, set_up_logging
from core.manifest import read_manifest
from core.schemas import DOCUMENTS, SHARDS
from core.spark import SparkConfig, spark_session
from tokenizer.config import TokenizerConfig
from tokenizer.shard_job import shard
from tokenizer.train import train_tokenizer
from train.job import EVENTS
from train.metrics import read_metrics

PLANS: tuple[Strategy, ...] = ("raw", "alpha", "two-stage", "unimax")
SHARED = "two-stage"  # the plan whose sample the tokenizer is trained on where tokenizers are not what differs
HELDOUT_SHARE = 0.08
SAMPLE_BYTES = 12_000_000
BYTES_PER_TOKEN = 4.0  # for UniMax, which must know how much there is before there is a tokenizer
WINDOW = 128
MC4 = texts.POOL.parents[1] / "language_tables" / "mc4.csv"
PAPER_TOKENS = 600_000 * 2560 * 512  # what UniMax shares out at mC4's size
OBJECTIVES = {
    "token blanks alone": (1.0, 0.0, 0.0),
    "sentence blanks alone": (0.0, 1.0, 0.0),
    "generation alone": (0.0, 0.0, 1.0),
}
AUTHORS_ENDS = "the authors' sentence ends"
# Steps after which a variant has had as many targets as all three parts in 1.0, from the counts in metrics.jsonl.
AS_MANY_TARGETS = {
    "token blanks alone": 1.263,
    "sentence blanks alone": 1.770,
    "generation alone": 0.4513,
    AUTHORS_ENDS: 0.7193,
}

log = get_logger("evidence")


@dataclass(frozen=True)
class Run:
    """A model to be trained: what differs between models, and nothing else."""

    experiment: str
    variant: str
    seed: int
    tokenizer: str = SHARED
    plan: str = SHARED
    overrides: tuple[str, ...] = ()
    length: float = 1.0  # in the steps of the others

    @property
    def name(self) -> str:
        """Of its directory: runs of two experiments that are the same are made once."""
        objective = self.variant.replace(" ", "-").replace("'", "") if self.overrides else "all"
        objective += "-as-many-targets" if self.length != 1.0 else ""
        return f"{self.tokenizer}_{self.plan}_{objective}_{self.seed}"


def main() -> None:
    """Makes what is missing, and writes the report of all that is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/evidence"), help="where all is kept [runs/evidence]")
    experiments = ["plans", "mc4", "tokenizers", "objectives", "targets"]
    parser.add_argument("--only", nargs="+", choices=experiments, default=experiments)
    parser.add_argument("--mc4", type=Path, default=MC4, help="CSV with code, kind, pages_M and tokens_B of mC4")
    parser.add_argument("--seeds", type=int, default=3, help="of plans; of the others one less [3]")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=16, help=f"rows of {WINDOW} tokens in a step [16]")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--vocab-size", type=int, default=12_000)
    parser.add_argument("--heldout-documents", type=int, default=4, help="of each language, that are measured on [4]")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--report", action="store_true", help="train nothing: report the seeds that are finished")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="runs at once, a core each")
    arguments = parser.parse_args()
    set_up_logging()
    arguments.work.mkdir(parents=True, exist_ok=True)
    if "mc4" in arguments.only and not arguments.mc4.exists():
        log.warning("%s is not there: no plans at mC4's proportions", arguments.mc4)
        arguments.only.remove("mc4")
    runs = plan_runs(arguments.only, arguments.seeds)
    if arguments.report:
        runs = whole_seeds(arguments.work, runs)
    else:
        prepare(arguments.work, sorted({run.tokenizer for run in runs}), arguments)
        train_all(arguments.work, runs, arguments)
    sizes = {
        code: count["bytes"] for code, count in read_manifest(arguments.work / "documents", DOCUMENTS).counts.items()
    }
    scores = {run: scores_of(arguments.work, run) for run in runs}
    of_blanks = [run for run in runs if run.experiment in ("objectives", "targets")]
    alone = {"mp_context": multiprocessing.get_context("spawn"), "initializer": torch.set_num_threads, "initargs": (1,)}
    with ProcessPoolExecutor(arguments.processes, **alone) as pool:
        found = pool.map(filled, [arguments.work / "runs" / run.name for run in of_blanks])
        blanks = dict(zip(of_blanks, found, strict=True))
    pages = mc4_counts(arguments.mc4, "pages_M", set(sizes)) if "mc4" in arguments.only else {}
    made = described(arguments) | {"trained_at": revisions(arguments.work, runs)}
    evidence_report.write(scores, blanks, sizes, pages, made)


def plan_runs(experiments: Sequence[str], seeds: int) -> list[Run]:
    """Every run of the experiments, a seed's before the next one's: whoever stops early has whole seeds."""
    runs = []
    fewer = max(1, seeds - 1)
    if "plans" in experiments:
        runs += [Run("plans", plan, seed, plan=plan) for seed in range(seeds) for plan in PLANS]
    if "mc4" in experiments:
        runs += [Run("mc4", plan, seed, plan=f"mc4-{plan}") for seed in range(seeds) for plan in PLANS]
    if "tokenizers" in experiments:
        runs += [Run("tokenizers", plan, seed, tokenizer=plan, plan=plan) for seed in range(fewer) for plan in PLANS]
    names = ("token_blanks", "sentence_blanks", "generation")
    settings = {
        variant: tuple(f"pretrain.blanks.{name}={share}" for name, share in zip(names, shares, strict=True))
        for variant, shares in OBJECTIVES.items()
    } | {AUTHORS_ENDS: ("pretrain.blanks.sentence_ends=authors",)}
    lengths = {"objectives": dict.fromkeys(settings, 1.0), "targets": AS_MANY_TARGETS}
    for experiment in sorted(lengths.keys() & experiments):
        for seed in range(fewer):
            runs.append(Run(experiment, "all three", seed))
            for variant, overrides in settings.items():
                length = lengths[experiment][variant]
                runs.append(Run(experiment, variant, seed, overrides=overrides, length=length))
    return sorted(runs, key=lambda run: run.seed)


def prepare(work: Path, tokenizers: Sequence[str], arguments: argparse.Namespace) -> None:
    """Documents, plans, and for each plan's tokenizer the shards; what is there stays."""
    texts.make_documents(work / "documents", None, heldout_share=HELDOUT_SHARE)
    counts = {code: count["bytes"] for code, count in read_manifest(work / "documents", DOCUMENTS).counts.items()}
    tokens = {code: n_bytes / BYTES_PER_TOKEN for code, n_bytes in counts.items()}
    write_plans(work, "", counts, "bytes", arguments.steps * arguments.batch * WINDOW, tokens)
    if "mc4" in arguments.only:
        pages, billions = (mc4_counts(arguments.mc4, column, set(counts)) for column in ("pages_M", "tokens_B"))
        tokens = {code: 1e9 * number for code, number in billions.items()}
        write_plans(work, "mc4-", pages, "million pages", PAPER_TOKENS, tokens)
    spark = SparkConfig()
    with spark_session("evidence", spark):
        for name in tokenizers:
            plan_path, sample = work / f"{name}.json", work / "samples" / name
            config = BalancingConfig(sample_bytes=SAMPLE_BYTES)
            make_sample(work / "documents", plan_path, sample, config=config, spark=spark)
            made = TokenizerConfig(vocab_size=arguments.vocab_size, num_threads=arguments.processes)
            train_tokenizer(sample, work / "tokenizers" / name, made)
            every = work / "raw.json"  # every language, whatever its share
            shard(
                work / "documents", every, work / "tokenizers" / name, work / "shards" / name, TokenizerConfig(), spark
            )


def write_plans(
    work: Path, prefix: str, counts: dict[str, float], unit: str, budget: float, tokens: dict[str, float]
) -> None:
    """A plan of each strategy from these counts; UniMax shares out the budget among these tokens, an epoch at most."""
    for strategy in PLANS:
        of_unimax: dict[str, Any] = {}
        if strategy == "unimax":
            of_unimax = {"budget_tokens": budget, "available_tokens": tokens, "available_source": "estimated"}
        plan = fit_plan(counts, strategy=strategy, sequence_tokens=WINDOW, count_unit=unit, **of_unimax)
        (work / f"{prefix}{strategy}.json").write_text(plan.to_json(), encoding="utf-8")


def mc4_counts(path: Path, column: str, languages: set[str]) -> dict[str, float]:
    """A column of the mT5 paper's table for these languages, without its rows of text in Latin letters."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "language"]
    found = {canonical_code(row["code"]): float(row[column]) for row in rows}
    return {code: found[code] for code in sorted(languages & found.keys())}


def train_all(work: Path, runs: Sequence[Run], arguments: argparse.Namespace) -> None:
    """Trains those that are not finished, so many at once, each on a core of its own."""
    missing = list({run.name: run for run in runs if not is_finished(work, run)}.values())
    log.info("%d of %d models are to be trained", len(missing), len({run.name for run in runs}))
    with ThreadPoolExecutor(arguments.processes) as pool:
        for run in pool.map(lambda run: train(work, run, arguments), missing):
            log.info("%s", run.name)


def train(work: Path, run: Run, arguments: argparse.Namespace) -> Run:
    """Trains one model by the project's own command."""
    steps = round(run.length * arguments.steps)
    settings = {
        "model.num_layers": arguments.layers,
        "model.hidden_size": arguments.hidden,
        "model.num_attention_heads": max(1, arguments.hidden // 32),
        "model.sequence_length": WINDOW,
        "model.hidden_dropout": 0.0,
        "model.attention_dropout": 0.0,
        "pretrain.steps": steps,
        "pretrain.global_batch_size": arguments.batch,
        "pretrain.micro_batch_size": arguments.batch,
        "pretrain.learning_rate": 2e-3,
        "pretrain.warmup_steps": steps // 20,
        "pretrain.seed": 1 + run.seed,
        "pretrain.precision": arguments.precision,
        "pretrain.eval_interval": steps,
        "pretrain.save_interval": steps,
        "pretrain.heldout_documents": arguments.heldout_documents,
        "pretrain.sample_prompts": 0,
        "pretrain.tensorboard": "false",
    }
    overrides = [f"{name}={value}" for name, value in settings.items()] + list(run.overrides)
    command = [sys.executable, "-m", "mglm", "train", "pretrain", "--nproc", "1"]
    command += ["--shards", str(work / "shards" / run.tokenizer), "--plan", str(work / f"{run.plan}.json")]
    command += ["--heldout", str(work / "documents"), "--output", str(work / "runs" / run.name)]
    for override in overrides:
        command += ["--set", override]
    one_core = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=one_core, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"error: {run.name} ended with status {done.returncode}\n{done.stderr[-3_000:]}")
    return run


def is_finished(work: Path, run: Run) -> bool:
    return (work / "runs" / run.name / "manifest.json").exists()


def whole_seeds(work: Path, runs: Sequence[Run]) -> list[Run]:
    """Runs of those seeds of which an experiment's every run is finished."""
    missing = {(run.experiment, run.seed) for run in runs if not is_finished(work, run)}
    return [run for run in runs if (run.experiment, run.seed) not in missing]


def scores_of(work: Path, run: Run) -> dict[str, float]:
    """Held-out bits per byte of each language, at the end of a run."""
    rows = read_metrics(work / "runs" / run.name / EVENTS)
    return dict([row for row in rows if row["event"] == "evaluation"][-1]["languages"])


def revisions(work: Path, runs: Sequence[Run]) -> list[str]:
    """The git revisions that the models were trained at, which may be older than the report."""
    rows = [row for run in runs for row in read_metrics(work / "runs" / run.name / EVENTS)]
    return sorted({str(row["git_revision"])[:7] for row in rows if row["event"] == "start"})


def described(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the report says of how it was made."""
    shards = read_manifest(arguments.work / "shards" / SHARED, SHARDS)
    names = ("steps", "batch", "layers", "hidden", "vocab_size", "heldout_documents", "precision")
    return {name: getattr(arguments, name) for name in names} | {
        "window": WINDOW,
        "heldout_share": HELDOUT_SHARE,
        "source": texts.source(),
        "tokens": {code: count["tokens"] for code, count in shards.counts.items()},
        "mc4_plans": {
            name: json.loads((arguments.work / f"mc4-{name}.json").read_text("utf-8"))
            for name in PLANS
            if "mc4" in arguments.only
        },
    }


if __name__ == "__main__":
    main()
