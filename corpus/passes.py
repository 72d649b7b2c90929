"""How many parts become the files of a corpus without every file being gathered from every part.

A task that makes consecutive pieces opens each of its sources once and reads it forwards, so sources × tasks is what
merging costs beside the text. With up to `fan_in` runs that is little. Where there are more, a pass goes before:
sources are taken `fan_in` runs together, each group is read once, and what it holds goes sorted into a file for each of
as many buckets, which are consecutive pieces. Then a bucket has a source for each group, and so on until all have few
enough. A pass reads and writes the text once, opens every source once, and makes no more than FILES_OF_PASS files for
each run. One pass is enough for fan_in² runs: 640² runs of 64 MB are 26 TB. Memory is a step and a batch of each run.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from corpus.merge import Piece
from corpus.runs import ENDING, FIRST_KEY, LAST_KEY, Key, RunWriter, SortedRuns, gather, named, read_account

FILES_OF_PASS = 4  # for each run, at most
SMALLEST_GROUP = 64  # runs
BUCKET_BYTES = 16 * 1024**3  # of text; fewer where there are more tasks
STEP_BYTES = 64 * 1024 * 1024  # of text that a pass sorts at once
FOLDER = "passes"


@dataclass(frozen=True, slots=True)
class Bucket:
    """Consecutive pieces, [first, last) of all, and the sources that hold what belongs to them."""

    first: int
    last: int
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A task of a pass: sources to read once, and for each range of keys between two `bounds` the file to make."""

    sources: tuple[str, ...]
    bounds: tuple[Key, ...]
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Passes:
    """Groups of each pass, in the order of the passes; the buckets that the last one leaves, a task each."""

    groups: list[list[Group]]
    buckets: list[Bucket]


def plan_passes(
    sources: Sequence[str], runs: Sequence[int], pieces: Sequence[Piece], *, fan_in: int, tasks: int
) -> Passes:
    """What to do with sources of so many runs; `tasks` is how many can work at once. The same each time."""
    whole = [
        Bucket(0, len(pieces), tuple(source for source, of_source in zip(sources, runs, strict=True) if of_source))
    ]
    counts = {source: of_source for source, of_source in zip(sources, runs, strict=True) if of_source > 1}
    groups: list[list[Group]] = []
    buckets = whole
    while any(_runs(bucket.sources, counts) > fan_in for bucket in buckets):
        of_pass: list[Group] = []
        after: list[Bucket] = []
        for bucket in buckets:
            if _runs(bucket.sources, counts) <= fan_in:
                after.append(bucket)
                continue
            made, left = _plan_pass(
                f"{FOLDER}/{len(groups)}", len(after), bucket, counts, pieces, fan_in, -(-tasks // len(buckets))
            )
            of_pass += made
            after += left
        groups.append(of_pass)
        buckets, counts = after, {}
    most = FILES_OF_PASS * sum(runs) if groups else None
    return Passes(groups, [part for bucket in buckets for part in _tasks(bucket, pieces, tasks, len(buckets), most)])


def _tasks(bucket: Bucket, pieces: Sequence[Piece], tasks: int, buckets: int, most: int | None) -> list[Bucket]:
    """A bucket cut into the tasks that make its pieces: each opens its sources again, in all `most` of them."""
    wanted = _wanted(bucket, pieces, -(-tasks // buckets))
    if most is not None:
        wanted = min(wanted, max(1, most // (buckets * len(bucket.sources))))
    return _cut(bucket, pieces, wanted)


def _plan_pass(
    folder: str,
    first: int,
    bucket: Bucket,
    counts: dict[str, int],
    pieces: Sequence[Piece],
    fan_in: int,
    tasks: int,
) -> tuple[list[Group], list[Bucket]]:
    runs = _runs(bucket.sources, counts)
    fewest = -(-runs * 21 // (20 * fan_in))  # a twentieth more, for groups are seldom full
    most = min(fan_in, max(-(-runs // tasks), fewest, SMALLEST_GROUP))
    members = _grouped(bucket.sources, counts, most)
    wanted = min(_wanted(bucket, pieces, tasks), fan_in, max(2, FILES_OF_PASS * runs // len(members)))
    parts = _cut(bucket, pieces, wanted)
    folders = [f"{folder}/{first + place:06d}" for place in range(len(parts))]
    names = [f"{index:06d}" for index in range(len(members))]
    bounds = (
        FIRST_KEY if not bucket.first else pieces[bucket.first].key,
        *(pieces[part.first].key for part in parts[1:]),
        pieces[bucket.last].key if bucket.last < len(pieces) else LAST_KEY,
    )
    groups = [
        Group(of_group, bounds, tuple(f"{of_bucket}/{name}" for of_bucket in folders))
        for name, of_group in zip(names, members, strict=True)
    ]
    return groups, [
        Bucket(part.first, part.last, tuple(f"{of_bucket}/{name}" for name in names))
        for of_bucket, part in zip(folders, parts, strict=True)
    ]


def _runs(sources: Sequence[str], counts: dict[str, int]) -> int:
    return sum(counts.get(source, 1) for source in sources) if counts else len(sources)


def _grouped(sources: Sequence[str], counts: dict[str, int], most: int) -> list[tuple[str, ...]]:
    groups: list[list[str]] = []
    filled = most
    for source in sources:
        of_source = counts.get(source, 1)
        if filled + of_source > most:
            groups.append([])
            filled = 0
        groups[-1].append(source)
        filled += of_source
    return [tuple(group) for group in groups]


def _wanted(bucket: Bucket, pieces: Sequence[Piece], tasks: int) -> int:
    n_bytes = sum(piece.n_bytes for piece in pieces[bucket.first : bucket.last])
    return max(tasks, -(-n_bytes // BUCKET_BYTES))


def _cut(bucket: Bucket, pieces: Sequence[Piece], number: int) -> list[Bucket]:
    """At most `number` buckets of about equal text."""
    inside = pieces[bucket.first : bucket.last]
    enough = sum(piece.n_bytes for piece in inside) / number
    firsts, filled, reached = [bucket.first], 0, 1
    for place, piece in enumerate(inside[:-1], bucket.first + 1):
        filled += piece.n_bytes
        if filled >= reached * enough and len(firsts) < number:
            firsts.append(place)
            reached = int(filled // enough) + 1 if enough else number
    return [Bucket(first, last, bucket.sources) for first, last in pairwise([*firsts, bucket.last])]


@dataclass(frozen=True)
class Passing:
    """What a task needs besides its group: where everything is."""

    work: Path

    def run(self, group: Group) -> int:
        """Makes the files of a group that are not there, and removes its sources' text; duplicates left out in all."""
        accounts = [read_account(self.work / target) for target in group.targets]
        if all(accounts):
            return sum(account["duplicates"] for account in accounts if account)
        duplicates = 0
        with SortedRuns(self.work, group.sources) as runs:
            cuts = runs.cuts(STEP_BYTES)
            for target, account, (low, high) in zip(group.targets, accounts, pairwise(group.bounds), strict=True):
                duplicates += account["duplicates"] if account else self._write(target, runs, cuts, low, high)
        for source in group.sources:
            named(self.work / source, ENDING).unlink(missing_ok=True)
        return duplicates

    def _write(self, target: str, runs: SortedRuns, cuts: Sequence[Key], low: Key, high: Key) -> int:
        path = self.work / target
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = RunWriter(path)
        writer.begin_run()
        duplicates = 0
        for start, end in _steps(cuts, low, high):
            table, order, rows_in = gather(runs.within(start, end))
            writer.write(table, order)
            duplicates += rows_in - len(order)
        writer.finish({"duplicates": duplicates})
        return duplicates


def _steps(cuts: Sequence[Key], low: Key, high: Key) -> Iterator[tuple[Key, Key]]:
    return pairwise([low, *(cut for cut in cuts if low < cut < high), high])
