"""How fast training samples are made: our sampler, reader and blank infilling against a loop in the authors' way.

    python -m benchmarks.train_data [--vocab-size 16000] [--rounds 5] [--steps 12]

The loop is a re-implementation of what the authors' code does to a sample, in plain Python: documents drawn and packed,
a test of every token for a sentence's end, spans drawn, context and targets put together in lists. Times are of this
process's CPU, so that one core is meant whatever else the machine does. Then a small model is trained on the CPU with
batches made when they are needed and made ahead, and the waits for data are read from its metrics.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import write_record
from benchmarks.texts import make_shards, source
from core.config import RunConfig
from core.plan import read_plan
from model.config import ModelConfig
from model.describe import flops_per_token
from model.execution import Execution
from tokenizer.encoding import Tokenizer
from tokenizer.sampler import Sampler
from tokenizer.shards import Shards
from train.batches import PretrainBatches, window_length
from train.blank_infilling import row_length
from train.config import BlankConfig, PretrainConfig
from train.metrics import read_metrics

ROWS, LENGTH = 40, 512  # of a step of one of 64 GPUs
H200_FLOPS, MFU = 989e12, 0.5
PAPER_VOCABULARY = 250_112


def main() -> None:
    """Measures and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab-size", type=int, default=16_000, help="pieces [16000]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12, help="of the training that waits are read from; 0: none [12]")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mglm-bench-") as folder:
        work = Path(folder)
        make_shards(work, arguments.vocab_size)
        rates = _rates(work, arguments.rounds)
        waits = _waits(work, arguments.steps) if arguments.steps else {}
    model = ModelConfig(preset="large")
    positions = H200_FLOPS * MFU / flops_per_token(model, PAPER_VOCABULARY, Execution(precision="bf16"))
    eaten = positions * LENGTH / row_length(LENGTH, BlankConfig())
    ours, loop = rates["ours"], rates["loop"]
    write_record(
        "train_data",
        "Making training samples",
        ["what", "thousand tokens a second and core", "ours ÷ this"],
        [
            ["ours: sampler, reader, blank infilling", f"{ours / 1e3:,.0f}", "1"],
            ["a Python loop in the authors' way", f"{loop / 1e3:,.0f}", f"{ours / loop:.1f}"],
            ["eaten by an H200 at 50 % MFU, `large`", f"{eaten / 1e3:,.0f}", f"{ours / eaten:.1f}"],
        ],
        remarks=[
            f"{source()}, {arguments.vocab_size:,} pieces, rows of {LENGTH} tokens, {ROWS} rows a step, CPU time, "
            f"medians of {arguments.rounds} rounds in turn.",
            f"The H200's appetite is reckoned: {H200_FLOPS / 1e12:.0f} TFLOP/s × {MFU} over the operations of a "
            "position (mglm model describe), the head on a quarter of them; rows are as long as samples with masks.",
            *(
                f"Waiting for data in a training on this CPU, {name}: {share:.2%} of the steps' time."
                for name, share in waits.items()
            ),
        ],
    )  # fmt: skip


def _rates(work: Path, rounds: int) -> dict[str, float]:
    """Tokens of text a second of CPU time."""
    shards = Shards.open(work / "shards")
    tokenizer, shares = Tokenizer.load(shards.tokenizer_directory), read_plan(work / "plan.json").shares()
    config = PretrainConfig(global_batch_size=ROWS, micro_batch_size=ROWS)
    sampler = Sampler(shards.stream_lengths(), shares, window_length(LENGTH, config), config.seed)
    batches = PretrainBatches(shards, sampler, tokenizer, config, LENGTH)
    loop = AuthorsLoop(shards, tokenizer, shares)
    ours_step, loop_step = iter(range(10**9)), iter(range(10**9))
    calls: dict[str, tuple[Callable[[], object], int]] = {
        "ours": (lambda: batches.batch(next(ours_step), 0, 1), 20),
        "loop": (lambda: loop.batch(next(loop_step)), 3),
    }
    found: dict[str, list[float]] = {name: [] for name in calls}
    for call, _ in calls.values():
        call()  # maps files, fills tables
    for _ in range(rounds):
        for name, (call, times) in calls.items():
            started = time.process_time()
            for _ in range(times):
                call()
            found[name].append(times * ROWS * LENGTH / (time.process_time() - started))
    return {name: statistics.median(rates) for name, rates in found.items()}


def _waits(work: Path, steps: int) -> dict[str, float]:
    """Share of a step's time that was spent waiting for its batch; the first step, which nothing precedes, left out."""
    from model.cpu import cpu_runtime
    from model.parallel import initialize, shut_down
    from train.loop import run
    from train.pretrain import prepare_pretrain

    found = {}
    for name, ahead in (("made when needed", 0), ("made ahead", 2)):
        overrides = [f"pretrain.steps={steps}", f"pretrain.prefetch={ahead}", "pretrain.global_batch_size=8"]
        overrides += ["pretrain.tensorboard=false", "model.num_layers=2", "model.hidden_size=64"]
        output = work / f"run{ahead}"
        output.mkdir()
        job = prepare_pretrain(RunConfig(None, overrides), work / "shards", work / "plan.json", output, 1)
        with cpu_runtime():
            initialize(job.topology, job.config.seed)
            run(job)
            shut_down()
        rows = read_metrics(output / "metrics.jsonl")[1:]
        found[name] = sum(row["data_s"] for row in rows) / sum(row["step_s"] for row in rows)
    return found


class AuthorsLoop:
    """Samples as the authors' code makes them, token by token: modes in their proportions, one for each batch."""

    def __init__(self, shards: Shards, tokenizer: Tokenizer, shares: dict[str, float]) -> None:
        self._shards, self._tokenizer = shards, tokenizer
        self._langs, self._weights = list(shares), list(shares.values())
        self._lengths, self._poisson = list(range(1, 40)), [3.0**k / _factorial(k) for k in range(1, 40)]
        self._piece_of = tokenizer._processor.id_to_piece  # asked for each token, as theirs is

    def batch(self, step: int) -> list[Any]:
        """One batch of arrays."""
        rng = random.Random(step)
        point = rng.random()
        make = self._token_blanks if point < 0.5 else self._sentence_blanks if point < 0.8 else self._generation
        samples = [make(self._packed(rng), rng) for _ in range(ROWS)]
        longest = max(len(sample[0]) for sample in samples)
        return [
            np.array([part + [0] * (longest - len(part)) for part in column]) for column in zip(*samples, strict=True)
        ]

    def _packed(self, rng: random.Random) -> list[int]:
        """Documents of one language: a long one from a random place, trimmed to sentences; short ones joined."""
        tokenizer, (lang,) = self._tokenizer, rng.choices(self._langs, self._weights)
        row: list[int] = []
        while len(row) < LENGTH - 2:
            document = self._shards.document(lang, rng.randrange(self._shards.documents(lang))).tolist()
            room = LENGTH - len(row) - 2
            if len(document) > room:
                start = rng.randrange(len(document) - room + 1)
                while start > 0 and not self._ends(document[start - 1]):
                    start -= 1
                document = document[start : start + room]
                while len(document) > room // 2 and not self._ends(document[-1]):
                    document.pop()
                row += [tokenizer.cls_id, *document]
                break
            row += [tokenizer.cls_id, *document, tokenizer.eos_id]
        return row

    def _ends(self, token: int) -> bool:
        piece = self._piece_of(token) if token < self._tokenizer.pieces else ""
        return any(mark in piece for mark in (".", "?", "!", ";", ":", "。", "？", "！", "；", "…", "\n"))

    def _token_blanks(self, row: list[int], rng: random.Random) -> tuple[list[int], ...]:
        lengths: list[int] = []
        while sum(lengths) < int(0.15 * len(row)):
            lengths += rng.choices(self._lengths, self._poisson)
        free = len(row) - 1 - sum(lengths) - len(lengths) + 1
        spans, offset = [], 1
        for place, length in zip(sorted(rng.randrange(free) for _ in lengths), lengths, strict=True):
            spans.append((offset + place, offset + place + length))
            offset += length + 1
        return self._laid_out(row, spans, self._tokenizer.mask_id, rng)

    def _sentence_blanks(self, row: list[int], rng: random.Random) -> tuple[list[int], ...]:
        sentences, last = [], 1
        for index, token in enumerate(row):
            if self._ends(token):
                if last < index + 1:
                    sentences.append((last, index + 1))
                last = index + 1
            elif token == self._tokenizer.eos_id:
                last = index + 1
        if last < len(row):
            sentences.append((last, len(row)))
        rng.shuffle(sentences)
        spans, blanked = [], 0
        for start, stop in sentences:
            spans.append((start, stop))
            blanked += stop - start
            if blanked >= int(0.15 * len(row)):
                break
        return self._laid_out(row, spans, self._tokenizer.smask_id, rng)

    def _generation(self, row: list[int], rng: random.Random) -> tuple[list[int], ...]:
        cut = len(row) - rng.randint(len(row) // 4, len(row) - 2)
        return self._laid_out(row, [(cut, len(row))], self._tokenizer.gmask_id, rng)

    def _laid_out(
        self, row: list[int], spans: list[tuple[int, int]], mask_id: int, rng: random.Random
    ) -> tuple[list[int], ...]:
        """Inputs, targets, loss mask and both positions, token by token."""
        inside = {}
        for start, stop in spans:
            for index in range(start, stop):
                inside[index] = start
        inputs, targets, scored, first, second, place = [], [], [], [], [], {}
        for index, token in enumerate(row):
            start = inside.get(index, -1)
            if start >= 0 and index != start:
                continue
            if start >= 0:
                place[start] = len(inputs)
            first.append(len(inputs))
            inputs.append(mask_id if start >= 0 else token)
            targets.append(token)
            scored.append(0)
            second.append(0)
        rng.shuffle(spans)
        for start, stop in spans:
            inputs.append(self._tokenizer.sop_id)
            for number, index in enumerate(range(start, stop), start=1):
                inputs.append(row[index])
                targets.append(row[index])
                scored.append(1)
                first.append(place[start])
                second.append(number)
            targets.append(self._tokenizer.eop_id)
            scored.append(1)
            first.append(place[start])
            second.append(stop - start + 1)
        return inputs, targets, scored, first, second


def _factorial(number: int) -> float:
    return float(np.prod(np.arange(1, number + 1, dtype=np.float64)))


if __name__ == "__main__":
    main()
