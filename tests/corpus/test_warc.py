"""WET and WARC: pages become documents with their address, everything else is counted, broken files are told."""

import gzip
import random
import zlib
from collections import Counter
from pathlib import Path

import brotli
import pytest

from corpus.config import CorpusConfig
from corpus.inputs import WARC, Split
from corpus.records import Accepted, Rejected
from corpus.warc import MAX_DEPTH, main_text, read_warc

HTML = (
    "<html><head><title>Titel</title><script>var x = 1;</script></head><body><nav><a href='/'>Menü</a></nav><main>"
    "<article><h1>Brücke gesperrt</h1><p>Die alte Brücke wurde gesperrt.</p><p>Sie wird repariert.</p></article></main>"
    "<footer>Impressum</footer></body></html>"
)
TEXT = "Brücke gesperrt\n\nDie alte Brücke wurde gesperrt.\n\nSie wird repariert."


def record(kind: str, body: bytes, url: str = "https://example.org/a") -> bytes:
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nContent-Length: {len(body)}\r\n"
    content = "application/http; msgtype=response" if kind == "response" else "text/plain"
    return f"{head}Content-Type: {content}\r\n\r\n".encode() + body + b"\r\n\r\n"


def response(body: bytes, headers: str = "Content-Type: text/html; charset=utf-8", status: int = 200) -> bytes:
    return record("response", f"HTTP/1.1 {status} X\r\n{headers}\r\n\r\n".encode() + body)


def read(
    path: Path, data: bytes, compression: str | None = None
) -> tuple[list[tuple[int, Accepted | Rejected]], Counter[str]]:
    path.write_bytes(data)
    skipped: Counter[str] = Counter()
    split = Split(str(path), 0, None, compression, WARC, len(data))
    return list(read_warc(split, CorpusConfig(max_record_bytes=5_000), skipped)), skipped


def test_wet_gives_its_conversions_with_their_addresses_and_counts_the_rest(tmp_path: Path) -> None:
    records = [record("warcinfo", b"software: x"), record("conversion", "Grüße\r\n".encode()), record("metadata", b"m")]
    records.append(record("conversion", b"bad \xff", "https://example.org/b"))
    plain, skipped = read(tmp_path / "a.wet", b"".join(records))
    offsets = [len(records[0]), sum(map(len, records[:3]))]
    assert plain == [
        (offsets[0], Accepted("Grüße", "https://example.org/a", False)),
        (offsets[1], Accepted("bad \ufffd", "https://example.org/b", True)),
    ]
    assert skipped == {"warcinfo": 1, "metadata": 1}
    members = b"".join(gzip.compress(record) for record in records)  # as Common Crawl has it
    assert read(tmp_path / "a.wet.gz", members, "gzip") == (plain, skipped)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ("Content-Type: text/html; charset=utf-8", HTML.encode()),
        ("Content-Type: text/html", HTML.replace("<title>", "<meta charset='iso-8859-1'><title>").encode("latin-1")),
        ("Content-Type: application/xhtml+xml\r\nContent-Encoding: gzip", gzip.compress(HTML.encode())),
        ("Content-Type: text/html\r\nContent-Encoding: deflate", zlib.compress(HTML.encode())),
        ("Content-Type: text/html\r\nContent-Encoding: br", brotli.compress(HTML.encode())),
        (
            "Content-Type: text/html\r\nTransfer-Encoding: chunked",
            b"%x\r\n%s\r\n0\r\n\r\n" % (len(HTML.encode()), HTML.encode()),
        ),
        ("Content-Type: text/html\r\nTransfer-Encoding: chunked", HTML.encode()),  # undone by the crawler
    ],
)
def test_the_main_text_of_a_page_is_found_in_whatever_encoding_it_came(
    tmp_path: Path, headers: str, body: bytes
) -> None:
    ((_, verdict),), _ = read(tmp_path / "a.warc", response(body, headers))
    assert verdict == Accepted(TEXT, "https://example.org/a", False)


def test_pages_that_are_no_documents_have_their_reasons_and_those_after_them_are_read(tmp_path: Path) -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    assert len(bomb) > 5_000
    pages = [
        response(b"gone", status=404),
        response(b"%PDF", "Content-Type: application/pdf"),
        response(gzip.compress(b" " * 2_000_000)[:4_000], "Content-Type: text/html\r\nContent-Encoding: gzip"),
        response(b"no gzip", "Content-Type: text/html\r\nContent-Encoding: gzip"),
        response(b"?", "Content-Type: text/html\r\nContent-Encoding: rot13"),
        response(b"x" * 6_000),
        response(b"<html></html>"),
        response(b"0\r\n\r\n", "Content-Type: text/html\r\nTransfer-Encoding: chunked"),
        record("conversion", b"the last"),
    ]
    found, _ = read(tmp_path / "a.warc", b"".join(pages))
    reasons = [verdict.reason for _, verdict in found if isinstance(verdict, Rejected)]
    expected = ["http_status", "not_html", "not_decoded", "not_decoded", "not_decoded", "too_long"]
    assert reasons == [*expected, "empty_text", "empty_text"]
    assert found[-1][1] == Accepted("the last", "https://example.org/a", False)


def test_a_page_nested_deeper_than_any_author_does_is_refused_before_it_takes_long(tmp_path: Path) -> None:
    inner = MAX_DEPTH - 2  # html and body are elements too
    assert main_text("<div>" * inner + "deep" + "</div>" * inner) == "deep"
    assert main_text("<p>one</p><ul>" + "<li>two<br>" * 2 * MAX_DEPTH) is not None
    for opening, closing in (("<div>", "</div>"), ("<ul><li>", ""), ("<table><tr><td>", ""), ("<b></x>", "")):
        assert main_text(opening * (inner + 1) + "too deep" + closing * (inner + 1)) is None
    page = response(b"<div>" * 900, "Content-Type: text/html")
    (found, (_, last)), _ = read(tmp_path / "a.warc", page + record("conversion", b"the last"))
    assert found[1] == Rejected("too_deep", "elements more than 512 deep", "https://example.org/a", False)
    assert last == Accepted("the last", "https://example.org/a", False)
    main_text("<div>" * 200_000)  # an hour, were its text looked for


def test_bold_text_that_nobody_closes_is_not_opened_in_every_paragraph() -> None:
    words = [f"word {index} of <page>" for index in range(20_000)]
    quoted = [word.replace("<", "&lt;") for word in words]
    # Parsed as they stand, 200 million elements.
    for tag in ("<font color='{}>' size=3\">", "<B\nid={}>", "<strong/ x =\n{}>", "<u a='{}>' \"=/>"):
        page = "".join(f"{tag.format(index)}<p>{word}" for index, word in enumerate(quoted))
        found = main_text(f"<html><body>{page}")
        assert found is not None
        assert found.split("\n\n") == words
    closed = "".join(f"<p><b>{word[:5]}</b>{word[5:]} <i x='y'>and</i> <body-text>so</body-text>" for word in quoted)
    assert main_text(closed) == "\n\n".join(f"{word} and so" for word in words)


def test_a_file_that_ends_too_early_gives_what_it_has_and_says_so(tmp_path: Path) -> None:
    draw = random.Random(1)
    bodies = [bytes(draw.choices(b"abcdefgh ", k=3_000)) for _ in range(20)]
    members = [gzip.compress(record("conversion", body)) for body in bodies]
    data = b"".join(members)
    found, _ = read(tmp_path / "a.wet.gz", data[: -len(members[-1]) // 2], "gzip")
    assert [isinstance(verdict, Accepted) for _, verdict in found].count(True) >= 18
    last = found[-1][1]
    assert isinstance(last, Rejected)
    assert last.reason == "unreadable"
    plain = b"".join(record("conversion", body) for body in bodies)
    (*_, (_, cut)), _ = read(tmp_path / "a.wet", plain[:-500])
    assert isinstance(cut, Rejected)
    assert "of 3000 bytes" in cut.detail


def test_damaged_bytes_never_raise(tmp_path: Path) -> None:
    draw = random.Random(2)
    whole = b"".join([record("warcinfo", b"x"), response(HTML.encode()), record("conversion", b"text")] * 2)
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            start = draw.randrange(len(data))
            data[start : start + draw.randint(0, 9)] = draw.randbytes(draw.randint(0, 9))
        for _, verdict in read(tmp_path / "a.warc", bytes(data))[0]:
            text = verdict.text if isinstance(verdict, Accepted) else verdict.raw + verdict.detail
            assert text.encode("utf-8").decode("utf-8") == text  # no lone surrogate, which would stop a writer later
