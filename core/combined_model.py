"""Two detectors as one: each answers for the languages it knows, and the other speaks for those it does not.

In: a TOML file that names two fastText models, their sha256 and their weights, as `mglm corpus train-lid` writes it.

With p and q what the two models say of each code (a label outside the 101 stands for itself), the first is completed
for the codes C that only the second can emit: p'(c) = q(c) for c in C, and p'(c) = p(c) · (1 - q(C)) for the others;
the second likewise. The answer is v · p'(c) + w · q'(c) with v + w = 1: the linear opinion pool (Genest and Zidek,
1986, section 3), whose weights were chosen on documents that neither model was trained on.
"""

import hashlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.errors import MGLMError
from core.fasttext_model import FastTextModel, embedded_model_path
from core.languages import code_or_label

SCHEMA = "combined_detector/1"
EMBEDDED = "embedded"  # instead of a file name: lid.176 as installed
CONSIDERED = 8  # most probable labels of each model; the others count for nothing

Distribution = Mapping[str, float]


class _Member(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    file: str
    sha256: str
    weight: float = Field(ge=0, le=1)


class _Combination(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    schema_name: str = Field(alias="schema")
    models: list[_Member] = Field(min_length=2, max_length=2)

    @model_validator(mode="after")
    def _weights_add_up(self) -> Self:
        if abs(sum(member.weight for member in self.models) - 1) > 1e-6:
            raise ValueError("the weights must add up to 1")
        return self


def is_combination(path: Path) -> bool:
    return path.suffix == ".toml"


class CombinedModel:
    """Answers with codes of the 101, or with labels outside them; `answers` is a model's, as the adapter asks it."""

    def __init__(self, path: Path) -> None:
        """Raises MGLMError: the file is missing or no combination, or a model is not the one it names."""
        combination = _read(path)
        paths = [_find(member, path) for member in combination.models]
        first, second = (FastTextModel(member) for member in paths)
        self._first, self._second = first, second
        self.weights = combination.models[0].weight, combination.models[1].weight
        self._codes = codes_of(first), codes_of(second)
        self.labels: tuple[str, ...] = tuple(sorted(self._codes[0] | self._codes[1]))
        self.files: tuple[Path, ...] = (path, *paths)

    def answers(self, line: str, count: int) -> list[tuple[float, str]]:
        """The `count` most probable codes of a prepared line."""
        pooled = pool((distribution(self._first, line), distribution(self._second, line)), self._codes, self.weights)
        ranked = sorted(pooled.items(), key=lambda item: (-item[1], item[0]))
        return [(min(probability, 1.0), code) for code, probability in ranked[:count]]


def codes_of(model: FastTextModel) -> frozenset[str]:
    return frozenset(code_or_label(label) for label in model.labels)


def distribution(model: FastTextModel, line: str) -> dict[str, float]:
    """Code → probability, of the labels considered."""
    found: dict[str, float] = {}
    for probability, label in model.answers(line, CONSIDERED):
        code = code_or_label(label)
        found[code] = found.get(code, 0.0) + probability
    return found


def pool(
    said: tuple[Distribution, Distribution],
    codes: tuple[frozenset[str], frozenset[str]],
    weights: tuple[float, float],
) -> dict[str, float]:
    """The pool of two distributions, each over its own `codes`; adds up to 1 where the two and the weights do."""
    v, w = weights
    return {code: v * first + w * second for code, (first, second) in completed(said, codes).items()}


def completed(
    said: tuple[Distribution, Distribution], codes: tuple[frozenset[str], frozenset[str]]
) -> dict[str, tuple[float, float]]:
    """Each code that either considers → what the two say of it, each completed by the other."""
    left = tuple(
        max(1.0 - sum(probability for code, probability in said[1 - k].items() if code not in codes[k]), 0.0)
        for k in (0, 1)
    )

    def of(k: int, code: str) -> float:
        return said[k].get(code, 0.0) * left[k] if code in codes[k] else said[1 - k].get(code, 0.0)

    return {code: (of(0, code), of(1, code)) for code in sorted(said[0].keys() | said[1].keys())}


def combination_toml(members: list[tuple[str, str, float]], remark: str) -> str:
    """The file of a combination: (file name or `embedded`, sha256, weight) of each of the two models."""
    parts = [f"# {remark}", f'schema = "{SCHEMA}"']
    for file, sha256, weight in members:
        escaped = file.replace("\\", "\\\\").replace('"', '\\"')
        parts.append(f'\n[[models]]\nfile = "{escaped}"\nsha256 = "{sha256}"\nweight = {weight}')
    return "\n".join(parts) + "\n"


def _read(path: Path) -> _Combination:
    thing, expected = f"detector {path}", f"a combination of two detectors ({SCHEMA}), or a fastText model"
    try:
        combination = _Combination.model_validate(tomllib.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        raise MGLMError(thing, found="no such file", expected=expected) from None
    except IsADirectoryError:
        raise MGLMError(thing, found="a directory", expected=expected) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise MGLMError(thing, found=f"{where}: {first['msg']}", expected=expected) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MGLMError(thing, found=str(error), expected=expected) from None
    if combination.schema_name != SCHEMA:
        raise MGLMError(thing, found=combination.schema_name, expected=SCHEMA, action="make it with train-lid")
    return combination


def _find(member: _Member, combination: Path) -> Path:
    path = embedded_model_path() if member.file == EMBEDDED else combination.parent / member.file
    if not path.is_file():
        raise MGLMError(
            f"detector {path}, of {combination}", found="no such file", expected="it beside the combination"
        )
    if hashlib.sha256(path.read_bytes()).hexdigest() != member.sha256:
        raise MGLMError(
            f"detector {path}, of {combination}",
            found="another file than it was fitted for",
            expected=f"sha256 {member.sha256[:12]}…",
            action="train again, or put that file back",
        )
    return path
