"""Raw input for the benchmarks of corpus: JSON Lines or Parquet of real text in many languages, of a size asked for."""

import json
from itertools import cycle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import texts

FILES = 4
DUPLICATE_EVERY = 10
_ROWS = 2_000


def make_crawl(folder: Path, text_bytes: int, *, parquet: bool = False, share: tuple[str, float] | None = None) -> int:
    """Files of together about so many bytes of text, every tenth document twice; the bytes.

    With `share`, a language has that share of the bytes.
    """
    folder.mkdir(parents=True)
    found = texts.texts()
    if share is None:
        streams = [([text for of_lang in found.values() for text in of_lang], text_bytes)]
    else:
        lang, part = share
        rest = [text for other, of_lang in found.items() if other != lang for text in of_lang]
        streams = [(found[lang], round(part * text_bytes)), (rest, round((1 - part) * text_bytes))]
    records: list[list[dict[str, str]]] = [[] for _ in range(FILES)]
    total = number = 0
    for documents, wanted in streams:
        size = 0
        for text in cycle(documents):
            record = {"text": f"{text}\n{number}", "url": f"https://example.org/{number}"}
            for copy in range(2 if number % DUPLICATE_EVERY == 0 else 1):
                records[(number + copy) % FILES].append(record)
                size += len(record["text"].encode())
            number += 1
            if size >= wanted:
                break
        total += size
    for index, of_file in enumerate(records):
        if parquet:
            table = pa.Table.from_pylist(of_file)
            pq.write_table(table, folder / f"{index}.parquet", row_group_size=_ROWS, compression="zstd")
        else:
            with (folder / f"{index}.jsonl").open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in of_file)
    return total
