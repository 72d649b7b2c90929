"""Mojibake: repaired as ftfy does it, and nothing else touched."""

import json
from itertools import pairwise

import ftfy
import pytest
from ftfy.chardata import CHARMAP_ENCODINGS
from hypothesis import given
from hypothesis import strategies as st

from corpus.config import CorpusConfig
from corpus.lines import Line
from corpus.mojibake import _CONFIG, mend
from corpus.records import Accepted, parse_record
from corpus.rules_config import RulesConfig

SENTENCES = [
    "Die Straße führt über die Brücke – „wirklich“.",
    "L’été dernier, c’était déjà fini.",
    "Árvíztűrő tükörfúrógép",
]


@pytest.mark.parametrize("sentence", SENTENCES)
@pytest.mark.parametrize("encoding", ["latin-1", "sloppy-windows-1252", "macroman"])
def test_text_decoded_with_another_code_page_comes_back(sentence: str, encoding: str) -> None:
    ftfy.bad_codecs.ok()  # registers the sloppy code pages
    broken = sentence.encode().decode(encoding)
    assert broken != sentence
    assert mend(f"A line.\n{broken}\n") == f"A line.\n{sentence}\n"


@given(st.text())
def test_what_a_person_wrote_stays(text: str) -> None:
    clean = (
        "“Café” – naïve, Ærø, ß; и вот ещё: «да»; Ça va? À bientôt © 2020 ½ 日本語 "
        + text.encode("ascii", "ignore").decode()
    )
    assert mend(clean) == clean


@given(
    st.text(st.sampled_from("aÜéñл»—ё日 .?"), max_size=12),
    st.sampled_from(CHARMAP_ENCODINGS),
    st.text(st.sampled_from("aé и…\x1a\n"), max_size=4),
    st.booleans(),
)
def test_what_is_not_asked_of_ftfy_would_not_change(text: str, encoding: str, beside: str, spaced: bool) -> None:
    """Among texts of which most are mojibake, damaged, whole or beside text that is none."""
    broken = text.encode().decode(encoding, "replace")
    broken = beside + (broken.replace("\xa0", " ") if spaced else broken) + beside
    mended = mend(broken)
    for before, after in zip(broken.split("\n"), mended.split("\n"), strict=True):
        expected = ftfy.fix_text(before, _CONFIG)
        # Without a lead byte and a continuation side by side ftfy is not asked: control characters alone go later.
        assert after == expected or (after == before and not _pairs(before))


def _pairs(line: str) -> bool:
    """Whether a lead byte of UTF-8 stands before a continuation, written down once more and simply."""
    for encoding in CHARMAP_ENCODINGS:
        codes = line.encode(encoding, "replace")
        if any(0xC2 <= one < 0xF5 and 0x80 <= two < 0xC0 for one, two in pairwise(codes)):
            return True
    return False


def test_it_comes_before_control_characters_are_taken_out() -> None:
    broken = "It’s".encode().decode("latin-1")  # two of its characters are control characters
    line = json.dumps({"text": broken}).encode()
    verdict = parse_record(Line(0, line, len(line)), CorpusConfig())
    assert verdict == Accepted("It’s", None, False, True)
    off = parse_record(Line(0, line, len(line)), CorpusConfig(rules=RulesConfig(mojibake=False)))
    assert off == Accepted("Itâ\x19s".replace("\x19", ""), None, False, False)
