"""What is replaced because it checks, and what stays because it does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import MGLMError
from corpus.private_data import KINDS, PrivateData
from corpus.verdicts import Document

EVERY = PrivateData(list(KINDS), ["DE"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to max.muster@example.co.uk, please.", "Write to <email>, please."),
        ("请联系test@example.com谢谢", "请联系<email>谢谢"),
        ("Ruf +49 30 901820 oder 030 901820 an", "Ruf <phone> oder <phone> an"),
        ("电话：+86 10 6552 9988。", "电话：<phone>。"),
        ("IBAN DE89 3704 0044 0532 0130 00 USA", "IBAN <iban> USA"),
        ("GB29NWBK60161331926819.", "<iban>."),
        ("card 4111 1111 1111 1111!", "card <card>!"),
        ("٤١١١ ١١١١ ١١١١ ١١١١ رقم", "<card> رقم"),
        ("8.8.8.8 and 2001:4860:4860::8888", "<ip> and <ip>"),
    ],
)
def test_what_checks_is_replaced(text: str, expected: str) -> None:
    document = EVERY(Document(text, None))
    assert document.text == expected
    assert sum(document.changes.values()) == expected.count("<")


@pytest.mark.parametrize(
    "text",
    [
        "order 4111111111111112",  # Luhn does not agree
        "DE89 3704 0044 0532 0130 01",  # neither does the IBAN's check
        "192.168.0.1, 10.0.0.1, 127.0.0.1 and ::1 are everybody's",
        "999.1.1.1, 12:30:45, 1.2.3 and version 2.0.1",
        "a@b, @name, user@localhost",
        "In 1984, 17 of 2,345,678 people",
        "ISBN 978-3-16-148410-0",
    ],
)
def test_what_does_not_check_stays(text: str) -> None:
    document = Document(text, None)
    assert PrivateData(list(KINDS))(document) is document


@given(st.text(alphabet=st.sampled_from("0123456789 +-.:@aDE/<>\n٤é"), max_size=120))
def test_no_text_breaks_it_and_a_second_pass_finds_nothing_new_of_addresses(text: str) -> None:
    once = PrivateData(["email", "ip", "card", "iban"])(Document(text, None))
    again = PrivateData(["email", "card", "iban"])(Document(once.text, None))
    assert once.text.count("<email>") >= once.changes["email"]
    assert again.changes["card"] == again.changes["iban"] == 0


def test_only_the_kinds_asked_for_are_replaced() -> None:
    text = "a.b@example.org 4111 1111 1111 1111"
    assert PrivateData(["card"])(Document(text, None)).text == "a.b@example.org <card>"


def test_unknown_kinds_and_countries_are_named() -> None:
    with pytest.raises(MGLMError, match="found names"):
        PrivateData(["email", "names"])
    with pytest.raises(MGLMError, match="found XX"):
        PrivateData(["phone"], ["XX"])


@pytest.mark.parametrize("text", ["x" * 50_000 + "@", "a." * 20_000, "1:" * 20_000])
def test_texts_made_to_send_a_pattern_astray_come_back_as_they_are(text: str) -> None:
    judged = EVERY(Document(text, None))
    assert isinstance(judged, Document)
    assert judged.text == text
