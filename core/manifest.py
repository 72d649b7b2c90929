"""Manifests: what a finished stage made and from what, the only way stages hand data to one another.

A directory is complete when it holds `manifest.json`, which `core.stage` writes last, by rename.
"""

import hashlib
import json
import os
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import MGLMError

MANIFEST_NAME = "manifest.json"
MARKER_NAME = "in_progress.json"
WORK_NAME = "_work"
LOCK_NAME = ".lock"

# Which command makes which contract; readers that find something else say so.
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


def describe_files(
    directory: Path, rows: Mapping[str, int], known: Mapping[str, Mapping[str, Any]] | None = None
) -> list[FileEntry]:
    """Size and sha256 of every data file below `directory`, without manifests, markers and Spark's own files.

    `known`: bytes and sha256 by relative path, as they were written; a file of that size is not read again.
    """
    entries = []
    for path in sorted(directory.rglob("*")):
        relative = path.relative_to(directory)
        if path.is_dir() or relative.parts[0] in (MANIFEST_NAME, MARKER_NAME, LOCK_NAME, WORK_NAME):
            continue
        # Spark's own files begin with one underscore; with two, torch's checkpoints, which are data.
        if (path.name.startswith("_") and not path.name.startswith("__")) or path.name.endswith(".crc"):
            continue
        key = relative.as_posix()
        size, written = path.stat().st_size, (known or {}).get(key)
        sha256 = written["sha256"] if written is not None and written["bytes"] == size else sha256_file(path)
        entries.append(FileEntry(path=key, rows=rows.get(key), bytes=size, sha256=sha256))
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
    # Not by the process alone: workers of two containers, each at the same task, often have the same number.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_file(path: Path) -> None:
    """Waits until what was written to a file is on its disk, so that what vouches for it may be written next."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_durably(temporary: Path, place: Path) -> None:
    """Puts a written file in its place; after a power cut too it is whole there, or not there."""
    sync_file(temporary)
    temporary.replace(place)


def git_revision() -> str | None:
    """The project's git revision, `None` when it runs from an installed package."""
    folder = Path(__file__).resolve().parent
    command = ["git", "-C", str(folder), "rev-parse", "--show-prefix", "HEAD"]
    try:
        within, revision = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return None
    # An environment often lies in a checkout of something else, whose revision says nothing of us.
    return revision if within == f"{folder.name}/" else None


def load_if_there(directory: Path, name: str = MANIFEST_NAME) -> Manifest | None:
    """The manifest of this name in a directory, None where there is none."""
    path = directory / name
    return _load(path) if path.exists() else None


def _load(path: Path) -> Manifest:
    try:
        return Manifest.model_validate_json(path.read_text("utf-8"))
    except (ValidationError, UnicodeDecodeError):
        raise MGLMError(
            f"{path}", found="a file that is not an mglm manifest", action="restore it or make the stage anew"
        ) from None
