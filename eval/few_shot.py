"""Few-shot prompting: examples with their answers go before each question, in one source (paper §3.4, Table 6).

The shown examples may ask for another language than the question does: examples of "Chinese: " before a question of
"Japanese: " see whether a model follows its prompt or its examples. Out: an examples/1 directory like any other, so any
model that `mglm eval predict` takes can be asked.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from core.documents import document_id, uniform
from core.errors import MGLMError
from core.examples import EXAMPLES, Example, Segment, read_examples, write_examples
from core.languages import canonical_code
from core.log import get_logger
from core.manifest import Manifest, read_manifest
from core.stage import open_stage

SEPARATOR = "\n"  # between one example and the next; a piece of its own in our tokenizers

_log = get_logger("eval")


def few_shot(
    examples: Path,
    output: Path,
    *,
    shots: int,
    shown: str = "",
    asked: str = "",
    seed: int = 0,
    overwrite: bool = False,
) -> Manifest:
    """Makes an examples/1 directory whose held-out sources begin with `shots` training examples.

    `shown` is the target language of the examples before the question, `asked` that of the question; without them, each
    question's own, and all questions. Examples of the question's source language are taken where there are enough of
    them, else of any. Which, is drawn by the question's id.

    Raises:
        MGLMError: no such examples, or too few of them.
    """
    made = read_manifest(examples, EXAMPLES)
    shown, asked = canonical_code(shown), canonical_code(asked)
    settings = {"shots": shots, "shown": shown, "asked": asked, "seed": seed}
    inputs = {"examples": made.content_hash()}
    taught = list(read_examples(examples / "train.jsonl")) if shots else []
    questions = [one for one in read_examples(examples / "heldout.jsonl") if asked in ("", one.target_lang)]
    if not questions:
        found = f"no held-out example to {asked}" if asked else "no held-out example"
        raise MGLMError(f"{examples}", found=found, expected="one at least", action="mend --asked")
    pool = _Pool(taught)
    prompted = [_prompted(one, pool.draw(one, shown or one.target_lang, shots, seed)) for one in questions]
    stage = open_stage(output, schema=EXAMPLES, config=settings, inputs=inputs, overwrite=overwrite)
    if stage.manifest is not None:
        _log.info("already made: %s", output)
        return stage.manifest
    write_examples(output / "train.jsonl", [])
    rows = write_examples(output / "heldout.jsonl", prompted)
    counts = Counter(one.lang for one in prompted)
    manifest = stage.finish(
        rows={"train.jsonl": 0, "heldout.jsonl": rows},
        counts={lang: {"train": 0, "heldout": count} for lang, count in sorted(counts.items())},
        facts={**made.facts, "few_shot": settings},
    )
    _log.info("%d questions after %d examples each: %s", rows, shots, output)
    return manifest


class _Pool:
    """Training examples by target language, and by both languages."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self._by_target: dict[str, list[Example]] = defaultdict(list)
        self._by_pair: dict[tuple[str, str], list[Example]] = defaultdict(list)
        for one in examples:
            self._by_target[one.target_lang].append(one)
            self._by_pair[one.lang, one.target_lang].append(one)

    def draw(self, question: Example, target: str, shots: int, seed: int) -> list[Example]:
        """Different examples to show before a question."""
        alike = self._by_pair[question.lang, target]
        candidates = alike if len(alike) >= shots else self._by_target[target]
        if len(candidates) < shots:
            raise MGLMError(
                f"training examples to {target}",
                found=str(len(candidates)),
                expected=f"at least {shots}, the --shots",
                action="prepare more, show fewer, or name another --shown",
            )
        # From a place that the question's id draws, in equal strides: no two are the same, and nothing is shuffled.
        first = int(uniform(document_id(question.id), f"few-shot {seed}") * len(candidates))
        return [
            candidates[(first + number * (len(candidates) // max(1, shots))) % len(candidates)]
            for number in range(shots)
        ]


def _prompted(question: Example, shown: Sequence[Example]) -> Example:
    source: list[Segment] = []
    for example in shown:
        source += [
            Segment(kind="text", value=example.answer) if part.kind == "mask" else part for part in example.source
        ]
        source.append(Segment(kind="prompt", value=SEPARATOR))
    return question.model_copy(update={"source": [*source, *question.source]})
