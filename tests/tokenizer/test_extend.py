"""An extended vocabulary keeps its old ids, cuts old text as before and new text shorter."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.documents import document_id
from core.errors import MGLMError
from core.schemas import SAMPLE, SAMPLE_TABLE
from core.stage import open_stage
from tokenizer.config import TokenizerConfig
from tokenizer.encoding import Tokenizer
from tokenizer.extend import extend_tokenizer
from tokenizer.train import train_tokenizer

OLD = "the river rises in spring and people walk over the old bridge to the market in the morning . "
NEW = "მდინარე გაზაფხულზე ადის და ხალხი დილით ძველ ხიდზე ბაზარში მიდის . "
CONFIG = TokenizerConfig(vocab_size=330, num_threads=1)


def make_sample(directory: Path, text: str) -> Path:
    words = text.split()
    texts = [" ".join(words[number % 5 :] + words[: number % 7]) for number in range(60)]
    rows = [{"doc_id": document_id(text), "lang": "xx", "copy": 0, "text": text} for text in texts]
    stage = open_stage(directory, schema=SAMPLE, config={}, inputs={})
    pq.write_table(pa.Table.from_pylist(rows, SAMPLE_TABLE), directory / "part.parquet")
    stage.finish()
    return directory


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("extend")
    train_tokenizer(make_sample(root / "old_sample", OLD), root / "old", CONFIG)
    extend_tokenizer(root / "old", make_sample(root / "new_sample", NEW), root / "new", 40, CONFIG)
    return root


def test_old_pieces_keep_their_ids_and_commands_follow_all(made: Path) -> None:
    old, new = Tokenizer.load(made / "old"), Tokenizer.load(made / "new")
    assert new.extends(old)
    assert not old.extends(new)
    assert not old.extends(old)
    assert old.pieces < new.pieces <= old.pieces + 40
    assert [new.raw_piece(index) for index in range(old.pieces)] == [old.raw_piece(i) for i in range(old.pieces)]
    assert new.cls_id == new.pieces + 2
    assert new.vocab_size % 128 == 0


def test_old_text_is_cut_as_before_and_new_text_shorter(made: Path) -> None:
    old, new = Tokenizer.load(made / "old"), Tokenizer.load(made / "new")
    assert new.encode(OLD) == old.encode(OLD)
    assert 3 * len(new.encode(NEW)) < len(old.encode(NEW))
    assert new.decode(new.encode(OLD + NEW)) == OLD + NEW


def test_what_cannot_be_extended_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(MGLMError, match="no piece that the tokenizer lacks"):
        extend_tokenizer(made / "new", made / "new_sample", tmp_path / "same", 1, CONFIG.model_copy())
    with pytest.raises(MGLMError, match="found the tokenizer to extend"):
        extend_tokenizer(made / "old", made / "new_sample", made / "old", 4, CONFIG, overwrite=True)
    assert Tokenizer.load(made / "old").pieces
    train_tokenizer(made / "old_sample", tmp_path / "bpe", CONFIG.model_copy(update={"model_type": "bpe"}))
    with pytest.raises(MGLMError, match="not unigram"):
        extend_tokenizer(tmp_path / "bpe", made / "new_sample", tmp_path / "out", 4, CONFIG)
