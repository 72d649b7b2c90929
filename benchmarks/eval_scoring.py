"""Scoring a million pairs: ROUGE beside Google's `rouge-score`, answers beside a plain loop like the published script.

    python -m benchmarks.eval_scoring [--pairs 1000000] [--peer-pairs 10000]

The peers score the first pairs, in turn with us on the same; then we score all of them alone, for time and memory. The
texts are SciTLDR's where they lie beside the project, else those of examples/, said over with another number each time.
"""

import argparse
import json
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import count, islice
from pathlib import Path

from rouge_score.rouge_scorer import RougeScorer

from benchmarks.record import Measure, in_turn, measure, median_s, ratio, write_record
from eval.rouge import MEASURES, rouge
from eval.squad import squad
from eval.words import words_of

ROOT = Path(__file__).parents[1]
SCITLDR = ROOT.parent / "shared" / "data" / "eval" / "scitldr" / "train.jsonl"
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description="Scoring a million pairs, beside others.")
    parser.add_argument("--pairs", type=int, default=1_000_000, help="pairs that we score alone")
    parser.add_argument("--peer-pairs", type=int, default=10_000, help="pairs that the peers score too")
    arguments = parser.parse_args()
    references, predictions = map(list, zip(*islice(_pairs(), arguments.pairs), strict=True))
    few = slice(0, arguments.peer_pairs)
    rows, versions = [], {"rouge-score": version("rouge-score"), "rapidfuzz": version("rapidfuzz")}

    assert _rouge_score(references[few], predictions[few]) == rouge(references[few], predictions[few], "en").means
    beside = in_turn(
        {
            "ours": lambda: rouge(references[few], predictions[few], "en"),
            "theirs": lambda: _rouge_score(references[few], predictions[few]),
        },
        ROUNDS,
    )
    alone = measure(lambda: rouge(references, predictions, "en"))
    rows.append(_row("ROUGE-1, -2 and -L", beside, alone, arguments.pairs, arguments.peer_pairs))

    answers = {str(number): [_answer(text)] for number, text in enumerate(references)}
    given = {str(number): _answer(text) for number, text in enumerate(predictions)}
    some = {key: answers[key] for key in islice(answers, arguments.peer_pairs)}
    some_given = {key: given[key] for key in some}
    beside = in_turn({"ours": lambda: squad(some, some_given), "theirs": lambda: _plain_loop(some, some_given)}, ROUNDS)
    alone = measure(lambda: squad(answers, given))
    rows.append(_row("SQuAD F1 and exact match", beside, alone, arguments.pairs, arguments.peer_pairs))
    write_record(
        "eval_scoring",
        "Scoring predictions",
        ["scores", "pairs", "seconds", "pairs a second", "peak memory, MB", "beside", "times as fast"],
        rows,
        versions=versions,
        remarks=[
            f"Texts: {'SciTLDR, a summary and a sentence of its article' if SCITLDR.exists() else 'examples/'}.",
            f"Beside: rouge-score with the same words, and a plain loop, on the first {arguments.peer_pairs:,} pairs, "
            f"median of {ROUNDS} rounds in turn. ROUGE is the same to the last digit.",
            "Peak memory is the whole process, the texts included. One process.",
        ],
    )


def _row(
    name: str, beside: dict[str, list[Measure]], alone: Measure, pairs: int, peer_pairs: int
) -> list[str | int | float]:
    peer = f"{peer_pairs / median_s(beside['theirs']):,.0f} pairs a second"
    faster = round(ratio(beside["theirs"], beside["ours"]), 1)
    return [name, pairs, round(alone.seconds, 1), round(pairs / alone.seconds), round(alone.peak_bytes / 1e6), peer,
            faster]  # fmt: skip


def _rouge_score(references: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    scorer = RougeScorer(list(MEASURES), tokenizer=words_of("en"))
    totals = dict.fromkeys(MEASURES, 0.0)
    for reference, prediction in zip(references, predictions, strict=True):
        scores = scorer.score(reference, prediction)
        for name in MEASURES:
            totals[name] += scores[name].fmeasure
    return {name: total / len(references) for name, total in totals.items()}


def _plain_loop(answers: dict[str, list[str]], predictions: dict[str, str]) -> float:
    """F1 and exact match as a reader of their definition would write them."""
    punctuation = set(string.punctuation)

    def words(text: str) -> list[str]:
        bare = "".join(character for character in text.lower() if character not in punctuation)
        return [word for word in bare.split() if word not in ("a", "an", "the")]

    total = 0.0
    for key, accepted in answers.items():
        best, said = 0.0, words(predictions[key])
        for answer in accepted:
            wanted = words(answer)
            common = sum((Counter(said) & Counter(wanted)).values())
            if common:
                best = max(best, 2 * common / (len(said) + len(wanted)))
            total += said == wanted
        total += best
    return total


def _pairs() -> Iterator[tuple[str, str]]:
    """References with predictions, without end."""
    texts = list(_texts())
    for number in count():
        for reference, prediction in texts:
            yield f"{reference} {number}", f"{prediction} {number}"


def _texts() -> Iterator[tuple[str, str]]:
    if SCITLDR.exists():
        for line in SCITLDR.read_text("utf-8").splitlines():
            row = json.loads(line)
            yield row["target"][0], row["source"][0]
        return
    for line in (ROOT / "examples" / "documents.jsonl").read_text("utf-8").splitlines():
        words = json.loads(line)["text"].split()
        yield " ".join(words[:25]), " ".join(words[10:40])


def _answer(text: str) -> str:
    return " ".join(text.split()[2:6])


if __name__ == "__main__":
    main()
