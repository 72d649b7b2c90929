import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from core.errors import MGLMError
from tests.small_disk import files_no_larger_than
from tests.tokenizer.conftest import SENTENCES
from tokenizer import shard_writer
from tokenizer.encoding import Tokenizer
from tokenizer.shard_writer import Part, finished_parts, plan_parts, stretches, write_part


def batch_of(rows: list[tuple[str, str | None]]) -> pa.RecordBatch:
    schema = pa.schema([("doc_id", pa.string()), ("text", pa.string())])
    return pa.RecordBatch.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)


def read(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


@given(st.dictionaries(st.sampled_from(["en", "hi", "zh"]), st.integers(0, 10_000), min_size=1), st.integers(1, 3_000))
def test_every_language_gets_files_for_its_size_numbered_without_gaps(sizes: dict[str, int], limit: int) -> None:
    parts = plan_parts(sizes, limit)
    assert [part.number for part in parts] == list(range(len(parts)))
    for lang, size in sizes.items():
        of_language = [part for part in parts if part.lang == lang]
        assert [part.index for part in of_language] == list(range(len(of_language)))
        assert len(of_language) == max(1, -(-size // limit))
        bounds = [bound for part in of_language for bound in (part.hashes.low, part.hashes.high)]
        assert bounds[0] == 0
        assert bounds[-1] == 1 << 64
        assert bounds[1:-1:2] == bounds[2::2]


def test_a_file_says_whose_it_is_and_holds_the_documents_of_all_batches(tokenizer: Tokenizer, tmp_path: Path) -> None:
    batches = [batch_of([("a", "one"), ("b", "two")]), batch_of([("c", "तीन")])]
    row = write_part(batches, tokenizer, Part(3, "en", 1, 2), tmp_path, tmp_path)
    assert (row.path, row.rows, row.n_bytes, row.whole) == ("lang=en/part-00001.arrow", 3, 15, True)
    assert finished_parts(tmp_path, tmp_path) == [row]
    table = read(tmp_path / row.path)
    assert table.schema.metadata == {
        b"schema": b"shards/1", b"lang": b"en", b"part": b"1", b"tokenizer": tokenizer.sha256.encode()
    }  # fmt: skip
    assert table.column("doc_id").to_pylist() == ["a", "b", "c"]
    assert [tokenizer.decode(ids) for ids in table.column("tokens").to_pylist()] == ["one", "two", "तीन"]


def test_a_part_without_documents_has_a_row_and_no_file(tokenizer: Tokenizer, tmp_path: Path) -> None:
    row = write_part([], tokenizer, Part(0, "en", 0), tmp_path, tmp_path)
    assert (row.rows, row.bytes, row.whole) == (0, 0, True)
    assert finished_parts(tmp_path, tmp_path) == [row]
    assert not (tmp_path / "lang=en").exists()


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_writer, "BATCH_DOCUMENTS", 7)
    monkeypatch.setattr(shard_writer, "BATCH_BYTES", 100)


def test_how_the_documents_are_handed_over_does_not_change_the_bytes(
    tokenizer: Tokenizer, tmp_path: Path, small_batches: None
) -> None:
    documents = [(f"{number:02d}", "x" * 150 if number == 20 else f"text {number}") for number in range(30)]
    hashes = set()
    for size in (1, 4, 7, 30):
        output = tmp_path / str(size)
        output.mkdir()
        batches = [batch_of(documents[start : start + size]) for start in range(0, 30, size)]
        row = write_part(batches, tokenizer, Part(0, "en", 0), output, output)
        hashes.add(row.sha256)
        assert [len(chunk) for chunk in read(output / row.path).column("tokens").chunks] == [7, 7, 7, 9 - 2, 2]
    assert len(hashes) == 1


def test_a_limit_ends_a_part_with_the_document_that_reaches_it(
    tokenizer: Tokenizer, tmp_path: Path, small_batches: None
) -> None:
    documents = [(f"{number:02d}", f"text {number}") for number in range(30)]
    streams = np.cumsum([len(tokenizer.encode(text)) + 2 for _, text in documents])
    for limit in (1, int(streams[6]), int(streams[6]) + 1, int(streams[-1]), int(streams[-1]) + 5):
        row = write_part([batch_of(documents)], tokenizer, Part(0, "en", 0), tmp_path, tmp_path, limit=limit)
        wanted = min(30, int((streams < limit).sum()) + 1)
        assert row.rows == wanted
        assert row.stream == streams[wanted - 1]
        assert row.whole == (limit > streams[-1])
        assert len(read(tmp_path / row.path)) == wanted


def test_arrays_are_the_ids_of_the_lists(tokenizer: Tokenizer, real_sentences: list[str]) -> None:
    arrays = tokenizer.encode_arrays([sentence.encode() for sentence in ["", *real_sentences]])
    assert [array.tolist() for array in arrays] == tokenizer.encode_batch(["", *real_sentences])
    assert all(array.dtype == np.int32 for array in arrays)


texts = st.lists(
    st.sampled_from([*(s for sentences in SENTENCES.values() for s in sentences), " ", "  ", "\n", "\n\n", "12 345"]),
    min_size=1,
    max_size=30,
).map("".join)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts)
@example("ထ" * 100)
def test_stretches_rebuild_the_text_and_end_between_characters(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_writer, "LONG_BYTES", 90)
        cut = stretches(text.encode())
    assert "".join(stretch.decode() for stretch in cut) == text
    assert all(0 < len(stretch) <= 90 for stretch in cut)


@settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts)
def test_a_long_document_has_the_ids_of_the_whole_where_it_has_spaces_or_newlines(
    tokenizer: Tokenizer, text: str
) -> None:
    text = " ".join(text[start : start + 40] for start in range(0, len(text), 40))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_writer, "LONG_BYTES", 400)
        cut = stretches(text.encode())
    assert [index for ids in tokenizer.encode_arrays(cut) for index in ids.tolist()] == tokenizer.encode(text)


def test_an_error_leaves_no_half_written_file_and_finished_ones_stand(tokenizer: Tokenizer, tmp_path: Path) -> None:
    write_part([batch_of([("a", "one")])], tokenizer, Part(0, "en", 0), tmp_path, tmp_path)

    def failing() -> Iterator[pa.RecordBatch]:
        yield batch_of([(f"b{number}", "two") for number in range(1_000)])
        assert list((tmp_path / "lang=en").glob("*.tmp"))  # half of it is on disk
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_part(failing(), tokenizer, Part(1, "en", 1), tmp_path, tmp_path)
    assert [path.name for path in (tmp_path / "lang=en").iterdir()] == ["part-00000.arrow"]
    assert [row.number for row in finished_parts(tmp_path, tmp_path)] == [0]
    (tmp_path / "lang=en" / "part-00000.arrow").write_bytes(b"cut")
    assert finished_parts(tmp_path, tmp_path) == []


def test_a_disk_that_fills_up_leaves_no_half_written_file(tokenizer: Tokenizer, tmp_path: Path) -> None:
    documents = batch_of([(f"{number:06d}", f"text {number}") for number in range(20_000)])
    with (
        files_no_larger_than(300_000),
        pytest.raises(MGLMError, match=r"part-00000\.arrow; found .*File too large; expected room to write"),
    ):
        write_part([documents], tokenizer, Part(0, "en", 0), tmp_path, tmp_path)
    assert not list(tmp_path.rglob("*.*"))


KILLED = """
import os, signal, sys
from pathlib import Path
import pyarrow as pa
from tokenizer.encoding import Tokenizer
from tokenizer.shard_writer import Part, write_part

output = Path(sys.argv[2])
def batches():
    yield pa.RecordBatch.from_pydict({"doc_id": [f"{n:06d}" for n in range(2_000)], "text": ["text"] * 2_000})
    os.kill(os.getpid(), signal.SIGKILL)
write_part(batches(), Tokenizer.load(Path(sys.argv[1])), Part(0, "en", 0), output, output)
"""


def test_a_killed_task_leaves_nothing_under_the_name_of_a_part(tokenizer_directory: Path, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tokenizer_directory), str(tmp_path)], cwd=root)
    assert killed.returncode == -signal.SIGKILL
    (left,) = (tmp_path / "lang=en").iterdir()
    assert left.name.startswith("_part-00000.arrow.")
    assert left.name.endswith(".tmp")
    assert finished_parts(tmp_path, tmp_path) == []


def test_a_write_that_failed_behind_the_writers_back_is_no_file(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []

    def fsync(file: int) -> None:
        told.append(file)
        if len(told) == 1:  # as NFS and quotas do, once
            raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(shard_writer, "SYNC_BYTES", 1)
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(MGLMError, match=r"part-00000\.arrow; found .*Disk quota exceeded.*Make room"):
        write_part([batch_of([("a", "one")])], tokenizer, Part(0, "en", 0), tmp_path, tmp_path)
    assert list((tmp_path / "lang=en").iterdir()) == []
    assert finished_parts(tmp_path, tmp_path) == []
