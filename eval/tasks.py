"""Tasks as data: where a task's records lie, how they are asked, decoded and scored. `tasks.toml` holds ours.

A user's task is a TOML file with a table of the same fields; most have defaults, so a few lines do.
"""

import re
import tomllib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from core.config import Section
from core.errors import MGLMError
from core.examples import MaskName
from core.languages import canonical_code

Split = Literal["train", "dev", "heldout", "by_hash"]
Kind = Literal["summary", "question", "choice"]
ScorerName = Literal["rouge", "squad", "mlqa", "accuracy"]
Code = Annotated[str, AfterValidator(canonical_code)]  # `he` and `iw` are one language: records have the second


class Source(Section):
    """Files of one split, in the form in which they are published, and who reads them (`eval.readers`).

    `files` are patterns: `*` stands for anything in a name, `**/` for folders, `{lang}` and `{target_lang}` for codes
    or English names of languages. Of several patterns the first with a match counts. `beside` are patterns of a second
    file to each, `{…}` filled in from the first's name. What is not in the name is said by `lang`, `target_lang`.
    """

    split: Split
    reader: str = "jsonl"
    files: list[str] = Field(min_length=1)
    beside: list[str] = Field(default=[])
    lang: Code = ""
    target_lang: Code = ""
    only: list[Code] = Field(default=[])  # languages of the source that are taken; all when empty
    fields: dict[str, str] = Field(default={})  # the reader's names of fields → those in the file
    part: str = ""  # a name for `eval.weights`
    weight: float = Field(default=1.0, ge=0)  # how often each training example is taken: 0.5 every other, 2 twice
    limit: int | None = Field(default=None, ge=1)  # the first records of each file that are taken
    heldout_share: float | None = Field(default=None, gt=0, lt=0.5)  # of `by_hash`, dev gets as much; [eval] has one
    prompt: str = ""  # where it is not the task's
    translate: Literal["", "text", "target"] = ""  # which of the two a translator puts into the other language

    @model_validator(mode="after")
    def _check(self) -> Self:
        from tokenizer.prompts import names_of

        if self.reader in ("parallel", "wikilingua") and not self.beside:
            raise ValueError(f"reader {self.reader!r} reads two files: `beside` names the second")
        for pattern in self.files:
            named = re.findall(r"\{(\w+)\}", pattern)
            if len(set(named)) < len(named) or not all(name.isidentifier() for name in named):
                raise ValueError(f"files {pattern!r} has a name twice in braces, or one that is none")
            for path in self.beside:
                if lacking := sorted(set(names_of(path)) - set(named)):
                    raise ValueError(f"beside {path!r} wants {{{lacking[0]}}}, which files {pattern!r} has not")
        return self


class Decoding(Section):
    """How the task's answers are written. `mglm eval predict` takes what [eval] does not say from here."""

    max_source_tokens: int | None = Field(default=None, ge=16)
    window_stride: int | None = Field(default=None, ge=1)
    max_new_tokens: int = Field(default=200, ge=1)
    min_new_tokens: int = Field(default=0, ge=0)
    num_beams: int = Field(default=4, ge=1)
    length_penalty: float = 0.7
    no_repeat_ngram_size: int = Field(default=3, ge=0)


class Average(Section):
    """A mean over language pairs, each weighing the same: which pairs count."""

    name: str
    same_language: bool = False
    without: list[Code] = Field(default=[])  # languages of the source that are left out
    only: list[Code] = Field(default=[])


class Task(Section):
    """One task. `prompt` names one of `tokenizer.prompts`; `template` says another in full."""

    name: str
    title: str = ""
    kind: Kind = "summary"
    prompt: str = "summary"
    template: str = ""
    prompts: dict[str, dict[Code, str]] = Field(default={})  # prompts of one's own: name → target language → template
    mask: MaskName | None = None
    parallel: list[dict[str, str]] = Field(default=[])  # templates that ask for the same, by their words' language
    sources: list[Source] = Field(min_length=1)
    decoding: Decoding | None = None
    postprocess: list[str] = Field(default=[])  # of what the model writes, see eval.answers
    scorer: ScorerName = "rouge"
    choices: dict[str, list[str]] = Field(default={})  # label → what may be said for it
    rstrip_punctuation: list[str] = Field(default=[])  # texts whose last ASCII punctuation goes before the prompt
    averages: list[Average] = Field(default=[])
    remark: str = ""  # what a reader of the figures should know

    @model_validator(mode="after")
    def _check(self) -> Self:
        from eval.answers import POSTPROCESS
        from eval.readers import READERS
        from tokenizer.prompts import MASKS, PROMPTS, names_of

        for prompt in filter(None, [self.prompt, *(source.prompt for source in self.sources)]):
            if prompt not in PROMPTS | self.prompts:
                raise ValueError(f"unknown prompt {prompt!r}; known: {', '.join(PROMPTS | self.prompts)}")
        assert set(MASKS) == set(PROMPTS)
        own = [self.template, *(template for group in self.prompts.values() for template in group.values())]
        for template in (template for group in self.parallel for template in group.values()):
            if names_of(template) not in map(names_of, filter(None, own)):
                raise ValueError(f"parallel {template!r} has not the names of template {own[0] or own[-1]!r}")
        for name, known in (("reader", READERS), ("postprocess", POSTPROCESS)):
            given = [source.reader for source in self.sources] if name == "reader" else self.postprocess
            if unknown := [value for value in given if value not in known]:
                raise ValueError(f"unknown {name} {unknown[0]!r}; known: {', '.join(known)}")
        if (self.kind == "choice") != bool(self.choices) or (self.kind == "choice") != (self.scorer == "accuracy"):
            raise ValueError('a task of kind "choice" has choices and the scorer "accuracy", and no other has')
        return self

    def public(self) -> dict[str, Any]:
        """What later stages need to know: everything but where the files lie."""
        return self.model_dump(exclude={"sources"}, exclude_defaults=True) | {
            "name": self.name, "kind": self.kind, "scorer": self.scorer,
        }  # fmt: skip


@cache
def tasks() -> dict[str, Task]:
    """Ours, by name."""
    text = resources.files("eval").joinpath("tasks.toml").read_text("utf-8")
    return {name: Task.model_validate({"name": name, **table}) for name, table in tomllib.loads(text).items()}


def find_task(name: str) -> Task:
    """The task of that name; or of a TOML file, `FILE.toml` with one table or `FILE.toml:NAME`.

    Raises:
        MGLMError: no such task, or a file that declares none rightly; the message names the field.
    """
    path_part, _, table_name = name.partition(".toml:")
    if not table_name and not name.endswith(".toml"):
        if name not in tasks():
            expected = f"one of {', '.join(tasks())}, or a TOML file that declares one"
            raise MGLMError("--task", found=name, expected=expected, action="see docs/evaluation.md")
        return tasks()[name]
    path = Path(f"{path_part}.toml" if table_name else name)
    tables = _read(path)
    if table_name and table_name not in tables:
        raise MGLMError(f"--task {name}", found=f"tables {', '.join(tables)}", expected=f"one called {table_name}")
    if not table_name and len(tables) != 1:
        found = f"{len(tables)} tables"
        raise MGLMError(f"--task {name}", found=found, expected="one", action=f"name it: {path}:NAME")
    table_name = table_name or next(iter(tables))
    try:
        return Task.model_validate({"name": table_name, **tables[table_name]})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        where = f"task {path}, [{table_name}]" + (f" {field}" if field else "")
        unknown = first["type"] == "extra_forbidden"
        found = "an unknown key" if unknown else repr(first["input"])[:80] if field else ""
        expected = "a field of a task" if unknown else first["msg"].removeprefix("Value error, ")
        raise MGLMError(where, found=found, expected=expected, action="see docs/evaluation.md") from None


def asked_with(task: Task, prompt: str) -> Task:
    """The task with another prompt, in all its sources.

    Raises:
        MGLMError: no such prompt.
    """
    from tokenizer.prompts import PROMPTS

    if prompt not in PROMPTS | task.prompts:
        expected = f"one of {', '.join(PROMPTS | task.prompts)}"
        raise MGLMError("eval.prompt", found=prompt, expected=expected, action=f"declare it in the task {task.name}")
    sources = [source.model_copy(update={"prompt": prompt}) for source in task.sources]
    return task.model_copy(update={"prompt": prompt, "template": "", "sources": sources})


def pair_of(text: str) -> tuple[str, str]:
    """`en-zh` as source and target language.

    Raises:
        MGLMError: it is no pair.
    """
    parts = [canonical_code(part) for part in text.split("-")]
    if len(parts) != 2 or not all(parts):
        raise MGLMError("a pair of languages", found=repr(text), expected="SOURCE-TARGET, e.g. en-zh")
    return parts[0], parts[1]


def _read(path: Path) -> dict[str, Any]:
    try:
        tables = tomllib.loads(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise MGLMError(f"task {path}", found=str(error), expected="a TOML file", action="check --task") from None
    if not tables or not all(isinstance(table, dict) for table in tables.values()):
        raise MGLMError(f"task {path}", found="no table", expected="[name] with sources", action="see the docs")
    return tables
