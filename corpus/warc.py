"""The documents of a WARC or WET file: the text of `conversion` records, the main text of HTML `response` records.

fastwarc reads the container (wheels for every Python here, bounded in memory, many times as fast as warcio, which is
Python), resiliparse, of the same makers, the HTML. The stream below is ours, so that a cut or broken file is told and
an expanding one is stopped; a page's own encoding is undone here for the same reason.
"""

import re
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from core.errors import MGLMError, how_to_install
from corpus.config import CorpusConfig
from corpus.file_systems import why_broken
from corpus.inputs import Split
from corpus.records import (
    HTTP_STATUS,
    NOT_DECODED,
    NOT_HTML,
    RAW_CHARACTERS,
    TOO_DEEP,
    TOO_LONG,
    UNREADABLE,
    Accepted,
    Rejected,
    accept,
    decode,
    reject,
    too_long,
)
from corpus.streams import Bounded, open_stream

if TYPE_CHECKING:
    from fastwarc.warc import WarcRecord

HTML_TYPES = ("text/html", "application/xhtml+xml")
TEXT_TYPES = ("text/plain",)
MAX_DEPTH = 512  # of elements in a page, as in browsers; finding the main text takes time by the depth of each
_TOO_DEEP = " > ".join("*" * (MAX_DEPTH + 1))  # as a CSS selector
# Elements that a parser opens anew in every block until they are closed (HTML standard, 13.2.4.3). `a`, of which there
# is one at most, may stay.
_REOPENED = re.compile(r"(</?)(?:b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)(?=[\s/>])", re.IGNORECASE)
MAX_REOPENED = 1_000_000  # such tags × all tags, at most; a page of 400 kB could be 25 GB of elements
_WBITS = {"gzip": 31, "x-gzip": 31, "deflate": 47}


def read_warc(split: Split, config: CorpusConfig, skipped: Counter[str]) -> Iterator[tuple[int, Accepted | Rejected]]:
    """Offsets and verdicts of the records that hold pages; records of other types are counted in `skipped`."""
    try:
        from fastwarc.warc import ArchiveIterator, any_type
    except ModuleNotFoundError:
        raise MGLMError("WARC input", found="no fastwarc", action=how_to_install("corpus")) from None
    position = 0
    with closing(open_stream(split, config.max_expansion)) as stream:
        readable: Any = (
            stream if isinstance(stream, Bounded) else Bounded(stream, split.size_bytes, config.max_expansion)
        )
        try:
            records = ArchiveIterator(
                readable, record_types=any_type, stream_detect=False, auto_decode="none", parse_http=True
            )
            for record in records:
                position = record.stream_pos
                kind = str(record.record_type).rpartition(".")[2]
                if kind == "conversion":
                    yield position, _conversion(record, config)
                elif kind == "response":
                    yield position, _response(record, config)
                else:
                    skipped[kind] += 1
        except (OSError, EOFError, ValueError, zlib.error) as error:
            yield position, reject(UNREADABLE, f"after this record, {why_broken(split.path, error)}", "", False)


def _conversion(record: "WarcRecord", config: CorpusConfig) -> Accepted | Rejected:
    data, refusal = _payload(record, config)
    if refusal is not None:
        return refusal
    text, invalid = decode(data)
    return accept(text, _url(record), text, invalid, config)


def _response(record: "WarcRecord", config: CorpusConfig) -> Accepted | Rejected:
    headers = record.http_headers
    kind = (record.http_content_type or "").lower()
    if headers is None or headers.status_code != 200:
        return reject(HTTP_STATUS, f"status {headers.status_code if headers else 'unknown'}", _url(record) or "", False)
    if kind not in (*HTML_TYPES, *TEXT_TYPES):
        return reject(NOT_HTML, kind or "no content type", _url(record) or "", False)
    data, refusal = _payload(record, config)
    if refusal is not None:
        return refusal
    try:
        data = _undo_encodings(data, headers, config)
    except (ValueError, zlib.error) as error:
        return reject(NOT_DECODED, str(error), _url(record) or "", False)
    text, invalid = decode_page(data, record.http_charset)
    main = main_text(text) if kind in HTML_TYPES else text
    if main is None:
        return reject(TOO_DEEP, f"elements more than {MAX_DEPTH} deep", _url(record) or "", False)
    return accept(main, _url(record), text, invalid, config)


def decode_page(data: bytes, declared: str | None) -> tuple[str, bool]:
    """A page's text and whether bytes had to be replaced: as the server, the page or its bytes say it is encoded."""
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding, map_encoding_to_html5

    encoding = (map_encoding_to_html5(declared) if declared else None) or detect_encoding(data, from_html_meta=True)
    encoding = encoding or "utf-8"
    try:
        return data.decode(encoding), False
    except (UnicodeDecodeError, LookupError):
        text: str = bytes_to_str(data, encoding, errors="replace", fallback_encodings=("utf-8",))
        return text, "\ufffd" in text


def main_text(html: str) -> str | None:
    """What a page says, without menus, banners and footers; paragraphs stay lines. None where it is nested too deep."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    tags = html.count("<")
    if tags * tags > MAX_REOPENED and tags * len(_REOPENED.findall(html)) > MAX_REOPENED:
        html = _REOPENED.sub(r"\1span", html)  # says the same, and stays in its block
    tree = HTMLTree.parse(html)
    root = tree.document if tags > MAX_DEPTH else None  # the rest cannot be much deeper
    if root is not None and root.query_selector(_TOO_DEEP) is not None:
        return None
    text: str = extract_plain_text(tree, preserve_formatting=True, main_content=True, alt_texts=False)
    return text


def _payload(record: "WarcRecord", config: CorpusConfig) -> tuple[bytes, Rejected | None]:
    """What a record holds, or why it will not do: too long, or the file ends within it."""
    length = record.content_length
    if length > config.max_record_bytes:
        text, invalid = decode(record.reader.read(RAW_CHARACTERS * 4), whole=False)
        return b"", reject(TOO_LONG, too_long(length, config), text, invalid)
    data: bytes = record.reader.read(length)
    if len(data) < length:
        text, invalid = decode(data, whole=False)
        return b"", reject(UNREADABLE, f"the file ends after {len(data)} of {length} bytes", text, invalid)
    return data, None


def _undo_encodings(data: bytes, headers: Any, config: CorpusConfig) -> bytes:
    """Raises ValueError or zlib.error: an encoding that is unknown, broken, or grows beyond a record's limit."""
    if "chunked" in (headers.get("Transfer-Encoding") or "").lower():
        data = _join_chunks(data)
    for name in reversed([name.strip().lower() for name in (headers.get("Content-Encoding") or "").split(",")]):
        if name in ("", "identity"):
            continue
        if name == "br":
            data = _unbrotli(data, config.max_record_bytes)
            continue
        if name not in _WBITS:
            raise ValueError(f"content encoding {name}")
        inflate = zlib.decompressobj(_WBITS[name])
        data = inflate.decompress(data, config.max_record_bytes)
        if inflate.unconsumed_tail:
            raise ValueError(f"more than {config.max_record_bytes} bytes when uncompressed")
    return data


def _unbrotli(data: bytes, max_bytes: int) -> bytes:
    import brotli

    inflate = brotli.Decompressor()
    try:
        text: bytes = inflate.process(data, output_buffer_limit=max_bytes)
    except brotli.error as error:
        raise ValueError(f"brotli: {error}") from None
    if not inflate.is_finished() and not inflate.can_accept_more_data():
        raise ValueError(f"more than {max_bytes} bytes when uncompressed")
    return text


def _join_chunks(data: bytes) -> bytes:
    """RFC 9112, 7.1; data that is not in chunks, as some crawlers store it, comes back unchanged."""
    parts, position = [], 0
    while (end := data.find(b"\r\n", position)) >= 0:
        try:
            size = int(data[position:end].split(b";")[0], 16)
        except ValueError:
            return data
        if size <= 0:
            break
        parts.append(data[end + 2 : end + 2 + size])
        position = end + 2 + size + 2
    return b"".join(parts) if parts or data.strip() == b"0" else data  # of an empty page the last chunk is the only one


def _url(record: "WarcRecord") -> str | None:
    url: str | None = record.headers.get("WARC-Target-URI")
    return url.strip("<>") if url else None
