"""examples/1, the contract between eval's tasks, which make prompted examples, and fine-tuning and prediction.

A source is a list of segments, so that text from outside stays data: only a `mask` segment becomes a command token, and
only `text` segments are cut when the input is too long.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import MGLMError
from core.manifest import MADE_BY

EXAMPLES = "examples/1"
MaskName = Literal["[MASK]", "[sMASK]", "[gMASK]"]


class Segment(BaseModel):
    """A piece of a source: fixed words of a `prompt`, `text` from outside, or a `mask` (its value a mask's name)."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["prompt", "text", "mask"]
    value: str


class Example(BaseModel):
    """One prompted source with its target; `lang` is the source's language, `target_lang` the target's.

    `references` are all answers that count as right, where there is more than `target`. `choices`, where given, are the
    only answers: a label and what may be said for it (its verbalizers, paper §2.3); `target` is then a label.
    """

    model_config = ConfigDict(extra="forbid")
    id: str
    task: str
    lang: str
    target_lang: str
    split: Literal["train", "dev", "heldout"]
    source: list[Segment]
    target: str
    references: list[str] = []
    choices: dict[str, list[str]] = {}

    @property
    def answer(self) -> str:
        """What a model learns to write: the target; of choices what is said first for the label, as prediction asks."""
        words = self.choices.get(self.target)
        return words[0] if words else self.target

    @property
    def answers(self) -> list[str]:
        """The target and whatever else counts as right."""
        return list(dict.fromkeys([self.target, *self.references]))


def write_examples(path: Path, examples: Iterable[Example]) -> int:
    """Writes JSONL and returns the number of rows."""
    rows = 0
    with path.open("w", encoding="utf-8") as file:
        for example in examples:
            file.write(example.model_dump_json() + "\n")
            rows += 1
    return rows


def read_examples(path: Path) -> Iterator[Example]:
    """Yields the examples of a JSONL file; an error names the line."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield Example.model_validate_json(line)
            except ValidationError as error:
                raise MGLMError(
                    f"{path}, line {number}",
                    found=error.errors()[0]["msg"],
                    expected=f"an {EXAMPLES} record",
                    action=f"run {MADE_BY[EXAMPLES]}",
                ) from None
