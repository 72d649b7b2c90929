"""The report's plots and its one page, which needs nothing else."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.figures import BLUE, GREEN, ORANGE, PURPLE, QUIET, SKY, VERMILLION, new_figure, save_figure, tidy
from core.languages import language_name
from core.manifest import write_atomically
from core.page import escaped, figure, language, page, table
from tokenizer.fertility import REFERENCE, word_unit
from tokenizer.report_tables import (
    SUMMARY_HEADS,
    Vocabulary,
    cost,
    cost_name,
    low_resource,
    percent,
    shown,
    summary_rows,
    worst,
)

_STYLES = [(BLUE, "o"), (VERMILLION, "^"), (GREEN, "s"), (ORANGE, "D"), (PURPLE, "v"), (SKY, "P")]
COSTS, AGAINST = "cost_by_language", "tokens_against"


def write_figures(output: Path, vocabularies: Sequence[Vocabulary], ranked: Sequence[str]) -> None:
    """PNG and SVG: what every language costs; and held-out tokens as a ratio to each other vocabulary's."""
    langs = [lang for lang in ranked if any(cost(one, lang) is not None for one in vocabularies)]
    with new_figure(12, 4.2) as plot:
        axes = plot.subplots()
        for number, one in reversed(list(enumerate(vocabularies))):
            colour, mark = _STYLES[number % len(_STYLES)]
            points = [(place, value) for place, lang in enumerate(langs) if (value := cost(one, lang)) is not None]
            x, y = [place for place, _ in points], [value for _, value in points]
            axes.plot(x, y, mark, color=colour, markersize=4 if number else 5, label=one.name, zorder=3 - 0.1 * number)
        if vocabularies[0].parallel:
            axes.axhline(1, color=QUIET, linewidth=1)
        _name_languages(axes, langs)
        axes.set_ylabel(cost_name(vocabularies))
        _legend(axes)
        save_figure(plot, [output / f"{COSTS}.{suffix}" for suffix in ("png", "svg")])
    first, others = vocabularies[0], vocabularies[1:]
    if not others:
        return
    langs = [lang for lang in ranked if lang in first.held_out]
    with new_figure(12, 3.4) as plot:
        axes = plot.subplots()
        for number, one in enumerate(others, start=1):
            colour, mark = _STYLES[number % len(_STYLES)]
            ratios = [first.held_out[lang].tokens / max(one.held_out[lang].tokens, 1) for lang in langs]
            axes.plot(range(len(langs)), ratios, mark, color=colour, markersize=4, label=f"against {one.name}")
        axes.axhline(1, color=QUIET, linewidth=1)
        _name_languages(axes, langs)
        axes.set_ylabel(f"tokens of {first.name} / tokens of the other")
        _legend(axes)
        save_figure(plot, [output / f"{AGAINST}.{suffix}" for suffix in ("png", "svg")])


def _legend(axes: Any) -> None:
    """Above the plot, where it hides no point."""
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)


def _name_languages(axes: Any, langs: Sequence[str]) -> None:
    tidy(axes)
    axes.set_xticks(range(len(langs)), langs, rotation=90, fontsize=6.5)
    axes.set_xlim(-1, len(langs))
    axes.set_xlabel("languages, those with most text first")


def write_page(
    output: Path, vocabularies: Sequence[Vocabulary], ranked: Sequence[str], summary: Sequence[dict[str, Any]]
) -> None:
    """index.html."""
    first, others = vocabularies[0], vocabularies[1:]
    sections = [("summary", "In short", _summary(vocabularies, ranked, summary))]
    sections.append(("languages", "What every language costs", _costs(output, vocabularies)))
    sections.append(("worst", "The ten that cost most", _worst(vocabularies, ranked)))
    if others:
        shown_figure = figure(
            (output / f"{AGAINST}.png").read_bytes(), "image/png",
            f"Held-out tokens of {first.name} over those of the other: below 1 the language is cheaper here.",
        )  # fmt: skip
        sections.append(("against", "Beside the others", shown_figure))
    sections += [("table", "All languages", _all(vocabularies, ranked)), ("method", "How this was measured", _METHOD)]
    facts = {
        "Pieces": f"{first.pieces:,}",
        "Vocabulary, padded": f"{first.vocab_size:,}",
        "Languages measured": str(len(first.held_out)),
        "Held-out text": f"{sum(one.bytes for one in first.held_out.values()) / 1e6:.1f} MB",
    }
    if first.parallel:
        facts["Languages with parallel text"] = str(len(first.parallel.keys() - {REFERENCE}))
    html = page(f"The vocabulary {first.name}", "What it spends on each language", sections, facts=facts)
    write_atomically(output / "index.html", html)


def _summary(vocabularies: Sequence[Vocabulary], ranked: Sequence[str], summary: Sequence[dict[str, Any]]) -> str:
    low = low_resource(ranked)
    body = table(
        "The vocabularies compared",
        ["", *(one.name for one in vocabularies)],
        [
            [escaped(head), *(escaped(row[column]) for row in summary_rows(summary))]
            for column, head in enumerate(SUMMARY_HEADS.values())
            if column
        ],
        1,
    )
    named = ", ".join(language_name(lang) for lang in low)
    return body + (f"<p class='quiet'>The low-resource third: {escaped(named)}.</p>" if low else "")


def _costs(output: Path, vocabularies: Sequence[Vocabulary]) -> str:
    if vocabularies[0].parallel:
        said = (
            "Tokens of a text over the tokens of the same text in English, by language. At 1 a language costs as much."
        )
    else:
        said = "Tokens per word on held-out text, by language, where words are spaced."
    return figure((output / f"{COSTS}.png").read_bytes(), "image/png", said)


def _worst(vocabularies: Sequence[Vocabulary], ranked: Sequence[str]) -> str:
    tables = []
    for one in vocabularies:
        rows = [
            [language(lang), *(escaped(shown(cost(other, lang))) for other in vocabularies)]
            for lang in worst(one, ranked)
        ]
        caption = f"The worst of {one.name}: {cost_name(vocabularies)}"
        tables.append(table(caption, ["Language", *(other.name for other in vocabularies)], rows, 1))
    return "\n".join(tables)


def _all(vocabularies: Sequence[Vocabulary], ranked: Sequence[str]) -> str:
    first = vocabularies[0]
    heads = [
        "Language",
        "Word is",
        "Tokens per word",
        "Tokens per character",
        "Bytes per token",
        "Unknown",
        "Byte tokens",
    ]
    heads += ["Premium", *(f"Premium, {one.name}" for one in vocabularies[1:] if one.parallel)]
    rows = []
    for lang in ranked:
        one = first.held_out.get(lang)
        cells = [language(lang), word_unit(lang)]
        if one is None:
            cells += ["–"] * 5
        else:
            cells += [shown(one.tokens_per_word), shown(one.tokens_per_character), shown(one.bytes_per_token)]
            cells += [percent(one.unknown_rate), percent(one.byte_rate)]
        for other in vocabularies:
            if other is first or other.parallel:
                against = other.parallel.get(lang)
                cells.append(shown(against.ratio if against else None))
        rows.append([escaped(cell) if number else cell for number, cell in enumerate(cells)])
    missing = [lang for lang in ranked if lang not in first.held_out]
    note = f"<p class='quiet'>Without held-out text: {escaped(', '.join(missing))}.</p>" if missing else ""
    return table(f"{first.name}, on held-out text", heads, rows, 2) + note


_METHOD = """<p>Tokens, characters, words and bytes are counted on documents that no stage trains on. A word is a run of
letters and digits; in Han, kana, Thai, Lao, Khmer and Burmese, which space no words, it is one character, so tokens per
word compare languages of the same kind only. Tokens per word count all tokens of the text, its punctuation and
newlines too. Byte tokens are characters that no piece covers, spelled in UTF-8; unknown are those lost.</p>
<p>The premium is the number of tokens of a text over that of the same text in English, summed over all groups of
parallel text that have both: what a speaker of the language pays in context and computation for saying the same. The
low-resource languages are the last third by the amount of text.</p>"""
