"""Which files an `--input` means, checked before anything starts, and how they are cut into splits.

In: paths of files, directories and glob patterns. Out: input files, each once, and splits of about equal size.
"""

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import MGLMError

COMPRESSIONS = {".gz": ("gzip", b"\x1f\x8b"), ".zst": ("zstd", b"\x28\xb5\x2f\xfd")}
RECORD_SUFFIXES = (".jsonl", ".ndjson", ".json")
SUFFIXES = tuple(record + compressed for record in RECORD_SUFFIXES for compressed in ("", *COMPRESSIONS))
EXPECTED_FILE = "a JSON Lines file (.jsonl, .ndjson or .json, plain, .gz or .zst)"

# A compressed file is read by one task from its beginning, so a large one keeps a cluster waiting for it.
LARGE_COMPRESSED_BYTES = 1024**3
SMALLEST_SPLIT_BYTES = 1024**2


@dataclass(frozen=True)
class InputFile:
    """A file to read: `path` as the user can find it, which becomes the `source` of its records."""

    path: str
    size_bytes: int
    compression: str | None


@dataclass(frozen=True)
class Split:
    """The records of a file whose first byte lies in [start, end); `end` None: all, as of a compressed file."""

    path: str
    start: int
    end: int | None
    compression: str | None


def find_inputs(inputs: Sequence[str]) -> list[InputFile]:
    """The files that `inputs` mean, ordered by path; a file named twice counts once.

    Raises:
        MGLMError: a path or pattern finds nothing; a file is empty, of another kind, or not what its name says.
    """
    files: dict[Path, InputFile] = {}
    for given in inputs:
        for path in _expand(given):
            files.setdefault(path.resolve(), _check(path))
    return sorted(files.values(), key=lambda file: file.path)


def plan_splits(files: Sequence[InputFile], *, split_bytes: int, tasks: int) -> list[Split]:
    """Cuts uncompressed files so that about `tasks` can work at once, none on more than `split_bytes`.

    The records are the same however the files are cut.
    """
    total = sum(file.size_bytes for file in files)
    size = min(split_bytes, max(total // max(tasks, 1) + 1, SMALLEST_SPLIT_BYTES))
    splits = []
    for file in files:
        if file.compression:
            splits.append(Split(file.path, 0, None, file.compression))
            continue
        starts = range(0, file.size_bytes, size)
        splits += [Split(file.path, start, min(start + size, file.size_bytes), None) for start in starts]
    return splits


def _expand(given: str) -> list[Path]:
    path = Path(given)
    if path.is_dir():
        found = [file for file in sorted(path.rglob("*")) if _is_visible(file, path) and file.name.endswith(SUFFIXES)]
        if not found:
            raise MGLMError(f"input {given}", found="a directory without any", expected=EXPECTED_FILE)
        return found
    if path.exists():
        return [path]
    if not glob.has_magic(given):
        raise MGLMError(f"input {given}", found="no such file or directory", expected=EXPECTED_FILE)
    matches = sorted(glob.glob(given, recursive=True))  # noqa: PTH207 (Path.glob takes no absolute pattern)
    if not matches:
        raise MGLMError(f"input {given}", found="no match for the pattern", expected=EXPECTED_FILE)
    return [file for match in matches for file in _expand(match)]


def _is_visible(file: Path, root: Path) -> bool:
    return file.is_file() and not any(part.startswith((".", "_")) for part in file.relative_to(root).parts)


def _check(path: Path) -> InputFile:
    if not path.is_file():
        raise MGLMError(f"input {path}", found="something that is not a regular file", expected=EXPECTED_FILE)
    if not path.name.endswith(SUFFIXES):
        raise MGLMError(f"input {path}", found="a file of another kind", expected=EXPECTED_FILE)
    compression, magic = COMPRESSIONS.get(path.suffix, (None, b""))
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            beginning = file.read(4)
    except OSError as error:
        raise MGLMError(f"input {path}", found=error.strerror or str(error), expected="a readable file") from None
    if size_bytes == 0:
        raise MGLMError(f"input {path}", found="an empty file", expected=EXPECTED_FILE, action="remove or mend it")
    for name, (known, known_magic) in COMPRESSIONS.items():
        if beginning.startswith(known_magic) and compression is None:
            raise MGLMError(f"input {path}", found=f"{known} data", expected=f"plain text, or a name ending in {name}")
    if not beginning.startswith(magic):
        raise MGLMError(f"input {path}", found="other data", expected=f"{compression} data, as its name says")
    return InputFile(str(path), size_bytes, compression)
