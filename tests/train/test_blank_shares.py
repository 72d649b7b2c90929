"""The share that is blanked, in real text of every language: the public documents beside the project."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.documents import document_id
from core.schemas import SAMPLE, SAMPLE_TABLE
from core.stage import open_stage
from tokenizer.config import TokenizerConfig
from tokenizer.encoding import Tokenizer
from tokenizer.sentences import AuthorsSentenceEnds, SentenceEnds
from tokenizer.train import train_tokenizer
from train.blank_infilling import MODES, choose_blanks, max_spans, row_length
from train.blank_layout import NO_LOSS, Rows, layout_rows
from train.config import BlankConfig

POOL = Path(__file__).parents[2].parent / "shared" / "data" / "corpora" / "pool"
LENGTH, SAMPLES = 512, 64
CHARACTERS = 40_000  # of each language
ONLY = {
    "tokens": BlankConfig(token_blanks=1.0, sentence_blanks=0.0, generation=0.0),
    "sentences": BlankConfig(token_blanks=0.0, sentence_blanks=1.0, generation=0.0),
}
pytestmark = pytest.mark.skipif(not POOL.is_dir(), reason="the documents of shared/data/corpora/pool are not here")


@pytest.fixture(scope="module")
def texts() -> dict[str, list[str]]:
    found = {}
    for path in sorted(POOL.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            documents, size = [], 0
            for line in lines:
                documents.append(json.loads(line)["text"])
                size += len(documents[-1])
                if size > CHARACTERS:
                    break
        found[path.name.split(".")[0]] = documents
    return found


@pytest.fixture(scope="module")
def tokenizer(texts: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A small one: much of the text in rarer scripts is single characters and bytes, which is the harder case."""
    root = tmp_path_factory.mktemp("pool")
    stage = open_stage(root / "sample", schema=SAMPLE, config={}, inputs={})
    rows = [
        {"doc_id": document_id(text), "lang": lang, "copy": 0, "text": text[:3_000]}
        for lang, documents in texts.items()
        for text in documents[:1]
    ]
    pq.write_table(pa.Table.from_pylist(rows, SAMPLE_TABLE), root / "sample" / "part.parquet")
    stage.finish()
    train_tokenizer(root / "sample", root / "made", TokenizerConfig(vocab_size=6_000, num_threads=1))
    return Tokenizer.load(root / "made")


@pytest.fixture(scope="module")
def rows(texts: dict[str, list[str]], tokenizer: Tokenizer) -> dict[str, Rows]:
    """For each language so many rows as training cuts them: documents packed, windows begin and end anywhere."""
    found = {}
    for lang, documents in texts.items():
        encoded = [[tokenizer.cls_id, *ids, tokenizer.eos_id] for ids in tokenizer.encode_batch(documents)]
        stream = np.array([token for ids in encoded for token in ids])
        first = np.linspace(0, stream.size - LENGTH, SAMPLES).astype(int)
        tokens_BL = stream[first[:, None] + np.arange(LENGTH)]
        tokens_BL[:, 0] = tokenizer.cls_id
        segments_BL = np.cumsum(tokens_BL == tokenizer.cls_id, axis=1) - 1
        found[lang] = Rows(tokens_BL, segments_BL, np.full(SAMPLES, LENGTH))
    return found


@pytest.mark.parametrize("mode", ["tokens", "sentences"])
def test_the_share_is_within_a_point_of_its_target_in_every_language(
    rows: dict[str, Rows], tokenizer: Tokenizer, mode: str
) -> None:
    sentences, config = SentenceEnds(tokenizer), ONLY[mode]
    shares = {}
    for lang, of_language in rows.items():
        blanks = choose_blanks(
            of_language, seed=1, index_B=np.arange(SAMPLES), ids=tokenizer, sentences=sentences, config=config,
            spans=max_spans(LENGTH, config),
        )  # fmt: skip
        samples = layout_rows(of_language, blanks, tokenizer, row_length(LENGTH, config))
        assert all(MODES[kind] == mode for kind in blanks.mode_B)
        assert ((samples.labels_BS != NO_LOSS).sum(1) > 0).all()  # no sample is without a target
        shares[lang] = blanks.length_N.sum() / of_language.length_B.sum()
    assert len(shares) == 101
    assert {lang: share for lang, share in shares.items() if abs(share - config.blank_share) > 0.01} == {}


def test_with_the_authors_sentence_ends_whole_rows_are_blanked_where_they_know_no_mark(
    rows: dict[str, Rows], tokenizer: Tokenizer
) -> None:
    config = ONLY["sentences"].model_copy(update={"sentence_ends": "authors"})
    shares = {}
    for lang in ("en", "hi", "am"):
        blanks = choose_blanks(
            rows[lang], seed=1, index_B=np.arange(SAMPLES), ids=tokenizer, sentences=AuthorsSentenceEnds(tokenizer),
            config=config, spans=max_spans(LENGTH, config),
        )  # fmt: skip
        shares[lang] = blanks.length_N.sum() / rows[lang].length_B.sum()
    assert 0.15 <= shares["en"] < 0.3
    assert shares["hi"] > 2 * shares["en"]
    assert shares["am"] > 2 * shares["en"]
