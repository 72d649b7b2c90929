"""Takes documents out of finished shards/1, by doc_id.

The streams get shorter, so samples drawn afterwards are others: a run that was trained on the old shards cannot go on
with the new ones as if nothing had happened, and says so, since it knows its shards by their hash. What it had drawn
can still be computed (`train.drawn`): each deletion notes where its documents were and how long, in `deleted/`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.deletion import Sought, next_name, rewriting
from core.errors import MGLMError
from core.log import get_logger
from core.manifest import FileEntry, Manifest, read_manifest, sha256_file, write_atomically
from core.schemas import SHARDS, SHARDS_TABLE

DELETED = "deleted"

log = get_logger("tokenizer")


def delete_from_shards(shards: Path, doc_ids: set[str]) -> list[str]:
    """Deletes and returns the doc_ids that were there, sorted. Doing it again deletes nothing.

    Raises:
        MGLMError: no finished shards/1, or nothing would be left of them.
    """
    wanted = Sought(doc_ids)
    deleted: list[dict[str, Any]] = []
    with rewriting(shards, SHARDS) as stage:
        manifest = stage.manifest
        counts = {code: dict(count) for code, count in manifest.counts.items()}
        tokens_of_file = dict(manifest.facts["tokens_of_file"])
        available = dict(manifest.facts.get("available_documents", {}))
        files = []
        passed: dict[str, int] = {}  # documents of a language in the files before
        for entry in _in_stream_order(manifest.files):
            if not entry.path.startswith("lang="):
                files.append(entry)
                continue
            found, left = _rewrite(shards, entry, wanted)
            files += [left] if left is not None else []
            lang = entry.path.split("/")[0].removeprefix("lang=")
            before = passed.get(lang, 0)
            passed[lang] = before + (entry.rows or 0)
            if not found:
                continue
            deleted += [
                {**document, "lang": lang, "index": before + document["index"]} for document in found["documents"]
            ]
            count = counts[lang]
            if lang in available:
                available[lang] -= len(found["documents"])
            count["documents"] -= len(found["documents"])
            count["tokens"] -= found["tokens"]
            count["bytes"] -= found["n_bytes"]
            tokens = tokens_of_file.pop(entry.path) - found["tokens"]
            if left is not None:
                tokens_of_file[left.path] = tokens
        counts = {code: count for code, count in counts.items() if count["documents"]}
        if not counts:
            raise MGLMError(f"{shards}", found="no document that would be left", action="remove the directory instead")
        if deleted:
            facts = dict(manifest.facts) | {"tokens_of_file": dict(sorted(tokens_of_file.items()))}
            if available:
                facts["available_documents"] = {lang: number for lang, number in available.items() if number}
            facts["deleted"] = facts.get("deleted", 0) + len(deleted)
            files.append(_note(stage.directory, manifest, deleted))
            stage.commit(files, counts=counts, facts=facts, content=manifest.content)
    log.info("%s: %d documents deleted, of %d asked for", shards, len(deleted), len(doc_ids))
    return sorted(document["doc_id"] for document in deleted)


def read_deletions(shards: Path) -> list[dict[str, Any]]:
    """What was deleted, the oldest first: `before`, the hash of the shards until then, and `documents`, each with
    doc_id, lang, tokens and `index`, its number in the language's stream until then, ascending."""
    paths = sorted(entry.path for entry in read_manifest(shards, SHARDS).files if entry.path.startswith(f"{DELETED}/"))
    return [json.loads((shards / path).read_text("utf-8")) for path in paths]


def _note(shards: Path, manifest: Manifest, deleted: list[dict[str, Any]]) -> FileEntry:
    number = sum(entry.path.startswith(f"{DELETED}/") for entry in manifest.files)
    path = shards / DELETED / f"part-{number:05d}.json"
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, json.dumps({"before": manifest.content_hash(), "documents": deleted}))
    size = path.stat().st_size
    return FileEntry(path=f"{DELETED}/{path.name}", rows=len(deleted), bytes=size, sha256=sha256_file(path))


def _in_stream_order(files: Sequence[FileEntry]) -> list[FileEntry]:
    """As `Shards` reads them: by number, since names sort wrongly beyond five digits."""

    def place(entry: FileEntry) -> tuple[str, int]:
        folder, _, name = entry.path.rpartition("/")
        return folder, int(name.split("-")[1].split(".")[0]) if folder.startswith("lang=") else 0

    return sorted(files, key=place)


def _rewrite(shards: Path, entry: FileEntry, wanted: Sought) -> tuple[dict[str, Any], FileEntry | None]:
    """What went of a file, nothing if it has none of them; and the entry of what is left."""
    gone: dict[str, Any] = {"documents": [], "tokens": 0, "n_bytes": 0}
    place = shards / next_name(entry.path)
    with pa.memory_map(str(shards / entry.path)) as source:
        reader: Any = pa.ipc.open_file(source)
        numbers = range(reader.num_record_batches)
        if not any(pc.any(wanted.among(reader.get_batch(n).column("doc_id"))).as_py() for n in numbers):
            return {}, entry
        rows = row_before = 0
        with place.open("wb") as file, pa.ipc.new_file(file, reader.schema) as writer:
            for number in numbers:
                batch = reader.get_batch(number)
                goes = wanted.among(batch.column("doc_id"))
                lost, left = batch.filter(goes), batch.filter(pc.invert(goes))
                lengths = pc.list_value_length(lost.column("tokens")).to_pylist()
                places = np.flatnonzero(goes.to_numpy(False)).tolist()
                gone["documents"] += [
                    {"doc_id": doc_id, "index": row_before + place, "tokens": tokens}
                    for doc_id, place, tokens in zip(lost.column("doc_id").to_pylist(), places, lengths, strict=True)
                ]
                row_before += batch.num_rows
                gone["tokens"] += len(lost.column("tokens").flatten())
                gone["n_bytes"] += pc.sum(lost.column("n_bytes")).as_py() or 0
                if len(left):
                    writer.write_batch(pa.RecordBatch.from_arrays(list(left.columns), schema=reader.schema))
                rows += len(left)
    assert reader.schema.names == SHARDS_TABLE.names
    if not rows:
        place.unlink()
        return gone, None
    size = place.stat().st_size
    return gone, FileEntry(path=next_name(entry.path), rows=rows, bytes=size, sha256=sha256_file(place))
