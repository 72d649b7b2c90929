"""Language detection behind one adapter: a fastText model whose labels we know, a user's own, or two combined.

Text is prepared as fastText needs it, in training too: a line break or the word `</s>` would silently end the input, a
word that begins with `__label__` would not be read, and lone surrogates would raise.
"""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from core.combined_model import CombinedModel, is_combination
from core.fasttext_model import LABEL_PREFIX, FastTextModel, embedded_model_path
from core.languages import UNKNOWN, code_of_label, codes_without_label

DEFAULT_MAX_CHARACTERS = 1_000  # more costs time and gains nothing: .932 macro accuracy at 800 characters and at all
MINIMUM_LETTERS = 10  # fastText answers `en` to empty and digits-only text, so it is not asked


@dataclass(frozen=True)
class Detection:
    """`lang`: one of the 101 codes or `und`; `label`: what the model said; `score`: its probability, at most 1."""

    lang: str
    label: str
    score: float


class Model(Protocol):
    """What the adapter asks of a model: its labels, and the most probable of them for a prepared line."""

    labels: tuple[str, ...]
    files: tuple[Path, ...]

    def answers(self, line: str, count: int) -> list[tuple[float, str]]: ...


class LanguageDetector:
    """A model with its labels mapped to the 101 codes. `files`: all that it was read from, `path` first."""

    def __init__(
        self,
        path: Path | None = None,
        *,
        max_characters: int = DEFAULT_MAX_CHARACTERS,
        minimum_letters: int = MINIMUM_LETTERS,
    ) -> None:
        """Loads `path` (a fastText model, or the TOML file of a combination), or the embedded lid.176.

        Raises:
            MGLMError: the file is missing, or is no fastText model and no combination of two.
        """
        self.path = path if path is not None else embedded_model_path()
        self._max_characters, self._minimum_letters = max_characters, minimum_letters
        self.model: Model = CombinedModel(self.path) if is_combination(self.path) else FastTextModel(self.path)
        self.labels, self.files = self.model.labels, self.model.files

    def detect(self, text: str, threshold: float = 0.0) -> Detection:
        """The most probable language, `und` below `threshold`, outside the 101, or without enough letters."""
        line = prepare(text[: self._max_characters])
        if not has_letters(line, self._minimum_letters):
            return Detection(UNKNOWN, "", 0.0)
        answers = self.model.answers(line, 1)
        if not answers:
            return Detection(UNKNOWN, "", 0.0)
        score, label = answers[0]
        return Detection(code_of_label(label) if score >= threshold else UNKNOWN, label, score)

    def cannot_emit(self) -> list[str]:
        """Those of the 101 codes that no label of this model maps to."""
        return codes_without_label(self.labels)


def prepare(text: str) -> str:
    """`text` as one line that fastText reads to its end; what would end or hide words becomes spaces."""
    line = " ".join(text.splitlines()).replace("\x00", " ")
    if "</s>" in line:
        line = line.replace("</s>", " ")
    if LABEL_PREFIX in line:
        line = line.replace(LABEL_PREFIX, " ")
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:  # lone surrogates
        line = line.encode("utf-8", "replace").decode("utf-8")
    return line


def has_letters(line: str, minimum: int) -> bool:
    """Whether there are so many letters; stops counting there."""
    return len(tuple(islice(filter(str.isalpha, line), minimum))) >= minimum
