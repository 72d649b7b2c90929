"""Rules about lines, in every script."""

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from core.languages import languages
from core.sentence_marks import CLOSERS, SENTENCE_MARKS
from corpus.line_rules import LineRules, ends_in_mark, sentences
from corpus.rules_config import RulesConfig
from corpus.script_lengths import SAME_ROW, ends_lines_in_marks, length_in, script_lengths
from corpus.verdicts import Document, Refusal


def judge(text: str, **settings: object) -> Document | Refusal:
    return LineRules(RulesConfig(**settings))(Document(text, None))  # type: ignore[arg-type]


def test_every_script_of_the_101_languages_was_measured() -> None:
    scripts = {SAME_ROW.get(language.script, language.script) for language in languages().values()}
    assert scripts <= set(script_lengths())
    assert all(row.factor > 0.2 and row.characters > 50_000 for row in script_lengths().values())
    assert length_in("Latn", 200) == length_in("Zzzz", 200) == 200


def test_two_hundred_characters_of_chinese_say_what_six_hundred_of_english_do() -> None:
    assert 50 < length_in("Hani", 200) < 80
    assert length_in("Hans", 200) == length_in("Hant", 200) == length_in("Hani", 200)
    assert length_in("Taml", 200) > 200


@pytest.mark.parametrize(
    ("line", "script"),
    [
        ("This is the end.", "Latn"),
        ("“This is the end.”", "Latn"),
        ("Is it? (Yes!)", "Latn"),
        ('She said "no"', "Latn"),
        ("这是结尾。", "Hans"),
        ("यह अंत है।", "Deva"),
        ("यह अंत है|", "Deva"),
        ("هل هذه هي النهاية؟", "Arab"),
        ("یہ اختتام ہے۔", "Arab"),
        ("ይህ መጨረሻ ነው።", "Ethi"),
        ("ይህ መጨረሻ ነው፡፡", "Ethi"),
        ("Սա վերջն է։", "Armn"),
        ("Սա վերջն է:", "Armn"),
        ("នេះជាចុងបញ្ចប់។", "Khmr"),
        ("ဒါက အဆုံးပါပဲ။", "Mymr"),
        ("Αυτό είναι το τέλος\u037e", "Grek"),
    ],
)
def test_lines_end_in_the_marks_of_their_script(line: str, script: str) -> None:
    assert ends_in_mark(line, script)
    assert not ends_in_mark(line.rstrip("".join(set(line) - {c for c in line if c.isalpha()})) + " and", script)


def test_headings_and_cut_lines_have_no_end_mark() -> None:
    for line in ("Home", "Read more...", "To be continued…", "Contact: office", "Menu |", "1,234"):
        assert not ends_in_mark(line, "Latn")


def test_thai_is_not_judged_by_marks_that_it_does_not_have() -> None:
    assert not ends_lines_in_marks("Thai")
    text = "วันนี้อากาศดีมาก เราไปเที่ยวทะเลกัน"
    judged = judge(text, line_end_marks=True, min_sentences=5)
    assert isinstance(judged, Document)
    assert judged.text == text


def test_dropped_lines_are_counted_by_reason() -> None:
    text = "\n".join(
        [
            "The council met on Monday to talk about the bridge.",
            "Home",
            "Please enable JavaScript to see this page as it was meant.",
            "By reading on you agree to our terms of use, as everybody does.",
            "So it is.",
            f"This word is long: {'x' * 120}.",
            "",
            "It will be closed for three months, said the mayor.",
        ]
    )
    judged = judge(
        text,
        line_end_marks=True,
        min_line_characters=15,
        max_word_characters=100,
        javascript_lines=True,
        policy_lines=True,
    )
    assert isinstance(judged, Document)
    assert judged.text.split("\n\n") == [text.split("\n")[0], text.split("\n")[-1]]
    assert dict(judged.changes) == {
        "lines_without_end_mark": 1,
        "lines_about_javascript": 1,
        "lines_about_policy": 1,
        "lines_too_short": 1,
        "lines_with_long_word": 1,
    }


def test_documents_are_refused_with_their_reason() -> None:
    prose = "The council met on Monday. It decided nothing. The mayor left early! Was he ill? Nobody knew."
    for text, settings, reason in (
        ("Home\nNews", {"line_end_marks": True}, "no_lines_left"),
        (f"{prose} Lorem Ipsum dolor.", {"lorem_ipsum": True}, "lorem_ipsum"),
        (f"{prose} var x = {{}};", {"curly_bracket": True}, "curly_bracket"),
        ("One. Two.", {"min_sentences": 5}, "too_few_sentences"),
        (prose, {"long_lines": 3}, "too_few_long_lines"),
    ):
        judged = judge(text, **settings)
        assert isinstance(judged, Refusal)
        assert judged.reason == reason
    assert isinstance(judge(prose, lorem_ipsum=True, curly_bracket=True, min_sentences=5), Document)


def test_three_long_lines_are_long_by_their_script() -> None:
    chinese = "\n".join(["由于冬季暴风雨，横跨河流的旧桥已关闭进行维修，市议会在周一表示。" * 2] * 3)
    english = "\n".join(["The old bridge over the river was closed for repairs on Monday."] * 3)
    assert all(60 < len(line) < 70 for line in (chinese + "\n" + english).split("\n"))
    assert isinstance(judge(chinese, long_lines=3), Document)
    assert isinstance(judge(english, long_lines=3), Refusal)


@given(st.text(st.sampled_from('.!?:|፡。।…)"» \na')), st.sampled_from(["Latn", "Armn", "Ethi", "Deva"]))
def test_a_run_of_marks_is_one_sentence_end_where_white_space_follows(text: str, script: str) -> None:
    typed = "[.!?" + {"Armn": ":", "Ethi": "፡", "Deva": "|"}.get(script, "") + "]"
    plain = rf"[{SENTENCE_MARKS}--[.!?]]+|{typed}+{CLOSERS}*(?=\s|$)"  # takes time by the square of a run
    assert sentences(text, script) == len(regex.findall(plain, text, regex.VERSION1))


def test_a_million_dots_before_a_letter_take_no_time_by_their_square() -> None:
    assert sentences("." * 1_000_000 + "a", "Latn") == 0
    assert sentences("." * 1_000_000 + ")" * 1_000_000 + "a. ", "Latn") == 1


def test_sentences_are_counted_in_every_script() -> None:
    assert sentences("One. Two! Three? 3.14 is pi. example.org", "Latn") == 4
    assert sentences("一。二！三？", "Hans") == 3
    assert sentences("एक। दो॥", "Deva") == 2
    assert sentences("Wait... what?!", "Latn") == 2
    assert sentences("Սա վերջն է: Սա էլ։", "Armn") == 2
    assert sentences("ይህ ነው፡፡ ያ ነው።", "Ethi") == 2
    assert sentences("At 12: a note: none", "Latn") == 0
