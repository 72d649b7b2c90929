"""A detector of one's own on text from elsewhere: trained without one source, measured on that source alone.

    python -m benchmarks.lid_sources [--pool DIR] [--sources ntrex tico19] [--work DIR]

Documents held out by their hash come from the sources that were trained on, and flatter a detector. Here all of a
source is kept away from training, as the text of a crawl is. lid.176 saw neither. Records name their `source`.
"""

import argparse
import gzip
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import texts
from benchmarks.record import write_record
from core.detector import LanguageDetector
from core.languages import code_of_label
from core.log import set_up_logging
from corpus.labelled import LabelledDocument, read_labelled
from corpus.lid_config import LidConfig
from corpus.lid_measure import GRAINS, cut
from corpus.lid_scores import score
from corpus.train_lid import train_lid

MINIMUM_DOCUMENTS = 3  # of a language elsewhere: with fewer nothing of it could be learnt
CONFIG = LidConfig(heldout_share=0.02)  # of what is trained on; the source decides here


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, default=texts.POOL, help="JSON Lines with text, lang and source")
    parser.add_argument("--sources", nargs="+", default=["ntrex", "tico19"], help="left out in turn [ntrex tico19]")
    parser.add_argument("--work", type=Path, help="keep the detectors here; finished ones are not made again")
    given = parser.parse_args()
    set_up_logging()
    with tempfile.TemporaryDirectory(prefix="mglm-bench-") as folder:
        work = given.work or Path(folder)
        rows = [row for source in given.sources for row in without(source, given.pool, work)]
    write_record(
        "lid_sources",
        "Language detectors on a source that none was trained on",
        ["left out: detector", "languages", *(f"macro-F1, {grain}" for grain in GRAINS), "lid.176 lacks",
         *(f"of these, {grain}" for grain in GRAINS)],
        rows,
        remarks=[
            f"Text of {texts.source()}. The languages are those of the source left out that the other sources have in "
            f"{MINIMUM_DOCUMENTS} documents or more, in some of them no more than the seven parts of one declaration; "
            "an answer outside these languages is wrong. No threshold.",
        ],
    )  # fmt: skip


def without(source: str, pool: Path, work: Path) -> Iterator[list[Any]]:
    """Rows of the table: each detector on the documents of `source`, which are in no training."""
    folder = work / f"without-{source}"
    folder.mkdir(parents=True, exist_ok=True)
    elsewhere, here = folder / "elsewhere.jsonl", folder / "here.jsonl"
    with elsewhere.open("w", encoding="utf-8") as trained, here.open("w", encoding="utf-8") as left_out:
        for path in sorted(pool.glob("*.jsonl.gz")):
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                for line in lines:
                    (left_out if json.loads(line)["source"] == source else trained).write(line)
    train_lid([str(elsewhere)], folder / "own.ftz", config=CONFIG)
    known = Counter(document.lang for document in labelled(elsewhere))
    documents = [document for document in labelled(here) if known[document.lang] >= MINIMUM_DOCUMENTS]
    documents = [document for document in documents if code_of_label(document.lang) == document.lang]
    codes = sorted({document.lang for document in documents})
    first = LanguageDetector()
    lacked = [code for code in first.cannot_emit() if code in codes]
    for name, detector in (
        ("lid.176", first),
        ("own", LanguageDetector(folder / "own.ftz")),
        ("both", LanguageDetector(folder / "own.toml")),
    ):
        of_all, of_lacked = [], []
        for characters in GRAINS.values():
            pieces = cut(documents, characters)
            found = score([lang for lang, _ in pieces], [detector.detect(text).lang for _, text in pieces])
            of_all.append(f"{found.macro_f1(codes):.4f}")
            of_lacked.append(f"{found.macro_f1(lacked):.4f}" if lacked else "–")
        yield [f"{source} ({len(documents):,} documents): {name}", len(codes), *of_all, len(lacked), *of_lacked]


def labelled(path: Path) -> list[LabelledDocument]:
    return read_labelled([str(path)], text_field="text", lang_field="lang").documents


if __name__ == "__main__":
    main()
