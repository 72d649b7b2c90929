"""ROUGE equals what is worked out by hand, and no script scores zero for its own text."""

import pytest

from core.errors import MGLMError
from eval.rouge import rouge

SENTENCES = {
    "en": "The quick brown fox jumps over the lazy dog.",
    "zh": "今天北京的天气很好，我们去公园散步。",
    "th": "วันนี้อากาศดีมาก เราไปเดินเล่นที่สวนสาธารณะ",
    "hi": "आज मौसम बहुत अच्छा है और हम पार्क में टहलने जाते हैं।",
    "bn": "আজ আবহাওয়া খুব ভালো এবং আমরা পার্কে হাঁটতে যাই।",
    "ta": "இன்று வானிலை மிகவும் நன்றாக உள்ளது.",
    "te": "ఈ రోజు వాతావరణం చాలా బాగుంది.",
    "ar": "الطقس جميل اليوم ونحن نتمشى في الحديقة.",
    "ru": "Сегодня хорошая погода, и мы гуляем в парке.",
    "ja": "今日は天気がいいので公園を散歩します。",
    "km": "ថ្ងៃនេះអាកាសធាតុល្អណាស់។",
    "am": "ዛሬ አየሩ በጣም ጥሩ ነው።",
}


def f(matches: int, predicted: int, wanted: int) -> float:
    return 2 * matches / (predicted + wanted)


def test_english_by_hand() -> None:
    scores = rouge(["The cat sat on the mat."], ["the cat, on a mat"], "en")
    assert scores.means == pytest.approx({"rouge1": f(4, 5, 6), "rouge2": f(1, 4, 5), "rougeL": f(4, 5, 6)})
    assert (scores.examples, scores.tokenization) == (1, "xlsum-words")


def test_chinese_by_hand() -> None:
    scores = rouge(["我爱北京天安门"], ["天安门在北京"], "zh")  # 我 爱 北京 天安门 / 天安门 在 北京
    assert scores.means == pytest.approx({"rouge1": f(2, 3, 4), "rouge2": 0, "rougeL": f(1, 3, 4)})


def test_hindi_marks_stay_on_their_letters() -> None:
    assert rouge(["की"], ["का"], "hi").means["rouge1"] == 0  # the same letter with another vowel sign
    assert rouge(["यह किताब है"], ["यह कितना है"], "hi").means["rouge1"] == pytest.approx(f(2, 3, 3))


def test_the_score_is_the_mean_over_examples_and_repetition_earns_nothing() -> None:
    scores = rouge(["a b", "c d"], ["a b", "x y"], "en")
    assert scores.means == pytest.approx({"rouge1": 0.5, "rouge2": 0.5, "rougeL": 0.5})
    assert rouge(["a b c"], ["a a a"], "en").means["rouge1"] == pytest.approx(f(1, 3, 3))


@pytest.mark.parametrize("language", SENTENCES)
def test_a_text_scores_one_against_itself_and_more_than_zero_against_its_half(language: str) -> None:
    text = SENTENCES[language]
    assert rouge([text], [text], language).means == pytest.approx({"rouge1": 1, "rouge2": 1, "rougeL": 1})
    half = rouge([text], [text[: len(text) // 2 + 2]], language).means
    assert all(0.2 < value < 1 for value in half.values())


def test_an_empty_prediction_scores_zero_and_no_reference_is_an_error() -> None:
    assert rouge(["北京"], [""], "zh").means == {"rouge1": 0, "rouge2": 0, "rougeL": 0}
    with pytest.raises(MGLMError, match="no references"):
        rouge([], [], "en")
