import gc
import json
import random
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from core.errors import MGLMError
from core.manifest import FileEntry, Manifest, describe_files, sha256_file
from core.schemas import SHARDS, SHARDS_TABLE
from core.stage import open_stage
from tokenizer.shards import Shards, StreamPiece

CLS, EOS = -1, -2


@pytest.fixture(scope="module")
def documents() -> dict[str, list[list[int]]]:
    draw = random.Random(0)
    return {
        lang: [[draw.randrange(1000) for _ in range(draw.choice([0, 1, 5, 40]))] for _ in range(count)]
        for lang, count in {"en": 23, "hi": 1, "zh": 8}.items()
    }


def write_file(path: Path, lang: str, part: int, texts: list[list[int]], tokenizer: str) -> None:
    """A shard file as the writer names it, in batches of at most 3 documents."""
    identity = {"lang": lang, "part": str(part), "tokenizer": tokenizer}
    schema = SHARDS_TABLE.with_metadata({**SHARDS_TABLE.metadata, **identity})
    rows = [{"doc_id": str(number), "tokens": ids, "n_bytes": 1} for number, ids in enumerate(texts)]
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=schema), max_chunksize=3)


@pytest.fixture
def directory(tmp_path: Path, documents: dict[str, list[list[int]]]) -> Path:
    """Shards in files of at most 7 documents. The reader has no use for the tokenizer but to know it."""
    return write_shards(tmp_path / "shards", documents)


def write_shards(directory: Path, documents: dict[str, list[list[int]]]) -> Path:
    stage = open_stage(directory, schema=SHARDS, config={}, inputs={})
    model = directory / "tokenizer" / "tokenizer.model"
    model.parent.mkdir()
    model.write_bytes(b"a model")
    tokenizer, rows, tokens_of_file, counts = sha256_file(model), {}, {}, {}
    for lang, texts in documents.items():
        (directory / f"lang={lang}").mkdir()
        for index, start in enumerate(range(0, len(texts), 7)):
            chunk = texts[start : start + 7]
            path = f"lang={lang}/part-{index:05d}.arrow"
            write_file(directory / path, lang, index, chunk, tokenizer)
            rows[path], tokens_of_file[path] = len(chunk), sum(map(len, chunk))
        counts[lang] = {"documents": len(texts), "tokens": sum(map(len, texts)), "bytes": len(texts)}
    facts = {"tokens_of_file": tokens_of_file, "tokenizer_sha256": tokenizer}
    stage.finish(rows=rows, counts=counts, facts=facts)
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


def test_token_arrays_are_views_that_share_memory_with_the_mapped_file(directory: Path) -> None:
    shards = Shards.open(directory)
    view, again = shards.document("en", 3), shards.document("en", 3)
    assert view.dtype == np.int32
    assert not view.flags.owndata
    assert not view.flags.writeable
    assert np.shares_memory(view, again)
    start, _ = map_of(directory / "lang=en" / "part-00000.arrow")
    place = view.__array_interface__["data"][0] - start
    raw = (directory / "lang=en" / "part-00000.arrow").read_bytes()
    assert np.array_equal(np.frombuffer(raw, np.int32, len(view), place), view)
    (piece, *_) = shards.pieces("en", 0, 5)
    assert map_of(directory / "lang=en" / "part-00000.arrow")[0] <= piece.tokens.__array_interface__["data"][0]


def map_of(path: Path) -> tuple[int, int]:
    """Where the kernel says the file is mapped in this process."""
    (line,) = [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(str(path))]
    start, stop = line.split()[0].split("-")
    return int(start, 16), int(stop, 16)


def test_a_view_outlives_the_shards_and_the_map_goes_with_the_last_view(directory: Path) -> None:
    shards = Shards.open(directory)
    view = shards.document("zh", 7)
    wanted = view.tolist()
    del shards
    gc.collect()
    path = directory / "lang=zh" / "part-00001.arrow"
    path.unlink()
    assert view.tolist() == wanted
    assert str(path) in Path("/proc/self/maps").read_text()
    del view
    assert str(path) not in Path("/proc/self/maps").read_text()


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


def test_a_file_whose_bytes_go_while_it_is_read_is_named(directory: Path) -> None:
    """Where a file is cut short the kernel shows zeros up to the end of a page."""
    shards = Shards.open(directory)
    lang = shards.languages[0]
    length = shards.stream_length(lang)
    assert shards.pieces(lang, 0, length)
    for path in shards.paths(lang):
        with (directory / path).open("r+b") as file:
            file.write(bytes((directory / path).stat().st_size))
    with pytest.raises(MGLMError, match="found no tokens where there were some"):
        shards.pieces(lang, 0, length)


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
    with pytest.raises(MGLMError, match=r"lang=hi/part-00000\.arrow"):
        Shards.open(directory).document("hi", 0)


def test_a_file_in_the_place_of_another_is_named_without_checksums(directory: Path) -> None:
    first, second = (directory / "lang=en" / f"part-0000{number}.arrow" for number in (0, 1))
    swapped = second.read_bytes()
    model = sha256_file(directory / "tokenizer" / "tokenizer.model")
    for content, message in (
        (swapped, "found a file of part 1; expected one of part 0"),
        ((directory / "lang=hi" / "part-00000.arrow").read_bytes(), "found a file of lang hi; expected one of lang en"),
    ):
        first.write_bytes(content)
        same_size(directory, first)
        with pytest.raises(MGLMError, match=rf"part-00000\.arrow; {message}"):
            Shards.open(directory).document("en", 0)
    write_file(first, "en", 0, [[1, 2]], "f" * 64)
    same_size(directory, first)
    with pytest.raises(MGLMError, match=rf"part-00000\.arrow; found a file of tokenizer ffff.*expected.*{model}"):
        Shards.open(directory).document("en", 0)
    write_file(first, "en", 0, [[1, 2]], model)
    same_size(directory, first)
    with pytest.raises(MGLMError, match=r"part-00000\.arrow; found 1 documents of 2 tokens; expected 7 of"):
        Shards.open(directory).document("en", 0)


def same_size(directory: Path, path: Path) -> None:
    """Has the manifest expect the size that the file has: only what is inside tells it from the right one."""
    manifest = json.loads((directory / "manifest.json").read_text())
    for entry in manifest["files"]:
        if entry["path"] == path.relative_to(directory).as_posix():
            entry["bytes"] = path.stat().st_size
    (directory / "manifest.json").write_text(json.dumps(manifest))


def test_another_tokenizer_inside_is_an_error_at_once(directory: Path) -> None:
    (directory / "tokenizer" / "tokenizer.model").write_bytes(b"A model")
    with pytest.raises(MGLMError, match=r"tokenizer\.model; found another tokenizer; expected that of the shards"):
        Shards.open(directory)


@pytest.fixture
def few_handles() -> Iterator[None]:
    """This process may open 20 more files."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 20, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_ten_thousand_files_are_open_with_twenty_handles(tmp_path: Path, few_handles: None) -> None:
    directory, files = tmp_path / "many", 10_000
    model = directory / "tokenizer" / "tokenizer.model"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"a model")
    (directory / "lang=en").mkdir()
    identity = {"lang": "en", "tokenizer": sha256_file(model)}
    entries = describe_files(directory, {})
    for number in range(files):
        schema = SHARDS_TABLE.with_metadata({**SHARDS_TABLE.metadata, **identity, "part": str(number)})
        columns = [pa.array(["a"]), pa.array([[number, 7]], SHARDS_TABLE.field("tokens").type), pa.array([1])]
        path = directory / "lang=en" / f"part-{number:05d}.arrow"
        with path.open("wb") as file, pa.ipc.new_file(file, schema) as writer:
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
        entries.append(FileEntry(path=f"lang=en/{path.name}", rows=1, bytes=path.stat().st_size, sha256=""))
    manifest = Manifest(
        schema=SHARDS,
        config={},
        inputs={},
        fingerprint="",
        files=entries,
        counts={"en": {"documents": files, "tokens": 2 * files, "bytes": files}},
        facts={
            "tokens_of_file": {entry.path: 2 for entry in entries[1:]},
            "tokenizer_sha256": identity["tokenizer"],
        },
    )
    (directory / "manifest.json").write_text(manifest.model_dump_json(by_alias=True))
    shards = Shards.open(directory)
    views = [shards.document("en", index) for index in range(files)]
    assert [view[0] for view in views] == list(range(files))
    assert len(shards.pieces("en", 0, shards.stream_length("en"))) == files


def test_hugging_face_datasets_reads_the_same_files(
    directory: Path, documents: dict[str, list[list[int]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "HF_DATASETS_CACHE": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(
        "arrow",
        data_files=[str(path) for path in sorted((directory / "lang=en").iterdir())],
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    assert loaded.column_names == SHARDS_TABLE.names
    assert loaded[:]["tokens"] == documents["en"]


def test_unfinished_shards_are_refused(directory: Path) -> None:
    (directory / "manifest.json").unlink()
    with pytest.raises(MGLMError, match="mglm tokenizer shard to its end"):
        Shards.open(directory)
