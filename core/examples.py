"""examples/1, the contract between eval's tasks, which make prompted examples, and fine-tuning and prediction.

A source is a list of segments, so that text from outside stays data: only a `mask` segment becomes a command token, and
only `text` segments are cut when the input is too long.
"""

import os
import weakref
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, overload

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
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            yield _parsed(line, f"{path}, line {number}")


class ExampleFile(Sequence[Example]):
    """The examples of a JSONL file, each read when it is asked for.

    As objects a million fill gigabytes, in every process that trains on them. Here a process keeps where each stands;
    the text is the system's page cache, which all of them share.
    """

    def __init__(self, path: Path, task: str | None = None) -> None:
        """Reads the file once, to check it; those of `task` alone are kept where one is named. `tasks` are all there
        are, `languages` those of the sources that are kept.

        Raises:
            MGLMError: names the first line that is no example.
        """
        self._path = path
        self._starts, self._sizes = array("q"), array("q")
        tasks: set[str] = set()
        languages: set[str] = set()
        start = 0
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                example = _parsed(line, f"{path}, line {number}")
                tasks.add(example.task)
                if task is None or example.task == task:
                    languages.add(example.lang)
                    self._starts.append(start)
                    self._sizes.append(len(line))
                start += len(line)
            self._file = os.dup(file.fileno())  # the file that was checked, whatever takes its name
        weakref.finalize(self, os.close, self._file)
        self.tasks, self.languages = sorted(tasks), sorted(languages)

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        size, start = self._sizes[index], self._starts[index]
        return _parsed(os.pread(self._file, size, start), f"{self._path}, byte {start}")  # threads may read at once


def _parsed(line: bytes, where: str) -> Example:
    try:
        return Example.model_validate_json(line)
    except ValidationError as error:
        raise MGLMError(
            where,
            found=error.errors()[0]["msg"],
            expected=f"an {EXAMPLES} record",
            action=f"run {MADE_BY[EXAMPLES]}",
        ) from None
