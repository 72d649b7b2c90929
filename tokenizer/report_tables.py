"""What is reckoned from the report's measurements: figures that compare vocabularies, the worst languages; as text."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.languages import language_name
from core.manifest import write_atomically
from tokenizer.fertility import REFERENCE, Fertility, Premium, word_unit

WORST = 10
_COLUMNS = (
    *("vocabulary", "language", "rank", "documents", "bytes", "characters", "words", "unit", "tokens"),
    *("tokens_per_word", "tokens_per_character", "bytes_per_token", "unknown_rate", "byte_rate"),
    *("premium", "parallel_groups"),
)
SUMMARY_HEADS = {
    "vocabulary": "vocabulary",
    "pieces": "pieces",
    "mean_bytes_per_token": "bytes per token, mean of languages",
    "mean_bytes_per_token_low_resource": "bytes per token, low-resource third",
    "worst_byte_rate": "worst byte-fallback rate",
    "worst_unknown_rate": "worst unknown rate",
    "mean_premium": "premium over English, mean",
    "mean_premium_low_resource": "premium, low-resource third",
    "mean_premium_worst_ten": "premium, worst ten",
    "worst_premium": "worst premium",
}


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer and what it made of every language; `held_out` and `parallel` by language code."""

    name: str
    pieces: int
    vocab_size: int
    held_out: Mapping[str, Fertility]
    parallel: Mapping[str, Premium]


def cost(vocabulary: Vocabulary, lang: str) -> float | None:
    """What languages are ranked by: the premium; without parallel text tokens per word, where words are spaced."""
    if vocabulary.parallel:
        against = vocabulary.parallel.get(lang)
        return against.ratio if against and lang != REFERENCE else None
    one = vocabulary.held_out.get(lang)
    return one.tokens_per_word if one and word_unit(lang) == "word" else None


def cost_name(vocabularies: Sequence[Vocabulary]) -> str:
    return "tokens per token of the same text in English" if vocabularies[0].parallel else "tokens per word"


def worst(vocabulary: Vocabulary, ranked: Sequence[str]) -> list[str]:
    """The languages that cost most, the worst first."""
    costs = {lang: value for lang in ranked if (value := cost(vocabulary, lang)) is not None}
    return sorted(costs, key=lambda lang: -costs[lang])[:WORST]


def low_resource(ranked: Sequence[str]) -> list[str]:
    """The last third of the languages."""
    return list(ranked[-(len(ranked) // 3) :]) if len(ranked) >= 3 else []


def summarise(vocabulary: Vocabulary, ranked: Sequence[str]) -> dict[str, Any]:
    """The figures that compare vocabularies; premiums are None without parallel text."""
    ratios = {lang: one.ratio for lang, one in vocabulary.parallel.items() if lang != REFERENCE and lang in ranked}
    low = set(low_resource(ranked))
    ordered = sorted(ratios.values())
    held_out = vocabulary.held_out
    return {
        "vocabulary": vocabulary.name,
        "pieces": vocabulary.pieces,
        "mean_bytes_per_token": _mean([one.bytes_per_token for one in held_out.values()]),
        "mean_bytes_per_token_low_resource": _mean(
            [one.bytes_per_token for lang, one in held_out.items() if lang in low]
        ),
        "worst_byte_rate": round(max(one.byte_rate for one in held_out.values()), 5),
        "worst_unknown_rate": round(max(one.unknown_rate for one in held_out.values()), 5),
        "mean_premium": _mean(ordered),
        "mean_premium_low_resource": _mean([ratio for lang, ratio in ratios.items() if lang in low]),
        "mean_premium_worst_ten": _mean(ordered[-10:]),
        "worst_premium": round(ordered[-1], 3) if ordered else None,
    }


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 3) if values else None


def shown(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def percent(value: float) -> str:
    return "0" if not value else f"{value:.3%}"


def summary_rows(summary: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The columns of SUMMARY_HEADS, as text."""
    return [
        [
            percent(line[key]) if key.endswith("rate") else "–" if line[key] is None else str(line[key])
            for key in SUMMARY_HEADS
        ]
        for line in summary
    ]


def write_markdown(
    path: Path, vocabularies: Sequence[Vocabulary], ranked: Sequence[str], summary: Sequence[dict[str, Any]]
) -> None:
    """Summary, the worst ten and all languages of the first vocabulary."""
    first = vocabularies[0]
    parts = [f"# The vocabulary {first.name}", _table(list(SUMMARY_HEADS.values()), summary_rows(summary))]
    heads = ["language", *(one.name for one in vocabularies)]
    rows = [
        [f"{language_name(lang)} ({lang})", *(shown(cost(one, lang)) for one in vocabularies)]
        for lang in worst(first, ranked)
    ]
    parts += [f"## The languages that cost most: {cost_name(vocabularies)}", _table(heads, rows)]
    heads = [
        "language",
        "tokens per word",
        "unit",
        "tokens per character",
        "bytes per token",
        "unknown",
        "bytes",
        "premium",
    ]
    rows = []
    for lang in ranked:
        one, against = first.held_out.get(lang), first.parallel.get(lang)
        if one is not None:
            rows.append(
                [
                    f"{language_name(lang)} ({lang})",
                    shown(one.tokens_per_word),
                    word_unit(lang),
                    shown(one.tokens_per_character),
                    shown(one.bytes_per_token),
                    percent(one.unknown_rate),
                    percent(one.byte_rate),
                    shown(against.ratio if against else None),
                ]
            )
    parts += ["## All languages, held-out text", _table(heads, rows)]
    write_atomically(path, "\n\n".join(parts) + "\n")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [" | ".join(heads), "|".join(["---"] + ["---:"] * (len(heads) - 1))]
    lines += [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    return "\n".join(f"| {line} |" if "---" not in line else f"|{line}|" for line in lines)


def table_csv(vocabularies: Sequence[Vocabulary], ranked: Sequence[str]) -> str:
    """One row for each vocabulary and language."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for vocabulary in vocabularies:
        for number, lang in enumerate(ranked, start=1):
            one, against = vocabulary.held_out.get(lang), vocabulary.parallel.get(lang)
            row: list[Any] = [vocabulary.name, lang, number]
            if one is not None:
                row += [one.documents, one.bytes, one.characters, one.words, word_unit(lang), one.tokens]
                ratios = (one.tokens_per_word, one.tokens_per_character, one.bytes_per_token, one.unknown_rate)
                row += ["" if value is None else f"{value:.5f}" for value in (*ratios, one.byte_rate)]
            else:
                row += [""] * 11
            row += [f"{against.ratio:.5f}", against.groups] if against else ["", 0]
            writer.writerow(row)
    return buffer.getvalue()
