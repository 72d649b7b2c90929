"""The report page shows all its material, escapes it, and asks nothing of the network."""

import math
import re
import struct
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mglm.loss_plot import loss_plot
from mglm.report import DetectionRow, LanguageRow, ReportMaterial, Sample, StageRow, UnseenArticle, render, write_report

HOSTILE = "<script>alert(1)</script> & \"quoted\" 'single' \x00\ud800"
VOID = {"meta", "img"}


def png() -> bytes:
    """A PNG of one white pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    body = zlib.compress(b"\x00\xff")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def metrics(steps: int) -> list[dict[str, Any]]:
    return [{"step": s, "loss": 4 + 4 * math.exp(-s / 40) + 0.3 * math.sin(7 * s)} for s in range(1, steps + 1)]


def rouge(examples: int, value: float) -> dict[str, Any]:
    return {"examples": examples, "rouge1": value, "rouge2": value / 3, "rougeL": value / 2}


@pytest.fixture
def material() -> ReportMaterial:
    return ReportMaterial(
        title="mGLM demo",
        subtitle="314 documents, made on 2 cores",
        parameters=2_345_678,
        vocabulary=8_064,
        training_tokens=1_228_800,
        stages=[
            StageRow("corpus", "mglm corpus build --input a.jsonl", "314 documents in 45 languages", 21.4, 812_000),
            StageRow("pretraining", "mglm train pretrain", "120 steps", 143.0, 9_400_000, peak_bytes=2_100_000_000),
        ],
        languages=[
            LanguageRow("en", 90, 0.45, 0.2, 40_000, 3.21),
            LanguageRow("zh", 40, 0.2, 0.15, 30_000, 2.5),
            LanguageRow("ta", 6, 0.03, 0.08, 9_000, None),
        ],
        balance_png=png(),
        losses={"pretraining": metrics(120), "fine-tuning": metrics(12)},
        scores={
            "pairs": [
                {"lang": "ar", "target_lang": "zh", **rouge(2, 0.1234), "tokenization": "xlsum-jieba"},
                {"lang": "en", "target_lang": "en", **rouge(9, 0.2), "tokenization": "xlsum-words"},
            ],
            "targets": [{"target_lang": "zh", **rouge(2, 0.1234), "tokenization": "xlsum-jieba"}],
            "overall": rouge(11, 0.18),
        },
        detection=[DetectionRow("en", 90, 89, 1), DetectionRow("yo", 4, 1, 3)],
        samples=[
            Sample(
                "ar",
                "zh",
                "قبل أن يؤذّن الفجر بساعة. " * 50,
                "黎明前她在烤饼。",
                "她在她在。",
            ),
            Sample("en", "en", HOSTILE, HOSTILE, ""),
        ],
        unseen=UnseenArticle("The ferry was late.", {"en": "A late ferry.", "zh": "渡轮晚点。"}),
        facts={"pretraining": "2 processes"},
    )


class Page(HTMLParser):
    """Checks nesting, and collects text and attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_everything_given_is_shown(material: ReportMaterial) -> None:
    text = Page(render(material)).text
    for shown in (
        "mglm corpus build --input a.jsonl", "2 min 23 s", "9.4 MB", "2.1 GB", "English (en)", "Tamil (ta)", "45.00%",
        "3.210", "98.9%", "xlsum-jieba", "0.123", "她在她在。", "A late ferry.", "渡轮晚点。", "2 processes",
        "2,345,678", "loss 8.098 at step 1", "450 times smaller", "650,000 times less", "(nothing)",
    ):  # fmt: skip
        assert shown in text, shown


def test_text_from_outside_is_escaped_and_encodes(material: ReportMaterial, tmp_path: Path) -> None:
    hostile = replace(material, title=HOSTILE, subtitle=HOSTILE, facts={HOSTILE: HOSTILE}, losses={HOSTILE: metrics(3)})
    write_report(tmp_path / "report.html", hostile)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "<script" not in page
    assert "\x00" not in page
    assert Page(page).text.count("<script>alert(1)</script>") >= 6


def test_nothing_is_fetched_from_anywhere(material: ReportMaterial) -> None:
    page = render(material)
    attributes = Page(page).attributes
    links = [value for _, name, value in attributes if name in ("src", "href", "action", "srcset", "data")]
    assert links
    assert all(link.startswith(("data:image/", "#")) for link in links)
    assert "default-src 'none'" in page
    assert not re.search(r"url\(|@import", page)


def test_passages_find_their_own_direction_and_long_articles_are_cut(material: ReportMaterial) -> None:
    page = render(material)
    assert '<dd dir="auto" lang="ar">' in page
    assert " …</dd>" in page


def test_sections_without_material_are_left_out(material: ReportMaterial) -> None:
    page = render(replace(material, scores=None, detection=(), samples=(), unseen=None, losses={}))
    ids = {value for _, name, value in Page(page).attributes if name == "id"}
    assert ids == {"made", "balancing", "limits"}


def test_the_loss_plot_is_the_same_for_the_same_rows() -> None:
    plot = loss_plot(metrics(50))
    assert plot.startswith(b"<?xml")
    assert plot == loss_plot(metrics(50))
    assert plot != loss_plot(metrics(49))
    assert b"<image" not in loss_plot(metrics(1))
