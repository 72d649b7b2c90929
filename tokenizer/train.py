"""Trains the SentencePiece model on a balanced sample: `sample/1` Parquet in, a `tokenizer/1` directory out.

Text is taken as it is (identity normalisation, white space kept, no prefix space), lines apart, since a newline is a
piece of its own, and so is each digit of any script and a run of 4, 8 or 16 spaces; what else is a piece is learned.
Characters outside the alphabet are spelled in bytes. Paper: 250k vocabulary, the rest unstated. Digits apart, white
space kept and bytes for the rest are also Llama 2's and Gemma's choice; the newline is mT5's opposite, which loses it.

The sample is read twice and never held; what SentencePiece holds of it is bounded by `training_bytes`.
"""

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import sentencepiece

from core.errors import MGLMError
from core.log import get_logger
from core.manifest import MADE_BY, Manifest, read_manifest
from core.schemas import SAMPLE, SAMPLE_TABLE, check_table
from core.stage import open_stage
from tokenizer.config import TokenizerConfig
from tokenizer.encoding import COMMANDS, TOKENIZER, Tokenizer
from tokenizer.training_text import Row, alphabet, survey, training_lines

# Pieces that are found before any other and take no part in the learning: a newline, and indentation. Runs of two are
# left to the learning, so that "▁word" after a double space stays one piece.
SYMBOLS = ["\n", *("\u2581" * length for length in (4, 8, 16))]
_META_PIECES = 1 + 256 + len(SYMBOLS)  # <unk> and the bytes

RowSource = Callable[[], Iterator[Row]]  # each call reads the sample anew


def train_tokenizer(sample: Path, output: Path, config: TokenizerConfig, *, overwrite: bool = False) -> Manifest:
    """Makes the tokenizer directory; finished work there is returned as it is.

    A vocabulary larger than the sample can carry becomes as large as it can; one too small for the alphabet leaves the
    rarest characters to byte pieces. Both are logged and stand in the manifest's facts.

    Raises:
        MGLMError: no finished sample, a broken file in it, or no text at all.
    """
    log, started = get_logger("tokenizer"), time.monotonic()
    made = read_manifest(sample, SAMPLE)
    stage = open_stage(
        output,
        schema=TOKENIZER,
        config=config.training(),
        inputs={"sample": made.content_hash()},
        overwrite=overwrite,
    )
    if stage.manifest is not None:
        log.info("%s: already made", output)
        return stage.manifest
    files = [sample / entry.path for entry in made.files if entry.path.endswith(".parquet")]
    for path in files:
        check_sample_file(path)
    model, facts = train_on(lambda: sample_rows(files, config.seed), sample, config)
    tokenizer = Tokenizer(model)
    if tokenizer.pieces < config.vocab_size:
        log.warning("the sample carries %d pieces, not the %d asked for", tokenizer.pieces, config.vocab_size)
    check_no_command_piece(tokenizer)
    tokenizer.save(output)
    facts |= {
        "requested": config.vocab_size,
        "pieces": tokenizer.pieces,
        "vocab_size": tokenizer.vocab_size,
        "sha256": tokenizer.sha256,
    }
    manifest = stage.finish(facts=facts)
    message = "%s: %d pieces, vocabulary padded to %d, %.1f s"
    log.info(message, output, tokenizer.pieces, tokenizer.vocab_size, time.monotonic() - started)
    return manifest


def train_on(rows: RowSource, sample: Path, config: TokenizerConfig) -> tuple[bytes, dict[str, Any]]:
    """The model, and what was given to SentencePiece."""
    log = get_logger("tokenizer")
    found = survey(rows(), config.max_sentence_bytes)
    if not found.total_bytes:
        raise MGLMError(f"{sample}", found="no text", expected="documents", action=f"run {MADE_BY[SAMPLE]} on more")
    buckets = found.buckets_within(config.training_bytes)
    taken = int(found.bucket_bytes[:buckets].sum())
    if not taken:
        raise MGLMError(
            "config key tokenizer.training_bytes",
            found=str(config.training_bytes),
            expected=f"enough of the sample's {found.total_bytes} bytes to train on",
            action="raise it",
        )
    # Half of the room for single characters, the other half for longer pieces.
    room = (config.vocab_size - _META_PIECES) // 2
    characters, coverage = alphabet(found.characters, config.character_coverage, room)
    if len(characters) == room:
        log.warning(
            "%d pieces leave room for the %d most frequent characters (%.3f %% of the sample); the others become bytes",
            config.vocab_size, room, 100 * coverage,
        )  # fmt: skip
    log.info(
        "training a %s model of %d pieces on %.1f of %s's %.1f MB, with %d different characters",
        config.model_type, config.vocab_size, taken / 1e6, sample, found.total_bytes / 1e6, len(characters),
    )  # fmt: skip
    facts = {
        "characters": len(characters),
        "character_coverage": coverage,
        "sample_bytes": found.total_bytes,
        "training_bytes": taken,
    }
    lines = training_lines(rows(), config.max_sentence_bytes, buckets, characters)
    return _train(lines, config, characters), facts


def _train(lines: Iterator[str], config: TokenizerConfig, characters: frozenset[str]) -> bytes:
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines,
            model_writer=model,
            model_type=config.model_type,
            vocab_size=config.vocab_size,
            hard_vocab_limit=False,  # as many pieces as the sample carries
            character_coverage=1.0,  # the lines hold nothing but the alphabet
            required_chars="".join(sorted(characters - {" "})),  # also those that only lines not drawn hold
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            allow_whitespace_only_pieces=True,
            split_digits=True,
            user_defined_symbols=SYMBOLS,
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            input_sentence_size=0,  # drawn already
            max_sentence_length=config.max_sentence_bytes,
            num_threads=config.num_threads,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise MGLMError(
            "SentencePiece training", found=str(error), action="give a larger sample or another vocabulary"
        ) from None
    return model.getvalue()


def sample_rows(files: list[Path], seed: int) -> Iterator[Row]:
    """Every row of a sample.

    Raises:
        MGLMError: a file is broken past its footer, which is all that `check_sample_file` reads.
    """
    for path in files:
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=256, columns=SAMPLE_TABLE.names):
                    for row in batch.to_pylist():
                        yield Row(f"{seed}:{row['doc_id']}:{row['copy']}", row["lang"], row["text"])
        except (OSError, pa.ArrowException) as error:
            action = f"remove the sample's directory and run {MADE_BY[SAMPLE]}"
            raise MGLMError(f"{path}", found=str(error), expected="a whole Parquet file", action=action) from None


def check_sample_file(path: Path) -> None:
    command = MADE_BY[SAMPLE]
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise MGLMError(f"{path}", found=str(error), expected="a Parquet file", action=f"run {command}") from None
    check_table(schema, SAMPLE_TABLE, f"{path}", command)


def check_no_command_piece(tokenizer: Tokenizer) -> None:
    """SentencePiece never joins brackets and letters, so no piece spells a command, as Hugging Face's class needs."""
    names = {tokenizer.piece_text(index) for index in range(tokenizer.pieces)}
    assert not names & COMMANDS.keys(), names & COMMANDS.keys()
