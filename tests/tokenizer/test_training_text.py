from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.languages import languages
from tokenizer.training_text import Row, alphabet, lines_of, survey, training_lines

WHOLE = 1 << 16  # all buckets
TEXT = st.text(alphabet="ab 水😀।.\n", max_size=300)


def counts(**texts: str) -> dict[str, Counter[str]]:
    return {lang: Counter(text) for lang, text in texts.items()}


@given(TEXT, st.integers(64, 128))
def test_lines_fit_the_limit_and_lose_nothing_but_newlines(text: str, limit: int) -> None:
    lines = list(lines_of(text, limit))
    assert all(line and "\n" not in line and len(line.encode()) <= limit for line in lines)
    assert "".join(lines) == text.replace("\n", "")


def test_long_lines_are_cut_after_a_sentence_or_else_at_a_space() -> None:
    assert all(line.startswith(" word") for line in list(lines_of("word " * 100, 64))[1:])
    assert set(lines_of("水和火都是要的。" * 100, 64)) == {"水和火都是要的。" * 2}
    assert set(lines_of("नदी बहती है।" * 100, 200)) == {"नदी बहती है।" * 4}
    assert all(line.endswith(".") for line in lines_of("It costs 3.14 or so. " * 50, 160 * 4) if len(line) == 160)


@given(st.lists(TEXT, min_size=1, max_size=30), st.integers(0, 2000))
def test_what_is_drawn_stays_within_the_limit_whatever_the_sample(texts: list[str], limit: int) -> None:
    rows = [Row(str(number), "en", text) for number, text in enumerate(texts)]
    found = survey(rows, 64)
    assert found.total_bytes == sum(len(text.replace("\n", "").encode()) for text in texts)
    buckets = found.buckets_within(limit)
    everything = frozenset("ab 水😀।.")
    drawn = list(training_lines(rows, 64, buckets, everything))
    assert sum(len(line.encode()) for line in drawn) == found.bucket_bytes[:buckets].sum() <= limit
    turned = list(training_lines(rows[::-1], 64, buckets, everything))
    assert Counter(turned) == Counter(drawn)  # the order of rows chooses nothing
    assert found.buckets_within(found.total_bytes) == WHOLE


def test_a_part_is_drawn_evenly_from_small_and_large_documents() -> None:
    large = Row("large", "en", "\n".join(f"line {number}" for number in range(20_000)))
    small = [Row(f"{number}", "zh", "行") for number in range(20_000)]
    found = survey([large, *small], 4192)
    drawn = Counter(
        line[0] for line in training_lines([large, *small], 4192, WHOLE // 4, frozenset("line 0123456789行"))
    )
    assert drawn["l"] / 20_000 == pytest.approx(1 / 4, abs=0.01)
    assert drawn["行"] / 20_000 == pytest.approx(1 / 4, abs=0.02)
    assert found.bucket_bytes.dtype == np.int64


def test_lines_are_cut_at_other_characters_and_at_the_digits_of_other_scripts() -> None:
    rows = [Row("1", "hi", "सन् २०२४ में 2024\nab水c▅d\te")]
    kept = frozenset("सन् मेंabcde २०४024")
    assert list(training_lines(rows, 4192, WHOLE, kept)) == ["सन् ", " में 2024", "ab", "c", "d", "e"]


def test_coverage_is_of_each_language_so_a_large_one_does_not_crowd_out_a_small_one() -> None:
    texts = counts(zh="的" * 100_000 + "龘", ko="가" * 99 + "힣")
    kept, share = alphabet(texts, 0.99995, 100)
    assert kept == {"的", "가", "힣"}
    assert share == pytest.approx(1, abs=1e-4)


def test_every_letter_and_digit_of_an_alphabet_counts_however_rare() -> None:
    kept, _ = alphabet(counts(en="e" * 1_000_000 + "ßሀआ๙١ぁ龘힣☃\u064e"), 0.99, 100)
    assert kept == set("eßሀआ๙١ぁ\u064e")


def test_what_sentencepiece_keeps_for_itself_is_never_a_character() -> None:
    kept, _ = alphabet(counts(en="a\0\t▁▅ b"), 1.0, 100)
    assert kept == {"a", "b", " "}


def test_too_little_room_takes_the_most_frequent() -> None:
    kept, share = alphabet(counts(en="aaab", zh="水水"), 1.0, 2)
    assert kept == {"a", "水"}
    assert share == pytest.approx(5 / 6)


def test_every_script_of_the_101_languages_is_known() -> None:
    letters = {
        "Latn": "a", "Cyrl": "ж", "Arab": "ع", "Deva": "अ", "Grek": "λ", "Thai": "ก", "Hebr": "א", "Beng": "ক",
        "Taml": "க", "Telu": "క", "Gujr": "ક", "Mlym": "ക", "Knda": "ಕ", "Guru": "ਕ", "Sinh": "ක", "Geor": "ქ",
        "Armn": "ք", "Ethi": "ቀ", "Khmr": "ក", "Mymr": "က", "Laoo": "ກ", "Jpan": "かカ",
    }  # fmt: skip
    assert {language.script for language in languages().values()} == letters.keys() | {"Hans", "Hang"}
    kept, _ = alphabet(counts(en="e" * 10**6 + "".join(letters.values())), 0.5, 1000)
    assert kept == {"e", *"".join(letters.values())}
