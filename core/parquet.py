"""Moving what Spark wrote as Parquet from a stage's scratch directory to its place, under names that never vary."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq

from core.manifest import Stage


def publish(stage: Stage, name: str) -> dict[str, int]:
    """Moves `stage.work/name` to `stage.output/name`; returns rows by path relative to the stage directory.

    Spark's file names hold random parts; ours are `part-NNNNN.parquet` in each partition, in Spark's order. The rows of
    two runs are equal, their bytes need not be: parquet-mr lists a column's encodings in the order of Java's object
    hashes, another in each JVM. Files of a run killed on the way here are replaced.
    """
    source, target = stage.work / name, stage.output / name
    shutil.rmtree(target, ignore_errors=True)
    rows: dict[str, int] = {}
    numbers: dict[Path, int] = {}
    for path in sorted(path for path in source.rglob("*.parquet") if not path.name.startswith((".", "_"))):
        folder = target / path.parent.relative_to(source)
        folder.mkdir(parents=True, exist_ok=True)
        number = numbers.setdefault(folder, 0)
        numbers[folder] += 1
        place = folder / f"part-{number:05d}.parquet"
        path.rename(place)
        rows[place.relative_to(stage.output).as_posix()] = pq.read_metadata(place).num_rows
    return rows
