import pytest

from core.scripts import script_of


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("The river rose.", "Latn"),
        ("Река поднялась.", "Cyrl"),
        ("ارتفع النهر", "Arab"),
        ("河水上涨", "Hani"),
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
