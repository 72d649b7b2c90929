"""Predictions per second: `mglm eval predict` with our model and with an mT5 of the same size, beside a plain script.

    python -m benchmarks.eval_predict                                             # small models, two cores, < 5 minutes
    python -m benchmarks.eval_predict --preset large --device cuda --examples 256 --batch-size 32

All have random weights, the same pieces, the same examples of examples/ and the same search; every answer has
`--new-tokens` tokens, so that all do the same work. The mT5 has as many parameters as our model and its width, in two
stacks. The plain script is what one would write with transformers: tokenize, generate, decode,
batch by batch, sources of like length together. The three take turns; models are loaded before.
"""

import argparse
import io
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sentencepiece
import torch
import transformers

from benchmarks.record import in_turn, median_s, ratio, write_record
from core.examples import Example
from core.stage import open_stage
from eval.config import EvalConfig
from eval.predict import Writer, write_predictions
from eval.predictions import PREDICTIONS
from eval.writer import model_writer
from model.config import PRESETS, ModelConfig
from model.export import hf_config
from model.hf.modeling_mglm import GLMForConditionalGeneration
from model.peer import Peer
from model.precision import PRECISIONS
from model.readers import LoadedModel
from model.summarizer import Summarizer
from tokenizer.encoding import Tokenizer
from tokenizer.prompts import summary_source

TEXTS = Path(__file__).parents[1] / "examples" / "documents.jsonl"
OURS, OTHER, PLAIN = "mglm eval predict, GLM", "mglm eval predict, mT5", "transformers alone, mT5"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="small")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="default bf16 on a GPU, fp32 on a CPU")
    parser.add_argument("--examples", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--source-tokens", type=int, default=256)
    parser.add_argument("--new-tokens", type=int, default=16)
    parser.add_argument("--beams", type=int, default=4)
    parser.add_argument("--pieces", type=int, default=8_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    given.precision = given.precision or ("bf16" if given.device.startswith("cuda") else "fp32")
    examples = sources(given.examples)
    tokenizer = Tokenizer(pieces_of(given.pieces))
    glm, mt5 = our_model(given, tokenizer), other_model(given, tokenizer)
    search = {"max_new_tokens": given.new_tokens, "min_new_tokens": given.new_tokens, "num_beams": given.beams}
    config = EvalConfig(max_source_tokens=given.source_tokens, batch_size=given.batch_size, **search)
    decoding = config.decoding()
    with tempfile.TemporaryDirectory(prefix="mglm-bench-") as folder:
        calls: dict[str, Callable[[], object]] = {
            OURS: predicting(Path(folder) / "ours", examples, model_writer(glm, decoding, given.batch_size), given),
            OTHER: predicting(Path(folder) / "other", examples, model_writer(mt5, decoding, given.batch_size), given),
            PLAIN: lambda: plain(mt5, examples, given),
        }
        plain(mt5, examples[: given.batch_size], given)  # first calls are slow
        measured = in_turn(calls, given.rounds)
    weights = {OURS: parameters(glm.model), OTHER: parameters(mt5.model), PLAIN: parameters(mt5.model)}
    rows = [
        [name, weights[name], f"{given.examples / median_s(runs):.3g}", f"{ratio(measured[PLAIN], runs):.2f}"]
        for name, runs in measured.items()
    ]
    where = torch.cuda.get_device_name() if given.device.startswith("cuda") else "cpu"
    write_record(
        f"eval_predict_{given.preset}{'' if where == 'cpu' else '_gpu'}",
        f"Predictions with preset {given.preset} in {given.precision} on {where}",
        ["", "parameters", "examples/s", "× transformers alone"],
        rows,
        remarks=[
            f"{given.examples} examples in batches of {given.batch_size}, sources of at most {given.source_tokens} "
            f"tokens, {given.new_tokens} new tokens, {given.beams} beams, no trigram twice.",
            f"Both have {tokenizer.pieces:,} pieces. A token of an answer passes all layers of a GLM, but of an mT5 "
            "only the decoder's, half of its layers.",
            f"Median of {given.rounds} rounds in turn. Random weights. Loading is not counted, writing the file is.",
        ],
        versions={"torch": torch.__version__, "transformers": transformers.__version__},
    )


def sources(count: int) -> list[Example]:
    """Made of the texts in examples/, of different lengths."""
    texts = [json.loads(line)["text"] for line in TEXTS.read_text("utf-8").splitlines()]
    return [
        Example(id=str(number), task="summaries", lang="en", target_lang="en", split="heldout", target="-",
                source=summary_source(texts[number % len(texts)][: 400 * (1 + number % 5)], "en"))
        for number in range(count)
    ]  # fmt: skip


def pieces_of(size: int) -> bytes:
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(json.loads(line)["text"] for line in TEXTS.read_text("utf-8").splitlines()),
        model_writer=made, vocab_size=size, byte_fallback=True, hard_vocab_limit=False, minloglevel=2,
        normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False,
        character_coverage=0.995, max_sentence_length=20_000,
    )  # fmt: skip
    return made.getvalue()


def our_model(given: argparse.Namespace, tokenizer: Tokenizer) -> Summarizer:
    shape = ModelConfig.model_validate({"preset": given.preset})
    loaded = LoadedModel({}, shape, tokenizer.vocab_size, tokenizer, source_length=given.source_tokens, origin="")
    torch.manual_seed(0)
    with torch.device(given.device):
        model = GLMForConditionalGeneration._from_config(hf_config(loaded), dtype=PRECISIONS[given.precision])
    model.generation_config = transformers.GenerationConfig(
        pad_token_id=tokenizer.pad_id, eos_token_id=tokenizer.eop_id, renormalize_logits=True
    )
    return Summarizer(model, tokenizer)


def other_model(given: argparse.Namespace, tokenizer: Tokenizer) -> Peer:
    """An mT5 of our model's width and number of parameters: three in seven of our layers in each stack, and
    feed-forward layers as wide as what is left allows, some 8/3 of the width, as mT5 has them."""
    shape = PRESETS[given.preset]
    width, layers = shape["hidden_size"], max(1, round(shape["num_layers"] * 3 / 7))
    ours = ModelConfig.model_validate({"preset": given.preset}).parameters(tokenizer.vocab_size)
    attention = 12 * layers * width**2  # four matrices in an encoder's layer, eight in a decoder's
    inner = (ours - tokenizer.vocab_size * width - attention) / (6 * layers * width)  # three matrices in each of both
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocabulary += [tokenizer.raw_piece(index) for index in range(3, tokenizer.pieces)]
    pieces = transformers.T5Tokenizer(vocab=vocabulary, extra_ids=0)
    config = transformers.MT5Config(
        vocab_size=tokenizer.vocab_size, d_model=width, d_kv=width // shape["num_attention_heads"],
        num_heads=shape["num_attention_heads"], d_ff=8 * round(inner / 8), num_layers=layers,
        feed_forward_proj="gated-gelu", tie_word_embeddings=True, decoder_start_token_id=0, pad_token_id=0,
        eos_token_id=1,
    )  # fmt: skip
    with torch.device(given.device):
        model = transformers.MT5ForConditionalGeneration._from_config(config, dtype=PRECISIONS[given.precision])
    return Peer(model, pieces, given.source_tokens)


def predicting(folder: Path, examples: Sequence[Example], write: Writer, given: argparse.Namespace) -> Any:
    """What `mglm eval predict` does once the model is loaded; a directory of its own each time."""
    rounds = iter(range(1_000))

    def call() -> None:
        stage = open_stage(folder / str(next(rounds)), schema=PREDICTIONS, config={}, inputs={})
        write_predictions(stage, examples, write, given.batch_size)

    folder.mkdir()
    return call


@torch.inference_mode()
def plain(peer: Peer, examples: Sequence[Example], given: argparse.Namespace) -> list[str]:
    """As a reader of transformers' documentation would write it."""
    tokenizer, model = peer.text.tokenizer, peer.model
    texts = sorted(("".join(part.value for part in each.source if part.kind != "mask") for each in examples), key=len)
    said: list[str] = []
    for start in range(0, len(texts), given.batch_size):
        batch = tokenizer(
            texts[start : start + given.batch_size], max_length=given.source_tokens, truncation=True, padding=True,
            return_tensors="pt",
        ).to(model.device)  # fmt: skip
        output = model.generate(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, num_beams=given.beams,
            length_penalty=0.7, no_repeat_ngram_size=3, min_new_tokens=given.new_tokens,
            max_new_tokens=given.new_tokens, do_sample=False, decoder_start_token_id=0,
        )  # fmt: skip
        said += tokenizer.batch_decode(output, skip_special_tokens=True)
    return said


def parameters(model: Any) -> int:
    return sum(weight.numel() for weight in model.parameters())


if __name__ == "__main__":
    main()
