"""Stage directories and their manifests: the only way stages hand data to one another.

A directory is complete when it holds `manifest.json`, which is written last, by rename. Its fingerprint covers schema,
configuration and inputs, so that a finished stage is not redone and a killed one knows what it may continue. A stage
that can take in more input begins from what it made before (`Stage.base`), which stays whole until the new is made.
"""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import time
import weakref
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import MGLMError

MANIFEST_NAME = "manifest.json"
MARKER_NAME = "in_progress.json"
WORK_NAME = "_work"
LOCK_NAME = ".lock"
BASE_NAME = "base.json"  # in the scratch directory: the manifest of what is being replaced

# Which command makes which contract; readers that find something else say so.
DIFFERENCES_SHOWN, VALUE_SHOWN = (
    3,
    40,
)  # so many, and so many characters of a value, in the message about a directory that holds other work
MADE_BY = {
    "documents/1": "mglm corpus build",
    "corpus_report/1": "mglm corpus report",
    "plan/1": "mglm balancing fit",
    "comparison/1": "mglm balancing compare",
    "sample/1": "mglm balancing sample",
    "tokenizer/1": "mglm tokenizer train",
    "tokenizer_report/1": "mglm tokenizer report",
    "shards/1": "mglm tokenizer shard",
    "checkpoint/1": "mglm train pretrain or mglm train finetune",
    "hf/1": "mglm model convert --to hf",
    "peer/1": "mglm train finetune",
    "examples/1": "mglm eval prepare",
    "predictions/1": "mglm eval predict",
    "scores/1": "mglm eval score",
    "rating/1": "mglm eval rating",
    "bits_per_byte/1": "mglm eval bits-per-byte",
    "harness/1": "mglm eval harness",
    "contamination/1": "mglm eval contamination",
    "world/1": "mglm world make",
}


class FileEntry(BaseModel):
    """One data file of a stage; `path` is relative to the stage directory."""

    model_config = ConfigDict(extra="forbid")
    path: str
    rows: int | None = None
    bytes: int
    sha256: str


class Manifest(BaseModel):
    """What a finished stage made, from what. `made` (times, machine) stands outside what is hashed."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    schema_name: str = Field(alias="schema")
    config: dict[str, Any]
    inputs: dict[str, str]
    fingerprint: str
    files: list[FileEntry]
    counts: dict[str, dict[str, int]] = {}
    facts: dict[str, Any] = {}
    content: str | None = None  # a hash of the rows themselves, where files of equal rows may differ in their bytes
    made: dict[str, Any] = {}

    def content_hash(self) -> str:
        """What a stage that reads this one records as its input: the schema and `content`, else all but `made`."""
        if self.content is not None:
            return hash_of({"schema": self.schema_name, "content": self.content})
        return hash_of(self.model_dump(by_alias=True, exclude={"made", "content"}))


class Stage:
    """A stage directory being written. Made by `open_stage`; `finish` writes the manifest, last and by rename."""

    def __init__(
        self,
        output: Path,
        identity: dict[str, Any],
        manifest: Manifest | None,
        *,
        resumed: bool,
        lock: int | None = None,
        base: Manifest | None = None,
    ) -> None:
        self.output, self._identity, self.manifest, self.resumed = output, identity, manifest, resumed
        self.base = base
        # The lock is held until the stage finishes or is dropped; the kernel frees it however this process dies.
        self._unlock = weakref.finalize(self, os.close, lock) if lock is not None else None
        self._started = time.monotonic()

    @property
    def done(self) -> bool:
        """True when this very work was finished before: there is nothing to do."""
        return self.manifest is not None

    @property
    def work(self) -> Path:
        """Scratch directory inside the output, removed by `finish`."""
        path = self.output / WORK_NAME
        path.mkdir(exist_ok=True)
        return path

    def put_in_place(self, names: Sequence[str]) -> None:
        """Moves `work/name` to `output/name`, what stood there to the scratch directory; may be called again.

        From here on the directory is incomplete until `finish`: its base is no more what its manifest says.
        """
        if (self.output / MANIFEST_NAME).exists():
            (self.output / MANIFEST_NAME).replace(self.work / BASE_NAME)
        for name in names:
            made, place = self.work / name, self.output / name
            if made.exists():
                if place.exists():
                    place.rename(self.work / f"replaced-{name}")
                made.rename(place)

    def finish(
        self,
        *,
        rows: Mapping[str, int] | None = None,
        files: Sequence[FileEntry] | None = None,
        counts: dict[str, dict[str, int]] | None = None,
        facts: dict[str, Any] | None = None,
        content: str | None = None,
    ) -> Manifest:
        """Hashes what is there (unless `files` says it), writes the manifest and removes scratch files.

        `rows` gives row counts by relative path; `counts` per language; `facts` whatever else is worth keeping;
        `content` a hash of the rows, see `Manifest`.
        """
        entries = list(files) if files is not None else describe_files(self.output, rows or {})
        manifest = Manifest(
            **self._identity,
            fingerprint=hash_of(self._identity),
            files=sorted(entries, key=lambda entry: entry.path),
            counts=counts or {},
            facts=facts or {},
            content=content,
            made={
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "wall_s": round(time.monotonic() - self._started, 2),
                "git_revision": git_revision(),
                "python": platform.python_version(),
            },
        )
        text = json.dumps(manifest.model_dump(by_alias=True), indent=1, ensure_ascii=False)
        write_atomically(self.output / MANIFEST_NAME, text)
        (self.output / MARKER_NAME).unlink(missing_ok=True)
        shutil.rmtree(self.output / WORK_NAME, ignore_errors=True)
        if self._unlock is not None:
            self._unlock()
        self.manifest = manifest
        return manifest


def open_stage(
    output: Path,
    *,
    schema: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    overwrite: bool = False,
    grows: bool = False,
) -> Stage:
    """Claims `output` for one piece of work.

    Returns a stage that is `done` (same work finished before), `resumed` (same work begun before; its files are still
    there) or fresh. With `overwrite`, a stage directory of other work is emptied first. A stage that `grows` may find a
    `base` there, finished work of the same configuration on some of the inputs, and leaves it as it is.

    Raises:
        MGLMError: the directory holds other work, or files that no stage of ours made, or a process is at work in it.
    """
    identity: dict[str, Any] = {"schema": schema, "config": _plain(config), "inputs": dict(inputs)}
    fingerprint = hash_of(identity)
    if output.exists() and not output.is_dir():
        raise MGLMError(f"output {output}", found="a file", expected="a directory", action="choose another --output")
    manifest = _load_if_there(output)
    marker = output / MARKER_NAME
    if manifest is not None and manifest.fingerprint == fingerprint:
        if not marker.exists():  # of a process killed after its last word
            shutil.rmtree(output / WORK_NAME, ignore_errors=True)
        return Stage(output, identity, manifest, resumed=False)
    others = [child for child in output.iterdir() if child.name != LOCK_NAME] if output.exists() else []
    if others and manifest is None and not marker.exists():
        raise MGLMError(
            f"output {output}",
            found="files that no mglm stage made",
            expected="an empty or new directory",
            action="choose another --output",
        )
    lock = lock_directory(output)
    manifest = _load_if_there(output)  # again: another process may have finished while we came to hold the lock
    if manifest is not None and manifest.fingerprint == fingerprint:
        return Stage(output, identity, manifest, resumed=False, lock=lock)
    begun = json.loads(marker.read_text("utf-8")) if marker.exists() else {}
    base = manifest or _load_if_there(output / WORK_NAME, BASE_NAME)
    if base is not None and not (grows and not overwrite and _is_part_of(base, identity)):
        base = None
    if begun.get("fingerprint") == fingerprint and (manifest is None or base is not None):
        return Stage(output, identity, None, resumed=True, lock=lock, base=base)
    if base is not None and manifest is not None:
        shutil.rmtree(output / WORK_NAME, ignore_errors=True)  # of other additions, given up
        write_atomically(marker, json.dumps({"fingerprint": fingerprint, **identity}, indent=1, ensure_ascii=False))
        return Stage(output, identity, None, resumed=False, lock=lock, base=base)
    if others and not overwrite:
        os.close(lock)
        raise MGLMError(
            f"output {output}",
            found=f"{'finished' if manifest else 'unfinished'} work of another configuration or input"
            + _differences(manifest.model_dump(by_alias=True) if manifest else begun, identity),
            expected="an empty directory or the same work",
            action="choose another --output, or pass --overwrite to replace it",
        )
    # The marker first, so that a directory emptied half-way is known as ours; then the manifest, so that it is not
    # taken for finished.
    write_atomically(marker, json.dumps({"fingerprint": None}))
    (output / MANIFEST_NAME).unlink(missing_ok=True)
    for child in others:
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        elif child != marker:
            child.unlink(missing_ok=True)
    write_atomically(marker, json.dumps({"fingerprint": fingerprint, **identity}, indent=1, ensure_ascii=False))
    return Stage(output, identity, None, resumed=False, lock=lock)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """In brackets the first few settings and inputs that differ; "" where none is known."""
    if before.get("schema", now["schema"]) != now["schema"]:
        return f" ({before['schema']})"
    old, new = ({**_flat(work.get("config", {})), **_flat(work.get("inputs", {}), "input ")} for work in (before, now))
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name)] if old else []
    said = [
        f"{name} {'changed' if name in old and name in new else 'only before' if name in old else 'only now'}"
        if name.startswith("input ")
        else f"{name} was {str(old.get(name, 'unset'))[:VALUE_SHOWN]}, now {str(new.get(name, 'unset'))[:VALUE_SHOWN]}"
        for name in changed[:DIFFERENCES_SHOWN]
    ]
    more = [f"{len(changed) - len(said)} more"] if len(changed) > len(said) else []
    return f" ({', '.join(said + more)})" if said else ""


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one mapping, their names joined by dots."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def stage_state(output: Path, *, schema: str, config: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """What `open_stage` would find, touching nothing: `new`, `finished`, `unfinished` (the same work) or `other`."""
    if not output.is_dir():
        return "other" if output.exists() else "new"
    fingerprint = hash_of({"schema": schema, "config": _plain(config), "inputs": dict(inputs)})
    manifest, marker = _load_if_there(output), output / MARKER_NAME
    if manifest is not None:
        return "finished" if manifest.fingerprint == fingerprint else "other"
    if marker.exists():
        begun = json.loads(marker.read_text("utf-8")).get("fingerprint")
        return "unfinished" if begun == fingerprint else "other"
    return "other" if any(child.name != LOCK_NAME for child in output.iterdir()) else "new"


def read_manifest(directory: Path, schema: str) -> Manifest:
    """The manifest of a finished stage.

    Raises:
        MGLMError: the directory is missing, unfinished, or of another schema; the message names the command to run.
    """
    command = MADE_BY[schema]
    if not directory.is_dir():
        found = "a file" if directory.exists() else "nothing there"
        expected = f"what {command} makes ({schema})"
        raise MGLMError(f"{directory}", found=found, expected=expected, action=f"run {command} first")
    if not (directory / MANIFEST_NAME).exists():
        raise MGLMError(
            f"{directory}",
            found=f"no {MANIFEST_NAME}" + (", so it is unfinished" if (directory / MARKER_NAME).exists() else ""),
            expected=f"what {command} makes ({schema}), finished",
            action=f"run {command} to its end first",
        )
    manifest = _load(directory / MANIFEST_NAME)
    if manifest.schema_name != schema:
        raise MGLMError(
            f"{directory}", found=manifest.schema_name, expected=schema, action=f"give the output of {command}"
        )
    return manifest


def inputs_of_files(paths: Sequence[Path]) -> dict[str, str]:
    """Identities of raw input files for a fingerprint: size and modification time, since a crawl is too big to hash."""
    identities = {}
    for path in paths:
        status = path.stat()
        identities[str(path)] = f"{status.st_size} bytes, mtime {status.st_mtime_ns}"
    return identities


def describe_files(directory: Path, rows: Mapping[str, int]) -> list[FileEntry]:
    """Size and sha256 of every data file below `directory`, without manifests, markers and Spark's own files."""
    entries = []
    for path in sorted(directory.rglob("*")):
        relative = path.relative_to(directory)
        if path.is_dir() or relative.parts[0] in (MANIFEST_NAME, MARKER_NAME, LOCK_NAME, WORK_NAME):
            continue
        # Spark's own files begin with one underscore; with two, torch's checkpoints, which are data.
        if (path.name.startswith("_") and not path.name.startswith("__")) or path.name.endswith(".crc"):
            continue
        key = relative.as_posix()
        entries.append(FileEntry(path=key, rows=rows.get(key), bytes=path.stat().st_size, sha256=sha256_file(path)))
    return entries


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file, read in 1 MiB pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_of(value: Any) -> str:
    """sha256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """Writes UTF-8 text so that `path` holds either its old or its whole new content, also after a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def git_revision() -> str | None:
    """The project's git revision, `None` when it runs from an installed package."""
    command = ["git", "-C", str(Path(__file__).resolve().parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def wait_until_free(output: Path, seconds: float) -> None:
    """Waits, at most so long, for another process to leave a stage directory: a killed one may still be saving."""
    deadline = time.monotonic() + seconds
    while output.is_dir() and time.monotonic() < deadline:
        try:
            os.close(lock_directory(output))
            return
        except MGLMError:
            time.sleep(0.2)


def lock_directory(output: Path) -> int:
    """Two processes in one directory would spoil each other's work: the second is refused. Returns the open file."""
    output.mkdir(parents=True, exist_ok=True)
    file = os.open(output / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise MGLMError(
            f"output {output}", found="another mglm process at work there", action="wait for it to end, or stop it"
        ) from None
    return file


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dict(config), ensure_ascii=False))
    return plain


def _is_part_of(base: Manifest, identity: Mapping[str, Any]) -> bool:
    """Whether `base` is finished work of the same schema and configuration, on inputs that are all there unchanged."""
    same = base.schema_name == identity["schema"] and base.config == identity["config"]
    return bool(same and base.inputs.items() <= identity["inputs"].items())


def _load_if_there(directory: Path, name: str = MANIFEST_NAME) -> Manifest | None:
    path = directory / name
    return _load(path) if path.exists() else None


def _load(path: Path) -> Manifest:
    try:
        return Manifest.model_validate_json(path.read_text("utf-8"))
    except (ValidationError, UnicodeDecodeError):
        raise MGLMError(
            f"{path}", found="a file that is not an mglm manifest", action="restore it or make the stage anew"
        ) from None
