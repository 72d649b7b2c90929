"""Configuration: one TOML file describes a whole run, a section for each stage; `--set section.field=value` overrides.

Every section is a strict Pydantic model. An unknown key is an error that lists the known ones.
"""

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import MGLMError

# The sections a config file may hold. A command reads its own and leaves the others to theirs.
SECTIONS = (
    "spark", "corpus", "lid", "balancing", "tokenizer", "model", "pretrain", "finetune", "eval", "summarize", "serve",
    "demo", "estimate", "world",
)  # fmt: skip


class Section(BaseModel):
    """Base of every config section: immutable, no unknown keys, no silent conversion between types.

    A string under a field says what the field means; `mglm config` prints it. "Unset: …" in it says what holds where
    the field is not written out: always where the default is None, and where that differs from writing the default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


SectionType = TypeVar("SectionType", bound=Section)


class RunConfig:
    """A config file with its overrides, read once; `section` validates and returns one part of it."""

    def __init__(self, path: Path | None = None, overrides: Sequence[str] = ()) -> None:
        self.origin = str(path) if path else "--set"
        self._origins = {override.partition("=")[0].strip(): "--set" for override in overrides}
        self.tables: dict[str, Any] = _read_toml(path) if path else {}
        for override in overrides:
            _apply_override(self.tables, override)
        for name, table in self.tables.items():
            check_section(f"config section [{name}] in {self.origin}", name)
            if not isinstance(table, dict):
                raise MGLMError(
                    f"config key {name} in {self.origin}",
                    found="a plain value",
                    expected=f"a section, e.g. [{name}]",
                    action=f"write --set {name}.FIELD=VALUE or a [{name}] table",
                )

    def take_options(self, section: str, **given: Any) -> None:
        """Options of a command that are fields of `section`, and go before file and overrides; None is not given."""
        table = self.tables.setdefault(section, {})
        for name, value in given.items():
            if value is not None:
                table[name] = value
                self._origins[f"{section}.{name}"] = "the command's options"

    def section(self, name: str, model: type[SectionType]) -> SectionType:
        """The section `name` as `model`; missing fields take the model's defaults.

        Raises:
            MGLMError: a key is unknown or a value does not fit; the message names the field and what it takes.
        """
        try:
            return model.model_validate(self.tables.get(name, {}))
        except ValidationError as error:
            first = ".".join(str(part) for part in (name, *error.errors()[0]["loc"]))
            raise _explain(error, name, model, self._origins.get(first, self.origin)) from None


def check_section(thing: str, name: str) -> None:
    """Refuses, under the name of `thing`, a section that there is not.

    Raises:
        MGLMError: names the known ones.
    """
    if name not in SECTIONS:
        raise _unknown_key(thing, name, SECTIONS)


def _read_toml(path: Path) -> dict[str, Any]:
    if path.is_dir():
        raise MGLMError(f"config {path}", found="a directory", expected="a TOML file", action="name a file")
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise MGLMError(f"config {path}", found="no such file", expected="a TOML file", action="see configs/") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MGLMError(f"config {path}", found=f"{error}", expected="valid TOML", action="mend that line") from None


def _apply_override(tables: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    parts = key.strip().split(".")
    if not separator or len(parts) < 2 or not all(parts):
        raise MGLMError(
            f"--set {override}",
            expected="SECTION.FIELD=VALUE, e.g. --set corpus.lid_threshold=0.6",
            action=f"the sections are {', '.join(SECTIONS)}",
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word: a string without quotes
    table = tables
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise MGLMError(f"--set {override}", found=f"{part} is a plain value", expected="a section")
    table[parts[-1]] = value


def _explain(error: ValidationError, section: str, model: type[BaseModel], origin: str) -> MGLMError:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        holder: type[BaseModel] = model
        for part in first["loc"][:-1]:
            annotation = holder.model_fields[str(part)].annotation
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                holder = annotation
        return _unknown_key(
            f"config key {section}.{field} in {origin}", str(first["loc"][-1]), list(holder.model_fields)
        )
    return MGLMError(
        f"config key {section}.{field} in {origin}" if field else f"config section [{section}] in {origin}",
        found=repr(first["input"]) if field else "",
        expected=first["msg"].removeprefix("Input should be ").removeprefix("Value error, "),
        action="change the value",
    )


def _unknown_key(thing: str, key: str, known: Sequence[str]) -> MGLMError:
    close = difflib.get_close_matches(key, known, n=1)
    action = f"did you mean {close[0]}?" if close else "remove it or choose a known key"
    return MGLMError(thing, found="an unknown key", expected=f"one of {', '.join(known)}", action=action)
