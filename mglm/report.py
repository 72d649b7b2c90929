"""The demo's report: one HTML file that needs nothing else, made from material that others have read.

Everything from outside goes through `core.page.escaped`, which normalises and escapes it; images are data URIs; a
content security policy in the page forbids every request. Sections without material are left out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.languages import language_name
from core.manifest import write_atomically
from core.page import card, duration, escaped, figure, language, or_dash, page, passage, size, table
from mglm.loss_plot import loss_plot

ARTICLE_CHARACTERS = 900  # of a sample's article are shown
PAPER_PARAMETERS, PAPER_TOKENS = 1.06e9, 800e9  # paper, section 3


@dataclass(frozen=True)
class StageRow:
    """A stage that ran: its command, what it made in words, its time and peak memory, how much lies on disk."""

    name: str
    command: str
    made: str
    seconds: float
    size_bytes: int
    peak_bytes: int | None = None


@dataclass(frozen=True)
class LanguageRow:
    """A language of the plan; shares between 0 and 1; `tokens` in the training shards."""

    code: str
    documents: int
    raw_share: float
    share: float
    tokens: int | None = None
    bits_per_byte: float | None = None


@dataclass(frozen=True)
class DetectionRow:
    """Documents that the input says are in `code`, and what the detector, which never saw that, made of them."""

    code: str
    documents: int
    right: int
    undetermined: int


@dataclass(frozen=True)
class Sample:
    """A held-out example; `prediction` is the model's."""

    lang: str
    target_lang: str
    article: str
    reference: str
    prediction: str


@dataclass(frozen=True)
class UnseenArticle:
    """An article from nowhere in the input, with the summary the model gave for each target language."""

    article: str
    summaries: Mapping[str, str]


@dataclass(frozen=True)
class ReportMaterial:
    """All that the page shows. `losses`: metrics.jsonl rows by training run; `scores`: scores.json of scores/1."""

    title: str
    subtitle: str
    parameters: int
    vocabulary: int
    training_tokens: int
    stages: Sequence[StageRow]
    languages: Sequence[LanguageRow]
    balance_png: bytes
    losses: Mapping[str, Sequence[Mapping[str, Any]]]
    scores: Mapping[str, Any] | None = None
    detection: Sequence[DetectionRow] = ()
    samples: Sequence[Sample] = ()
    unseen: UnseenArticle | None = None
    facts: Mapping[str, str] = field(default_factory=dict)  # more figures for the head of the page


def write_report(output: Path, material: ReportMaterial) -> None:
    """Writes the page to `output`, whole or not at all."""
    write_atomically(output, render(material))


def render(material: ReportMaterial) -> str:
    """The page as HTML."""
    parts: list[tuple[str, str, Callable[[ReportMaterial], str]]] = [
        ("made", "What was made", _stages),
        ("balancing", "Balancing", _balancing),
        ("detection", "Language detection", _detection),
        ("losses", "Training", _losses),
        ("rouge", "Summaries: scores", _scores),
        ("samples", "Summaries: samples", _samples),
        ("unseen", "An article it has not seen", _unseen),
        ("limits", "What such a model can and cannot do", _limits),
    ]
    sections = [(key, title, body) for key, title, make in parts if (body := make(material))]
    facts = {
        "parameters": f"{material.parameters:,}",
        "vocabulary": f"{material.vocabulary:,}",
        "tokens trained on": f"{material.training_tokens:,}",
        "languages": f"{len(material.languages)}",
        "documents": f"{sum(row.documents for row in material.languages):,}",
        **material.facts,
    }
    return page(material.title, material.subtitle, sections, facts=facts)


def _stages(material: ReportMaterial) -> str:
    rows = [
        [escaped(row.name), escaped(row.made), f"<code>{escaped(row.command)}</code>", duration(row.seconds),
         size(row.peak_bytes), size(row.size_bytes)]
        for row in material.stages
    ]  # fmt: skip
    seconds = sum(row.seconds for row in material.stages)
    peaks = [row.peak_bytes for row in material.stages if row.peak_bytes is not None]
    bytes_on_disk = sum(row.size_bytes for row in material.stages)
    total = ["all", "", "", duration(seconds), size(max(peaks, default=None)), size(bytes_on_disk)]
    heads = ["stage", "made", "command", "time", "peak memory", "on disk"]
    return table("Each stage is a command of its own; this is what ran, in order.", heads, rows, 3, totals=[total])


def _balancing(material: ReportMaterial) -> str:
    largest = max((max(row.raw_share, row.share) for row in material.languages), default=0) or 1
    rows = []
    for row in material.languages:
        bars = "".join(
            f'<span class="{name}" style="width:{100 * value / largest:.1f}%"></span>'
            for name, value in (("raw", row.raw_share), ("share", row.share))
        )
        rows.append(
            [language(row.code), f'<div class="bars">{bars}</div>', f"{row.documents:,}", f"{row.raw_share:.2%}",
             f"{row.share:.2%}", or_dash(row.tokens, "{:,}"), or_dash(row.bits_per_byte, "{:.3f}")]
        )  # fmt: skip
    heads = ["language", "", "documents", "raw share", "share", "tokens", "bits per byte"]
    key = (
        '<span class="key raw"></span>raw share of documents<span class="key share"></span>share of training sequences'
    )
    return (
        "<p>Documents by detected language, and the share of training each language gets. Bits per byte are measured "
        "on held-out documents: lower is better, 8 would be guessing bytes blindly, – means that none was held out.</p>"
        + figure(material.balance_png, "image/png", "Size of each language before and after balancing")
        + f'<p class="quiet">{key}</p>'
        + table("The plan, by language.", heads, rows, 2)
    )


def _detection(material: ReportMaterial) -> str:
    if not material.detection:
        return ""
    rows = [
        [language(row.code), f"{row.documents:,}", f"{row.right:,}", f"{row.undetermined:,}",
         f"{row.right / row.documents:.1%}"]
        for row in material.detection
    ]  # fmt: skip
    documents = sum(row.documents for row in material.detection)
    right = sum(row.right for row in material.detection)
    undetermined = sum(row.undetermined for row in material.detection)
    total = ["all", f"{documents:,}", f"{right:,}", f"{undetermined:,}", f"{right / documents:.1%}"]
    note = "The input states its languages. The pipeline never reads that; it serves here to check what was detected."
    heads = ["stated language", "documents", "detected so", "undetermined", "right"]
    return f"<p>{note}</p>" + table("Detection against the stated language.", heads, rows, 1, totals=[total])


def _losses(material: ReportMaterial) -> str:
    figures = []
    for name, metrics in material.losses.items():
        if metrics:
            first, last = metrics[0], metrics[-1]
            caption = (
                f"{name}: loss {float(first['loss']):.3f} at step {first['step']}, "
                f"{float(last['loss']):.3f} at step {last['step']}"
            )
            figures.append(figure(loss_plot(metrics), "image/svg+xml", caption))
    return "".join(figures)


def _scores(material: ReportMaterial) -> str:
    if material.scores is None:
        return ""
    measures = ("rouge1", "rouge2", "rougeL")

    def row(source: str, target: str, entry: Mapping[str, Any]) -> list[str]:
        figures = [f"{float(entry[measure]):.3f}" for measure in measures]
        return [source, target, escaped(entry.get("tokenization", "")), f"{entry['examples']:,}", *figures]

    pairs = [row(language(p["lang"]), language(p["target_lang"]), p) for p in material.scores["pairs"]]
    totals = [row("all", language(target["target_lang"]), target) for target in material.scores["targets"]]
    totals.append(row("all", "all", material.scores["overall"]))
    heads = ["from", "to", "split into words by", "examples", "ROUGE-1", "ROUGE-2", "ROUGE-L"]
    note = "ROUGE F-measures between 0 and 1 on held-out texts, without stemming. With few examples they say little."
    return f"<p>{note}</p>" + table("ROUGE by language pair.", heads, pairs, 3, totals=totals)


def _samples(material: ReportMaterial) -> str:
    return "".join(
        card(
            f"{language(sample.lang)} → {language(sample.target_lang)}",
            [
                ("article", passage(_shortened(sample.article), sample.lang)),
                ("reference", passage(sample.reference, sample.target_lang)),
                ("the model's", passage(sample.prediction, sample.target_lang)),
            ],
        )
        for sample in material.samples
    )


def _unseen(material: ReportMaterial) -> str:
    if material.unseen is None:
        return ""
    items = [("article", passage(material.unseen.article, ""))]
    items += [(f"in {language_name(code)}", passage(text, code)) for code, text in material.unseen.summaries.items()]
    return card("Summarised by the exported model, in the way the service does it", items)


def _limits(material: ReportMaterial) -> str:
    smaller, less = PAPER_PARAMETERS / max(material.parameters, 1), PAPER_TOKENS / max(material.training_tokens, 1)
    return (
        f"<p>The paper's model has {PAPER_PARAMETERS / 1e9:.2f} billion parameters and was trained on "
        f"{PAPER_TOKENS / 1e9:.0f} billion tokens. This one is {_times(smaller)} smaller and saw {_times(less)} less "
        "text.</p><p>Such a model learns which script and which common words belong to a language, and that a prompt "
        "asks for English or Chinese. It does not understand the article: expect words that fit the target language "
        "and not the facts, repetition, and ROUGE near what frequent words give by chance. Do not use its "
        "summaries.</p>"
        "<p>What this page shows is that every stage works, together, with the components that a real run uses. The "
        "same commands with another configuration and more text make a larger model.</p>"
    )


def _shortened(text: str) -> str:
    return text if len(text) <= ARTICLE_CHARACTERS else text[:ARTICLE_CHARACTERS].rstrip() + " …"


def _times(factor: float) -> str:
    """`1,200 times`, to two digits."""
    digits = max(0, len(str(int(factor))) - 2)
    return f"{round(factor, -digits):,.0f} times" if factor >= 2 else "hardly"
