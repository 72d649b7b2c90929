"""The page of `mglm corpus report`: what there is of each language, how sure, how long, and what was left out."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.figures import BLUE, GREEN, ORANGE, VERMILLION, figure_bytes, new_figure, tidy
from core.languages import UNKNOWN
from core.page import escaped, figure, language, page, size, table

if TYPE_CHECKING:
    from corpus.report import Corpus, Language

SHOWN_IN_PLOTS = 110
_MEANING = {
    "blocked_id": "its text was deleted earlier",
    "blocked_url": "its address is on a list",
    "blocked_word": "it has a word of a list",
    "curly_bracket": "it has a curly bracket, as program text does",
    "empty_after_rules": "rules left nothing of it",
    "empty_text": "nothing is left after normalisation",
    "low_quality": "its score is below the threshold",
    "no_lines_left": "rules about lines left none",
    "no_text_field": "it has no field of that name",
    "not_an_object": "JSON, but no object",
    "not_json": "the line is no JSON",
    "text_not_a_string": "the field holds no string",
    "too_few_long_lines": "too few long lines",
    "too_few_sentences": "too few sentences",
    "too_long": "longer than a record may be",
    "unreadable": "the rest of a file that cannot be read",
}


def page_of(corpus: "Corpus") -> str:
    """The whole page."""
    from corpus.report import accounts

    facts, languages = corpus.facts, corpus.languages
    known = [one for one in languages if one.code != UNKNOWN]
    head = {
        "records in": f"{facts['records_in']:,}",
        "documents": f"{facts['documents']:,}",
        "languages": f"{len(known)}",
        "text": size(sum(one.size_bytes for one in languages)),
        "characters": f"{sum(one.characters for one in languages):,}",
        "rejected": f"{sum(facts['rejected'].values()):,}",
    }
    total = max(1, facts["records_in"])
    account = table(
        "Every record is one of these",
        ["what became of it", "records", "share"],
        [[escaped(name), f"{number:,}", f"{number / total:.2%}"] for name, number in accounts(facts)],
        1,
        [["records in", f"{facts['records_in']:,}", f"{1:.2%}"]],
    )
    sections = [
        ("accounts", "Where the records went", account + _duplicates(corpus)),
        ("languages", "Languages", _sizes(known) + _language_table(languages)),
        ("scripts", "Scripts", _scripts(languages)),
        ("scores", "How sure the detector was", _scores(corpus)),
        ("lengths", "How long documents are", _lengths(languages)),
        ("rejected", "What was rejected, and why", _rejected(corpus)),
    ]
    if facts.get("changes"):
        sections.insert(5, ("rules", "What rules changed", _changes(facts["changes"])))
    detector = facts["detector"]["file"]
    return page("Corpus", f"Made by mglm corpus build; detector {detector}.", sections, facts=head)


def _duplicates(corpus: "Corpus") -> str:
    facts = corpus.facts
    exact, distinct = facts["duplicates"], facts["documents"] + facts.get("near_duplicates", 0)
    text = f"Of {exact + distinct:,} records with a text that passed, {exact:,} had a text that another had too"
    if "near_duplicates" in facts:
        text += f", and {facts['near_duplicates']:,} one that was nearly the same"
    else:
        text += "; near-duplicates were not looked for (corpus.near_duplicates.enabled)"
    cannot = facts["detector"].get("cannot_emit", [])
    missing = f"<p>The detector cannot name {', '.join(map(language, cannot))}.</p>" if cannot else ""
    return f"<p>{escaped(text)}.</p>{missing}"


def _language_table(languages: Sequence["Language"]) -> str:
    total = max(1, sum(one.documents for one in languages))
    rows = [
        [
            language(one.code) if one.code != UNKNOWN else "undetermined (und)",
            f"{one.documents:,}",
            f"{one.documents / total:.2%}",
            f"{one.heldout:,}",
            f"{one.characters:,}",
            size(one.size_bytes),
            f"{one.characters / max(1, one.documents):,.0f}",
            f"{one.mean_score:.3f}",
        ]
        for one in languages
    ]
    heads = ["language", "documents", "share", "held out", "characters", "UTF-8", "characters each", "mean score"]
    return table("Languages by their documents", heads, rows, 1)


def _sizes(languages: Sequence["Language"]) -> str:
    shown = list(languages)[:SHOWN_IN_PLOTS]
    if not shown:
        return ""
    with new_figure(12, 3.8) as plot:
        axes = plot.subplots()
        places = np.arange(len(shown))
        axes.bar(places - 0.2, [one.documents for one in shown], 0.4, color=BLUE, label="documents")
        axes.bar(
            places + 0.2, [one.size_bytes / 1000 for one in shown], 0.4, color=ORANGE, hatch="///", label="kB of text"
        )
        axes.set_yscale("log")
        tidy(axes)
        axes.set_xticks(places, [one.code for one in shown], rotation=90, fontsize=6.5)
        axes.set_xlim(-1, len(shown))
        axes.legend(frameon=False, loc="upper right", ncols=2)
        return figure(figure_bytes(plot, "png"), "image/png", "Documents and text of each language, on a log scale")


def _scripts(languages: Sequence["Language"]) -> str:
    scripts: Counter[str] = Counter()
    spoken: dict[str, list[str]] = {}
    for one in languages:
        scripts.update(one.scripts)
        for name in one.scripts:
            spoken.setdefault(name, []).append(one.code)
    total = max(1, scripts.total())
    rows = [
        [escaped(name), escaped(_some(spoken[name])), f"{number:,}", f"{number / total:.2%}"]
        for name, number in scripts.most_common()
    ]
    mixed = [
        [
            language(one.code),
            escaped(", ".join(f"{name} {number:,}" for name, number in one.scripts.most_common(5))),
        ]
        for one in languages
        if one.code != UNKNOWN and len(one.scripts) > 1
    ]
    heads = ["script", "languages", "documents", "share"]
    shown = table("Documents by the script of most of their letters (ISO 15924)", heads, rows, 2)
    if mixed:
        shown += table("Languages in more than one script", ["language", "documents by script"], mixed, 2)
    return shown


def _some(codes: Sequence[str]) -> str:
    return ", ".join(codes[:12]) + (f" and {len(codes) - 12} more" if len(codes) > 12 else "")


def _scores(corpus: "Corpus") -> str:
    from corpus.report import SCORE_BINS

    languages = corpus.languages
    known = _total([one.scores for one in languages if one.code != UNKNOWN], len(SCORE_BINS) - 1)
    unknown = _total([one.scores for one in languages if one.code == UNKNOWN], len(SCORE_BINS) - 1)
    with new_figure(8, 3.2) as plot:
        axes = plot.subplots()
        width = SCORE_BINS[1] - SCORE_BINS[0]
        axes.bar(SCORE_BINS[:-1], known, width, align="edge", color=BLUE, edgecolor="white", label="a language")
        axes.bar(
            SCORE_BINS[:-1], unknown, width, bottom=known, align="edge", color=VERMILLION, hatch="///",
            edgecolor="white", label="undetermined",
        )  # fmt: skip
        axes.set_yscale("symlog", linthresh=10)
        axes.set_xlabel("score of the most probable language")
        axes.set_ylabel("documents")
        axes.set_xlim(0, 1)
        tidy(axes)
        axes.legend(frameon=False, loc="upper left")
        shown = figure(figure_bytes(plot, "png"), "image/png", "Detector scores")
    threshold = corpus.manifest.config.get("lid_threshold")
    least = sorted((one for one in languages if one.code != UNKNOWN), key=lambda one: one.mean_score)[:10]
    rows = [[language(one.code), f"{one.mean_score:.3f}", f"{one.documents:,}"] for one in least]
    text = f"<p>Below {threshold} a document is undetermined; outside the project's languages it is too.</p>"
    shown += text + table("The languages it was least sure of", ["language", "mean score", "documents"], rows, 1)
    quality = _total([one.quality for one in languages], len(SCORE_BINS) - 1)
    if quality.sum():
        with new_figure(8, 2.6) as plot:
            axes = plot.subplots()
            axes.bar(SCORE_BINS[:-1], quality, SCORE_BINS[1], align="edge", color=GREEN, edgecolor="white")
            axes.set_xlabel("quality score")
            axes.set_ylabel("documents")
            tidy(axes)
            shown += figure(figure_bytes(plot, "png"), "image/png", "Quality scores of the documents that passed")
    return shown


def _lengths(languages: Sequence["Language"]) -> str:
    from corpus.report import LENGTH_BINS

    counts = _total([one.lengths for one in languages], len(LENGTH_BINS) - 1)
    held = np.flatnonzero(counts)
    shown = slice(int(held[0]), int(held[-1]) + 1) if held.size else slice(0, 1)
    with new_figure(8, 3) as plot:
        axes = plot.subplots()
        left, width = LENGTH_BINS[:-1][shown], np.diff(LENGTH_BINS)[shown]
        axes.bar(left, counts[shown], width, align="edge", color=BLUE, edgecolor="white")
        axes.set_xscale("log")
        axes.set_xlabel("characters of a document")
        axes.set_ylabel("documents")
        tidy(axes)
        return figure(figure_bytes(plot, "png"), "image/png", "Lengths of documents, on a log scale")


def _changes(changes: dict[str, int]) -> str:
    rows = [[escaped(name.replace("_", " ")), f"{number:,}"] for name, number in sorted(changes.items())]
    return table("Times a rule changed a text that passed, duplicates included", ["what", "times"], rows, 1)


def _rejected(corpus: "Corpus") -> str:
    rejected = corpus.facts["rejected"]
    if not rejected:
        return "<p>Nothing was.</p>"
    ordered = sorted(rejected.items(), key=lambda item: -item[1])
    rows = [[f"<code>{escaped(reason)}</code>", escaped(_MEANING.get(reason, "")), f"{n:,}"] for reason, n in ordered]
    shown = table("Reasons", ["reason", "meaning", "records"], rows, 2)
    examples = [
        [
            f"<code>{escaped(reason)}</code>",
            escaped(f"{_name(row['source'])}, at {row['offset']:,}"),
            escaped(row["detail"]),
            f"<code dir='auto'>{escaped(row['raw'])}</code>",
        ]
        for reason, _ in ordered
        for row in corpus.examples.get(reason, [])
    ]
    return shown + table("Examples", ["reason", "where", "particulars", "the record begins"], examples, 4)


def _name(source: str) -> str:
    return source.rsplit("/", 1)[-1]


def _total(histograms: Sequence[NDArray[Any]], bins: int) -> NDArray[Any]:
    return np.sum(histograms, axis=0) if histograms else np.zeros(bins, np.int64)
