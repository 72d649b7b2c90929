"""The report: scores and bits per byte as one Markdown page, with how each figure was made beside it."""

from pathlib import Path
from typing import Any

from core.languages import language_name
from eval.bits_per_byte import read_bits_per_byte
from eval.score import read_scores

_ROUGE_HEAD = "| examples | ROUGE-1 | ROUGE-2 | ROUGE-L |"


def report(scores: Path, bits_per_byte: Path | None) -> str:
    """Markdown of a scores/1 directory and, if given, a bits_per_byte/1 directory.

    Raises:
        MGLMError: a directory is missing, unfinished or of another schema.
    """
    parts = [_rouge_section(read_scores(scores))]
    if bits_per_byte is not None:
        parts.append(_bits_section(read_bits_per_byte(bits_per_byte)))
    return "\n\n".join(["# Evaluation", *parts]) + "\n"


def _rouge_section(scores: dict[str, Any]) -> str:
    lines = [
        "## Summaries",
        "",
        "Mean F-measure between 0 and 1, no stemming, on held-out texts. Few examples say little: see their number.",
        "",
        f"| from | to {_ROUGE_HEAD} words by |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for pair in scores["pairs"]:
        names = f"| {_name(pair['lang'])} | {_name(pair['target_lang'])} "
        lines.append(f"{names}{_rouge_cells(pair)} {pair['tokenization']} |")
    for target in scores["targets"]:
        names = f"| all languages | {_name(target['target_lang'])} "
        lines.append(f"{names}{_rouge_cells(target)} {target['tokenization']} |")
    lines.append(f"| all languages | all {_rouge_cells(scores['overall'])} |")
    macro = scores["overall"]["macro"]
    lines += [
        "",
        f"Mean over the {len(scores['pairs'])} language pairs, each weighing the same: ROUGE-1 {macro['rouge1']:.4f}, "
        f"ROUGE-2 {macro['rouge2']:.4f}, ROUGE-L {macro['rougeL']:.4f}.",
        "",
        "Decoding: " + ", ".join(f"{key} {value}" for key, value in scores["decoding"].items()) + ".",
    ]
    return "\n".join(lines)


def _bits_section(result: dict[str, Any]) -> str:
    lines = [
        "## Bits per byte",
        "",
        "Of held-out documents, lower is better; 8 would be guessing bytes blindly. Comparable between tokenizers, but",
        "between languages only with care: a character takes one byte in Latin script, three in most Asian ones.",
        "",
        "| language | documents | bytes | bits per byte |",
        "|---|---:|---:|---:|",
    ]
    rows = sorted(result["languages"].values(), key=lambda row: (row["bits_per_byte"], row["lang"]))
    overall = result["overall"]
    for name, row in [*((_name(row["lang"]), row) for row in rows), ("all", overall)]:
        lines += [f"| {name} | {row['documents']} | {row['bytes']} | {row['bits_per_byte']:.3f} |"]
    lines += ["", f"Mean over {len(rows)} languages, each weighing the same: {overall['macro']:.3f}."]
    return "\n".join(lines)


def _rouge_cells(row: dict[str, Any]) -> str:
    return f"| {row['examples']} | {row['rouge1']:.4f} | {row['rouge2']:.4f} | {row['rougeL']:.4f} |"


def _name(code: str) -> str:
    name = language_name(code)
    return f"{name} ({code})" if name != code else code
