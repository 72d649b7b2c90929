"""What a corpus holds and where the rest went: read from the manifest and from the small columns of documents/1."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.errors import MGLMError
from core.languages import UNKNOWN, language_name
from core.manifest import MADE_BY, Manifest, read_manifest, write_atomically
from core.schemas import DOCUMENTS, REJECTED_TABLE
from core.stage import open_stage
from corpus.report_page import page_of

REPORT = "corpus_report/1"
PAGE_NAME = "index.html"
SCORE_BINS = np.linspace(0, 1, 21)
LENGTH_BINS = np.logspace(0, 7, 36)  # characters
EXAMPLES_OF_A_REASON = 3
_COLUMNS = ["script", "lid_score", "n_chars", "quality"]


@dataclass
class Language:
    """One language. Histograms count documents by `SCORE_BINS` and `LENGTH_BINS`."""

    code: str
    documents: int
    characters: int
    size_bytes: int
    heldout: int
    scores: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(SCORE_BINS) - 1, np.int64))
    lengths: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(LENGTH_BINS) - 1, np.int64))
    quality: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(SCORE_BINS) - 1, np.int64))
    scripts: Counter[str] = field(default_factory=Counter)
    score_sum: float = 0.0

    @property
    def mean_score(self) -> float:
        return self.score_sum / self.documents if self.documents else 0.0


@dataclass(frozen=True)
class Corpus:
    """All that the report shows. `languages` by falling number of documents, undetermined text last."""

    manifest: Manifest
    languages: list[Language]
    examples: Mapping[str, list[dict[str, Any]]]  # of rejected records, by reason

    @property
    def facts(self) -> dict[str, Any]:
        return self.manifest.facts


def report(documents: Path, output: Path | None, *, overwrite: bool = False) -> str:
    """The table as text; with `output`, also the page `index.html` there.

    Raises:
        MGLMError: `documents` is no finished documents/1, or one of its files is broken.
    """
    manifest = read_manifest(documents, DOCUMENTS)
    corpus = read_corpus(documents, manifest)
    if output is not None:
        inputs = {"documents": manifest.content_hash()}
        stage = open_stage(output, schema=REPORT, config={}, inputs=inputs, overwrite=overwrite)
        if not stage.done:
            write_atomically(output / PAGE_NAME, page_of(corpus))
            stage.finish()
    return table_of(corpus)


def read_corpus(documents: Path, manifest: Manifest) -> Corpus:
    """Reads the columns that say something about each document, file by file, and examples of what was rejected."""
    languages = {
        code: Language(code, count["documents"], count["characters"], count["bytes"], count["heldout_documents"])
        for code, count in manifest.counts.items()
    }
    for entry in manifest.files:
        if not entry.path.startswith("documents/lang="):
            continue
        language = languages[entry.path.split("/")[1].removeprefix("lang=")]
        for batch in _batches(documents / entry.path, _COLUMNS):
            _add(language, batch)
    paths = [documents / entry.path for entry in manifest.files if entry.path.startswith("rejected/")]
    examples = read_examples(paths, manifest.facts["rejected"])
    ordered = sorted(languages.values(), key=lambda one: (one.code == UNKNOWN, -one.documents, one.code))
    return Corpus(manifest, ordered, examples)


def read_examples(paths: Sequence[Path], numbers: Mapping[str, int]) -> dict[str, list[dict[str, Any]]]:
    """The first few rejected records of each reason, of which there are so many. Other columns than the reason are read
    only where one is wanted: of a reason that is rare all of a crawl's rejected records have to be looked through."""
    examples: dict[str, list[dict[str, Any]]] = {}
    wanted = {reason: min(number, EXAMPLES_OF_A_REASON) for reason, number in numbers.items()}
    for path in paths:
        if not wanted:
            break
        with _opened(path) as file:
            for number in range(file.num_row_groups):
                reasons = file.read_row_group(number, columns=["reason"]).column(0)
                places = [
                    place.as_py()
                    for reason, of_reason in wanted.items()
                    for place in pc.indices_nonzero(pc.equal(reasons, reason))[:of_reason]
                ]
                if not places:
                    continue
                rows = file.read_row_group(number, columns=REJECTED_TABLE.names).take(pa.array(sorted(places)))
                for row in rows.to_pylist():
                    examples.setdefault(row["reason"], []).append(row)
                    wanted[row["reason"]] -= 1
                wanted = {reason: left for reason, left in wanted.items() if left}
    return examples


def table_of(corpus: Corpus) -> str:
    """The accounts and a line for each language, as plain text."""
    facts, total = corpus.facts, max(1, corpus.facts["documents"])
    heads = ["code", "language", "documents", "share", "MB", "characters each", "mean score", "script"]
    rows = [heads] + [
        [
            one.code,
            language_name(one.code) if one.code != UNKNOWN else "undetermined",
            f"{one.documents:,}",
            f"{one.documents / total:.2%}",
            f"{one.size_bytes / 1e6:,.2f}",
            f"{one.characters / max(1, one.documents):,.0f}",
            f"{one.mean_score:.3f}",
            " ".join(name for name, _ in one.scripts.most_common(2)),
        ]
        for one in corpus.languages
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if 2 <= column <= 6 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    account = [f"{facts['records_in']:,} records in"]
    account += [f"{number:>14,}  {name}" for name, number in accounts(facts)]
    changes = [f"{number:>14,}  {name}" for name, number in sorted(facts.get("changes", {}).items())]
    return "\n".join([*lines, "", *account, *(["", "changed by rules", *changes] if changes else [])])


def accounts(facts: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Where the records went: names and numbers that add up to `records_in`."""
    went = [("documents", int(facts["documents"])), ("exact duplicates", int(facts["duplicates"]))]
    went += [(name.replace("_", "-"), int(facts[name])) for name in ("near_duplicates", "deleted") if name in facts]
    return went + [(f"rejected: {reason}", int(number)) for reason, number in sorted(facts["rejected"].items())]


def _add(language: Language, batch: pa.RecordBatch) -> None:
    scores = batch.column("lid_score").to_numpy(zero_copy_only=False).astype(np.float64)
    language.scores += np.histogram(np.clip(scores, 0, 1), SCORE_BINS)[0]
    language.score_sum += float(scores.sum())
    lengths = np.clip(batch.column("n_chars").to_numpy(zero_copy_only=False), LENGTH_BINS[0], LENGTH_BINS[-1])
    language.lengths += np.histogram(lengths, LENGTH_BINS)[0]
    for found in batch.column("script").value_counts().to_pylist():
        language.scripts[found["values"]] += found["counts"]
    if "quality" in batch.schema.names:
        quality = batch.column("quality").drop_null().to_numpy(zero_copy_only=False)
        language.quality += np.histogram(np.clip(quality, 0, 1), SCORE_BINS)[0]


def _batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    with _opened(path) as file:
        yield from file.iter_batches(columns=[name for name in columns if name in file.schema_arrow.names])


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (OSError, pa.ArrowException) as error:
        action = f"remove the documents' directory and run {MADE_BY[DOCUMENTS]} again"
        raise MGLMError(f"{path}", found=str(error), expected="a whole Parquet file", action=action) from None
