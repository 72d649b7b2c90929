"""A `file:` address stands for a store here; drills/object_store.py takes the same road to an S3 server."""

import json
import threading
from pathlib import Path

import pytest

from core.errors import MGLMError
from core.manifest import MANIFEST_NAME, MARKER_NAME, FileEntry, read_manifest
from core.schemas import SHARDS
from core.stage import open_stage
from mglm import transfer
from mglm.transfer import BEGUN_NAME, SNAPSHOT_NAME, Store, pull, push


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """A finished stage of two files."""
    return finished(tmp_path / "stage", b"abc" * 1000)


def finished(directory: Path, content: bytes) -> Path:
    made = open_stage(directory, schema=SHARDS, config={"size": len(content)}, inputs={})
    (directory / "lang=en").mkdir()
    (directory / "lang=en" / "part.arrow").write_bytes(content)
    (directory / "notes.txt").write_text("ä", "utf-8")
    made.finish()
    return directory


def contents(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def test_what_is_pulled_is_what_was_pushed(stage: Path, tmp_path: Path) -> None:
    address = f"file://{tmp_path}/store/shards"
    assert push(stage, address) == address
    assert contents(tmp_path / "store" / "shards") == contents(stage)
    pull(address, tmp_path / "here")
    assert contents(tmp_path / "here") == contents(stage)
    assert read_manifest(tmp_path / "here", SHARDS) == read_manifest(stage, SHARDS)
    assert push(stage, address) == address  # again: nothing to do, either way
    assert pull(address, tmp_path / "here") == tmp_path / "here"


def test_the_manifest_is_put_last_and_a_cut_transfer_goes_on(
    stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: list[str] = []
    write = Store.write

    def cut(self: Store, name: str, blocks: object) -> str:
        put.append(name)
        if name == "notes.txt" and put.count(name) == 1:
            raise MGLMError("the line", found="cut")
        return write(self, name, blocks)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "write", cut)
    address = f"file://{tmp_path}/store"
    with pytest.raises(MGLMError, match="cut"):
        push(stage, address, jobs=1)
    with pytest.raises(MGLMError, match="none of them manifest.json"):
        pull(address, tmp_path / "here")
    push(stage, address, jobs=1)
    assert put == [BEGUN_NAME, "lang=en/part.arrow", "notes.txt", "notes.txt", MANIFEST_NAME]
    assert not (tmp_path / "store" / BEGUN_NAME).exists()
    pull(address, tmp_path / "here")


def test_a_pull_that_was_cut_goes_on_and_leaves_nothing_of_another(stage: Path, tmp_path: Path) -> None:
    address = f"file://{tmp_path}/store"
    push(stage, address)
    partial = tmp_path / "here.pulling"
    (partial / "lang=en").mkdir(parents=True)
    (partial / "lang=en" / "part.arrow").write_bytes((stage / "lang=en" / "part.arrow").read_bytes())
    kept = (partial / "lang=en" / "part.arrow").stat().st_ino
    (partial / "notes.txt").write_text("cut", "utf-8")
    (partial / "lang=xx").mkdir()
    (partial / "lang=xx" / "part.arrow").write_text("of another", "utf-8")
    pull(address, tmp_path / "here")
    assert contents(tmp_path / "here") == contents(stage)
    assert (tmp_path / "here" / "lang=en" / "part.arrow").stat().st_ino == kept
    assert not partial.exists()


def test_what_a_cut_pull_left_is_checked_by_as_many_as_fetch(
    stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"file://{tmp_path}/store"
    push(stage, address)
    together, is_there = threading.Barrier(2), transfer._is_there

    def wait_for_the_other(path: Path, entry: FileEntry) -> bool:
        together.wait(timeout=30)
        return is_there(path, entry)

    monkeypatch.setattr(transfer, "_is_there", wait_for_the_other)
    pull(address, tmp_path / "here", jobs=2)
    assert contents(tmp_path / "here") == contents(stage)


def test_damage_on_either_side_is_found(stage: Path, tmp_path: Path) -> None:
    address = f"file://{tmp_path}/store"
    push(stage, address)
    (tmp_path / "store" / "notes.txt").write_text("b", "utf-8")
    with pytest.raises(MGLMError, match=r"store/notes.txt; found another content"):
        pull(address, tmp_path / "here")
    assert not (tmp_path / "here").exists()
    (stage / "lang=en" / "part.arrow").write_bytes(b"abd" * 1000)
    with pytest.raises(MGLMError, match=r"part.arrow; found another content"):
        push(stage, f"file://{tmp_path}/other")
    assert not (tmp_path / "other" / MANIFEST_NAME).exists()


@pytest.mark.parametrize("name", ["notes.txt", MANIFEST_NAME])
@pytest.mark.parametrize("damaged", [True, False])
def test_what_was_damaged_or_has_gone_at_the_address_is_sent_anew(
    stage: Path, tmp_path: Path, name: str, damaged: bool
) -> None:
    """As pull advises. Without its manifest, a copy is objects of something else."""
    address, there = f"file://{tmp_path}/store", tmp_path / "store" / name
    push(stage, address)
    if damaged:
        there.write_bytes(b"x" * there.stat().st_size)
    else:
        there.unlink()
    with pytest.raises(MGLMError):
        pull(address, tmp_path / "here")
    if not damaged and name == MANIFEST_NAME:
        with pytest.raises(MGLMError, match="objects of something else"):
            push(stage, address, overwrite=True)
        return
    push(stage, address, overwrite=damaged)  # what has gone needs no more than the same command
    assert contents(tmp_path / "store") == contents(stage)
    pull(address, tmp_path / "here")


def test_a_file_that_was_not_what_is_listed_is_sent_when_it_is_mended(stage: Path, tmp_path: Path) -> None:
    address, notes = f"file://{tmp_path}/store", stage / "notes.txt"
    content = notes.read_bytes()
    notes.write_bytes(content[::-1])
    with pytest.raises(MGLMError, match="another content than is listed"):
        push(stage, address)
    notes.write_bytes(content)
    push(stage, address)
    pull(address, tmp_path / "here")
    assert contents(tmp_path / "here") == contents(stage)


@pytest.mark.parametrize("removals", [0, 1, 2, 3])
def test_a_replacement_killed_while_it_removes_goes_on(
    stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removals: int
) -> None:
    address, store = f"file://{tmp_path}/store", tmp_path / "store"
    push(stage, address)
    (store / "notes.txt").write_bytes(b"xy")  # of the right size
    left, remove = iter(range(removals)), Store.remove

    def cut(self: Store, name: str) -> None:
        if next(left, None) is None:
            raise MGLMError("the line", found="cut")
        remove(self, name)

    monkeypatch.setattr(Store, "remove", cut)
    with pytest.raises(MGLMError, match="cut"):
        push(stage, address, overwrite=True)
    monkeypatch.undo()
    push(stage, address, overwrite=True)
    assert contents(store) == contents(stage)


def test_other_work_is_replaced_only_when_asked_and_other_objects_never(stage: Path, tmp_path: Path) -> None:
    address, store = f"file://{tmp_path}/store", tmp_path / "store"
    push(stage, address)
    (store / "another").mkdir()
    (store / "another" / "object").write_text("not ours", "utf-8")
    second = finished(tmp_path / "second", b"xyz")
    with pytest.raises(MGLMError, match="transfer of other content.*--overwrite"):
        push(second, address)
    push(second, address, overwrite=True)
    assert contents(store) == contents(second) | {"another/object": b"not ours"}
    with pytest.raises(MGLMError, match="objects of something else"):
        push(second, f"{address}/another", overwrite=True)
    with pytest.raises(MGLMError, match="other files"):
        pull(address, stage)


def test_an_unfinished_run_is_pushed_as_snapshots_of_its_last_checkpoint(tmp_path: Path) -> None:
    run, address = tmp_path / "run", f"file://{tmp_path}/store/run"
    held = open_stage(run, schema="checkpoint/1", config={}, inputs={})
    with pytest.raises(MGLMError, match="no checkpoint"):
        push(run, address)
    for step in (4, 8):
        checkpoint = run / "checkpoints" / f"step-{step:08d}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "weights").write_bytes(bytes([step]) * 100)
        (checkpoint / "meta.json").write_text(json.dumps({"schema": "checkpoint/1", "step": step}), "utf-8")
        (run / "metrics.jsonl").write_text(f"{step}\n", "utf-8")
        assert push(run, address) == f"{address}/step-{step:08d}"
    (tmp_path / "store" / "run" / "step-00000012").mkdir()
    (tmp_path / "store" / "run" / "step-00000012" / "metrics.jsonl").write_text("cut off", "utf-8")
    pull(address, tmp_path / "here")
    found = contents(tmp_path / "here")
    last = "checkpoints/step-00000008"
    assert set(found) == {MARKER_NAME, "metrics.jsonl", f"{last}/weights", f"{last}/meta.json", SNAPSHOT_NAME}
    assert found["metrics.jsonl"] == b"8\n"
    assert open_stage(tmp_path / "here", schema="checkpoint/1", config={}, inputs={}).resumed
    assert not held.done


@pytest.mark.parametrize("path", ["../outside", "/outside"])
def test_a_list_that_names_files_outside_is_refused(path: str, tmp_path: Path) -> None:
    entry = {"path": path, "bytes": 1, "sha256": "0" * 64}
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / SNAPSHOT_NAME).write_text(json.dumps({"schema": "snapshot/1", "files": [entry]}), "utf-8")
    with pytest.raises(MGLMError, match="no list of files of ours"):
        pull(f"file://{tmp_path}/store", tmp_path / "here")


def test_an_address_of_no_known_kind_is_named(stage: Path) -> None:
    with pytest.raises(MGLMError, match="ftp:"):
        push(stage, "ftp://host/path")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A training run that goes on from step 4."""
    directory = tmp_path / "run"
    open_stage(directory, schema="checkpoint/1", config={}, inputs={})
    checkpoint = directory / "checkpoints" / "step-00000004"
    checkpoint.mkdir(parents=True)
    (checkpoint / "weights").write_bytes(b"w" * 100)
    (checkpoint / "meta.json").write_text(json.dumps({"schema": "checkpoint/1", "step": 4}), "utf-8")
    (directory / "metrics.jsonl").write_text("4\n", "utf-8")
    return directory


def test_a_run_is_pushed_again_and_again_while_its_logs_grow(run: Path, tmp_path: Path) -> None:
    address, step = f"file://{tmp_path}/store", tmp_path / "store" / "step-00000004"
    push(run, address)
    before = contents(step)
    (run / "metrics.jsonl").write_text("4\n5\n", "utf-8")
    assert push(run, address) == f"{address}/step-00000004"
    assert contents(step) == before
    (step / "metrics.jsonl").unlink()
    push(run, address)
    pull(address, tmp_path / "here")
    assert (tmp_path / "here" / "metrics.jsonl").read_text("utf-8") == "4\n5\n"
    push(run, address, overwrite=True)
    assert set(contents(step)) == set(before)


@pytest.mark.parametrize("cut_at", ["metrics.jsonl", "weights", "meta.json", SNAPSHOT_NAME])
def test_a_cut_push_of_a_run_goes_on_though_its_logs_have_changed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut_at: str
) -> None:
    address, put, write = f"file://{tmp_path}/store", [], Store.write

    def cut(self: Store, name: str, blocks: object) -> str:
        if name.endswith(cut_at):
            raise MGLMError("the line", found="cut")
        return write(self, name, blocks)  # type: ignore[arg-type]

    def noted(self: Store, name: str, blocks: object) -> str:
        put.append(name)
        return write(self, name, blocks)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "write", cut)
    with pytest.raises(MGLMError, match="cut"):
        push(run, address, jobs=1)
    there = {name for name in contents(tmp_path / "store" / "step-00000004") if "checkpoints/" in name}
    (run / "metrics.jsonl").write_text("5\n", "utf-8")  # of the same size
    monkeypatch.setattr(Store, "write", noted)
    push(run, address, jobs=1)
    assert there.isdisjoint(put)
    pull(address, tmp_path / "here")
    assert (tmp_path / "here" / "metrics.jsonl").read_text("utf-8") == "5\n"


def test_another_checkpoint_of_the_same_step_is_other_content(run: Path, tmp_path: Path) -> None:
    address = f"file://{tmp_path}/store"
    push(run, address)
    (run / "checkpoints" / "step-00000004" / "weights").write_bytes(b"v" * 100)
    with pytest.raises(MGLMError, match="transfer of other content.*--overwrite"):
        push(run, address)
    push(run, address, overwrite=True)
    pull(address, tmp_path / "here")
    assert (tmp_path / "here" / "checkpoints" / "step-00000004" / "weights").read_bytes() == b"v" * 100


def test_a_finished_run_goes_where_its_snapshots_are(run: Path, tmp_path: Path) -> None:
    address = f"file://{tmp_path}/store"
    push(run, address)
    open_stage(run, schema="checkpoint/1", config={}, inputs={}).finish()
    assert push(run, address) == address
    assert (tmp_path / "store" / "step-00000004" / SNAPSHOT_NAME).exists()
    pull(address, tmp_path / "here")
    assert (tmp_path / "here" / MANIFEST_NAME).read_bytes() == (run / MANIFEST_NAME).read_bytes()
