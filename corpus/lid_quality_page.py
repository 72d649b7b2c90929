"""The report of `mglm corpus lid-quality` in Markdown, made from what OUTPUT.json holds."""

from collections.abc import Mapping, Sequence
from typing import Any

from core.languages import language_name, languages
from corpus.lid_measure import GRAINS

CONFUSIONS_SHOWN = 15
HANDFUL = 5  # documents: a language measured on fewer is marked

Result = Mapping[str, Any]


def markdown(result: Result, figures: Mapping[str, str]) -> str:
    """The whole report; `figures`: kind → file name beside it."""
    detectors = result["detectors"]
    scored = result["all_documents"]["documents"]["languages"]
    parts = [
        "# Quality of language detection\n",
        "Made by `mglm corpus lid-quality`; every number is in the JSON file beside it. A text counts as recognised "
        "when the answer is its gold language, with no threshold unless one is given. F1 of a language counts wrong "
        "answers of that language too, those on texts outside the 101 included; macro-F1 is the mean over the "
        "languages of the 101 that have texts.\n",
        _whole(result),
        f"## Detectors on the {result['compared_on']:,} documents that none was trained on\n",
        _overview(result),
        "## The languages that lid.176 lacks\n\nF1 on documents, and how many there are.\n",
        _languages(result, result["lid176_lacks"]),
        "## Length of text\n\nMacro-F1 when only the first characters of each document are read.\n",
        _caps(detectors),
        f"![macro-F1 by characters read]({figures['caps']})\n",
        "## Threshold\n\nKept: documents of the 101 that are given one of the 101. Precision: of all documents that "
        "are, those given the right one. Outside: documents outside the 101 that are given one of them.\n",
        *(_thresholds(name, found) for name, found in detectors.items()),
        f"![kept and precision by threshold]({figures['thresholds']})\n",
        "## Confusions\n\nMost frequent first, on documents; `und` as an answer: a label outside the 101, or too few "
        "letters.\n",
        *(_confusions(name, found) for name, found in detectors.items()),
        "## Every language\n\nF1 on documents. An asterisk marks fewer than "
        f"{HANDFUL} documents; a dash, a language the detector cannot emit.\n",
        f"![F1 of each language]({figures['languages']})\n",
        _languages(result, [*languages(), *(code for code in scored if code not in languages())]),
    ]
    return "\n".join(parts)


def _whole(result: Result) -> str:
    scores = result["all_documents"]
    documents, outside = scores["documents"], scores["documents"]["outside"]
    emit = [code for code in documents["languages"] if code in languages() and code not in result["lid176_lacks"]]
    over_known = sum(documents["languages"][code]["f1"] for code in emit) / len(emit) if emit else 0.0
    return (
        f"## lid.176 on all {result['documents']:,} documents\n\n"
        f"Accuracy {documents['accuracy']:.4f} on {documents['texts']:,} documents of the 101; macro-F1 "
        f"{documents['macro_f1']:.4f} over {documents['languages_with_texts']} languages, {over_known:.4f} over the "
        f"{len(emit)} it knows. Of {outside['texts']} documents outside the 101 it takes "
        f"{outside['taken_for_one_of_the_101']} for one of them.\n\n"
        + _thresholds("lid.176, all documents", scores)
        + "\n"
        + _confusions("lid.176, all documents", scores)
    )


def _overview(result: Result) -> str:
    rows = []
    for name, found in result["detectors"].items():
        scores = found["documents"]
        lacked = [scores["languages"][code]["f1"] for code in result["lid176_lacks"] if code in scores["languages"]]
        outside = scores["outside"]
        half = next(row for row in found["thresholds"] if row["threshold"] == 0.5)
        rows.append(
            [
                name,
                f"{found['bytes'] / 1e6:.1f} MB",
                str(101 - len(found["cannot_emit"])),
                f"{scores['accuracy']:.4f}",
                *(f"{found[grain]['macro_f1']:.4f}" for grain in GRAINS),
                f"{sum(lacked) / len(lacked):.4f}" if lacked else "–",
                f"{outside['taken_for_one_of_the_101']} of {outside['texts']}",
                f"{half['outside_accepted']} of {outside['texts']}",
            ]
        )
    heads = ["detector", "size", "of the 101", "accuracy", *(f"macro-F1, {grain}" for grain in GRAINS)]
    heads += ["macro-F1 of those lid.176 lacks", "outside accepted", "the same at threshold .5"]
    return table(heads, rows)


def _languages(result: Result, codes: Sequence[str]) -> str:
    detectors = result["detectors"]
    rows = []
    for code in codes:
        scores = [found["documents"]["languages"].get(code) for found in detectors.values()]
        if scores[0] is None:
            continue
        texts = scores[0]["texts"]
        cells = [
            "–" if code in found["cannot_emit"] else f"{score['f1']:.3f}"
            for score, found in zip(scores, detectors.values(), strict=True)
        ]
        rows.append([f"{language_name(code)} ({code})", f"{texts}{'*' if texts < HANDFUL else ''}", *cells])
    return table(["language", "documents", *detectors], rows)


def _caps(detectors: Result) -> str:
    rows = [
        [f"{cap['characters']:,}", *(f"{found['caps'][place]['macro_f1']:.4f}" for found in detectors.values())]
        for place, cap in enumerate(next(iter(detectors.values()))["caps"])
    ]
    return table(["characters", *detectors], rows)


def _thresholds(name: str, found: Result) -> str:
    rows = [
        [
            f"{row['threshold']:.2f}",
            f"{row['kept']:.1%}",
            f"{row['precision']:.2%}",
            f"{row['macro_f1']:.4f}",
            str(row["outside_accepted"]),
        ]
        for row in found["thresholds"]
    ]
    return table([name, "kept", "precision", "macro-F1", "outside"], rows)


def _confusions(name: str, found: Result) -> str:
    shown = found["documents"]["confusions"][:CONFUSIONS_SHOWN]
    if not shown:
        return f"{name}: none.\n"
    rows = [[_named(entry["gold"]), _named(entry["answer"]), str(entry["texts"])] for entry in shown]
    return table([f"{name}: gold", "answer", "documents"], rows)


def _named(code: str) -> str:
    return f"{language_name(code)} ({code})" if code in languages() else f"`{code}`"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns after the first are set to the right."""
    rule = "|---|" + "---:|" * (len(heads) - 1)
    return "\n".join(["| " + " | ".join(heads) + " |", rule, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"
