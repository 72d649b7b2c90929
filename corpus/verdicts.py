"""What rules pass on and hand back: a document with what was done to it, or the reason why it is none."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol


@dataclass(frozen=True)
class Document:
    """What a rule sees; it changes it by `dataclasses.replace`. `lang` and `script` are empty before detection.

    `quality` is the score of a rule that gives one; `changes` counts what was taken out or put right, by its name.
    """

    text: str
    url: str | None
    lang: str = ""
    script: str = ""
    quality: float | None = None
    changes: Counter[str] = field(default_factory=Counter)

    def changed(self, text: str, names: Iterable[str] | Counter[str]) -> "Document":
        """The document with another text, each of `names` counted."""
        return replace(self, text=text, changes=self.changes + Counter(names))


@dataclass(frozen=True)
class Refusal:
    """Why a document is none: a reason, one word for counting, and the particulars."""

    reason: str
    detail: str


class Rule(Protocol):
    """One rule: the document, changed or not, or why it is none. It must depend on nothing but the document."""

    def __call__(self, document: Document) -> Document | Refusal: ...
