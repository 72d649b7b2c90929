"""Taking documents out of a finished stage: the old directory or the new one, never a mixture, however it ends.

Files that change are written anew under other names beside the old ones. The manifest, which says which files are the
stage, then goes over to them by one rename, and only then are the old ones removed. Whoever is killed before the rename
has changed nothing; after it, everything. What is left lying about goes at the next deletion.
"""

import os
import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from core.errors import MGLMError
from core.manifest import MANIFEST_NAME, MARKER_NAME, FileEntry, Manifest, read_manifest, sync_file, write_atomically
from core.stage import lock_directory

_ID = re.compile(r"[0-9a-f]{32}")
_GENERATION = re.compile(r"^(?P<name>part-\d+)(?:-d(?P<number>\d+))?$")


def read_ids(path: Path) -> set[str]:
    """The doc_ids of a file, one a line.

    Raises:
        MGLMError: no such file, nothing in it, or a line that is no doc_id.
    """
    lines = read_lines(path, "doc_ids")
    for number, line in enumerate(lines, start=1):
        if not _ID.fullmatch(line):
            raise MGLMError(f"{path}, entry {number}", found=line[:60], expected="a doc_id: 32 hexadecimal digits")
    return set(lines)


def read_lines(path: Path, what: str) -> list[str]:
    """The lines of a text file that are not blank.

    Raises:
        MGLMError: no such file, not UTF-8, or no line.
    """
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        found = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise MGLMError(f"{path}", found=found, expected=f"a text file of {what}, one a line") from None
    if not lines:
        raise MGLMError(f"{path}", found="no line", expected=f"{what}, one a line")
    return lines


class Sought:
    """doc_ids that are looked for in many tables, one after the other.

    Arrow makes a table of all that it looks for at every call, so of a long list it is given those alone that lie
    between the least and the greatest doc_id of what it looks through.
    """

    def __init__(self, doc_ids: Collection[str]) -> None:
        self._ids = pa.array(sorted(doc_ids), pa.string())

    def among(self, column: Any) -> Any:
        """Which rows of a column of doc_ids, an array or a chunked one, are looked for."""
        low, high = (bound.as_py() for bound in pc.min_max(column).values())
        start = stop = 0
        if low is not None:
            places = range(len(self._ids))
            start = bisect_left(places, low, key=self._at)
            stop = bisect_right(places, high, lo=start, key=self._at)
        return pc.is_in(column, self._ids.slice(start, stop - start))

    def _at(self, place: int) -> str:
        return str(self._ids[place])


class Rewriting:
    """A finished stage directory, locked. `commit` makes `files` its files."""

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self.directory, self.manifest = directory, manifest

    def commit(
        self,
        files: list[FileEntry],
        *,
        counts: dict[str, dict[str, int]],
        facts: dict[str, Any],
        content: str | None = None,
    ) -> Manifest:
        """Writes the manifest and removes the files that it no longer names."""
        before = {entry.path for entry in self.manifest.files}
        for entry in files:
            if entry.path not in before:
                sync_file(self.directory / entry.path)
        changed = self.manifest.model_copy(
            update={
                "files": sorted(files, key=lambda entry: entry.path),
                "counts": counts,
                "facts": facts,
                "content": content,
                "made": self.manifest.made | {"deleted_at": datetime.now(UTC).isoformat(timespec="seconds")},
            }
        )
        write_atomically(self.directory / MANIFEST_NAME, changed.model_dump_json(by_alias=True, indent=1))
        self.manifest = changed
        self.sweep()
        return changed

    def sweep(self) -> None:
        """Removes data files that the manifest does not name, of this deletion or one that was killed."""
        named = {entry.path for entry in self.manifest.files}
        folders = {Path(path).parts[0] for path in named if "/" in path}
        folders |= {folder.name for folder in self.directory.glob("lang=*")}  # also of a language that is gone
        for folder in sorted(folders):
            for path in sorted((self.directory / folder).rglob("*")):
                if path.is_file() and path.relative_to(self.directory).as_posix() not in named:
                    path.unlink()


@contextmanager
def rewriting(directory: Path, schema: str) -> Iterator[Rewriting]:
    """Holds a finished stage's lock and gives its manifest.

    Raises:
        MGLMError: no finished stage of this schema, input is being added to it, or a process is at work in it.
    """
    read_manifest(directory, schema)
    lock = lock_directory(directory)
    try:
        manifest = read_manifest(directory, schema)  # again: as it is now that nobody else can change it
        check_nothing_begun(directory)
        stage = Rewriting(directory, manifest)
        stage.sweep()
        yield stage
    finally:
        os.close(lock)


def check_nothing_begun(directory: Path) -> None:
    """A deletion under work that was begun would be undone by it.

    Raises:
        MGLMError: input is being added to a finished stage, or was, by a process that was killed.
    """
    if (directory / MARKER_NAME).exists():
        raise MGLMError(
            f"{directory}",
            found="work that was begun in it",
            action="finish that first, or give it up: the command that made what is finished there, with --overwrite; "
            "then delete",
        )


def next_name(path: str) -> str:
    """Another name for what is left of a file: `part-00000.arrow` → `part-00000-d1.arrow` → `part-00000-d2.arrow`."""
    whole = Path(path)
    match = _GENERATION.match(whole.stem)
    assert match is not None, path
    return whole.with_name(f"{match['name']}-d{int(match['number'] or 0) + 1}{whole.suffix}").as_posix()
