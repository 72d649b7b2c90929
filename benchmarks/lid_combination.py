"""Can two detectors be combined so that the whole beats each? Several ways, on documents held out from training.

    python -m benchmarks.lid_combination --lid-model NAME.toml --input LABELLED [--input …]

NAME.toml and what lies beside it come from `mglm corpus train-lid`; its split says which documents were held out.
"""

import argparse
import csv
import gzip
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.record import write_record
from core.combined_model import CombinedModel, codes_of, completed, distribution, pool
from core.detector import DEFAULT_MAX_CHARACTERS, MINIMUM_LETTERS, has_letters, prepare
from core.fasttext_model import FastTextModel
from core.languages import UNKNOWN, languages
from corpus.labelled import read_labelled
from corpus.lid_measure import GRAINS, cut
from corpus.lid_scores import score

FLOOR = 1e-4  # without it one model alone could rule out any language

Pair = tuple[Mapping[str, float], Mapping[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lid-model", type=Path, required=True, help="a combination made by mglm corpus train-lid")
    parser.add_argument("--input", action="append", required=True, help="the labelled text it was trained on")
    options = parser.parse_args()
    combination = CombinedModel(options.lid_model)
    first, second = FastTextModel(combination.files[1]), FastTextModel(combination.files[2])
    codes = codes_of(first), codes_of(second)
    split = options.lid_model.with_name(options.lid_model.stem + ".split.tsv.gz")
    rows = csv.DictReader(gzip.decompress(split.read_bytes()).decode("utf-8").splitlines(), delimiter="\t")
    heldout = {row["doc_id"] for row in rows if row["split"] == "heldout"}
    labelled = read_labelled(options.input, text_field="text", lang_field="lang").documents
    documents = [document for document in labelled if document.doc_id in heldout]
    lacked = [code for code in languages() if code not in codes[0]]

    def fill(said: Pair) -> Mapping[str, float]:
        best = max(said[1], key=said[1].__getitem__)
        return said[1] if best in lacked else said[0]

    def mean(said: Pair) -> Mapping[str, float]:
        return {code: said[0].get(code, 0.0) + said[1].get(code, 0.0) for code in said[0].keys() | said[1].keys()}

    def product(said: Pair) -> Mapping[str, float]:
        return {code: max(p, FLOOR) * max(q, FLOOR) for code, (p, q) in completed(said, codes).items()}

    v, w = combination.weights
    ways: dict[str, Callable[[Pair], Mapping[str, float]]] = {
        f"{combination.files[1].name} alone": lambda said: said[0],
        f"{combination.files[2].name} alone": lambda said: said[1],
        "the second where it answers what the first lacks": fill,
        "mean of both as they are": mean,
        "product of both, each completed by the other": product,
        "mean of both, each completed by the other": lambda said: pool(said, codes, (0.5, 0.5)),
        f"the same, weights {v:g} and {w:g} (the combination)": lambda said: pool(said, codes, (v, w)),
    }
    table: dict[str, list[str]] = {way: [] for way in ways}
    for characters in GRAINS.values():
        gold, said = [], []
        for lang, text in cut(documents, characters):
            line = prepare(text[:DEFAULT_MAX_CHARACTERS])
            if has_letters(line, MINIMUM_LETTERS):
                gold.append(lang)
                said.append((distribution(first, line), distribution(second, line)))
        for way, decide in ways.items():
            scores = score(gold, [_best(decide(pair)) for pair in said])
            table[way] += [f"{scores.macro_f1():.4f}", f"{scores.macro_f1(lacked):.4f}"]
    heads = [head for grain in GRAINS for head in (f"macro-F1, {grain}", f"of the {len(lacked)} lacking")]
    counts = Counter(document.lang for document in documents)
    write_record(
        "lid_combination",
        "Two language detectors as one",
        ["", *heads],
        [[way, *cells] for way, cells in table.items()],
        remarks=[
            f"{len(documents):,} documents of {len(counts)} languages held out from training, from the same sources as "
            "its text, so the second detector is at home here and the first is not. Lacking: the languages that the "
            "first detector cannot emit."
        ],
    )


def _best(said: Mapping[str, float]) -> str:
    code = max(sorted(said), key=said.__getitem__) if said else UNKNOWN
    return code if code in languages() else UNKNOWN


if __name__ == "__main__":
    main()
