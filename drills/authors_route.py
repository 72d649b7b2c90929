"""From the authors' files to a served summary, as docs/summarizer.md tells it: every command, in a process of its own.

    python -m drills.authors_route [--reference DIR]

The reference checkpoints (random weights, the released layout, both namings) stand for the released one, a
SentencePiece model of 300 pieces trained here for theirs. Imports the tokenizer; converts; compares logits with the
authors'; summarises with `mglm summarize`; serves, asks over HTTP and wants the same answer; and gives the converter
what it must refuse.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import numpy as np
import sentencepiece
import torch

from model.hf.modeling_mglm import GLMForConditionalGeneration
from tests.serve.running import Service

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT.parent / "shared" / "reference" / "glm_tiny"
ARTICLE = (ROOT / "examples" / "unseen.txt").read_text("utf-8")
WAIT_S = 300


def main() -> None:
    """Exits with 1 and a line at the first thing that is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, default=REFERENCE, help="glm_tiny.json, .npz and two .pt files")
    reference = parser.parse_args().reference
    if not reference.is_dir():
        sys.exit(f"error: needs the reference checkpoints; no directory {reference}")
    with tempfile.TemporaryDirectory(prefix="mglm-authors-") as folder:
        for name in ("deepspeed_sat_names.pt", "deepspeed_old_names.pt"):
            walk(reference, name, Path(folder) / name)
        refusals(reference, Path(folder))
    print("the authors' route holds")


def walk(reference: Path, name: str, work: Path) -> None:
    """One checkpoint all the way."""
    work.mkdir()
    released = train_pieces(work / "released.model", pieces=300)
    mglm("tokenizer", "import", "--model", released, "--output", work / "tokenizer")
    convert(reference, reference / name, work / "tokenizer", work / "model")
    compare_logits(reference, work / "model")
    article = work / "article.txt"
    article.write_text(ARTICLE, "utf-8")
    said = {
        target: mglm("summarize", "--model", work / "model", "--to", target, article).strip() for target in ("en", "zh")
    }
    served = ask_service(work / "model", list(said))
    expect(served == said, f"{name}: served {served}, but mglm summarize said {said}")


def convert(reference: Path, released: Path, tokenizer: Path, output: Path, *more: str) -> str:
    shape = json.loads((reference / "glm_tiny.json").read_text("utf-8"))["config"]
    fields = {
        "num_layers": shape["num_layers"],
        "hidden_size": shape["hidden_size"],
        "num_attention_heads": shape["num_attention_heads"],
        "max_positions": shape["max_sequence_length"],
        "sequence_length": 128,
    }
    overrides = [part for field, value in fields.items() for part in ("--set", f"model.{field}={value}")]
    where = ["--input", str(released), "--tokenizer", str(tokenizer), "--output", str(output)]
    return mglm("model", "convert", "--from", "authors", "--to", "hf", *where, *overrides, *more)


def compare_logits(reference: Path, model: Path) -> None:
    twin = GLMForConditionalGeneration.from_pretrained(model).double().eval()
    with np.load(reference / "glm_tiny.npz") as arrays, torch.inference_mode():
        keys = ("input_ids", "position_ids", "sep")
        ids, positions, context = (torch.from_numpy(arrays[f"case0/{key}"]) for key in keys)
        found = twin(ids, position_ids=positions, context_length=context).logits
        difference = float((found - torch.from_numpy(arrays["case0/logits_f64"])).abs().max())
    expect(difference < 0.05, f"{model}: logits differ from the authors' by {difference:.2g}")  # one file is fp16


def ask_service(model: Path, targets: list[str]) -> dict[str, str]:
    """Answers of `mglm serve` to one request a target; it must end by itself when told to."""
    service = Service(model, device="cpu").ready()
    try:
        answers = {target: summary(service.url, target) for target in targets}
    finally:
        status = service.stop()
    expect(status == 0, f"mglm serve ended with {status}")
    return answers


def summary(url: str, target: str) -> str:
    body = json.dumps({"text": ARTICLE, "target": target}).encode()
    request = urllib.request.Request(f"{url}/v1/summaries", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=WAIT_S) as response:
        return str(json.load(response)["summaries"][0]["summary"])


def refusals(reference: Path, work: Path) -> None:
    """The traps: another tokenizer, longer position tables than said, heads that do not divide."""
    released = reference / "deepspeed_old_names.pt"
    own = work / released.name / "tokenizer"
    train_pieces(work / "other.model", pieces=380)
    mglm("tokenizer", "import", "--model", work / "other.model", "--output", work / "other")
    refused("expected the tokenizer of the 384 rows", reference, released, work / "other", work / "no1")
    state = torch.load(released, map_location="cpu", weights_only=True)
    module = state["module"]
    width = module["word_embeddings.weight"].shape[1]
    for kind in ("", "block_"):
        module[f"transformer.additional_{kind}position_embeddings.weight"] = torch.zeros(64, width)
    torch.save(state, work / "longer.pt")
    refused("model.max_positions=257", reference, work / "longer.pt", own, work / "no2")
    convert(reference, work / "longer.pt", own, work / "longer", "--set", "model.max_positions=257")
    compare_logits(reference, work / "longer")
    refused(
        "no multiple of num_attention_heads 7", reference, released, own, work / "no3", "model.num_attention_heads=7"
    )


def refused(wanted: str, reference: Path, released: Path, tokenizer: Path, output: Path, *override: str) -> None:
    more = [part for value in override for part in ("--set", value)]
    try:
        convert(reference, released, tokenizer, output, *more)
    except subprocess.CalledProcessError as error:
        expect(error.returncode == 2, f"exit status {error.returncode}, not 2")
        expect(wanted in error.stderr, f"{wanted!r} is not in: {error.stderr}")
    else:
        expect(False, f"nothing refused where {wanted!r} was expected")


def train_pieces(path: Path, pieces: int) -> Path:
    """A SentencePiece model as other people train them: SentencePiece's own normalisation and dummy prefix."""
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(ARTICLE.splitlines() * 20),
            model_writer=file,
            vocab_size=pieces,
            byte_fallback=True,
            character_coverage=0.98,
            minloglevel=2,
        )
    return path


def mglm(*arguments: object) -> str:
    """What a command says on standard output."""
    command = [sys.executable, "-m", "mglm", *map(str, arguments)]
    environment = {**os.environ, "PYTHONUTF8": "1"}
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, env=environment).stdout


def expect(condition: bool, otherwise: str) -> None:
    if not condition:
        sys.exit(f"error: {otherwise}")


if __name__ == "__main__":
    main()
