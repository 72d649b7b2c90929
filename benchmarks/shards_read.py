"""Random reads of token files: our shards beside megatron-core's IndexedDataset and np.memmap of one flat file.

All hold the same tokens, in the page cache. A document is asked for by its number and comes as an array; a window is
512 tokens from anywhere, with its document boundaries, and for a flat file also without: a bare slice. First and last
token are looked at.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.record import in_turn, median_s, ratio, write_record
from core.manifest import FileEntry, sha256_file
from core.schemas import SHARDS, SHARDS_TABLE
from core.stage import open_stage
from tokenizer.shards import Shards

BATCH = 1_000
WINDOW = 512
READS = 200_000


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=200_000, help="of 600 tokens on average")
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mglm-bench-") as folder:
        measure_in(Path(folder), arguments)


def measure_in(work: Path, arguments: argparse.Namespace) -> None:
    random = np.random.default_rng(0)
    lengths = np.maximum(1, random.lognormal(6, 0.9, arguments.documents)).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = random.integers(0, 250_000, offsets[-1], dtype=np.int32)
    shards_bytes = grown_memory(work, random, lengths, offsets, tokens, arguments.files)
    tokens.tofile(work / "flat.bin")
    flat = np.memmap(work / "flat.bin", np.int32, mode="r")
    shards = Shards.open(work / "shards")
    chosen = random.integers(0, len(lengths), READS).tolist()
    starts = random.integers(0, len(tokens) - WINDOW, READS).tolist()
    bounds = offsets.tolist()
    indexed = megatron_dataset(work, offsets, tokens)
    for number in chosen[:1_000]:
        assert np.array_equal(shards.document("en", number), flat[bounds[number] : bounds[number + 1]])
        assert indexed is None or np.array_equal(indexed[number], shards.document("en", number))

    def memmap_document(number: int) -> Any:
        return flat[bounds[number] : bounds[number + 1]]

    def memmap_window(start: int) -> Any:
        stop = start + WINDOW
        first = int(np.searchsorted(offsets, start, "right"))
        last = int(np.searchsorted(offsets, stop))
        cuts = [start, *offsets[first:last].tolist(), stop]
        return [flat[left:right] for left, right in pairwise(cuts)][-1]

    calls: dict[str, Callable[[], object]] = {
        "documents: Shards.document": partial(read, partial(shards.document, "en"), chosen),
        "documents: np.memmap": partial(read, memmap_document, chosen),
    }
    if indexed is not None:
        calls["documents: megatron-core IndexedDataset"] = partial(read, indexed.__getitem__, chosen)
    windows: dict[str, Callable[[], object]] = {
        "windows: Shards.pieces, with boundaries": partial(
            read, lambda start: shards.pieces("en", start, start + WINDOW)[-1].tokens, starts
        ),
        "windows: np.memmap, boundaries by np.searchsorted": partial(read, memmap_window, starts),
        "windows: np.memmap, no boundaries": partial(read, lambda start: flat[start : start + WINDOW], starts),
    }
    rows = []
    for group in (calls, windows):
        in_turn(group, 1)
        measured = in_turn(group, arguments.rounds)
        ours = next(iter(measured.values()))
        for name, of_call in measured.items():
            rows.append([name, f"{READS / median_s(of_call) / 1e6:.3f}", f"{ratio(of_call, ours):.2f}"])
    write_record(
        "shards_read",
        "Random reads of token files",
        ["what", "million reads a second", "our speed ÷ theirs"],
        rows,
        remarks=[
            f"{len(lengths):,} documents, {len(tokens) / 1e6:.0f} million tokens, {arguments.files} files of ours, one "
            f"process; medians of {arguments.rounds} rounds in turn.",
            "Memory that a reader adds to a process, without the pages of the files themselves, which the kernel can "
            f"take back: {shards_bytes[1]} MiB for all of it, {shards_bytes[0]} MiB for a tenth.",
        ],
    )


def read(get: Callable[[int], Any], numbers: list[int]) -> int:
    """Gets every number's array and looks at its ends."""
    total = 0
    for number in numbers:
        array = get(number)
        if len(array):
            total += int(array[0]) + int(array[-1])
    return total


def grown_memory(
    work: Path, random: np.random.Generator, lengths: Any, offsets: Any, tokens: Any, files: int
) -> tuple[str, str]:
    """Writes the shards, a tenth of them first; what a process of its own holds that has read each, in MiB."""
    found = []
    for name, part in (("tenth", 10), ("shards", 1)):
        count = len(lengths) // part
        write_shards(work / name, offsets[: count + 1], tokens, max(1, files // part))
        reader, writer = os.pipe()
        if (child := os.fork()) == 0:
            before = anonymous_bytes()
            shards = Shards.open(work / name)
            read(partial(shards.document, "en"), random.integers(0, count, 20_000).tolist())
            os.write(writer, str(anonymous_bytes() - before).encode())
            os._exit(0)
        os.waitpid(child, 0)
        found.append(f"{int(os.read(reader, 100)) / 2**20:.1f}")
    return found[0], found[1]


def anonymous_bytes() -> int:
    """Memory of this process that is not the page cache's."""
    lines = Path("/proc/self/smaps_rollup").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))


def write_shards(directory: Path, offsets: Any, tokens: Any, files: int) -> None:
    """shards/1 of one language, of ready tokens."""
    stage = open_stage(directory, schema=SHARDS, config={}, inputs={})
    (directory / "tokenizer").mkdir()
    model = directory / "tokenizer" / "tokenizer.model"
    model.write_bytes(b"none")
    identity = {"lang": "en", "tokenizer": sha256_file(model)}
    (directory / "lang=en").mkdir()
    documents = len(offsets) - 1
    entries, tokens_of_file = [], {}
    for part in range(files):
        low, high = part * documents // files, (part + 1) * documents // files
        schema = SHARDS_TABLE.with_metadata({**SHARDS_TABLE.metadata, **identity, "part": str(part)})
        path = directory / "lang=en" / f"part-{part:05d}.arrow"
        with path.open("wb") as file, pa.ipc.new_file(file, schema) as writer:
            for start in range(low, high, BATCH):
                stop = min(high, start + BATCH)
                values = pa.array(tokens[offsets[start] : offsets[stop]])
                places = (offsets[start : stop + 1] - offsets[start]).astype(np.int32)
                lists = pa.ListArray.from_arrays(places, values, type=schema.field("tokens").type)
                ids = pa.array([f"{number:032x}" for number in range(start, stop)])
                sizes = pa.array(np.diff(offsets[start : stop + 1]))
                writer.write_batch(pa.RecordBatch.from_arrays([ids, lists, sizes], schema=schema))
        relative = path.relative_to(directory).as_posix()
        entries.append(FileEntry(path=relative, rows=high - low, bytes=path.stat().st_size, sha256=""))
        tokens_of_file[relative] = int(offsets[high] - offsets[low])
    facts = {"tokens_of_file": tokens_of_file, "tokenizer_sha256": identity["tokenizer"]}
    counts = {"en": {"documents": documents, "tokens": int(offsets[-1]), "bytes": 0}}
    stage.finish(files=entries, counts=counts, facts=facts)


def megatron_dataset(work: Path, offsets: Any, tokens: Any) -> Any:
    """The same documents as an IndexedDataset; None where megatron-core is not installed."""
    import importlib.util
    import warnings

    if importlib.util.find_spec("megatron") is None:
        return None
    with warnings.catch_warnings(action="ignore"):
        import torch
        from megatron.core.datasets.indexed_dataset import IndexedDataset, IndexedDatasetBuilder
    builder = IndexedDatasetBuilder(str(work / "indexed.bin"), dtype=np.int32)
    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        builder.add_document(torch.from_numpy(tokens[start:stop]), [stop - start])
    builder.finalize(str(work / "indexed.idx"))
    return IndexedDataset(str(work / "indexed"))


if __name__ == "__main__":
    main()
