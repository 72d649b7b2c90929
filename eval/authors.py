"""The authors' own ways of scoring, so that the paper's tables can be filled like with like. Labelled wherever shown.

Answers: SQuAD's normalisation after `unidecode`, which writes every script in Latin letters: 背景 and 北京 are one
answer then. Summaries: ROUGE-1, -2 and -L on the ids of their SentencePiece model joined by spaces (stemmer on, which
leaves digits alone; ROUGE-Lsum of one line is ROUGE-L). Sentences that repeat more than 70 % of the words before them
are dropped first; a sentence ends there at a literal [SEP].

Not as there: an answer without words scores 0 instead of ending the run. Questions whose windows lack the answer are
left out there, also at test time; here every question counts. Their released code also drops predicted sentences of up
to four words, counted by spaces, which leaves nothing of a Chinese summary written without any, so that the paper's
figures cannot come from it; and it rewrites quotation marks, hyphens and numbers that stand between spaces.
"""

import importlib
import string
from collections.abc import Callable
from pathlib import Path

from core.errors import MGLMError
from eval.squad import without_articles
from eval.words import Words
from tokenizer.encoding import Tokenizer

_SENTENCE_END = "[SEP]"
_MOST_REPEATED = 0.7
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def answer_normaliser() -> Callable[[str], str]:
    """Lower case, in Latin letters, without ASCII punctuation, English articles and surplus white space.

    Raises:
        MGLMError: unidecode is not installed. (It is under the GPL, so it does not come with this project.)
    """
    try:
        unidecode = importlib.import_module("unidecode").unidecode
    except ImportError:
        action = "run pip install unidecode"
        raise MGLMError("the authors' exact match", found="no package unidecode", action=action) from None

    def normalised(answer: str) -> str:
        text: str = unidecode(answer.lower())
        return without_articles(text.translate(_NO_PUNCTUATION))

    return normalised


def piece_words(tokenizer: Path) -> Words:
    """Ids of a SentencePiece model as words; `tokenizer` is a model file or one of our directories that holds it.

    Raises:
        MGLMError: no tokenizer there.
    """
    encode: Callable[[str], list[int]]
    if tokenizer.is_file():
        from sentencepiece import SentencePieceProcessor

        try:
            processor = SentencePieceProcessor(model_file=str(tokenizer))
        except (OSError, RuntimeError) as error:
            raise MGLMError(f"--tokenizer {tokenizer}", found=str(error), expected="a SentencePiece model") from None

        def encode(text: str) -> list[int]:
            ids: list[int] = processor.encode(text)
            return ids
    else:
        encode = Tokenizer.load(tokenizer).encode

    def cut(text: str) -> list[str]:
        return [str(index) for index in encode(text.strip().replace(_SENTENCE_END, "\n"))]

    return Words("authors-pieces", cut)


def without_repetition(text: str) -> str:
    """Without sentences of which more than 70 % of the words stood in sentences before; joined by newlines."""
    before: set[str] = set()
    kept = []
    for sentence in text.strip().split(_SENTENCE_END):
        words = set(sentence.lower().split())
        if words and len(words & before) / len(words) <= _MOST_REPEATED:
            kept.append(sentence)
        before |= words
    return "\n".join(kept)
