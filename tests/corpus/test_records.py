"""Every line gets a verdict; none raises."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.text import normalise
from corpus.config import CorpusConfig
from corpus.lines import Line
from corpus.records import (
    EMPTY,
    NO_TEXT,
    NOT_JSON,
    NOT_OBJECT,
    RAW_CHARACTERS,
    REASONS,
    TEXT_NOT_STRING,
    TOO_LONG,
    UNREADABLE,
    Accepted,
    Rejected,
    is_blank,
    parse_record,
)

CONFIG = CorpusConfig(max_record_bytes=2_000)


def line(data: bytes, offset: int = 0) -> Line:
    return Line(offset, data[: CONFIG.max_record_bytes], len(data))


@pytest.mark.parametrize(
    ("data", "reason", "detail"),
    [
        (b'{"text": "cut off', NOT_JSON, "Unterminated string"),
        (b"[" * 1_900, NOT_JSON, "recursion"),
        (b'{"text": %s}' % (b"9" * 1_900), TEXT_NOT_STRING, "a number"),
        (b'["text"]', NOT_OBJECT, "a list"),
        (b"null", NOT_OBJECT, "null"),
        (b'{"content": "hello", "id": 1}', NO_TEXT, "wanted text, found content, id"),
        (b"{}", NO_TEXT, "no field"),
        (b'{"text": null}', TEXT_NOT_STRING, "null"),
        (b'{"text": true}', TEXT_NOT_STRING, "true or false"),
        (b'{"text": ["a"]}', TEXT_NOT_STRING, "a list"),
        (b'{"text": " \\u0000\\n "}', EMPTY, "4 characters"),
        (b'{"text": "%s"}' % (b"a" * 2_000), TOO_LONG, "2012 bytes, more than 2000"),
    ],
)
def test_a_record_that_is_no_document_has_its_reason_and_its_particulars(data: bytes, reason: str, detail: str) -> None:
    verdict = parse_record(line(data), CONFIG)
    assert isinstance(verdict, Rejected)
    assert verdict.reason == reason
    assert detail in verdict.detail
    assert verdict.raw == data.decode()[:RAW_CHARACTERS]
    assert not verdict.invalid_utf8


def test_a_document_has_its_normalised_text_and_its_address() -> None:
    data = json.dumps({"text": "cafe\u0301 \r\n", "url": "https://example.org/é", "x": 1}).encode()
    assert parse_record(line(data), CONFIG) == Accepted("café", "https://example.org/é", False)


def test_an_address_that_is_no_string_is_left_out() -> None:
    assert parse_record(line(b'{"text": "a", "url": 7}'), CONFIG) == Accepted("a", None, False)


def test_the_fields_can_have_other_names() -> None:
    config = CorpusConfig(text_field="content", url_field="link")
    assert parse_record(line(b'{"content": "a", "link": "b"}'), config) == Accepted("a", "b", False)


def test_invalid_utf8_is_replaced_and_told_and_a_lone_surrogate_is_replaced() -> None:
    assert parse_record(line(b'{"text": "a\xffb"}'), CONFIG) == Accepted("a\ufffdb", None, True)
    assert parse_record(line(b'{"text": "a\\ud800b"}'), CONFIG) == Accepted("a\ufffdb", None, False)


def test_a_character_cut_by_the_length_limit_is_not_called_invalid() -> None:
    verdict = parse_record(line(b'{"text": "' + "é".encode() * 1_500), CONFIG)
    assert isinstance(verdict, Rejected)
    assert (verdict.reason, verdict.invalid_utf8) == (TOO_LONG, False)


def test_a_byte_order_mark_begins_a_file_and_is_no_part_of_its_first_record() -> None:
    assert parse_record(line(b'\xef\xbb\xbf{"text": "a"}'), CONFIG) == Accepted("a", None, False)


def test_the_unreadable_rest_of_a_file_is_a_record_of_its_own() -> None:
    verdict = parse_record(Line(7, b'{"te', 4, broken="EOFError: ended"), CONFIG)
    assert verdict == Rejected(UNREADABLE, "EOFError: ended", '{"te', False)
    assert not is_blank(Line(7, b"", 0, broken="EOFError: ended"))


def test_blank_lines_are_no_records() -> None:
    assert is_blank(line(b""))
    assert is_blank(line(b" \t\r"))
    assert not is_blank(line(b" x "))
    assert not is_blank(Line(0, b" ", 5_000))


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters()),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "url", "x"]), inner, max_size=3)
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_bytes_get_a_verdict_that_utf8_and_parquet_can_hold(data: bytes) -> None:
    verdict = parse_record(line(data, offset=5), CONFIG)
    if isinstance(verdict, Accepted):
        assert verdict.text
        assert normalise(verdict.text) == verdict.text
        (verdict.text + (verdict.url or "")).encode("utf-8")
    else:
        assert verdict.reason in REASONS
        (verdict.detail + verdict.raw).encode("utf-8")
