"""What fewer bits cost: bits per byte of held-out text in fp32, bf16 and int8, of a model that was trained.

    python -m benchmarks.precision [--model runs/demo/pretrained] [--documents runs/demo/corpus]

By default what `mglm demo` leaves in runs/demo. Without a run it trains nothing and says what it needs.
"""

import argparse
import time
from pathlib import Path

import torch
import transformers

from benchmarks.record import write_record
from core.heldout import heldout_languages, heldout_texts
from core.log import set_up_logging
from core.manifest import read_manifest
from core.schemas import DOCUMENTS
from model.bits_per_byte import bits_per_byte
from model.convert import HF
from model.precision import PRECISIONS
from model.summarizer import Summarizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("runs/demo/pretrained"), help="export of a trained model")
    parser.add_argument("--documents", type=Path, default=Path("runs/demo/corpus"), help="of mglm corpus build")
    parser.add_argument("--device", default=None)
    parser.add_argument("--most", type=int, default=20, help="held-out documents of each language")
    options = parser.parse_args()
    set_up_logging()
    manifest = read_manifest(options.documents, DOCUMENTS)
    parameters = read_manifest(options.model, HF).facts["parameters"]
    languages = heldout_languages(manifest)
    texts = [
        text for language in languages for text in heldout_texts(options.documents, manifest, language, options.most)
    ]
    rows = []
    plain = 0.0
    for precision in PRECISIONS:
        summarizer = Summarizer.from_pretrained(options.model, options.device, precision)
        started = time.perf_counter()
        bits, scored_bytes = bits_per_byte(summarizer.model, summarizer.tokenizer, texts)
        seconds = time.perf_counter() - started
        plain = plain or bits / scored_bytes
        change = f"{(bits / scored_bytes - plain) / plain:+.3%}"
        rows.append([precision, f"{bits / scored_bytes:.4f}", change, f"{seconds:.1f}"])
    write_record(
        "precision",
        "Held-out bits per byte by precision of the weights",
        ["", "bits per byte", "against fp32", "seconds"],
        rows,
        remarks=[
            f"{parameters:,} parameters; {len(texts)} held-out documents of {len(languages)} languages, "
            f"{scored_bytes:,} scored bytes. int8: linear maps of the layers; embeddings and head bf16."
        ],
        versions={"torch": torch.__version__, "transformers": transformers.__version__},
    )


if __name__ == "__main__":
    main()
