"""Files on this machine or in a store that all machines reach: one way to list and to open them.

In: a local path, or an address `file:`, `s3:`, `s3a:`, `gs:`, `hdfs:`, `viewfs:`, `abfs:`, `abfss:`. Arrow's file
systems read them, in the driver and in the tasks, so no text crosses the JVM. Credentials come from the environment, as
each store's own tools take them; `AWS_ENDPOINT_URL` names an S3 of another maker.
"""

import os
import re
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from core.errors import MGLMError

SCHEMES = ("file", "s3", "s3a", "s3n", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss")
_S3 = ("s3", "s3a", "s3n")


@dataclass(frozen=True)
class Entry:
    """A file as its store describes it; `path` is the address that opens it."""

    path: str
    size_bytes: int
    modified: str


def is_address(path: str) -> bool:
    """Whether a path names a store rather than a place on this machine."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", path) is not None


def local_path(path: str) -> str | None:
    """The plain path that a local path or a `file:` address means; None for every other store."""
    if not is_address(path):
        return path
    return unquote(urlsplit(path).path) if path.startswith("file:") else None


def open_input(path: str) -> Any:
    """A seekable Arrow file. Of a store every read is a request of its own, for no more than was asked for.

    Raises:
        OSError: it is missing or cannot be read.
        MGLMError: an address of a kind that is not known or not set up here; also later, where a store fails to read.
    """
    if (local := local_path(path)) is not None:
        return pa.OSFile(local)
    store, inner, _ = resolve(path)
    return pa.PythonFile(_StoredFile(store.open_input_file(inner), path), "r")


class _StoredFile:
    """A file of a store. What fails is the store, for this once, and not the file: were the error an OSError like that
    of a cut or broken file, the rest of it would be rejected as unreadable and the part be finished without it."""

    def __init__(self, file: Any, path: str) -> None:
        self._file, self._path = file, path
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    @property
    def closed(self) -> bool:
        return bool(self._file.closed)

    def read(self, size: int = -1) -> bytes:
        try:
            data: bytes = self._file.read(size if size >= 0 else None)
        except OSError as error:
            raise _not_answered(self._path, error, "a store that answers") from None
        return data


def why_broken(path: str, error: Exception) -> str:
    """What an error while a file is read says of the file.

    Raises:
        MGLMError: it says nothing of it: a file system failed for this once, or memory ran out. The task must fail then
            and be tried again, as with a store, or the rest of a good file would be rejected.
    """
    if isinstance(error, MemoryError):
        raise _not_answered(path, error, "enough memory to read it") from None
    if isinstance(error, OSError) and error.errno is not None:  # the system's: broken data has no number
        raise _not_answered(path, error, "a file system that answers") from None
    return f"{type(error).__name__}: {error}"


def _not_answered(path: str, error: Exception, expected: str) -> MGLMError:
    action = "run the same command again: what is finished is kept"
    return MGLMError(f"input {path}", found=str(error), expected=expected, action=action)


def describe(path: str) -> Entry | None:
    """The file at `path`, None when there is none."""
    store, inner, prefix = resolve(path)
    info = _ask(path, lambda: store.get_file_info(inner))
    return _entry(info, prefix) if info.type == fs.FileType.File else None


def list_files(path: str) -> list[Entry]:
    """Every file below an address, hidden ones too; none when there is no such directory."""
    store, inner, prefix = resolve(path)
    selector = fs.FileSelector(inner, allow_not_found=True, recursive=True)
    found = _ask(path, lambda: store.get_file_info(selector))
    return [_entry(info, prefix) for info in found if info.type == fs.FileType.File]


def _entry(info: Any, prefix: str) -> Entry:
    modified = f"mtime {info.mtime_ns}" if info.mtime_ns is not None else "mtime unknown"
    return Entry(prefix + info.path, info.size, modified)


def _ask(path: str, question: Any) -> Any:
    try:
        return question()
    except (OSError, pa.ArrowException) as error:
        raise MGLMError(
            f"input {path}", found=str(error), expected="a store that answers", action="check address and credentials"
        ) from None


def resolve(path: str) -> tuple[Any, str, str]:
    """The file system, the path inside it, and what to put before a path of it to have an address again."""
    if (local := local_path(path)) is not None:
        return fs.LocalFileSystem(), local, ""
    scheme = path.split(":", 1)[0].lower()
    if scheme not in SCHEMES:
        raise MGLMError(
            f"input {path}", found=f"{scheme}:", expected=f"a path or one of {', '.join(s + ':' for s in SCHEMES)}"
        )
    host, slash, rest = path.split(":", 1)[1].lstrip("/").partition("/")
    if scheme in (*_S3, "gs", "gcs"):
        return _store(scheme, host), f"{host}{slash}{rest}".rstrip("/"), f"{scheme}://"
    return _store(scheme, host), f"/{rest}", f"{scheme}://{host}"


@cache
def _store(scheme: str, host: str) -> Any:
    """Made once in each process."""
    try:
        if scheme not in _S3:
            return fs.FileSystem.from_uri(f"{'gs' if scheme == 'gcs' else scheme}://{host}/")[0]
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
            parts = urlsplit(endpoint)
            return fs.S3FileSystem(endpoint_override=parts.netloc, scheme=parts.scheme, region=region or "us-east-1")
        return fs.S3FileSystem(region=region or fs.resolve_s3_region(host))
    except (OSError, ImportError, pa.ArrowException) as error:
        raise MGLMError(
            f"the store {scheme}://{host}",
            found=str(error),
            expected="libhdfs and Hadoop's CLASSPATH" if scheme in ("hdfs", "viewfs") else "a store that answers",
            action="set up access to it on every machine",
        ) from None
