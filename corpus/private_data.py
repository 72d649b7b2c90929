"""Addresses and numbers of people, replaced by what they are: `<email>`, `<phone>`, `<ip>`, `<iban>`, `<card>`.

By libraries that check what a pattern finds: Google's phonenumbers knows the numbering plan of every country,
python-stdnum the check digits and lengths of IBANs and cards, the standard library which IP addresses are public. What
does not check stays: an order number is not a card. Names and postal addresses are not looked for: that takes a model
for each language. Refused: presidio and scrubadub, which bring spaCy or scikit-learn and know a handful of languages.
"""

import ipaddress
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from core.errors import MGLMError
from corpus.verdicts import Document

# ASCII on purpose: in scripts without spaces a letter of any kind may stand right before and after an address.
_EMAIL = re.compile(r"[A-Za-z0-9._%+'-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9-])")
_IP = re.compile(
    r"(?<![\w.:])(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?!\.?[0-9])|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7})(?![0-9A-Za-z:])"
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?:[ \u00a0-]?[A-Z0-9]{4}){2,7}(?:[ \u00a0-]?[A-Z0-9]{1,3})?")
_CARD = re.compile(r"(?<![\d-])\d(?:[ \u00a0-]?\d){12,18}(?![\d-])")
# Beginnings and lengths that card issuers use: Visa, Mastercard, American Express, Discover, JCB, Diners, UnionPay.
_ISSUED = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}|3(?:0[0-5]|[68]\d)\d{11}|62\d{14,17}"
)
# What a text must hold to be looked through for phone numbers: a + before a digit, or seven digits near each other.
_PLUS = re.compile(r"[+＋]\W{0,3}\d")
_DIGITS = re.compile(r"\d(?:\W{0,3}\d){6}")


class PrivateData:
    """Replaces the kinds it was given. `regions`: countries whose numbers are known without their +49 or +86."""

    def __init__(self, kinds: Sequence[str], regions: Sequence[str] = ()) -> None:
        """Raises MGLMError: an unknown kind or country, or a library is not installed."""
        if unknown := [kind for kind in kinds if kind not in KINDS]:
            raise MGLMError("corpus.rules.private_data", found=", ".join(unknown), expected=f"of {', '.join(KINDS)}")
        self._kinds = [kind for kind in KINDS if kind in kinds]  # in the order that keeps one from eating another
        self._regions = list(regions)
        if "phone" in self._kinds:
            import phonenumbers

            if unknown := [code for code in regions if code not in phonenumbers.SUPPORTED_REGIONS]:
                expected = "country codes such as DE, CN, US"
                raise MGLMError("corpus.rules.phone_regions", found=", ".join(unknown), expected=expected)

    def __call__(self, document: Document) -> Document:
        text, found = document.text, Counter[str]()
        for kind in self._kinds:
            text, count = KINDS[kind](text, self._regions)
            if count:
                found[kind] = count
        return document.changed(text, found) if found else document


def _replace(pattern: re.Pattern[str], text: str, placeholder: str, check: Callable[[str], int]) -> tuple[str, int]:
    """`check` says how many characters of a match count, 0 for none."""
    count = 0

    def put(match: re.Match[str]) -> str:
        nonlocal count
        length = check(match[0])
        count += length > 0
        return placeholder + match[0][length:] if length else match[0]

    return pattern.sub(put, text), count


def _emails(text: str, regions: Sequence[str]) -> tuple[str, int]:
    return _replace(_EMAIL, text, "<email>", len) if "@" in text else (text, 0)


def _ibans(text: str, regions: Sequence[str]) -> tuple[str, int]:
    from stdnum import iban

    def check(found: str) -> int:
        # Capital letters that follow may belong to the match too, so ever shorter beginnings are tried.
        lengths = [len(found), *(place for place in range(len(found) - 1, 14, -1) if found[place] in " \u00a0-")]
        return next((length for length in lengths if iban.is_valid(re.sub(r"[\s-]", "", found[:length]))), 0)

    return _replace(_IBAN, text, "<iban>", check)


def _cards(text: str, regions: Sequence[str]) -> tuple[str, int]:
    from stdnum import luhn

    def check(found: str) -> int:
        digits = "".join(str(unicodedata.digit(character)) for character in found if character.isdecimal())
        return len(found) if _ISSUED.fullmatch(digits) and luhn.is_valid(digits) else 0

    return _replace(_CARD, text, "<card>", check)


def _ips(text: str, regions: Sequence[str]) -> tuple[str, int]:
    def check(found: str) -> int:
        try:
            return len(found) if ipaddress.ip_address(found).is_global else 0
        except ValueError:
            return 0

    return _replace(_IP, text, "<ip>", check)


def _phones(text: str, regions: Sequence[str]) -> tuple[str, int]:
    import phonenumbers

    wanted: list[str | None] = [None, *regions]
    count = 0
    for region in wanted:
        if (_DIGITS if region else _PLUS).search(text) is None:
            continue
        matcher: Any = phonenumbers.PhoneNumberMatcher(text, region)
        pieces, end = [], 0
        for match in matcher:
            pieces += [text[end : match.start], "<phone>"]
            end = match.end
            count += 1
        text = "".join([*pieces, text[end:]])
    return text, count


KINDS: dict[str, Callable[[str, Sequence[str]], tuple[str, int]]] = {
    "email": _emails,
    "iban": _ibans,
    "card": _cards,
    "ip": _ips,
    "phone": _phones,
}
