"""Finished stages, and the last checkpoint of a training run, to a store that has no rename, and back.

In a store an object appears whole, by its PUT, and nothing can be renamed. So the files go first, each checked against
its sha256 on the way, and the one object that lists them last: `manifest.json` of a finished stage, `_snapshot.json` of
an unfinished run. Without that object there is nothing to pull. A transfer that was cut off goes on where it was.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyarrow import ArrowException
from pyarrow import fs as arrow_fs

from core.errors import MGLMError
from core.log import get_logger
from core.manifest import MANIFEST_NAME, MARKER_NAME, FileEntry, Manifest, sha256_file
from corpus.file_systems import resolve
from model.checkpoint_meta import CHECKPOINTS_NAME, latest_checkpoint

SNAPSHOT_NAME = "_snapshot.json"  # the underscore: no file of the stage
SNAPSHOT = "snapshot/1"
BEGUN_NAME = "transfer.json"  # the list, while its files are on their way
REMOVAL = "removal/1"  # instead of that list, while what it names is removed
PARTIAL = ".pulling"  # behind the name of a directory that is being pulled
_OF_SNAPSHOT = re.compile(r"step-\d+/")  # below the address of a run: not what is put at the address itself
BLOCK_BYTES = 8 << 20
OBJECT_STORES = (arrow_fs.S3FileSystem, getattr(arrow_fs, "GcsFileSystem", arrow_fs.S3FileSystem))

log = get_logger("transfer")


@dataclass(frozen=True)
class Parcel:
    """What is transferred: files below `root`, then `index`, which lists them. `small` holds files read already: those
    of a run that goes on, so another time they are others."""

    root: Path
    files: list[FileEntry]
    index_name: str
    index: bytes
    small: dict[str, bytes] = field(default_factory=dict)

    def is_listed_in(self, index: bytes | None) -> bool:
        """Whether a list at the address is of this: the same list or, of a run that goes on, the same checkpoint."""
        if index is None or self.index_name != SNAPSHOT_NAME:
            return index == self.index
        try:
            of_snapshot = json.loads(index).get("schema") == SNAPSHOT
            listed = _listed(index, self.index_name)
        except (ValueError, AttributeError, MGLMError):  # a damaged list is of nothing
            return False
        return of_snapshot and _of_checkpoint(listed) == _of_checkpoint(self.files)

    def content(self, path: str) -> Iterator[bytes]:
        if path in self.small:
            yield self.small[path]
            return
        with (self.root / path).open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block


@dataclass(frozen=True)
class Store:
    """A directory of a store."""

    address: str
    system: Any
    base: str

    @classmethod
    def at(cls, address: str) -> "Store":
        """Raises MGLMError where the address is of no kind we know."""
        system, base, _ = resolve(address)
        return cls(address.rstrip("/"), system, base.rstrip("/"))

    def below(self, name: str) -> "Store":
        return Store(f"{self.address}/{name}", self.system, f"{self.base}/{name}")

    def sizes(self) -> dict[str, int]:
        """Bytes of every object below it, by its path from here."""
        selector = arrow_fs.FileSelector(self.base, recursive=True, allow_not_found=True)
        found = self._ask(lambda: self.system.get_file_info(selector))
        files = (info for info in found if info.type == arrow_fs.FileType.File)
        return {info.path[len(self.base) :].lstrip("/"): info.size for info in files}

    def read(self, name: str) -> bytes | None:
        """An object's content, None where there is none."""
        info = self._ask(lambda: self.system.get_file_info(f"{self.base}/{name}"))
        if info.type != arrow_fs.FileType.File:
            return None
        return b"".join(self.blocks(name))

    def blocks(self, name: str) -> Iterator[bytes]:
        with self._ask(lambda: self.system.open_input_stream(f"{self.base}/{name}")) as source:
            while block := self._ask(lambda: source.read(BLOCK_BYTES)):
                yield block

    def write(self, name: str, blocks: Iterable[bytes]) -> str:
        """Puts an object and returns the sha256 of what was sent. Where files can be renamed, it appears whole too."""
        path, digest = f"{self.base}/{name}", hashlib.sha256()
        is_object_store = isinstance(self.system, OBJECT_STORES)
        target = path if is_object_store else f"{path}.{os.getpid()}.tmp"

        def put() -> None:
            if not is_object_store:
                self.system.create_dir(path.rpartition("/")[0], recursive=True)
            with self.system.open_output_stream(target) as out:
                for block in blocks:
                    digest.update(block)
                    out.write(block)
            if target != path:
                self.system.move(target, path)

        self._ask(put)
        return digest.hexdigest()

    def remove(self, name: str) -> None:
        self._ask(lambda: self.system.delete_file(f"{self.base}/{name}"))

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except FileNotFoundError as error:
            if error.filename is not None:  # one of ours, not the store's
                raise
            raise self._refusal(error) from None
        except (OSError, ArrowException) as error:
            raise self._refusal(error) from None

    def _refusal(self, error: Exception) -> MGLMError:
        return MGLMError(
            self.address,
            found=str(error).splitlines()[0],
            expected="a store that answers, and the right to read or write there",
            action="check address and credentials, and run the same command again: what is there stays",
        )


def push(directory: Path, address: str, *, overwrite: bool = False, jobs: int = 8) -> str:
    """Copies a finished stage to `address`, or a run's last checkpoint to `address/step-NNNNNNNN`; returns where it is.

    What is there in its right size stays. `overwrite` removes what an earlier transfer has completed there, and sends
    everything: nothing else mends an object that was damaged and kept its size.

    Raises:
        MGLMError: neither of these in `directory`; something else at the address; a file is not what its manifest says.
    """
    store = Store.at(address)
    if (directory / MANIFEST_NAME).exists():
        parcel = _finished(directory)
    else:
        parcel, step = _snapshot(directory)
        store = store.below(step)
    present = {name: size for name, size in store.sizes().items() if not _OF_SNAPSHOT.match(name)}
    there, begun = (store.read(name) if name in present else None for name in (parcel.index_name, BEGUN_NAME))
    is_ours = parcel.is_listed_in(begun if there is None else there)
    if is_ours and there is not None and not overwrite and _are_there(_listed(there, store.address), present):
        if BEGUN_NAME in present:
            store.remove(BEGUN_NAME)
        log.info("%s is complete already", store.address)
        return store.address
    if present and (not is_ours or (overwrite and there is not None)):
        _make_room(store, parcel.index_name, there, begun, present, overwrite=overwrite)
        present, begun = {}, None
    if begun != parcel.index:
        store.write(BEGUN_NAME, [parcel.index])
    if parcel.index_name in present:  # it lists what is not there: until that is, there is nothing to pull
        store.remove(parcel.index_name)
    missing = [entry for entry in parcel.files if entry.path in parcel.small or present.get(entry.path) != entry.bytes]

    def send(entry: FileEntry) -> None:
        try:
            sent = store.write(entry.path, parcel.content(entry.path))
        except FileNotFoundError:
            sent = ""
        if sent == entry.sha256:
            return
        if sent:
            store.remove(entry.path)  # the next attempt goes by sizes, and this may have the right one
        raise MGLMError(
            f"{directory / entry.path}",
            found="another content than is listed of it" if sent else "no such file any more",
            expected=f"sha256 {entry.sha256}",
            action="make the stage anew" if parcel.index_name == MANIFEST_NAME else "run the same command again",
        )

    _tell(len(missing), len(parcel.files), sum(entry.bytes for entry in missing), f"to {store.address}")
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(send, missing))
    store.write(parcel.index_name, [parcel.index])
    store.remove(BEGUN_NAME)
    return store.address


def pull(address: str, directory: Path, *, jobs: int = 8) -> Path:
    """Copies what `push` has put at `address` to a new directory, which appears when it is whole.

    Of a run's snapshots, the last complete one below `address` is taken.

    Raises:
        MGLMError: nothing complete there; the directory holds something else; an object is not what was pushed.
    """
    store, index_name, index = _complete(Store.at(address))
    files = _listed(index, f"{store.address}/{index_name}")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        local = directory / index_name
        if local.is_file() and local.read_bytes() == index:
            log.info("%s is complete already", directory)
            return directory
        raise MGLMError(
            f"output {directory}",
            found="other files" if directory.is_dir() else "a file",
            expected="a new or empty directory",
            action="choose another --output",
        )
    partial = directory.with_name(directory.name + PARTIAL)
    with ThreadPoolExecutor(jobs) as pool:
        there = list(pool.map(lambda entry: _is_there(partial / entry.path, entry), files))
    missing = [entry for entry, is_there in zip(files, there, strict=True) if not is_there]

    def fetch(entry: FileEntry) -> None:
        path = partial / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        digest = hashlib.sha256()
        try:
            with temporary.open("wb") as file:
                for block in store.blocks(entry.path):
                    digest.update(block)
                    file.write(block)
            if digest.hexdigest() != entry.sha256:
                raise MGLMError(
                    f"{store.address}/{entry.path}",
                    found="another content than was pushed",
                    expected=f"sha256 {entry.sha256}",
                    action="push it again with --overwrite",
                )
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    _tell(len(missing), len(files), sum(entry.bytes for entry in missing), f"from {store.address}")
    partial.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(fetch, missing))
    _remove_others(partial, {entry.path for entry in files})
    (partial / index_name).write_bytes(index)
    if directory.exists():
        directory.rmdir()
    partial.rename(directory)
    return directory


def _make_room(
    store: Store, index_name: str, there: bytes | None, begun: bytes | None, present: dict[str, int], *, overwrite: bool
) -> None:
    """Removes what an earlier transfer has put there, and nothing else; first the object that says it is complete.
    Until the next transfer begins, a list of what goes stays: a command that was cut off knows what is left."""
    if (there is None and begun is None) or not overwrite:
        ours = there is not None or begun is not None
        other = f"{'a' if there else 'an unfinished'} transfer of other content"
        raise MGLMError(
            store.address,
            found=other if ours else "objects of something else",
            expected="nothing there, or the same transfer begun before",
            action="choose another --output" + (", or pass --overwrite to replace it" if ours else ""),
        )
    doomed: dict[str, FileEntry] = {}
    for index in filter(None, (there, begun)):
        with contextlib.suppress(MGLMError):  # a damaged list: the next transfer writes over what it can
            doomed |= {entry.path: entry for entry in _listed(index, store.address)}
    store.write(BEGUN_NAME, [_list_of(REMOVAL, doomed.values())])
    for name in [index_name, *doomed]:
        if name in present:
            store.remove(name)


def _finished(directory: Path) -> Parcel:
    text = (directory / MANIFEST_NAME).read_bytes()
    return Parcel(directory, _listed(text, f"{directory / MANIFEST_NAME}"), MANIFEST_NAME, text)


def _snapshot(directory: Path) -> tuple[Parcel, str]:
    """The last checkpoint of a run with all that lies beside it; training may go on meanwhile."""
    step = latest_checkpoint(directory / CHECKPOINTS_NAME) if (directory / MARKER_NAME).exists() else None
    if step is None:
        raise MGLMError(
            f"input {directory}",
            found=f"no {MANIFEST_NAME}, and no checkpoint" if directory.is_dir() else "no such directory",
            expected="a finished stage, or a training run that has saved",
            action="run its command to the end first",
        )
    small = {}
    for path in directory.rglob("*"):
        parts = path.relative_to(directory).parts
        is_of_run = parts[0] != CHECKPOINTS_NAME and not path.name.startswith((".", "_"))
        if is_of_run and path.is_file() and not path.is_symlink():
            small["/".join(parts)] = path.read_bytes()
    files = [
        FileEntry(path=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        for name, content in small.items()
    ]
    for path in sorted(path for path in step.rglob("*") if path.is_file()):
        name = path.relative_to(directory).as_posix()
        files.append(FileEntry(path=name, bytes=path.stat().st_size, sha256=sha256_file(path)))
    return Parcel(directory, files, SNAPSHOT_NAME, _list_of(SNAPSHOT, files), small), step.name


def _complete(store: Store) -> tuple[Store, str, bytes]:
    """A finished stage at the address, or a snapshot there, or the last of those below it."""
    for name in (MANIFEST_NAME, SNAPSHOT_NAME):
        if (index := store.read(name)) is not None:
            return store, name, index
    present = store.sizes()
    steps = [name.partition("/")[0] for name in present if name.count("/") == 1 and name.endswith(f"/{SNAPSHOT_NAME}")]
    if steps:
        last = store.below(max(steps, key=lambda step: (len(step), step)))
        return last, SNAPSHOT_NAME, last.read(SNAPSHOT_NAME) or b""
    raise MGLMError(
        f"input {store.address}",
        found=f"{len(present)} objects, none of them {MANIFEST_NAME} or {SNAPSHOT_NAME}" if present else "nothing",
        expected="what mglm push has completed",
        action="run mglm push to its end first" if present else "check the address",
    )


def _of_checkpoint(files: Iterable[FileEntry]) -> dict[str, FileEntry]:
    return {entry.path: entry for entry in files if entry.path.startswith(f"{CHECKPOINTS_NAME}/")}


def _list_of(schema: str, files: Iterable[FileEntry]) -> bytes:
    return json.dumps({"schema": schema, "files": [entry.model_dump() for entry in files]}, indent=1).encode()


def _listed(index: bytes, where: str) -> list[FileEntry]:
    """The files of an index; none may lie outside its directory.

    Raises:
        MGLMError: it is no such list.
    """
    try:
        tables = json.loads(index)
        if tables.get("schema") in (SNAPSHOT, REMOVAL):
            files = [FileEntry.model_validate(entry) for entry in tables["files"]]
        else:
            files = Manifest.model_validate(tables).files
        for entry in files:
            if Path(entry.path).is_absolute() or ".." in Path(entry.path).parts:
                raise ValueError(entry.path)
    except (ValueError, KeyError, AttributeError, TypeError):
        raise MGLMError(where, found="no list of files of ours", action="push it again") from None
    return files


def _are_there(files: Iterable[FileEntry], present: Mapping[str, int]) -> bool:
    return all(present.get(entry.path) == entry.bytes for entry in files)


def _is_there(path: Path, entry: FileEntry) -> bool:
    return path.is_file() and path.stat().st_size == entry.bytes and sha256_file(path) == entry.sha256


def _remove_others(directory: Path, wanted: set[str]) -> None:
    """What an earlier transfer to the same place has left."""
    for path in sorted(directory.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                shutil.rmtree(path)
        elif path.relative_to(directory).as_posix() not in wanted:
            path.unlink()


def _tell(missing: int, files: int, size_bytes: int, where: str) -> None:
    there = f", {files - missing} are there" if missing < files else ""
    log.info("%d files, %.1f MB %s%s", missing, size_bytes / 1e6, where, there)
