"""Text with its language from JSON Lines, in memory: what detectors are trained on and measured by.

In: files, directories or globs of JSON Lines (plain, .gz, .zst). Out: documents, each once. A language is one of the
101 wherever its label says so in any known form, else the label itself, which then stands for text outside the 101.
"""

import csv
import glob
import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.documents import document_id
from core.errors import MGLMError
from core.languages import code_or_label
from core.text import normalise

SUFFIXES = tuple(kind + packed for kind in (".jsonl", ".ndjson", ".json") for packed in ("", ".gz", ".zst"))
EXPECTED = "JSON Lines (.jsonl, .ndjson or .json, plain, .gz or .zst)"


@dataclass(frozen=True)
class LabelledDocument:
    """`text` normalised; `doc_id` its hash; `lang` a code of the 101 or a label outside them."""

    doc_id: str
    text: str
    lang: str


@dataclass(frozen=True)
class Labelled:
    """Documents ordered by their hash. `skipped`: records by why they are none; `files`: what was read."""

    documents: list[LabelledDocument]
    skipped: Counter[str] = field(default_factory=Counter)
    files: list[Path] = field(default_factory=list)


def read_labelled(
    inputs: Sequence[str],
    *,
    text_field: str,
    lang_field: str,
    gold: Mapping[str, str] | None = None,
    id_field: str = "doc_id",
) -> Labelled:
    """All labelled documents of `inputs`; with `gold`, a record's language is what it says of the record's id.

    A text that comes again is one document; one that comes with two languages is none.

    Raises:
        MGLMError: an input cannot be read, or holds no labelled document at all.
    """
    skipped: Counter[str] = Counter()
    found: dict[str, LabelledDocument] = {}
    contradicted: set[str] = set()
    files = find_files(inputs)
    for path in files:
        for line in _lines(path):
            if not line.strip():
                continue
            document = _parse(line, text_field, lang_field, gold, id_field)
            if isinstance(document, str):
                skipped[document] += 1
                continue
            first = found.setdefault(document.doc_id, document)
            if first is not document:
                skipped["duplicate"] += 1
                if first.lang != document.lang:
                    contradicted.add(document.doc_id)
    if contradicted:
        skipped["two_languages"] = len(contradicted)
    documents = [found[doc_id] for doc_id in sorted(found.keys() - contradicted)]
    if not documents:
        reasons = ", ".join(f"{number} records: {reason}" for reason, number in skipped.most_common())
        wanted = f"a text in the field {text_field} and " + (
            f"an id in the field {id_field} that the gold table has"
            if gold is not None
            else f"a language in {lang_field}"
        )
        raise MGLMError(
            f"input {', '.join(inputs)}",
            found=f"no labelled document ({reasons or 'blank lines alone'})",
            expected=wanted,
            action="see the [lid] section's text_field, lang_field and id_field",
        )
    return Labelled(documents, skipped, files)


def read_gold(path: Path, *, id_field: str, lang_field: str) -> dict[str, str]:
    """Id → language, from a table with a header, separated by tabs (.tsv) or commas, plain or .gz."""
    thing, expected = f"gold labels {path}", f"a TSV or CSV table with the columns {id_field} and {lang_field}"
    if not path.is_file():
        raise MGLMError(thing, found="no such file", expected=expected)
    try:
        text = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise MGLMError(thing, found=str(error), expected=expected) from None
    reader = csv.DictReader(io.StringIO(text), delimiter="\t" if ".tsv" in path.suffixes else ",")
    if not {id_field, lang_field} <= set(reader.fieldnames or ()):
        raise MGLMError(thing, found=f"the columns {', '.join(reader.fieldnames or ['none'])}", expected=expected)
    return {row[id_field]: row[lang_field] for row in reader if row[id_field] and row[lang_field]}


def find_files(inputs: Sequence[str]) -> list[Path]:
    """The files that `inputs` mean, each once, ordered by path."""
    found: set[Path] = set()
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            matches = [file for file in path.rglob("*") if file.is_file() and file.name.endswith(SUFFIXES)]
        elif path.exists():
            matches = [path]
        else:
            # Path.glob takes no absolute pattern.
            matches = [Path(match) for match in glob.glob(given, recursive=True)]  # noqa: PTH207
        if not matches:
            raise MGLMError(f"input {given}", found="nothing there", expected=EXPECTED)
        for match in matches:
            if not (match.is_file() and match.name.endswith(SUFFIXES)):
                raise MGLMError(f"input {match}", found="something of another kind", expected=EXPECTED)
        found.update(matches)
    return sorted(found)


def _lines(path: Path) -> Iterator[bytes]:
    try:
        if path.suffix == ".zst":
            with io.BufferedReader(pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")) as stream:
                yield from stream
        else:
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
                yield from stream
    except (OSError, EOFError, zlib.error) as error:
        raise MGLMError(f"input {path}", found=str(error), expected=EXPECTED) from None


def _parse(
    line: bytes, text_field: str, lang_field: str, gold: Mapping[str, str] | None, id_field: str
) -> LabelledDocument | str:
    """A document, or why it is none."""
    try:
        record: Any = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return "no_json"
    if not isinstance(record, dict):
        return "no_object"
    text = record.get(text_field)
    label = record.get(lang_field) if gold is None else gold.get(str(record.get(id_field)))
    if not isinstance(text, str) or not (text := normalise(text)):
        return "no_text"
    if not isinstance(label, str) or not (label := "_".join(label.split())):
        return "no_language"
    return LabelledDocument(document_id(text), text, code_or_label(label))
