"""Mojibake: repaired as ftfy does it, and nothing else touched."""

import json

import ftfy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.config import CorpusConfig
from corpus.lines import Line
from corpus.mojibake import mend
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


def test_it_comes_before_control_characters_are_taken_out() -> None:
    broken = "It’s".encode().decode("latin-1")  # two of its characters are control characters
    line = json.dumps({"text": broken}).encode()
    verdict = parse_record(Line(0, line, len(line)), CorpusConfig())
    assert verdict == Accepted("It’s", None, False, True)
    off = parse_record(Line(0, line, len(line)), CorpusConfig(rules=RulesConfig(mojibake=False)))
    assert off == Accepted("Itâ\x19s".replace("\x19", ""), None, False, False)
