"""Words are those of XL-Sum's scorer; the lists here are what its tokenizer prints for these texts, stemmer off."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.languages import languages
from eval.words import words_of

XLSUM = [
    ("en", "Can't covid19 3.5 naïve", ["can", "t", "covid", "19", "3", "5", "naïve"]),
    ("en", "a+b=c €5 20°C", ["a", "b", "c", "€", "5", "20", "°", "c"]),
    ("en", "汉字abc", ["汉", "字", "abc"]),
    ("en", "abc_def 😀😀 a😀b", ["abc", "def", "😀", "😀", "a", "😀", "b"]),
    ("hi", "हिन्दी में किताब १२३ है।", ["हिन्दी", "में", "किताब", "१२३", "है"]),
    ("bn", "বাংলা ভাষা, ০১", ["বাংলা", "ভাষা", "০১"]),
    ("ta", "தமிழ்", ["தமிழ்"]),
    ("te", "తెలుగు భాష.", ["తెలుగు", "భాష"]),
    ("ko", "안녕하세요 세계", ["안녕하세요", "세계"]),
    ("ar", "العربية ١٢٣ مَرْحَبًا", ["العربية", "١٢٣", "مَرْحَبًا"]),
    ("ru", "Кириллица, Ещё раз!", ["кириллица", "ещё", "раз"]),
    ("fa", "می\u200cخواهم", ["میخواهم"]),
    ("zh", "我爱北京，天安门。", ["我", "爱", "北京", " ", "天安门"]),
    ("th", "ฉันรักเมืองไทย มาก", ["ฉัน", "รัก", "เมือง", "ไทย", " ", "มาก"]),
]


@pytest.mark.parametrize(("language", "text", "expected"), XLSUM)
def test_words_are_those_of_the_xlsum_scorer(language: str, text: str, expected: list[str]) -> None:
    assert words_of(language).tokenize(text) == expected


def test_scripts_without_spaces_and_without_a_dictionary_are_cut_into_what_readers_see_as_characters() -> None:
    assert words_of("km").tokenize("ភាសាខ្មែរ។") == ["ភា", "សា", "ខ្មែ", "រ"]
    assert words_of("ja").tokenize("猫が、寝る。") == ["猫", "が", "寝", "る"]
    assert {words_of(code).name for code in ("ja", "km", "lo", "my")} == {"graphemes"}


def test_every_language_has_words_and_a_name_for_them() -> None:
    names = {words_of(code).name for code in languages()}
    assert names == {"xlsum-words", "xlsum-jieba", "xlsum-newmm", "graphemes"}
    for code in languages():
        assert words_of(code).tokenize("") == []
        assert words_of(code).tokenize(" ?!… ") == []
        assert words_of(code).tokenize("abc 12")


def test_the_dictionaries_write_nothing_and_say_nothing(tmp_path: Path) -> None:
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    script = "from eval.words import words_of; words_of('th').tokenize('ไทย'); words_of('zh').tokenize('北京')"
    environment = {"HOME": str(home), "TMPDIR": str(temporary), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-W", "error", "-c", script]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(home.iterdir()) == []
    assert list(temporary.iterdir()) == []
