"""Trains the SentencePiece model on a balanced sample: `sample/1` Parquet in, a `tokenizer/1` directory out.

Text is taken as it is (identity normalisation, white space kept, no prefix space), lines apart, since a newline is a
piece of its own; digits are single pieces; characters that are too rare are spelled in bytes. Paper: 250k vocabulary,
the rest unstated.

Memory is bounded by `input_sentence_size` lines; the sample is streamed and never held.
"""

import io
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import sentencepiece

from core.errors import MGLMError
from core.log import get_logger
from core.manifest import MADE_BY, Manifest, open_stage, read_manifest
from core.schemas import SAMPLE, SAMPLE_TABLE, check_table
from tokenizer.config import TokenizerConfig
from tokenizer.encoding import COMMANDS, TOKENIZER, Tokenizer

_TOO_SMALL = re.compile(r"smaller than required_chars\. \d+ vs (\d+)")
_META_PIECES = 258  # <unk>, the newline, 256 bytes

LineSource = Callable[[], Iterator[str]]  # each call reads the sample anew


def train_tokenizer(sample: Path, output: Path, config: TokenizerConfig, *, overwrite: bool = False) -> Manifest:
    """Makes the tokenizer directory; finished work there is returned as it is.

    A vocabulary larger than the sample can carry becomes as large as it can; one too small for its characters leaves
    the rarest to byte pieces. Both are logged and stand in the manifest's facts.

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
        _check_sample_file(path)

    def lines() -> Iterator[str]:
        return sentences(_texts(files), config.max_sentence_bytes)

    if next(lines(), None) is None:
        raise MGLMError(f"{sample}", found="no text", expected="documents", action=f"run {MADE_BY[SAMPLE]} on more")
    log.info("training a %s model of %d pieces on %s", config.model_type, config.vocab_size, sample)
    model, coverage = _train_within_vocabulary(lines, config)
    tokenizer = Tokenizer(model)
    if tokenizer.pieces < config.vocab_size:
        log.warning("the sample carries %d pieces, not the %d asked for", tokenizer.pieces, config.vocab_size)
    _check_no_command_piece(tokenizer)
    tokenizer.save(output)
    manifest = stage.finish(
        facts={
            "requested": config.vocab_size,
            "pieces": tokenizer.pieces,
            "vocab_size": tokenizer.vocab_size,
            "character_coverage": coverage,
            "sha256": tokenizer.sha256,
        }
    )
    message = "%s: %d pieces, vocabulary padded to %d, %.1f s"
    log.info(message, output, tokenizer.pieces, tokenizer.vocab_size, time.monotonic() - started)
    return manifest


def sentences(texts: Iterable[str], max_bytes: int) -> Iterator[str]:
    """The lines of the texts without newlines; longer ones cut, at a space where there is one near the limit."""
    for text in texts:
        for line in text.split("\n"):
            if not line:
                continue
            # Four bytes are the most a character takes: the cheap test spares nearly every line the exact one.
            if len(line) * 4 <= max_bytes or len(line.encode("utf-8", "replace")) <= max_bytes:
                yield line
            else:
                yield from _cut(line, max_bytes // 4)


def _cut(line: str, limit: int) -> Iterator[str]:
    start = 0
    while start < len(line):
        stop = start + limit
        if stop < len(line):
            space = line.rfind(" ", start + limit // 2, stop)
            stop = space if space > 0 else stop
        yield line[start:stop]
        start = stop


def _texts(files: list[Path]) -> Iterator[str]:
    for path in files:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1_000, columns=["text"]):
                yield from batch.column(0).to_pylist()


def _check_sample_file(path: Path) -> None:
    command = MADE_BY[SAMPLE]
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise MGLMError(f"{path}", found=str(error), expected="a Parquet file", action=f"run {command}") from None
    check_table(schema, pa.schema([SAMPLE_TABLE.field("text")]), f"{path}", command)


def _train_within_vocabulary(lines: LineSource, config: TokenizerConfig) -> tuple[bytes, float]:
    """The model, and the share of the sample's characters that are (parts of) pieces and not bytes."""
    try:
        return _train(lines(), config, config.character_coverage), config.character_coverage
    except RuntimeError as error:
        match = _TOO_SMALL.search(str(error))
        if match is None:
            raise _training_failed(error) from None
        required = int(match[1]) - _META_PIECES
    # Half of the room for single characters, the other half for longer pieces.
    kept, coverage = most_frequent_characters(lines(), (config.vocab_size - _META_PIECES) // 2)
    get_logger("tokenizer").warning(
        "%d pieces cannot hold the sample's %d characters: all but the %d most frequent (%.3f %% of it) become bytes",
        config.vocab_size,
        required,
        len(kept),
        100 * coverage,
    )
    try:
        return _train(without_other_characters(lines(), kept), config, 1.0), coverage
    except RuntimeError as error:
        raise _training_failed(error) from None


def most_frequent_characters(lines: Iterable[str], count: int) -> tuple[set[str], float]:
    """The `count` most frequent characters, and which share of the text they make up."""
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(line)
    kept = counts.most_common(count)
    return {character for character, _ in kept}, sum(number for _, number in kept) / counts.total()


def without_other_characters(lines: Iterable[str], kept: set[str]) -> Iterator[str]:
    """The stretches of the lines between characters that are not `kept`; SentencePiece itself covers 98 % or more."""
    table = _CutAt({ord(character): character for character in kept})
    for line in lines:
        yield from filter(None, line.translate(table).split("\n"))


class _CutAt(dict[int, str]):
    def __missing__(self, code: int) -> str:
        return "\n"


def _train(lines: Iterator[str], config: TokenizerConfig, coverage: float) -> bytes:
    model = io.BytesIO()
    sentencepiece.set_random_generator_seed(config.seed)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines,
        model_writer=model,
        model_type=config.model_type,
        vocab_size=config.vocab_size,
        hard_vocab_limit=False,  # as many pieces as the sample carries
        character_coverage=coverage,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        allow_whitespace_only_pieces=True,
        split_digits=True,
        user_defined_symbols=["\n"],
        unk_id=0,
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        input_sentence_size=config.input_sentence_size,
        shuffle_input_sentence=config.input_sentence_size > 0,
        max_sentence_length=config.max_sentence_bytes,
        num_threads=config.num_threads,
        minloglevel=2,
    )
    return model.getvalue()


def _training_failed(error: RuntimeError) -> MGLMError:
    return MGLMError("SentencePiece training", found=str(error), action="give a larger sample or another vocabulary")


def _check_no_command_piece(tokenizer: Tokenizer) -> None:
    """SentencePiece never joins brackets and letters, so no piece spells a command, as Hugging Face's class needs."""
    names = {tokenizer.piece_text(index) for index in range(tokenizer.pieces)}
    assert not names & COMMANDS.keys(), names & COMMANDS.keys()
