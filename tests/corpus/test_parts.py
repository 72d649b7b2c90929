"""A part's runs are as large as they may be, whatever their rows are made of."""

import os
from pathlib import Path

import pyarrow as pa
import pytest

from core.documents import document_id
from corpus.parts import PartWriter, part_name
from corpus.runs import ENDING, named, read_index

RUN_BYTES = 1 << 20


def row(number: int, url: str | None) -> dict[str, object]:
    text = f"line {number}"
    return {
        "doc_id": document_id(text), "text": text, "url": url, "source": "crawl/part-00000.jsonl.gz", "offset": number,
        "script": "Latn", "lid_label": "en", "lid_score": 0.9, "n_chars": len(text), "n_bytes": len(text),
        "split": "train", "quality": None, "lang": "en",
    }  # fmt: skip


@pytest.mark.parametrize("url", [None, "https://example.org/" + "a" * 3_000])
def test_short_texts_and_long_urls_do_not_make_a_run_larger(tmp_path: Path, url: str | None) -> None:
    writer = PartWriter(tmp_path, part_name(0), RUN_BYTES)
    for number in range(10_000):
        writer.add(row(number, url))
    journal = writer.finish()
    path = tmp_path / part_name(0)
    with pa.ipc.open_file(str(named(path, ENDING))) as file:
        sizes = [file.get_batch(number).nbytes for number in range(file.num_record_batches)]
    of_runs: dict[int, int] = {}
    for batch, size in zip(read_index(path), sizes, strict=True):
        of_runs[batch.run] = of_runs.get(batch.run, 0) + size
    assert len(of_runs) == journal.runs > 1
    assert max(of_runs.values()) < 2 * RUN_BYTES + (4 << 20)  # and a chunk


def test_what_a_journal_vouches_for_is_on_disk_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    really = os.fsync

    def spied(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        really(descriptor)

    monkeypatch.setattr(os, "fsync", spied)
    writer = PartWriter(tmp_path, part_name(0), RUN_BYTES)
    writer.add(row(0, None))
    writer.finish()
    (data,) = (place for place, name in enumerate(synced) if f".{ENDING}." in name)
    (journal,) = (place for place, name in enumerate(synced) if ".json." in name)
    assert data < journal
