"""Language detection: what the adapter costs beside bare fastText, and what other detectors cost beside lid.176.

    python -m benchmarks.lid_speed [--documents N] [--rounds N] [--lid-model FILE …]

Bare fastText gets lines that were prepared before, so that preparing, counting letters, mapping labels and Python's
calls are what the adapter is charged with. Every figure is CPU time of this one process.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.record import write_record
from benchmarks.texts import source, texts
from core.detector import DEFAULT_MAX_CHARACTERS, LanguageDetector, prepare
from core.fasttext_model import FastTextModel, embedded_model_path
from core.scripts import script_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lid-model", type=Path, action="append", default=[], help="another detector; repeatable")
    options = parser.parse_args()
    documents = _spread(texts(), options.documents)
    lines = [prepare(text[:DEFAULT_MAX_CHARACTERS]) + "\n" for text in documents]
    bare, lid176 = FastTextModel(embedded_model_path()).predict, LanguageDetector()

    calls: dict[str, Callable[[], object]] = {
        "bare fastText, lid.176": lambda: [bare(line, 1, 0.0, "strict") for line in lines],
        "adapter, lid.176": lambda: [lid176.detect(text) for text in documents],
        "of it: preparing the line": lambda: [prepare(text[:DEFAULT_MAX_CHARACTERS]) for text in documents],
        "beside it: the script of the text": lambda: [script_of(text) for text in documents],
    }
    for path in options.lid_model:
        calls[f"adapter, {path.name}"] = _detecting(LanguageDetector(path), documents)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(options.rounds + 1):
        for name, call in calls.items():
            started = time.process_time()
            call()
            seconds[name].append(time.process_time() - started)
    seconds = {name: times[1:] for name, times in seconds.items()}  # the first round fills caches
    against = seconds["bare fastText, lid.176"]
    rows = []
    for name, times in seconds.items():
        middle = statistics.median(times)
        ratio = statistics.median(a / b for a, b in zip(times, against, strict=True))
        micros = 1e6 * middle / len(documents)
        rows.append([name, f"{micros:.1f}", int(len(documents) / middle), f"{ratio:.3f}"])
    average = sum(map(len, lines)) / len(lines)
    write_record(
        "lid_speed",
        "Language detection: the adapter beside bare fastText",
        ["", "µs of CPU a document", "documents a core-second", "time, ratio to bare"],
        rows,
        remarks=[
            f"{len(documents):,} documents of {source()}, languages in turn, at most {DEFAULT_MAX_CHARACTERS:,} "
            f"characters of each, {average:.0f} on average; median of {options.rounds} rounds in turn."
        ],
    )


def _detecting(detector: LanguageDetector, documents: list[str]) -> Callable[[], object]:
    return lambda: [detector.detect(text) for text in documents]


def _spread(found: dict[str, list[str]], number: int) -> list[str]:
    """So many documents, one of each language after the other."""
    longest = max(map(len, found.values()))
    ordered = [documents[place] for place in range(longest) for documents in found.values() if place < len(documents)]
    return ordered[:number]


if __name__ == "__main__":
    main()
