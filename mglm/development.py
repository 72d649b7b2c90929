"""The development metric that fine-tuning keeps its best checkpoint by: eval's answers and scorers, handed to train."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.errors import MGLMError
from core.examples import EXAMPLES, Example, ExampleFile
from core.manifest import hash_of, read_manifest

if TYPE_CHECKING:
    from model.peer import Peer
    from model.summarizer import Summarizer
    from train.development import DevelopmentRequest

BATCH_SIZE = 8
_BEST_BY = {"rouge": "rougeL", "squad": "f1", "mlqa": "f1", "accuracy": "accuracy"}


class TaskDevelopment:
    """Development examples of a task, answered as `mglm eval predict` would and scored by its scorer."""

    def __init__(
        self, examples: Sequence[Example], task: Mapping[str, Any], decoding: Mapping[str, Any], best_by: str | None
    ) -> None:
        """
        Raises:
            MGLMError: `best_by` is no measure of the task's scorer.
        """
        from eval.scorers import scorer_of

        name = task.get("scorer", "rouge")
        self._examples, self._decoding = examples, decoding
        self._steps: Sequence[str] = task.get("postprocess", ())
        self._scorer = scorer_of(name)
        self._best_by = best_by or _BEST_BY[name]
        if self._best_by not in self._scorer.measures:
            expected = f"one of {', '.join(self._scorer.measures)}, by which the task is scored"
            raise MGLMError("finetune.best_by", found=self._best_by, expected=expected)

    @property
    def identity(self) -> str:
        dumped = [example.model_dump() for example in self._examples]
        return hash_of({"examples": dumped, "decoding": dict(self._decoding), "best_by": self._best_by})

    @property
    def examples(self) -> int:
        return len(self._examples)

    def answers(self, model: "Summarizer | Peer", numbers: Sequence[int]) -> list[str]:
        """Batches of like length; the answers in the order of `numbers`."""
        from eval.answers import postprocessed
        from eval.writer import model_writer

        write = model_writer(model, self._decoding, BATCH_SIZE)
        found: dict[int, str] = {}
        ordered = sorted(numbers, key=lambda number: sum(len(part.value) for part in self._examples[number].source))
        for start in range(0, len(ordered), BATCH_SIZE):
            batch = ordered[start : start + BATCH_SIZE]
            for number, written in zip(batch, write([self._examples[number] for number in batch]), strict=True):
                found[number] = postprocessed(written.text, self._steps)
        return [found[number] for number in numbers]

    def scores(self, answers: Sequence[str]) -> dict[str, Any]:
        """Every measure as the mean over pairs of languages, each weighing the same; `score` is the one that counts."""
        pairs: dict[tuple[str, str], list[int]] = defaultdict(list)
        for number, example in enumerate(self._examples):
            pairs[example.lang, example.target_lang].append(number)
        means = []
        for (_, target_lang), numbers in pairs.items():
            accepted = [self._examples[number].references or [self._examples[number].target] for number in numbers]
            means.append(self._scorer.each(accepted, [answers[number] for number in numbers], target_lang).mean(0))
        measures = self._scorer.scale * sum(means) / len(means)
        named = {name: round(float(value), 6) for name, value in zip(self._scorer.measures, measures, strict=True)}
        empty = sum(not answer.strip() for answer in answers)
        return {
            "score": named[self._best_by],
            "best_by": self._best_by,
            **named,
            "examples": len(answers),
            "empty": empty,
        }


def find_development(request: "DevelopmentRequest") -> TaskDevelopment | None:
    """The development examples that were prepared beside those to train on; None where there are none.

    Raises:
        MGLMError: what could not be measured: lengths the model has no positions for, an unknown measure.
    """
    from eval.config import EvalConfig
    from eval.lengths import check_positions, in_passages_refused
    from eval.predict import select
    from train.development import DEV_FILE

    path = request.examples / DEV_FILE
    if not request.config.development_examples or not path.exists():
        return None
    examples = select(ExampleFile(path, request.task), None, request.config.development_examples)
    if not examples:
        return None
    task: dict[str, Any] = read_manifest(request.examples, EXAMPLES).facts.get("task", {})
    decoding = request.run_config.section("eval", EvalConfig).decoding(task.get("decoding"))
    # Beyond what it is tuned on, a model has never seen a position.
    decoding["max_source_tokens"] = min(decoding["max_source_tokens"] or 2**31, request.config.source_length)
    decoding["max_new_tokens"] = min(decoding["max_new_tokens"], request.config.target_length)
    check_positions(request.max_positions, decoding, "the checkpoint")
    if request.max_positions is None and decoding["long_articles"] == "passages" and decoding["window_stride"] is None:
        raise in_passages_refused()
    return TaskDevelopment(examples, task, decoding, request.config.best_by)
