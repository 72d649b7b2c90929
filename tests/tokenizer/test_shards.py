import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from core.errors import MGLMError
from core.manifest import open_stage
from core.schemas import SHARDS, SHARDS_TABLE
from tokenizer.shards import Shards, StreamPiece

CLS, EOS = -1, -2


@pytest.fixture(scope="module")
def documents() -> dict[str, list[list[int]]]:
    draw = random.Random(0)
    return {
        lang: [[draw.randrange(1000) for _ in range(draw.choice([0, 1, 5, 40]))] for _ in range(count)]
        for lang, count in {"en": 23, "hi": 1, "zh": 8}.items()
    }


@pytest.fixture
def directory(tmp_path: Path, documents: dict[str, list[list[int]]]) -> Path:
    """Shards in files of at most 7 documents and batches of at most 3."""
    directory = tmp_path / "shards"
    stage = open_stage(directory, schema=SHARDS, config={}, inputs={})
    rows, tokens_of_file, counts = {}, {}, {}
    for lang, texts in documents.items():
        (directory / f"lang={lang}").mkdir()
        for index, start in enumerate(range(0, len(texts), 7)):
            chunk = texts[start : start + 7]
            path = f"lang={lang}/part-{index:05d}.arrow"
            columns = [{"doc_id": str(number), "tokens": ids, "n_bytes": 1} for number, ids in enumerate(chunk)]
            with pa.OSFile(str(directory / path), "wb") as file, pa.ipc.new_file(file, SHARDS_TABLE) as writer:
                writer.write_table(pa.Table.from_pylist(columns, schema=SHARDS_TABLE), max_chunksize=3)
            rows[path], tokens_of_file[path] = len(chunk), sum(map(len, chunk))
        counts[lang] = {"documents": len(texts), "tokens": sum(map(len, texts)), "bytes": len(texts)}
    stage.finish(rows=rows, counts=counts, facts={"tokens_of_file": tokens_of_file})
    return directory


def flat(pieces: list[StreamPiece]) -> list[int]:
    ids: list[int] = []
    for piece in pieces:
        ids += [CLS] * piece.begins + piece.tokens.tolist() + [EOS] * piece.ends
    return ids


def test_documents_are_views_of_the_mapped_file(directory: Path, documents: dict[str, list[list[int]]]) -> None:
    shards = Shards.open(directory, verify=True)
    assert shards.languages == ["en", "hi", "zh"]
    for lang, texts in documents.items():
        assert shards.documents(lang) == len(texts)
        assert [shards.document(lang, index).tolist() for index in range(len(texts))] == texts
    view = shards.document("en", 3)
    assert view.dtype == np.int32
    assert not view.flags.owndata
    assert not view.flags.writeable


def test_any_stretch_of_a_stream_is_that_of_the_documents_joined(
    directory: Path, documents: dict[str, list[list[int]]]
) -> None:
    shards = Shards.open(directory)
    draw = random.Random(1)
    for lang, texts in documents.items():
        stream = [token for text in texts for token in (CLS, *text, EOS)]
        assert shards.stream_length(lang) == len(stream)
        ring = stream * 2
        for _ in range(300):
            start = draw.randrange(len(stream))
            stop = start + draw.randrange(len(stream) + 1)
            assert flat(shards.pieces(lang, start, stop)) == ring[start:stop]


def test_every_document_of_a_whole_stream_begins_and_ends(
    directory: Path, documents: dict[str, list[list[int]]]
) -> None:
    shards = Shards.open(directory)
    pieces = shards.pieces("en", 0, shards.stream_length("en"))
    assert [piece.tokens.tolist() for piece in pieces] == documents["en"]
    assert all(piece.begins and piece.ends for piece in pieces)


def test_positions_outside_the_stream_are_refused(directory: Path) -> None:
    shards = Shards.open(directory)
    length = shards.stream_length("hi")
    for start, stop in ((-1, 2), (length, length + 1), (2, 1), (0, length + 1)):
        with pytest.raises(IndexError):
            shards.pieces("hi", start, stop)
    with pytest.raises(IndexError):
        shards.document("hi", 1)


def test_a_file_that_is_gone_cut_or_altered_is_named(directory: Path) -> None:
    path = directory / "lang=zh" / "part-00001.arrow"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"?")
    Shards.open(directory)
    with pytest.raises(MGLMError, match=r"lang=zh/part-00001\.arrow; found another content"):
        Shards.open(directory, verify=True)
    path.write_bytes(whole[:100])
    with pytest.raises(MGLMError, match=r"lang=zh/part-00001\.arrow; found 100 bytes"):
        Shards.open(directory)
    path.unlink()
    with pytest.raises(MGLMError, match=r"lang=zh/part-00001\.arrow; found no such file"):
        Shards.open(directory)


def test_a_file_that_is_no_arrow_or_has_other_columns_is_named_when_it_is_read(directory: Path) -> None:
    path = directory / "lang=hi" / "part-00000.arrow"
    size = path.stat().st_size
    path.write_bytes(b"x" * size)
    with pytest.raises(MGLMError, match=r"lang=hi/part-00000\.arrow.*expected an Arrow IPC file"):
        Shards.open(directory).document("hi", 0)
    table = pa.table({"doc_id": ["a"], "tokens": pa.array([[1.5]]), "n_bytes": [1]})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    with path.open("ab") as file:
        file.truncate(size)
    shards = Shards(directory, Shards.open(directory).manifest)
    with pytest.raises(MGLMError, match=r"lang=hi/part-00000\.arrow"):
        shards.document("hi", 0)


def test_unfinished_shards_are_refused(directory: Path) -> None:
    (directory / "manifest.json").unlink()
    with pytest.raises(MGLMError, match="mglm tokenizer shard to its end"):
        Shards.open(directory)
