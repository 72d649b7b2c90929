"""`mglm config`: the sections of a config file as TOML, every field with its meaning, what it takes and its default."""

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from core.config import Section

HEAD = """Settings of mglm at their defaults. Keep what you change and delete the rest: what a file does not say has its
default. A field that is commented out is unset; its comment says what then holds. In brackets: what a field takes."""
UNSET = "Unset"
WIDTH = 100
UNBROKEN = "\N{NO-BREAK SPACE}"  # textwrap breaks no line there
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
KINDS = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true | false", "object": "table"}


def config_page(sections: Mapping[str, type[Section]]) -> str:
    """A config file that says what holds without one."""
    pages = ["\n".join(_table(name, model())) for name, model in sections.items()]
    return "\n\n\n".join(["\n".join(_comment(HEAD)), *pages])


def meanings(model: type[Section]) -> dict[str, str]:
    """What each field means: the string that stands under it, here or in a class this one extends.

    Read when it is asked for: Pydantic's own `use_attribute_docstrings` would read the sources at every import.
    """
    found: dict[str, str] = {}
    for holder in reversed(model.__mro__):
        if not issubclass(holder, Section):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(holder))).body
        assert isinstance(definition, ast.ClassDef)
        for field, below in pairwise(definition.body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split())
    return {name: found[name] for name in model.model_fields if name in found}


def _table(name: str, section: Section) -> Iterator[str]:
    """The lines of a section; tables in it come after its fields, as TOML wants it."""
    model = type(section)
    schema, meaning = model.model_json_schema(), meanings(model)
    inner = {field: value for field, value in section if isinstance(value, Section)}
    yield f"[{name}]"
    yield from _comment(inspect.getdoc(model) or "")
    for field, value in section:
        if field in inner:
            continue
        yield ""
        takes = _takes(schema["properties"][field]).replace(" ", UNBROKEN)
        yield from _comment(f"{meaning[field]} [{takes}]")
        line = f"{field} = {'…' if value is None else _toml(value)}"
        yield f"# {line}" if UNSET in meaning[field] else line
    for field, value in inner.items():
        yield ""
        yield from _table(f"{name}.{field}", value)


def _takes(schema: Mapping[str, Any]) -> str:
    """What a field takes, by its JSON schema: kind and bounds, or choices."""
    for kind in schema.get("anyOf", ()):  # with null, which TOML cannot say
        if kind.get("type") != "null":
            return _takes(kind)
    if "enum" in schema:
        return " | ".join(map(_toml, schema["enum"]))
    if schema["type"] == "array":
        first = schema["items"] if "items" in schema else schema["prefixItems"][0]
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        number = f"{least} " if least == most else f"{least} to {most} " if most else ""
        return f"list of {number}{_takes(first)}s"
    bounds = [f"{sign} {_toml(schema[bound])}" for bound, sign in BOUNDS.items() if bound in schema]
    return " ".join([KINDS[schema["type"]], ", ".join(bounds)]).strip()


def _toml(value: Any) -> str:
    """Strings, numbers, booleans, lists and flat tables as TOML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:_}" if value >= 10_000 else str(value)
    return json.dumps(value, ensure_ascii=False)


def _comment(text: str) -> list[str]:
    """Lines of comment; blank lines part paragraphs."""
    paragraphs = [textwrap.wrap(part, WIDTH, break_on_hyphens=False) for part in text.split("\n\n")]
    return [f"# {line.replace(UNBROKEN, ' ')}" for lines in paragraphs for line in lines]
