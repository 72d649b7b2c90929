"""A self-contained HTML page in the house's style, and its pieces: tables, figures, cards, figures with their units.

What is called a cell, a body or a passage is HTML already; everything else is text and gets escaped here. Images are
data URIs; the content security policy forbids every request and every script but those given.
"""

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from string import Template
from typing import Any

from core.languages import language_name
from core.text import normalise


def page(
    title: str,
    subtitle: str,
    sections: Sequence[tuple[str, str, str]],
    *,
    facts: Mapping[str, str] | None = None,
    script: str = "",
    data: Mapping[str, Any] | None = None,
    styles: str = "",
) -> str:
    """The whole page. `sections` are (id, title, body); `facts` are the figures at its head.

    `script` is JavaScript of ours; it finds `data` as JSON in the element `data`. `styles` are added to the house's.
    """
    templates = resources.files("core").joinpath("templates")
    cells = "".join(f"<div><dt>{escaped(k)}</dt><dd>{escaped(v)}</dd></div>" for k, v in (facts or {}).items())
    scripts, allowed = "", ""
    if script:
        # "<" only occurs inside JSON strings, where it may be written so; nothing in the data can end the element.
        island = json.dumps(data or {}, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")
        scripts = f'<script type="application/json" id="data">{island}</script>\n<script>{script}</script>\n'
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
        allowed = f"; script-src 'sha256-{digest}'"
    return Template(templates.joinpath("page.html").read_text("utf-8")).substitute(
        title=escaped(title),
        subtitle=escaped(subtitle),
        styles=templates.joinpath("page.css").read_text("utf-8") + styles,
        allowed=allowed,
        facts=f'<dl class="facts">{cells}</dl>' if cells else "",
        contents=" ".join(f'<a href="#{key}">{escaped(name)}</a>' for key, name, _ in sections),
        sections="\n".join(
            f'<section id="{key}">\n<h2>{escaped(name)}</h2>\n{body}\n</section>' for key, name, body in sections
        ),
        scripts=scripts,
    )


def table(
    caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int,
    totals: Sequence[Sequence[str]] = (),
) -> str:  # fmt: skip
    """A table in a box that scrolls by itself. Cells are HTML; columns from `numbers_from` on hold numbers."""

    def line(cells: Sequence[str], tag: str, kind: str = "") -> str:
        content = "".join(
            f"<{tag} class='number'>{cell}</{tag}>" if index >= numbers_from else f"<{tag}>{cell}</{tag}>"
            for index, cell in enumerate(cells)
        )
        return f"<tr{kind}>{content}</tr>"

    body = [line(row, "td") for row in rows] + [line(row, "td", " class='total'") for row in totals]
    return (
        f'<div class="table" role="region" tabindex="0" aria-label="{escaped(caption)}"><table>'
        f"<caption>{escaped(caption)}</caption><thead>{line([escaped(head) for head in heads], 'th')}</thead>\n<tbody>"
        + "\n".join(body)
        + "</tbody></table></div>"
    )


def figure(image: bytes, media_type: str, caption: str) -> str:
    source = f"data:{media_type};base64,{base64.b64encode(image).decode('ascii')}"
    shown = escaped(caption)
    return f'<figure><img src="{source}" alt="{shown}"><figcaption>{shown}</figcaption></figure>'


def card(title: str, items: Sequence[tuple[str, str]]) -> str:
    """A titled box of named passages; the passages are HTML."""
    passages = "".join(f"<dt>{escaped(name)}</dt>{shown}" for name, shown in items)
    return f'<article class="sample"><h3>{title}</h3><dl>{passages}</dl></article>'


def passage(text: str, lang: str) -> str:
    attribute = f' lang="{escaped(lang)}"' if lang else ""
    return f'<dd dir="auto"{attribute}>{escaped(text) or "<span class=quiet>(nothing)</span>"}</dd>'


def escaped(value: object) -> str:
    """Anything as text that is safe in HTML, in elements and in quoted attributes."""
    return html.escape(normalise(str(value)), quote=True)


def language(code: str) -> str:
    name = language_name(code)
    return escaped(f"{name} ({code})" if name != code else code)


def duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def size(size_bytes: float | None) -> str:
    """`1.2 MB`, a dash for None."""
    if size_bytes is None:
        return "–"
    for unit in ("B", "kB", "MB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} GB"


def or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)
