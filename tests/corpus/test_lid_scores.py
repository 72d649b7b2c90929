import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.lid_scores import score

CODES = st.sampled_from(["en", "de", "zu", "und"])
GOLD = st.sampled_from(["en", "de", "zu", "und:xx", "yue"])


def test_scores_of_a_case_counted_by_hand() -> None:
    gold = ["en", "en", "en", "de", "de", "zu", "und:hr", "und:hr"]
    answers = ["en", "en", "de", "de", "und", "en", "en", "und"]
    found = score(gold, answers)
    assert (found.texts, found.right, found.outside, found.outside_accepted) == (6, 3, 2, 1)
    assert found.accuracy == 0.5
    english = found.languages["en"]
    assert (english.precision, english.recall, english.f1) == (0.5, pytest.approx(2 / 3), pytest.approx(4 / 7))
    assert (found.languages["zu"].precision, found.languages["zu"].f1) == (None, 0.0)
    assert found.macro_f1() == pytest.approx((4 / 7 + 0.5 + 0) / 3)
    assert found.macro_f1(["de"]) == 0.5
    assert found.confusions == {("en", "de"): 1, ("de", "und"): 1, ("zu", "en"): 1, ("und:hr", "en"): 1}


def test_a_language_of_ones_own_is_scored_like_the_others() -> None:
    found = score(["qaa", "qaa", "en"], ["qaa", "en", "en"])
    assert (found.texts, found.right, found.outside) == (3, 2, 0)
    assert list(found.languages) == ["en", "qaa"]
    assert found.languages["qaa"].recall == 0.5


@given(st.lists(st.tuples(GOLD, CODES), max_size=60))
def test_every_text_is_right_confused_or_rightly_outside(pairs: list[tuple[str, str]]) -> None:
    gold, answers = [g for g, _ in pairs], [a for _, a in pairs]
    found = score(gold, answers)
    refused = sum(g in ("und:xx", "yue") and a == "und" for g, a in pairs)
    assert found.right + sum(found.confusions.values()) + refused == len(pairs)
    assert sum(s.texts for s in found.languages.values()) == found.texts
    for code, s in found.languages.items():
        true, false = gold.count(code), sum(a == code != g for g, a in pairs)
        missed = sum(g == code != a for g, a in pairs)
        assert s.f1 == pytest.approx(2 * (true - missed) / (2 * (true - missed) + false + missed))
