"""A synthetic crawl of any size: packed JSON Lines in the proportions of mC4's languages, with known faults.

A document is a draw of sentences of its language from real text (the pool of public documents, else examples/), and
ends in a number of its own, so that no two are equal and hardly two alike. Of a hundred thousand records 2,000 repeat
the one before them, 1,000 repeat it with another number, 300 are no JSON, 200 have no text: what a build must count is
known.
"""

import csv
import io
import json
import multiprocessing
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path

import pyarrow as pa
import regex

from benchmarks import texts
from core.examples import EXAMPLES, Example, Segment, write_examples
from core.manifest import write_atomically
from core.stage import open_stage

FILE_BYTES = 64_000_000  # unpacked
MEDIAN_CHARACTERS, SPREAD, LEAST_CHARACTERS = 1_500, 0.9, 300  # of the lognormal lengths
REPEATED, RENUMBERED, BROKEN, TEXTLESS = 0.02, 0.01, 0.003, 0.002
SENTENCES_OF_LANGUAGE = 20_000
EXAMPLES_OF_KIND = 200
LAST_LATIN = "\u024f"
NO_JSON, NO_TEXT = b'{"text": "cut off in the mid\n', b'{"title": "no text here"}\n'
PAGES = texts.ROOT.parent / "shared" / "data" / "language_tables" / "mc4.csv"
_SENTENCE = regex.compile(r"[^\n.!?。！？।॥۔።។၊။…]{1,300}[.!?。！？।॥۔።។၊။…]*\s?")


@dataclass(frozen=True)
class Crawl:
    """What lies in the folder, and what a build must count."""

    files: int
    size_bytes: int  # unpacked
    packed_bytes: int
    records: int
    documents: int  # each unlike the others
    duplicates: int
    near_duplicates: int
    not_json: int
    no_text: int


def make_crawl(folder: Path, size_bytes: int, *, processes: int) -> Crawl:
    """Fills `folder` with files that together have about so many bytes; those that were made are not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    count = max(1, round(size_bytes / FILE_BYTES))
    jobs = [(folder, index, size_bytes // count) for index in range(count)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        facts = pool.map(_make_file, jobs, chunksize=1)
    return Crawl(count, *(sum(column) for column in zip(*facts, strict=True)))


def make_examples(crawl: Path, directory: Path) -> None:
    """examples/1 for the search of evaluation text: texts of this crawl, and the same with their words in disorder."""
    stage = open_stage(directory, schema=EXAMPLES, config={}, inputs={})
    if stage.manifest is not None:
        return
    generator, rows = random.Random(0), []
    for text in _plain_texts(crawl / "crawl-00000.jsonl.zst"):
        words = text.split()
        if len(words) < 100 or max(text[:200]) > LAST_LATIN:  # stretches are counted by words in every such language
            continue
        for kind, source in (("seen", text), ("unseen", " ".join(generator.sample(words, len(words))))):
            segments = [Segment(kind="text", value=source)]
            rows.append(Example(id=f"{kind}-{len(rows)}", task="miniature", lang="en", target_lang="en",
                                split="heldout", source=segments, target=kind))  # fmt: skip
        if len(rows) == 2 * EXAMPLES_OF_KIND:
            break
    write_examples(directory / "heldout.jsonl", rows)
    stage.finish(rows={"heldout.jsonl": len(rows)})


def _plain_texts(path: Path) -> Iterator[str]:
    """Of every document but those that others resemble, which may go."""
    with pa.CompressedInputStream(str(path), "zstd") as packed, io.TextIOWrapper(packed, "utf-8") as file:
        lines = [line for line in file if line.startswith('{"url"')]
    for line, following in pairwise(lines):
        text, after = (json.loads(of)["text"].rsplit("\n", 1)[0] for of in (line, following))
        if text != after:
            yield text


def _make_file(job: tuple[Path, int, int]) -> tuple[int, ...]:
    folder, index, size_bytes = job
    facts = folder / f".crawl-{index:05d}.facts"
    if facts.exists():
        return tuple(json.loads(facts.read_text("ascii")))
    path = folder / f"crawl-{index:05d}.jsonl.zst"
    generator = random.Random(index)
    documents = duplicates = near = broken = textless = 0
    size, text, line = 0, "", ""
    with pa.CompressedOutputStream(str(path), "zstd") as file:
        while size < size_bytes:
            number = f"{index}-{documents + duplicates + near + broken + textless}"
            fate = generator.random()
            if fate < BROKEN:
                size += file.write(NO_JSON)
                broken += 1
                continue
            if fate < BROKEN + TEXTLESS:
                size += file.write(NO_TEXT)
                textless += 1
                continue
            if line and fate < BROKEN + TEXTLESS + REPEATED:
                duplicates += 1
            elif line and fate < BROKEN + TEXTLESS + REPEATED + RENUMBERED:
                line = _record(text, number)
                near += 1
            else:
                text = _draw(generator)
                line = _record(text, number)
                documents += 1
            size += file.write(line.encode())
    records = documents + duplicates + near + broken + textless
    numbers = (size, path.stat().st_size, records, documents, duplicates, near, broken, textless)
    write_atomically(facts, json.dumps(numbers))
    return numbers


def _record(text: str, number: str) -> str:
    record = {"url": f"https://example.org/{number}", "text": f"{text}\n{number}"}
    return json.dumps(record, ensure_ascii=False) + "\n"


def _draw(generator: random.Random) -> str:
    """A document of some language."""
    languages, weights = _languages()
    sentences = _sentences()[generator.choices(languages, cum_weights=weights)[0]]
    wanted = max(LEAST_CHARACTERS, int(generator.lognormvariate(0, SPREAD) * MEDIAN_CHARACTERS))
    drawn, size = [], 0
    while size < wanted:
        drawn.append(generator.choice(sentences))
        size += len(drawn[-1])
    return "".join(drawn).strip()


@cache
def _sentences() -> dict[str, list[str]]:
    """Language → sentences, as they stand in documents, each once."""
    found: dict[str, list[str]] = {}
    for lang, documents in texts.texts().items():
        pieces = (match.group() for text in documents for match in _SENTENCE.finditer(text))
        of_lang = list(dict.fromkeys(piece for piece in pieces if len(piece.strip()) > 20))
        found[lang] = random.Random(lang).sample(of_lang, min(len(of_lang), SENTENCES_OF_LANGUAGE))
    return {lang: of_lang for lang, of_lang in found.items() if of_lang}


@cache
def _languages() -> tuple[list[str], list[float]]:
    """Codes and their cumulative weights: mC4's pages, else the sentences at hand."""
    found = {lang: float(len(of_lang)) for lang, of_lang in _sentences().items()}
    if PAGES.is_file():
        with PAGES.open(encoding="utf-8") as file:
            pages = {row["code"]: float(row["pages_M"]) for row in csv.DictReader(file)}
        found = {lang: pages[lang] for lang in found if lang in pages}
    return list(found), list(accumulate(found.values()))
