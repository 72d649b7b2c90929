"""How a fastText detector is trained: the split of the labelled documents, their snippets, the training itself.

Deterministic: the split hangs on each document's hash, snippets on hash and seed, and fastText runs in one thread.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from core.detector import MINIMUM_LETTERS, has_letters
from core.documents import HELDOUT_MINIMUM_DOCUMENTS, uniform
from core.fasttext_model import LABEL_PREFIX
from core.fasttext_training import train_classifier
from core.languages import UNKNOWN
from corpus.alphabets import in_other_alphabet
from corpus.labelled import LabelledDocument
from corpus.lid_config import LidConfig
from corpus.snippets import snippets

TRAIN, DEV, HELDOUT = "train", "dev", "heldout"


def split_documents(documents: Sequence[LabelledDocument], config: LidConfig) -> dict[str, str]:
    """doc_id → `train`, `dev` or `heldout`.

    A language with two documents or more has one held out at least. One with fewer than 20 gives none to `dev`, so that
    its little text trains.
    """
    by_language: defaultdict[str, list[LabelledDocument]] = defaultdict(list)
    for document in documents:
        by_language[document.lang].append(document)
    splits = {}
    for members in by_language.values():
        ordered = sorted(members, key=lambda document: (uniform(document.doc_id, "lid-heldout"), document.doc_id))
        few = len(members) < HELDOUT_MINIMUM_DOCUMENTS
        for place, document in enumerate(ordered):
            if uniform(document.doc_id, "lid-heldout") < config.heldout_share or (place == 0 and len(members) > 1):
                splits[document.doc_id] = HELDOUT
            elif not few and uniform(document.doc_id, "lid-dev") < config.dev_share:
                splits[document.doc_id] = DEV
            else:
                splits[document.doc_id] = TRAIN
    return dict(sorted(splits.items()))


def training_lines(documents: Sequence[LabelledDocument], config: LidConfig) -> list[str]:
    """fastText's lines of these documents, shuffled: as much text of each language, small ones cut in several ways."""
    by_language: defaultdict[str, list[LabelledDocument]] = defaultdict(list)
    for document in documents:
        by_language[document.lang].append(document)
    lines = [line for lang in sorted(by_language) for line in _lines_of(lang, by_language[lang], config)]
    random.Random(config.seed).shuffle(lines)
    return lines


def train(lines: Sequence[str], config: LidConfig, target: Path) -> None:
    """Trains and quantises a detector into `target`. Raises MGLMError where fastText cannot."""
    training = {
        "dim": config.dim,
        "minn": config.minn,
        "maxn": config.maxn,
        "minCount": config.min_count,
        "bucket": config.bucket,
        "epoch": config.epoch,
        "lr": config.lr,
        "loss": config.loss,
        "seed": config.seed,
    }
    quantisation = {"cutoff": config.cutoff, "retrain": config.cutoff > 0, "qnorm": True, "dsub": config.dsub}
    train_classifier(lines, target, training=training, quantisation=quantisation)


def _lines_of(lang: str, documents: Sequence[LabelledDocument], config: LidConfig) -> Iterator[str]:
    characters = 0
    ordered = sorted(documents, key=lambda document: uniform(document.doc_id, "lid-order", config.seed))
    for round_ in range(config.max_rounds):
        before = characters
        for document in ordered:
            key = f"{document.doc_id}:{config.seed}:{round_}"
            for snippet in snippets(document.text, key, *config.snippet_characters):
                if not has_letters(snippet, MINIMUM_LETTERS):
                    continue
                yield f"{LABEL_PREFIX}{lang} {snippet}"
                if config.both_alphabets and (other := in_other_alphabet(snippet, lang)) is not None:
                    yield f"{LABEL_PREFIX}{lang} {other}"  # beside the language's share: it has two to learn
                characters += len(snippet)
                if characters >= config.characters_per_language:
                    return
        if characters == before:
            return


def few_documents(documents: Sequence[LabelledDocument]) -> list[str]:
    """Languages with so few documents that what is said of them hangs on a handful."""
    counts = Counter(document.lang for document in documents if document.lang != UNKNOWN)
    return sorted(lang for lang, number in counts.items() if number < HELDOUT_MINIMUM_DOCUMENTS)
