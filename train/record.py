"""What the first process writes down of a run: a row for each step, events, samples, boards, the line of progress."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.log import get_logger
from core.manifest import git_revision
from core.progress import ProgressReporter
from train.boards import Boards
from train.development import tell_development
from train.finetune_batches import BLANKS
from train.job import METRICS, SAMPLES, Job
from train.metrics import EventLog, MetricsLog
from train.signals import signal_name
from train.throughput import Throughput

if TYPE_CHECKING:
    from train.loop import StepResult

SEVERAL = "several"  # rows made of several languages


class Record:
    """The record of one run from the step it goes on at."""

    def __init__(self, job: Job, step: int, restored: Mapping[str, Any], events: EventLog) -> None:
        self._job, self._events = job, events
        self._names = [*job.languages, SEVERAL]
        self._sums: dict[str, list[float]] = {lang: list(pair) for lang, pair in restored.get("nats", {}).items()}
        self._metrics, self._samples = MetricsLog(job.output / METRICS, step), MetricsLog(job.output / SAMPLES, step)
        self._throughput, self._boards = Throughput(job), Boards(job, step)
        self._events.tell(
            "start",
            step,
            processes=job.world_size,
            redone_steps=self._metrics.dropped,
            git_revision=git_revision(),
            **{**job.config.whereabouts(), "peak_tflops": self._throughput.peak},
        )

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: sums of losses that no row tells yet."""
        return {"nats": self._sums}

    def step(
        self,
        step: int,
        result: "StepResult",
        seconds: float,
        data_s: float,
        save_s: float,
        reporter: ProgressReporter,
    ) -> None:
        """Writes the row of a step. `data_s` of its `seconds` was waiting for data; `save_s` was waited for checkpoints
        since the row before."""
        job, throughput = self._job, self._throughput
        tokens_per_s = result.tokens / seconds
        mfu = throughput.mfu(seconds, result.length, result.targets)
        self._add(result)
        row: dict[str, Any] = {
            "step": step,
            "samples": job.samples(step),
            "loss": _number(result.loss, 8),
            "learning_rate": result.learning_rate,
            "grad_norm": _number(result.gradient_norm, 6),
            "targets": result.targets,
            "tokens": result.tokens,
            "padding": round(1 - result.tokens / (result.length * job.config.global_batch_size), 4),
            "step_s": round(seconds, 4),
            "data_s": round(data_s, 4),
            "save_s": round(save_s, 4),
            "tokens_per_s": round(tokens_per_s, 1),
        }
        if mfu is not None:
            row["mfu"] = round(mfu, 4)
        row |= self._by_kind(result)
        if job.config.precision == "fp16":
            row["loss_scale"] = result.loss_scale
        if result.skipped:
            row["skipped"] = result.skipped
        if step % job.config.language_interval == 0 or step == job.steps:
            row["loss_of"] = {lang: round(nats / number, 5) for lang, (nats, number) in sorted(self._sums.items())}
            self._sums = {}
        self._metrics.append(row)
        self._boards.show(step, row)
        if result.skipped:
            self._tell_skipped(step, result)
        note = f"loss {result.loss:.3f}  {tokens_per_s:,.0f} tokens/s"
        note += f"  MFU {mfu:.1%}" if mfu is not None else ""
        reporter.advance(1, f"{note}  {throughput.time_left(seconds, job.steps - step)}")

    def evaluation(
        self, step: int, scores: Mapping[str, Any], blanks: Sequence[Mapping[str, str]], seconds: float
    ) -> None:
        """Writes what held-out text cost, and the blanks filled in."""
        self._events.tell("evaluation", step, seconds=round(seconds, 3), **scores)
        self._boards.show(step, {"heldout": scores})
        for blank in blanks:
            self._samples.append({"step": step, **blank})
        text = "\n\n".join(f"{blank['text']}  →  {blank['written']}" for blank in blanks)
        self._boards.show_text(step, "blanks", text)
        get_logger("train").info(
            "step %d: %.4f bits per byte held out, %.4f as the mean of %d languages",
            step, scores["bits_per_byte"], scores["macro"], len(scores["languages"]),
        )  # fmt: skip

    def development(self, step: int, scores: Mapping[str, Any]) -> None:
        """Writes what the answers to the development examples were worth."""
        tell_development(self._events, step, scores)
        named = {name: value for name, value in scores.items() if isinstance(value, float)}
        self._boards.show(step, {"development": named})

    def close(self, step: int, stopped_by: int) -> None:
        self._events.tell(
            "stop" if stopped_by else "end", step, **({"signal": signal_name(stopped_by)} if stopped_by else {})
        )
        for each in (self._boards, self._metrics, self._samples, self._events):
            each.close()

    def _add(self, result: "StepResult") -> None:
        for lang, nats, number in zip(self._names, result.nats_L, result.targets_L, strict=True):
            if number and not result.skipped:
                sums = self._sums.setdefault(lang, [0.0, 0.0])
                sums[0] += nats
                sums[1] += number

    def _by_kind(self, result: "StepResult") -> dict[str, float | None]:
        """The losses of examples and of blank infilling, where both are trained on."""
        if not any(name.startswith(BLANKS) for name in self._names):
            return {}
        sums = list(zip(self._names, result.nats_L, result.targets_L, strict=True))
        found: dict[str, float | None] = {}
        for kind, wanted in (("loss_tuning", False), ("loss_blanks", True)):
            of_kind = [(nats, number) for name, nats, number in sums if name.startswith(BLANKS) == wanted]
            nats, number = (sum(column) for column in zip(*of_kind, strict=True))
            found[kind] = _number(nats / number, 8) if number else None
        return found

    def _tell_skipped(self, step: int, result: "StepResult") -> None:
        self._events.tell("skipped", step, reason=result.skipped)
        get_logger("train").warning("step %d skipped: %s", step, result.skipped)


def _number(value: float, digits: int) -> float | None:
    """None for what JSON has no number for."""
    return round(value, digits) if abs(value) < float("inf") else None
