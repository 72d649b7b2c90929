"""The authors' ways, case by case, and ROUGE on pieces against rouge-score run as they run it."""

from pathlib import Path

import pytest
from rouge_score.rouge_scorer import RougeScorer

from core.errors import MGLMError
from eval.authors import answer_normaliser, piece_words, without_repetition
from eval.rouge import MEASURES, f_measures
from eval.scorers import scorer_of
from tokenizer.encoding import Tokenizer

TEXTS = {
    "en": "The ferry left the harbour late because of the fog, and nobody on the quay was surprised.",
    "zh": "渡轮因为大雾很晚才离开港口，码头上没有人感到意外。",
    "hi": "कोहरे के कारण नाव देर से चली और किसी को आश्चर्य नहीं हुआ।",
    "th": "เรือออกช้าเพราะหมอก และไม่มีใครแปลกใจ",
}


def test_answers_in_latin_letters_are_one_where_scripts_would_tell_them_apart() -> None:
    pytest.importorskip("unidecode", reason="unidecode is not installed")
    normalise = answer_normaliser()
    assert normalise("背景") == normalise("北京")
    assert normalise("The Straße!") == "strasse"


def test_a_sentence_that_repeats_what_was_said_is_dropped() -> None:
    assert without_repetition("a b c[SEP]a b d[SEP]a b c d") == "a b c\na b d"
    assert without_repetition("  ") == ""


@pytest.mark.parametrize("language", TEXTS)
def test_rouge_on_pieces_is_what_rouge_score_gives_for_ids_joined_by_spaces(
    language: str, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    tokenizer.save(tmp_path / "tokenizer")
    model = next((tmp_path / "tokenizer").glob("*.model"))
    reference, prediction = TEXTS[language], (TEXTS[language][5:30] + TEXTS["en"][:20]).strip()
    ids = [" ".join(map(str, tokenizer.encode(text))) for text in (prediction, reference)]
    theirs = RougeScorer(["rouge1", "rouge2", "rougeLsum"], use_stemmer=True).score(*ids)
    for place in (tmp_path / "tokenizer", model):
        words = piece_words(place)
        ours = f_measures(words.tokenize(reference), words.tokenize(prediction))
        assert ours == pytest.approx(tuple(theirs[name].fmeasure for name in ("rouge1", "rouge2", "rougeLsum")))


def test_the_authors_rouge_needs_a_tokenizer_and_takes_the_last_reference(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(MGLMError, match="no --tokenizer"):
        scorer_of("rouge", "authors")
    (tmp_path / "broken.model").write_bytes(b"nothing")
    with pytest.raises(MGLMError, match=r"broken\.model"):
        scorer_of("rouge", "authors", tmp_path / "broken.model")
    tokenizer.save(tmp_path / "tokenizer")
    scorer = scorer_of("rouge", "authors", tmp_path / "tokenizer")
    scores = scorer.each([[TEXTS["en"], "nothing alike"]], [TEXTS["en"]], "en")
    assert scores.shape == (1, len(MEASURES))
    assert scores[0, 0] < 1
    with pytest.raises(MGLMError, match="one of standard, authors"):
        scorer_of("rouge", "theirs")
