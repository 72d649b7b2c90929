"""A SentencePiece model from elsewhere, mT5's or the authors', as our tokenizer: `.model` in, `tokenizer/1` out.

The model's bytes are not touched, so its ids stay those that existing weights were trained with; our commands follow
its pieces as they follow ours (the authors' layout). What differs from a model trained here, and is said on import:

- its normalisation stays its own (mT5: `nmt_nfkc`, which folds widths and white space, newlines among it);
- its control pieces (`<pad>`, `</s>`, …) stay where they are and are never used; its user-defined pieces
  (`<extra_id_0>`) are ordinary text to us;
- without byte pieces, what it does not know becomes its `<unk>` and is lost.
"""

import hashlib
from pathlib import Path

from core.errors import MGLMError
from core.log import get_logger
from core.manifest import Manifest
from core.stage import open_stage
from tokenizer.encoding import COMMANDS, TOKENIZER, Tokenizer

# What a model must give back as its own normalisation, where it knows all of it.
_PROBES = ("a", "a b", "  a  b ", "Ａ ﬁ ①", "水と火", "नमस्ते दुनिया", "a\nb\tc", "e\u0301", "\u2581a", " ", "12 34")


def import_model(model: Path, output: Path, *, overwrite: bool = False) -> Manifest:
    """Makes a tokenizer directory of a SentencePiece model file; finished work there is returned as it is.

    Raises:
        MGLMError: no such file, no SentencePiece model, a piece that text could become spells one of our commands, or
            decoding does not give the model's normalisation back.
    """
    log = get_logger("tokenizer")
    data = _read(model)
    try:
        tokenizer = Tokenizer(data)
    except RuntimeError:
        raise MGLMError(f"{model}", found="something else", expected="a SentencePiece .model file") from None
    _check(tokenizer, model)
    stage = open_stage(
        output,
        schema=TOKENIZER,
        config={"imported": True},
        inputs={"model": hashlib.sha256(data).hexdigest()},
        overwrite=overwrite,
    )
    if stage.manifest is not None:
        log.info("%s: already made", output)
        return stage.manifest
    tokenizer.save(output)
    normalises = any(tokenizer.normalised(probe) != probe for probe in _PROBES if "\u2581" not in probe)
    manifest = stage.finish(
        facts={
            "pieces": tokenizer.pieces,
            "vocab_size": tokenizer.vocab_size,
            "byte_pieces": tokenizer.has_bytes,
            "normalises": normalises,
            "sha256": tokenizer.sha256,
        }
    )
    if normalises:
        log.warning("%s normalises text in its own way: newlines come back as %r", model, tokenizer.normalised("a\nb"))
    if not tokenizer.has_bytes:
        log.warning("%s has no byte pieces: what it does not know becomes <unk> and is lost", model)
    log.info("%s: %d pieces, vocabulary padded to %d", output, tokenizer.pieces, tokenizer.vocab_size)
    return manifest


def _read(model: Path) -> bytes:
    expected = "a SentencePiece .model file"
    if model.is_dir():
        raise MGLMError(f"--model {model}", found="a directory", expected=expected, action="name the file in it")
    try:
        data = model.read_bytes()
    except OSError as error:
        raise MGLMError(f"--model {model}", found=error.strerror or "", expected=expected) from None
    if not data:
        raise MGLMError(f"{model}", found="an empty file", expected=expected)
    return data


def _check(tokenizer: Tokenizer, model: Path) -> None:
    names = {tokenizer.piece_text(index) for index in range(tokenizer.pieces)} & COMMANDS.keys()
    if names:
        raise MGLMError(
            f"{model}",
            found=f"pieces that spell our commands: {', '.join(sorted(names))}",
            expected="a model in which text cannot become a command",
            action="use a model without these as user-defined symbols",
        )
    for probe in _PROBES:
        ids = tokenizer.encode(probe)
        if tokenizer.unknown_id not in ids and tokenizer.decode(ids) != tokenizer.normalised(probe):
            raise MGLMError(
                f"{model}",
                found=f"{probe!r} decoded as {tokenizer.decode(ids)!r}",
                expected=f"its own normalisation {tokenizer.normalised(probe)!r}",
                action="use a model that marks words at their beginning and does not change text when decoding",
            )
