"""More pieces for a vocabulary: `tokenizer/1` and a sample of new text in, a `tokenizer/1` whose old ids are kept out.

A unigram model is learnt from the sample alone, and its most frequent pieces that the old model lacks are appended to
the old model's file: characters first, without which the new text stays in bytes. Old pieces keep id and score.

A unigram model is a distribution over pieces. The extended one is taken for a mixture of the two, in proportion to how
many pieces each gives: a new piece's log-probability is lowered by the log of that share. So old text is cut as before
unless a new piece is the better guess even so.
"""

import math
import struct
import time
from pathlib import Path

from core.errors import MGLMError
from core.log import get_logger
from core.manifest import Manifest, read_manifest
from core.schemas import SAMPLE
from core.stage import open_stage
from tokenizer.config import MINIMUM_VOCABULARY, TokenizerConfig
from tokenizer.encoding import TOKENIZER, Tokenizer
from tokenizer.train import check_no_command_piece, check_sample_file, sample_rows, train_on

_TRAINER_SPEC, _MODEL_TYPE, _UNIGRAM = 2, 3, 1  # fields and value of sentencepiece_model.proto
_ROOM = 3  # the new model learns so many pieces for each one wanted: many will be known already


def extend_tokenizer(
    tokenizer: Path, sample: Path, output: Path, pieces: int, config: TokenizerConfig, *, overwrite: bool = False
) -> Manifest:
    """Makes the extended tokenizer's directory; finished work there is returned as it is.

    A sample that carries fewer new pieces than `pieces` gives what it has; that is logged.

    Raises:
        MGLMError: no tokenizer, not a unigram model, no finished sample, or no new piece in it.
    """
    log, started = get_logger("tokenizer"), time.monotonic()
    old, made = Tokenizer.load(tokenizer), read_manifest(sample, SAMPLE)
    data = (tokenizer / "tokenizer.model").read_bytes()
    if _model_type(data) != _UNIGRAM:
        raise MGLMError(
            f"tokenizer {tokenizer}",
            found="a model that is not unigram",
            expected="a unigram model",
            action="new pieces of a BPE model would change how old text is merged: train a new tokenizer instead",
        )
    training = config.model_copy(
        update={"vocab_size": max(MINIMUM_VOCABULARY, _ROOM * pieces), "model_type": "unigram"}
    )
    if output.resolve() == tokenizer.resolve():
        raise MGLMError(f"output {output}", found="the tokenizer to extend", action="choose another --output")
    stage = open_stage(
        output,
        schema=TOKENIZER,
        config={"pieces": pieces, **training.training()},
        inputs={"tokenizer": old.sha256, "sample": made.content_hash()},
        overwrite=overwrite,
    )
    if stage.manifest is not None:
        log.info("%s: already made", output)
        return stage.manifest
    files = [sample / entry.path for entry in made.files if entry.path.endswith(".parquet")]
    for path in files:
        check_sample_file(path)
    learnt, facts = train_on(lambda: sample_rows(files, training.seed), sample, training)
    added = _new_pieces(old, Tokenizer(learnt), pieces)
    if not added:
        raise MGLMError(f"{sample}", found="no piece that the tokenizer lacks", expected="text of another kind")
    if len(added) < pieces:
        log.warning("the sample carries %d new pieces, not the %d asked for", len(added), pieces)
    lowered = math.log(len(added) / (old.pieces + len(added)))
    extended = Tokenizer(data + b"".join(_record(text, score + lowered) for text, score in added))
    assert extended.pieces == old.pieces + len(added), "SentencePiece does not see the new pieces"
    check_no_command_piece(extended)
    extended.save(output)
    manifest = stage.finish(
        facts={
            **facts,
            "extends": old.sha256,
            "requested": pieces,
            "added": len(added),
            "pieces": extended.pieces,
            "vocab_size": extended.vocab_size,
            "sha256": extended.sha256,
        }
    )
    message = "%s: %d pieces and %d new ones, vocabulary padded to %d, %.1f s"
    log.info(message, output, old.pieces, len(added), extended.vocab_size, time.monotonic() - started)
    return manifest


def _new_pieces(old: Tokenizer, learnt: Tokenizer, count: int) -> list[tuple[str, float]]:
    """Texts, as SentencePiece writes them, with their log-probabilities: characters first, then the most probable."""
    known = {old.raw_piece(index)[0] for index in range(old.pieces)}
    found = [learnt.raw_piece(index) for index in range(learnt.pieces) if learnt.is_learnt(index)]
    new = [(text, score) for text, score in found if text not in known]
    return sorted(new, key=lambda piece: (len(piece[0]) > 1, -piece[1], piece[0]))[:count]


def _record(text: str, score: float) -> bytes:
    """One entry of the model's list of pieces in protobuf's wire format, which may follow whatever stands before it."""
    encoded = text.encode("utf-8")
    body = b"\x0a" + _varint(len(encoded)) + encoded + b"\x15" + struct.pack("<f", score)
    return b"\x0a" + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _model_type(model: bytes) -> int:
    """The algorithm of a SentencePiece model, from its file: 1 is unigram, also where nothing is said."""
    for number, value in _fields(model):
        if number == _TRAINER_SPEC and isinstance(value, bytes):
            return int(dict(_fields(value)).get(_MODEL_TYPE, _UNIGRAM))
    return _UNIGRAM


def _fields(message: bytes) -> list[tuple[int, bytes | int]]:
    """Numbers and values of a protobuf message's fields; fixed-width ones as bytes."""
    found: list[tuple[int, bytes | int]] = []
    place = 0

    def read_varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place, value, shift = place + 1, value | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                return value

    while place < len(message):
        number, kind = divmod(read_varint(), 8)
        if kind == 0:
            found.append((number, read_varint()))
            continue
        size = {1: 8, 5: 4}[kind] if kind in (1, 5) else read_varint()
        found.append((number, message[place : place + size]))
        place += size
    return found
