from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import core
from core.scripts import script_of

VARIANTS = Path(core.__file__).with_name("han_variants.txt")


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("The river rose.", "Latn"),
        ("Река поднялась.", "Cyrl"),
        ("ارتفع النهر", "Arab"),
        ("河水上涨", "Hans"),
        ("河水上漲", "Hant"),
        ("人口", "Hani"),
        ("他说「臺灣與澎湖」是書名", "Hant"),
        ("Ријека је набујала.", "Cyrl"),
        ("Rijeka je nabujala.", "Latn"),
        ("Дарё тошди", "Cyrl"),
        ("چای اوستونده", "Arab"),
        ("川の水が増えた", "Jpan"),
        ("カタカナ", "Jpan"),
        ("강물이 불었다", "Hang"),
        ("नदी चढ़ी", "Deva"),
        ("ወንዙ ሞላ", "Ethi"),
        ("ទន្លេឡើង", "Khmr"),
        ("မြစ်ရေတက်", "Mymr"),
        ("მდინარე ადიდდა", "Geor"),
        ("Գետը բարձրացավ", "Armn"),
        ("הנהר עלה", "Hebr"),
        ("123 … !?", "Zyyy"),
        ("", "Zyyy"),
        ("ⲡⲉⲓⲉⲣⲟ", "Zzzz"),
        ("Das Wort река steht in einem deutschen Satz.", "Latn"),
    ],
)
def test_most_letters_decide(text: str, script: str) -> None:
    assert script_of(text) == script


def test_no_character_is_of_both_chinese_scripts_and_all_are_han() -> None:
    rows = [line.split(" ") for line in VARIANTS.read_text("utf-8").splitlines() if not line.startswith("#")]
    characters = {script: set(text) for script, text in rows}
    assert characters.keys() == {"Hans", "Hant"}
    assert not characters["Hans"] & characters["Hant"]
    assert all(len(text) == len(set(text)) for _, text in rows)
    assert all("\u4e00" <= character <= "\u9fff" for both in characters.values() for character in both)
    assert not set("后里台干面") & (characters["Hans"] | characters["Hant"])  # both write them


@given(st.text(max_size=300))
def test_any_text_has_a_script_and_only_its_first_thousand_characters_count(text: str) -> None:
    script = script_of(text)
    assert len(script) == 4
    assert script_of(" " * (1_000 - len(text[:1_000])) + text) == script
    assert script_of("a" * 1_000 + text) == "Latn"
