"""Which files an `--input` means, checked before anything starts, and how their records are cut into parts of work.

In: files, directories and glob patterns, on this machine or in a store. Out: input files, each once, and parts: lists
of splits, each the finished unit of a build.
"""

import fnmatch
import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import MGLMError
from core.log import get_logger
from corpus import file_systems
from corpus.config import CorpusConfig
from corpus.file_systems import Entry, local_path, open_input

COMPRESSIONS = {".gz": ("gzip", b"\x1f\x8b"), ".zst": ("zstd", b"\x28\xb5\x2f\xfd")}
JSON_LINES, PARQUET, TEXT, WARC = "jsonl", "parquet", "text", "warc"
FORMATS = {
    ".jsonl": JSON_LINES,
    ".ndjson": JSON_LINES,
    ".json": JSON_LINES,
    ".parquet": PARQUET,
    ".txt": TEXT,
    ".warc": WARC,
    ".wet": WARC,
}
SUFFIXES = (*FORMATS, *(name + end for name, kind in FORMATS.items() if kind != PARQUET for end in COMPRESSIONS))
EXPECTED_FILE = "JSON Lines (.jsonl, .ndjson, .json), text (.txt), WARC or WET, each plain, .gz or .zst; or .parquet"

HIDDEN = (".", "_")  # so begin names of files and directories that are no input

# A compressed file is read by one task from its beginning, so a large one keeps a cluster waiting for it.
LARGE_COMPRESSED_BYTES = 1024**3
SMALLEST_SPLIT_BYTES = 1024**2
EXPANSION = 4  # of compressed text, to weigh it against plain text
_LOOKED_AT_ONCE = 16

log = get_logger("corpus")


@dataclass(frozen=True)
class InputFile:
    """A file to read: `path` as the user can find it, which becomes the `source` of its records."""

    path: str
    size_bytes: int
    compression: str | None
    format: str = JSON_LINES
    modified: str = ""
    row_group_bytes: tuple[int, ...] = ()  # of Parquet

    @property
    def identity(self) -> str:
        """What tells it from another version of itself: size and time, since a crawl is too big to hash."""
        return f"{self.size_bytes} bytes, {self.modified}"


@dataclass(frozen=True, slots=True)
class Split:
    """The records of a file whose first byte lies in [start, end), `end` None: all; of Parquet, its row groups."""

    path: str
    start: int
    end: int | None
    compression: str | None
    format: str = JSON_LINES
    size_bytes: int = 0  # of the whole file, as stored


def find_inputs(inputs: Sequence[str], config: CorpusConfig, output: Path | None = None) -> list[InputFile]:
    """The files that `inputs` mean, ordered by path; a file named twice counts once.

    What lies in `output` is none of them: else a build into a folder of its input would read itself the next time.

    Raises:
        MGLMError: a path or pattern finds nothing; a file is empty, of another kind, or not what its name says.
    """
    entries: dict[str, Entry] = {}
    made = output.resolve() if output is not None else None
    for given in inputs:
        for entry in _expand(given):
            place = _place(entry.path)
            if made is None or not Path(place).is_relative_to(made):
                entries.setdefault(place, entry)
    if not entries:
        raise MGLMError(
            f"input {', '.join(inputs)}", found="nothing but what lies in the output", expected="files outside of it"
        )
    with ThreadPoolExecutor(_LOOKED_AT_ONCE) as pool:
        files = list(pool.map(lambda entry: _check(entry, config), entries.values()))
    return sorted(files, key=lambda file: file.path)


def plan_parts(
    files: Iterable[InputFile], config: CorpusConfig, *, tasks: int, known: Mapping[str, str] | None = None
) -> list[list[Split]]:
    """Cuts the files that are not among `known` (identity by path) into parts of about equal size, in their order.

    About `tasks` can work at once, none on more than `split_bytes`, save on a file that cannot be cut. The records are
    the same however files are cut.
    """
    new = [file for file in files if (known or {}).get(file.path) != file.identity]
    total = sum(_weight(file) for file in new)
    size = min(config.split_bytes, max(total // max(tasks, 1) + 1, SMALLEST_SPLIT_BYTES))
    parts: list[list[Split]] = []
    filled = size
    for file in new:
        for split, weight in _cut(file, size, config):
            if filled + weight > size:
                parts.append([])
                filled = 0
            parts[-1].append(split)
            filled += weight
    return parts


def part_weights(parts: Sequence[Sequence[Split]]) -> list[int]:
    """Bytes of about so much plain text each part holds, to share work by; row groups of a file count alike."""
    groups = Counter(split.path for splits in parts for split in splits if split.format == PARQUET)

    def weight(split: Split) -> int:
        if split.format == PARQUET:
            return split.size_bytes * EXPANSION // groups[split.path]
        if split.end is None:
            return split.size_bytes * (EXPANSION if split.compression else 1)
        return split.end - split.start

    return [sum(1 + weight(split) for split in splits) for splits in parts]


def pack_parts(parts: Sequence[Sequence[Split]]) -> dict[str, list[Any]]:
    """Parts as JSON that names each file once."""
    files: dict[tuple[str, str | None, str, int], int] = {}

    def number(split: Split) -> int:
        return files.setdefault((split.path, split.compression, split.format, split.size_bytes), len(files))

    packed = [[(number(split), split.start, split.end) for split in splits] for splits in parts]
    return {"files": list(files), "parts": packed}


def unpack_parts(packed: Mapping[str, list[Any]]) -> list[list[Split]]:
    """What `pack_parts` packed."""
    files = packed["files"]
    return [
        [Split(files[file][0], start, end, *files[file][1:]) for file, start, end in splits]
        for splits in packed["parts"]
    ]


def _weight(file: InputFile) -> int:
    return file.size_bytes * (EXPANSION if file.compression or file.format == PARQUET else 1)


def _cut(file: InputFile, size: int, config: CorpusConfig) -> Iterable[tuple[Split, int]]:
    def split(start: int, end: int | None) -> Split:
        return Split(file.path, start, end, file.compression, file.format, file.size_bytes)

    if file.format == PARQUET:
        for number, of_group in enumerate(file.row_group_bytes):
            yield split(number, number + 1), of_group
    elif file.compression or file.format == WARC or (file.format == TEXT and config.text_documents == "file"):
        yield split(0, None), _weight(file)
    else:
        for start in range(0, file.size_bytes, size):
            end = min(start + size, file.size_bytes)
            yield split(start, end), end - start


def _place(path: str) -> str:
    local = local_path(path)
    return path if local is None else str(Path(local).resolve())


def _expand(given: str) -> list[Entry]:
    if local_path(given) is None:
        return _expand_address(given)
    path = Path(local_path(given) or "")
    if path.is_dir():
        found = [file for file in _below(path) if file.is_file() and _wanted(file.relative_to(path).parts)]
        if not found:
            raise MGLMError(f"input {given}", found="a directory without any", expected=EXPECTED_FILE)
        return [_local(file) for file in found]
    if path.exists():
        return [_local(path)]
    if not glob.has_magic(str(path)):
        raise MGLMError(f"input {given}", found="no such file or directory", expected=EXPECTED_FILE)
    matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 (Path.glob takes no absolute pattern)
    if not matches:
        raise MGLMError(f"input {given}", found="no match for the pattern", expected=EXPECTED_FILE)
    return [file for match in matches for file in _expand(match)]


def _below(directory: Path) -> list[Path]:
    """What is below a directory, in order, also through links to others, which `rglob` passes over in silence."""
    found: list[Path] = []
    seen: set[str] = set()

    def tell(error: OSError) -> None:
        log.warning("input %s is left out: %s", error.filename, error.strerror)

    for folder, names, files in os.walk(directory, onerror=tell, followlinks=True):
        names[:] = sorted(name for name in names if not name.startswith(HIDDEN))
        if (place := os.path.realpath(folder)) in seen:  # a link that leads in a circle, or to what was there
            names.clear()
            continue
        seen.add(place)
        found += [Path(folder, name) for name in files]
    return sorted(found)


def _expand_address(given: str) -> list[Entry]:
    if (entry := file_systems.describe(given)) is not None:
        return [entry]
    if not glob.has_magic(given):
        root = given.rstrip("/") + "/"
        found = [file for file in file_systems.list_files(given) if _wanted(file.path.removeprefix(root).split("/"))]
        if not found:
            raise MGLMError(f"input {given}", found="no such file, nor any below it", expected=EXPECTED_FILE)
        return found
    root = re.split(r"[*?\[]", given, maxsplit=1)[0].rpartition("/")[0]
    wanted = expression(given)
    found = [file for file in file_systems.list_files(root) if wanted.fullmatch(file.path)]
    if not found:
        raise MGLMError(f"input {given}", found="no match for the pattern", expected=EXPECTED_FILE)
    return found


def expression(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression: `*` and `?` within a name, `**/` through any number of folders, `[0-9]`."""
    meanings = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?|\[!?[^\]]+\])", pattern)
    text = "".join(
        meanings.get(piece)
        or (fnmatch.translate(piece).removeprefix("(?s:").removesuffix(r")\Z") if piece[:1] == "[" else "")
        or re.escape(piece)
        for piece in pieces
    )
    return re.compile(text)


def _wanted(names: Sequence[str]) -> bool:
    return not any(name.startswith(HIDDEN) for name in names) and names[-1].endswith(SUFFIXES)


def _local(path: Path) -> Entry:
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        shown = repr(str(path))
        raise MGLMError(
            f"input {shown}", found="a name that is not UTF-8", expected="UTF-8", action="rename it"
        ) from None
    if not path.is_file():
        raise MGLMError(f"input {path}", found="something that is not a regular file", expected=EXPECTED_FILE)
    status = path.stat()
    return Entry(str(path), status.st_size, f"mtime {status.st_mtime_ns}")


def _check(entry: Entry, config: CorpusConfig) -> InputFile:
    path = entry.path
    if not path.endswith(SUFFIXES):
        raise MGLMError(f"input {path}", found="a file of another kind", expected=EXPECTED_FILE)
    stem, dot, last = path.rpartition(".")
    compression, magic = COMPRESSIONS.get(dot + last, (None, b""))
    suffix = "." + stem.rpartition(".")[2] if compression else dot + last
    try:
        with open_input(path) as file:
            beginning = file.read(4)
            groups = _row_groups(file, path, config) if suffix == ".parquet" and entry.size_bytes else ()
    except OSError as error:
        raise MGLMError(f"input {path}", found=error.strerror or str(error), expected="a readable file") from None
    if entry.size_bytes == 0:
        raise MGLMError(f"input {path}", found="an empty file", expected=EXPECTED_FILE, action="remove or mend it")
    for name, (known, known_magic) in COMPRESSIONS.items():
        if beginning.startswith(known_magic) and compression is None:
            raise MGLMError(f"input {path}", found=f"{known} data", expected=f"plain text, or a name ending in {name}")
    if not beginning.startswith(magic):
        raise MGLMError(f"input {path}", found="other data", expected=f"{compression} data, as its name says")
    return InputFile(path, entry.size_bytes, compression, FORMATS[suffix], entry.modified, groups)


def _row_groups(file: object, path: str, config: CorpusConfig) -> tuple[int, ...]:
    """Bytes of each row group, uncompressed, of the columns that are read."""
    try:
        parquet = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise MGLMError(f"input {path}", found=str(error), expected="a whole Parquet file") from None
    names = parquet.schema_arrow.names
    if config.text_field not in names:
        raise MGLMError(
            f"input {path}",
            found=f"columns {', '.join(names)}",
            expected=f"a column {config.text_field}",
            action="set corpus.text_field to the column that holds the text",
        )
    wanted = {config.text_field, config.url_field}
    sizes = []
    for number in range(parquet.num_row_groups):
        group = parquet.metadata.row_group(number)
        columns = [group.column(index) for index in range(group.num_columns)]
        sizes.append(sum(column.total_uncompressed_size for column in columns if column.path_in_schema in wanted))
    return tuple(sizes)
