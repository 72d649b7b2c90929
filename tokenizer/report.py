"""`mglm tokenizer report`: what a vocabulary spends on each language, beside other vocabularies.

In: tokenizer directories, documents/1 (its held-out split), parallel text. Out: a directory with report.csv, report.md,
report.json, plots and index.html.
"""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from core.document_ranges import files_of_languages
from core.errors import MGLMError
from core.languages import UNKNOWN, canonical_code
from core.log import get_logger
from core.manifest import Manifest, inputs_of_files, read_manifest, write_atomically
from core.plan import read_plan
from core.schemas import DOCUMENTS, DOCUMENTS_TABLE, check_table
from core.stage import open_stage
from tokenizer.config import TokenizerConfig
from tokenizer.encoding import TOKENIZER, Tokenizer
from tokenizer.fertility import REFERENCE, fertility, premiums
from tokenizer.report_page import write_figures, write_page
from tokenizer.report_tables import Vocabulary, summarise, table_csv, write_markdown

REPORT = "tokenizer_report/1"


def make_report(
    tokenizer: Path,
    documents: Path,
    output: Path,
    config: TokenizerConfig,
    *,
    against: Sequence[Path] = (),
    parallel: Sequence[Path] = (),
    plan: Path | None = None,
    overwrite: bool = False,
) -> Manifest:
    """Measures and writes; finished work is returned as it is.

    Languages are ordered by the plan's counts, without a plan by the bytes of their documents: the last third of them
    are called low-resource.

    Raises:
        MGLMError: a directory is missing or unfinished, no document is held out, or a line of parallel text is broken.
    """
    log = get_logger("tokenizer")
    made = read_manifest(documents, DOCUMENTS)
    directories = [tokenizer, *against]
    for directory in directories:
        read_manifest(directory, TOKENIZER)
    tokenizers = [Tokenizer.load(directory) for directory in directories]
    files = [file for path in parallel for file in _parallel_files(path)]
    if not any(counts.get("heldout_documents") for counts in made.counts.values()):
        raise MGLMError(
            f"documents {documents}",
            found="no document held out",
            expected="some to measure on",
            action="raise corpus.heldout_share, or give more documents",
        )
    _check_parallel(files)
    ranked = rank(read_plan(plan).languages, made.counts) if plan else rank((), made.counts)
    stage = open_stage(
        output,
        schema=REPORT,
        config={"report_bytes": config.report_bytes, "names": names(directories), "order": ranked},
        inputs={"documents": made.content_hash(), **inputs_of_files(files)}
        | {f"tokenizer {number}": one.sha256 for number, one in enumerate(tokenizers)},
        overwrite=overwrite,
    )
    if stage.manifest is not None:
        log.info("%s: already made", output)
        return stage.manifest
    texts = {lang: texts for lang in ranked if (texts := held_out(documents, made, lang, config.report_bytes))}
    if not texts:
        raise MGLMError(
            f"plan {plan}",
            found="no language that has held-out documents",
            expected=f"some of {', '.join(sorted(made.counts))}",
            action="give the plan of these documents",
        )
    vocabularies = []
    for name, one in zip(names(directories), tokenizers, strict=True):
        log.info("measuring %s: %d pieces, %d languages", name, one.pieces, len(texts))
        measured = {lang: fertility(one, texts[lang]) for lang in texts}
        vocabularies.append(Vocabulary(name, one.pieces, one.vocab_size, measured, premiums(one, read_parallel(files))))
    summary = [summarise(one, ranked) for one in vocabularies]
    write_atomically(output / "report.csv", table_csv(vocabularies, ranked))
    data = {"order": ranked, "summary": summary, "vocabularies": [asdict(one) for one in vocabularies]}
    write_atomically(output / "report.json", json.dumps(data, ensure_ascii=False, indent=1))
    write_markdown(output / "report.md", vocabularies, ranked, summary)
    write_figures(output, vocabularies, ranked)
    write_page(output, vocabularies, ranked, summary)
    manifest = stage.finish(facts={"summary": summary})
    for line in summary:
        log.info("%s", ", ".join(f"{key} {value}" for key, value in line.items()))
    return manifest


def names(directories: Sequence[Path]) -> list[str]:
    """Directory names; with that of the parent, and a number, where it takes these to tell them apart."""
    last = [path.resolve().name for path in directories]
    full = [
        name if last.count(name) == 1 else f"{path.resolve().parent.name}/{name}"
        for name, path in zip(last, directories, strict=True)
    ]
    return [name if full.count(name) == 1 else f"{name} {number}" for number, name in enumerate(full, start=1)]


def rank(planned: Sequence[Any], counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Language codes, those with most text first."""
    if planned:
        return [language.code for language in sorted(planned, key=lambda language: language.rank)]
    return sorted(counts.keys() - {UNKNOWN}, key=lambda lang: (-counts[lang]["bytes"], lang))


def held_out(documents: Path, made: Manifest, lang: str, limit_bytes: int) -> list[str]:
    """Held-out documents of a language in the order of their files, until they hold `limit_bytes`."""
    texts, size = [], 0
    for name in files_of_languages(made, {lang}):
        path = documents / name
        with pq.ParquetFile(path) as file:
            check_table(file.schema_arrow, DOCUMENTS_TABLE, f"{path}", "mglm corpus build")
            for batch in file.iter_batches(batch_size=256, columns=["text", "split"]):
                for text, split in zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True):
                    if split == "heldout":
                        texts.append(text)
                        size += len(text.encode("utf-8"))
                        if size >= limit_bytes:
                            return texts
    return texts


def read_parallel(files: Sequence[Path]) -> Iterator[tuple[str, str, str]]:
    """(group, language, text) of every line.

    Raises:
        MGLMError: a line is not a JSON object with `group`, `lang` and `text` as strings.
    """
    for path in files:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            number = 1
            try:
                for line in file:
                    record = json.loads(line)
                    group, lang, text = record["group"], record["lang"], record["text"]
                    if not all(isinstance(value, str) for value in (group, lang, text)):
                        raise TypeError("a value that is no string")
                    yield group, canonical_code(lang), text
                    number += 1
            except (ValueError, TypeError, KeyError, EOFError, OSError, zlib.error) as error:
                found = f"no field {error}" if isinstance(error, KeyError) else str(error)
                raise MGLMError(
                    f"{path}, line {number}", found=found, expected='{"group": …, "lang": …, "text": …}'
                ) from None


def _check_parallel(files: Sequence[Path]) -> None:
    """Reads it all once, before any slow work."""
    langs: dict[str, set[str]] = {}
    for group, lang, _ in read_parallel(files):
        langs.setdefault(group, set()).add(lang)
    if files and not any(REFERENCE in of_group and len(of_group) > 1 for of_group in langs.values()):
        raise MGLMError(
            "--parallel",
            found=f"no group of {REFERENCE} and another language",
            expected="texts that share a group",
            action="give translations of one text the same group",
        )


def _parallel_files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.name.endswith((".jsonl", ".jsonl.gz")))
        if files:
            return files
        raise MGLMError(f"--parallel {path}", found="no .jsonl or .jsonl.gz in it", expected="JSON Lines")
    if not path.is_file():
        raise MGLMError(f"--parallel {path}", found="no such file", expected="JSON Lines with group, lang and text")
    return [path]
