"""Fitting a plan against the bare arithmetic: NumPy's least squares, one power, one division, on the same counts.

`fit_plan` checks its input, ranks, fits with standard errors, names who moves, and makes a row for each language: what
that costs, and that it stays a matter of milliseconds, is the question. Run: `python -m benchmarks.balancing_fit`.
"""

import argparse
import logging
import statistics
import time
from collections.abc import Callable

import numpy as np
import scipy

from balancing.fit import fit_plan
from benchmarks.record import write_record

ALPHA = 0.3


def counts_of(languages: int, seed: int = 0) -> dict[str, float]:
    """Counts that fall as an exponential does, with noise: e⁷ between the ends, and ties as in page counts."""
    noise = np.random.default_rng(seed).normal(0, 0.4, languages)
    logs = 20 - 7 * np.arange(languages) / languages + noise
    return {f"x{index:05d}": float(count) for index, count in enumerate(np.ceil(np.exp(logs)))}


def bare(counts: dict[str, float]) -> np.ndarray:
    """Shares of both stages and nothing else."""
    values = np.sort(np.fromiter(counts.values(), float))[::-1]
    ranks = np.arange(1, len(values) + 1)
    design = np.stack([ranks, np.ones(len(values))], axis=1)
    slope, intercept = np.linalg.lstsq(design, np.log(values), rcond=None)[0]
    weights = np.exp(ALPHA * (intercept + slope * ranks))
    return weights / weights.sum()


def calls(counts: dict[str, float]) -> dict[str, Callable[[], object]]:
    tokens = {code: 1000 * count for code, count in counts.items()}
    budget = 2 * sum(tokens.values())
    limited = {"budget_tokens": budget, "available_tokens": tokens, "max_epochs": 4.0}
    named: dict[str, Callable[[], object]] = {
        "NumPy, both stages and nothing else": lambda: bare(counts),
        "two-stage": lambda: fit_plan(counts),
        "two-stage, at most 4 epochs": lambda: fit_plan(counts, **limited),
        "unimax, 4 epochs": lambda: fit_plan(counts, strategy="unimax", **limited),
    }
    if len(counts) <= 4000:
        named["two-stage, Theil–Sen"] = lambda: fit_plan(counts, regression="theil-sen")
    return named


def milliseconds(call: Callable[[], object]) -> float:
    """Of this process alone: these calls are short, and other processes would decide the wall clock."""
    started = time.process_time()
    call()
    return 1000 * (time.process_time() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--languages", type=int, nargs="+", default=[101, 10_000])
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    logging.getLogger("mglm").setLevel(logging.ERROR)  # the notes of each plan, a hundred times over
    rows = []
    for languages in arguments.languages:
        counts = counts_of(languages)
        named = calls(counts)
        shares = np.array(list(fit_plan(counts).shares().values()))
        np.testing.assert_allclose(shares, bare(counts), rtol=1e-9)  # the same work, before it is timed
        took: dict[str, list[float]] = {name: [] for name in named}
        for _ in range(arguments.rounds):
            for name, call in named.items():
                took[name].append(milliseconds(call))
        base = took["NumPy, both stages and nothing else"]
        for name, times in took.items():
            ratio = statistics.median(time / other for time, other in zip(times, base, strict=True))
            rows.append([f"{languages:,} languages: {name}", f"{statistics.median(times):.2f}", f"{ratio:.1f}"])
    write_record(
        "balancing_fit",
        "Fitting a plan",
        ["", "CPU ms, median", "times NumPy"],
        rows,
        remarks=[
            f"In turn, {arguments.rounds} rounds, ratios pair by pair. The shares are compared first: equal to 1e-9.",
            "`fit_plan` checks the counts, gives standard errors, residuals and notes, and makes a row per language.",
        ],
        versions={"numpy": np.__version__, "scipy": scipy.__version__},
    )


if __name__ == "__main__":
    main()
