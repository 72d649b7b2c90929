"""Stage directories while they are being written: claimed, locked, begun, continued, finished.

The manifest comes last, by rename. Its fingerprint covers schema, configuration and inputs, so that a finished stage is
not redone and a killed one knows what it may continue. A stage that can take in more input begins from what it made
before (`Stage.base`), which stays whole until the new is made.
"""

import fcntl
import json
import os
import platform
import shutil
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.errors import MGLMError
from core.manifest import (
    LOCK_NAME,
    MANIFEST_NAME,
    MARKER_NAME,
    WORK_NAME,
    FileEntry,
    Manifest,
    describe_files,
    git_revision,
    hash_of,
    load_if_there,
    sync_file,
    write_atomically,
)

BASE_NAME = "base.json"  # in the scratch directory: the manifest of what is being replaced
DIFFERENCES_SHOWN, VALUE_SHOWN = 3, 40  # in the message about other work: so many, so many characters of a value


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
        known: Mapping[str, Mapping[str, Any]] | None = None,
        counts: dict[str, dict[str, int]] | None = None,
        facts: dict[str, Any] | None = None,
        content: str | None = None,
    ) -> Manifest:
        """Hashes what is there (unless `files` says it), writes the manifest and removes scratch files.

        `rows` gives row counts by relative path; `counts` per language; `facts` whatever else is worth keeping;
        `known` the sums of files as they were written, see `describe_files`;
        `content` a hash of the rows, see `Manifest`.
        """
        entries = list(files) if files is not None else describe_files(self.output, rows or {}, known)
        if files is None:  # who lists its files has synced them
            for entry in entries:
                sync_file(self.output / entry.path)
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
    there) or fresh. With `overwrite`, a stage directory of other work is emptied first, and additions that were begun
    to this finished work are given up. A stage that `grows` may find a `base` there, finished work of the same
    configuration on some of the inputs, and leaves it as it is.

    Raises:
        MGLMError: the directory holds other work (with `overwrite`: of another schema), or files that no stage of ours
            made, or a process is at work in it.
    """
    identity: dict[str, Any] = {"schema": schema, "config": _plain(config), "inputs": dict(inputs)}
    fingerprint = hash_of(identity)
    if output.exists() and not output.is_dir():
        raise MGLMError(f"output {output}", found="a file", expected="a directory", action="choose another --output")
    manifest = load_if_there(output)
    marker = output / MARKER_NAME
    if manifest is not None and manifest.fingerprint == fingerprint:
        if overwrite and marker.exists() and _fingerprint_in(marker) != fingerprint:
            _give_up_additions(output)
        # What a process left that was killed after its last word goes; the marker of additions to this work stays.
        if not marker.exists() or _fingerprint_in(marker) == fingerprint:
            with suppress(OSError):  # a finished stage may lie where nothing can be written
                marker.unlink()
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
    manifest = load_if_there(output)  # again: another process may have finished while we came to hold the lock
    if manifest is not None and manifest.fingerprint == fingerprint:
        return Stage(output, identity, manifest, resumed=False, lock=lock)
    begun = json.loads(marker.read_text("utf-8")) if marker.exists() else {}
    base = manifest or load_if_there(output / WORK_NAME, BASE_NAME)
    if base is not None and not (grows and not overwrite and _is_part_of(base, identity)):
        base = None
    if begun.get("fingerprint") == fingerprint and (manifest is None or base is not None):
        return Stage(output, identity, None, resumed=True, lock=lock, base=base)
    if base is not None and manifest is not None:
        shutil.rmtree(output / WORK_NAME, ignore_errors=True)  # of other additions, given up
        write_atomically(marker, json.dumps({"fingerprint": fingerprint, **identity}, indent=1, ensure_ascii=False))
        return Stage(output, identity, None, resumed=False, lock=lock, base=base)
    was = manifest.schema_name if manifest else begun.get("schema", schema)
    if overwrite and was != schema:  # a mistyped --output, perhaps the command's own input
        os.close(lock)
        raise MGLMError(
            f"output {output}",
            found=f"work of another kind, {was}",
            expected=f"{schema}, to be replaced",
            action="choose another --output, or remove that directory yourself",
        )
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


def stage_state(output: Path, *, schema: str, config: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """What `open_stage` would find, touching nothing: `new`, `finished`, `unfinished` (the same work) or `other`."""
    if not output.is_dir():
        return "other" if output.exists() else "new"
    fingerprint = hash_of({"schema": schema, "config": _plain(config), "inputs": dict(inputs)})
    manifest, marker = load_if_there(output), output / MARKER_NAME
    if manifest is not None:
        return "finished" if manifest.fingerprint == fingerprint else "other"
    if marker.exists():
        return "unfinished" if _fingerprint_in(marker) == fingerprint else "other"
    return "other" if any(child.name != LOCK_NAME for child in output.iterdir()) else "new"


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


def _give_up_additions(output: Path) -> None:
    """Removes what was begun beside finished work, which is as it was."""
    lock = lock_directory(output)
    try:
        shutil.rmtree(output / WORK_NAME, ignore_errors=True)
        (output / MARKER_NAME).unlink(missing_ok=True)
    finally:
        os.close(lock)


def _fingerprint_in(marker: Path) -> str | None:
    """Of the work that was begun; None of a marker that has just gone, or of a directory that is being emptied."""
    try:
        fingerprint: str | None = json.loads(marker.read_text("utf-8")).get("fingerprint")
    except FileNotFoundError:
        return None
    return fingerprint


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


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dict(config), ensure_ascii=False))
    return plain


def _is_part_of(base: Manifest, identity: Mapping[str, Any]) -> bool:
    """Whether `base` is finished work of the same schema and configuration, on inputs that are all there unchanged."""
    same = base.schema_name == identity["schema"] and base.config == identity["config"]
    return bool(same and base.inputs.items() <= identity["inputs"].items())
