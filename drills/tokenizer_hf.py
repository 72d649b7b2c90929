"""The Hugging Face face of a tokenizer against our own, on every document of a corpus.

    python -m drills.tokenizer_hf [--input FILE.jsonl[.gz]] [--tokenizer DIR]

Without --input: the web sample beside the project, or the texts of examples/. Without --tokenizer: one of 16,000 pieces
trained on that text. `AutoTokenizer` loads in a process and a cache of its own, offline. Ids, padded batches and inputs
for generation must be equal, and decoding must give the text back.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from core.documents import document_id
from core.schemas import SAMPLE, SAMPLE_TABLE
from core.stage import open_stage
from core.text import normalise
from tokenizer.config import TokenizerConfig
from tokenizer.encoding import Tokenizer
from tokenizer.inputs import encode_source
from tokenizer.prompts import summary_source
from tokenizer.train import train_tokenizer

ROOT = Path(__file__).parents[1]
WEB_SAMPLE = ROOT.parent / "shared" / "data" / "corpora" / "web_sample.jsonl.gz"
EXAMPLES = ROOT / "examples" / "documents.jsonl"
BATCH = 64
SOURCE_TOKENS = 300

# Reads texts as JSON lines in batches, answers with what the Hugging Face face makes of each batch.
FACE = """
import json, sys
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], trust_remote_code=True)
for line in sys.stdin:
    texts = json.loads(line)
    batch = tokenizer(texts, padding=True)
    print(json.dumps({
        "ids": [tokenizer(text).input_ids for text in texts],
        "padded": batch["input_ids"],
        "attended": batch["attention_mask"],
        "inputs": tokenizer.build_inputs_for_generation(
            texts, "{text}. English Summary: {mask}", max_tokens=int(sys.argv[2]), return_tensors=None)["input_ids"],
        "decoded": tokenizer.batch_decode(batch["input_ids"], skip_special_tokens=True),
    }), flush=True)
"""


def main() -> None:
    """Compares; exits with 1 at the first batch that differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, default=WEB_SAMPLE if WEB_SAMPLE.exists() else EXAMPLES)
    parser.add_argument("--tokenizer", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mglm-drill-") as folder:
        directory = arguments.tokenizer or trained_on(arguments.input, Path(folder))
        tokenizer = Tokenizer.load(directory)
        environment = {**os.environ, "HF_HOME": str(Path(folder) / "cache"), "HF_HUB_OFFLINE": "1"}
        started, documents, tokens = time.monotonic(), 0, 0
        command = [sys.executable, "-c", FACE, str(directory.resolve()), str(SOURCE_TOKENS)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder
        ) as face:
            assert face.stdin is not None
            assert face.stdout is not None
            for texts in batches(arguments.input):
                face.stdin.write(json.dumps(texts) + "\n")
                face.stdin.flush()
                answer = face.stdout.readline()
                if not answer:
                    sys.exit("the Hugging Face face ended early")
                check(tokenizer, texts, json.loads(answer))
                documents += len(texts)
                tokens += sum(map(len, tokenizer.encode_batch(texts)))
            face.stdin.close()
        print(
            f"{documents} documents, {tokens} tokens: AutoTokenizer and ours agree on ids, padded batches, inputs for "
            f"generation and text, {time.monotonic() - started:.0f} s"
        )


def check(tokenizer: Tokenizer, texts: list[str], answer: dict[str, list[object]]) -> None:
    """Exits when the face's answer is not what ours makes of the texts."""
    ids = tokenizer.encode_batch(texts)
    longest = max(map(len, ids))
    rows = [
        [*encode_source(tokenizer, summary_source(text, "en"), SOURCE_TOKENS).ids, tokenizer.sop_id] for text in texts
    ]
    longest_row = max(map(len, rows))
    wanted = {
        "ids": ids,
        "padded": [row + [tokenizer.pad_id] * (longest - len(row)) for row in ids],
        "attended": [[1] * len(row) + [0] * (longest - len(row)) for row in ids],
        "inputs": [[tokenizer.pad_id] * (longest_row - len(row)) + row for row in rows],
        "decoded": [tokenizer.decode(row) for row in ids],
    }
    for name, values in wanted.items():
        for text, ours, theirs in zip(texts, values, answer[name], strict=True):
            if ours != theirs:
                sys.exit(f"{name} differ for {text[:200]!r}\nours   {str(ours)[:400]}\ntheirs {str(theirs)[:400]}")
    for text, decoded in zip(texts, wanted["decoded"], strict=True):
        if decoded != tokenizer.normalised(text) and tokenizer.has_bytes:
            sys.exit(f"decoding does not give {text[:200]!r} back")


def batches(path: Path) -> Iterator[list[str]]:
    """The texts as they stand in the file, in rows of a batch."""
    batch: list[str] = []
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        for line in file:
            batch.append(json.loads(line)["text"])
            if len(batch) == BATCH:
                yield batch
                batch = []
    if batch:
        yield batch


def trained_on(path: Path, folder: Path) -> Path:
    """A tokenizer of the file's own text."""
    sample = folder / "sample"
    stage = open_stage(sample, schema=SAMPLE, config={}, inputs={})
    texts = sorted({normalise(text) for batch in batches(path) for text in batch})
    rows = [{"doc_id": document_id(text), "lang": "und", "copy": 0, "text": text} for text in texts]
    pq.write_table(pa.Table.from_pylist(rows, schema=SAMPLE_TABLE), sample / "part-0.parquet")
    stage.finish()
    train_tokenizer(sample, folder / "tokenizer", TokenizerConfig(vocab_size=16_000, training_bytes=20_000_000))
    return folder / "tokenizer"


if __name__ == "__main__":
    main()
