"""The tokenizer as the project uses it: SentencePiece pieces for text, and command ids that text can never become.

`decode(encode(text))` is `tokenizer.normalised(text)` for every string. Of a model trained here that is `normalised`:
U+2581, which SentencePiece uses for a space, becomes a space, and lone surrogates, which have no UTF-8, become U+FFFD.
Nothing else changes: no trimming, no Unicode normalisation, no prefix space; what no piece covers is spelled in byte
pieces. A model from elsewhere (tokenizer/foreign.py) keeps its own normalisation, and where it has no byte pieces, what
no piece covers is lost as `unknown_id`, which decodes to " ⁇ ".

Ids: the S pieces are 0 … S−1, the commands follow in the order of the authors' code, then the vocabulary is padded to a
multiple of 128 so that checkpoints reshard over any tensor-parallel size.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

from core.errors import MGLMError
from core.manifest import MADE_BY

MODEL_NAME = "tokenizer.model"
CONFIG_NAME = "tokenizer_config.json"
CLASS_FILE_NAME = "tokenization_mglm.py"
TOKENIZER = "tokenizer/1"

# Command → its distance from S, the number of pieces (authors' code; S+5 is unused there).
COMMANDS = {
    "<|endoftext|>": 0,  # eos, also padding
    "[SEP]": 1,
    "[CLS]": 2,
    "[MASK]": 3,
    "[UNK]": 4,
    "<|startofpiece|>": 6,
    "<|endofpiece|>": 7,
    "[sMASK]": 8,
    "[gMASK]": 9,
    "[dBLOCK]": 10,
}
PADDED_TO = 128
_COMMAND_ROOM = 1 + max(COMMANDS.values())
_BYTES_WITHIN = 1_000  # byte pieces stand among the first pieces of a model
_SPACE_MARK = "▁"  # U+2581


def padded_rows(pieces: int) -> int:
    """Rows of the embedding for so many pieces: the commands behind them, then padding."""
    return -(-(pieces + _COMMAND_ROOM) // PADDED_TO) * PADDED_TO


def normalised(text: str) -> str:
    """What is left of `text` after encoding and decoding with a model trained here."""
    text = text.replace(_SPACE_MARK, " ")
    return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)


class Tokenizer:
    """A SentencePiece model with the command ids behind its pieces. Made by `load`, or by `Tokenizer(model_bytes)`."""

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._processor: Any = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.pieces: int = self._processor.get_piece_size()
        self.unknown_id: int = self._processor.unk_id()
        self.has_bytes = any(self._processor.is_byte(index) for index in range(min(self.pieces, _BYTES_WITHIN)))
        self.vocab_size = padded_rows(self.pieces)
        self.sha256 = hashlib.sha256(model).hexdigest()
        self.eos_id = self.pad_id = self.command_id("<|endoftext|>")
        self.cls_id = self.command_id("[CLS]")
        self.mask_id = self.command_id("[MASK]")
        self.sop_id = self.command_id("<|startofpiece|>")
        self.eop_id = self.command_id("<|endofpiece|>")
        self.smask_id = self.command_id("[sMASK]")
        self.gmask_id = self.command_id("[gMASK]")
        self._byte_lengths: np.ndarray | None = None
        self._prefix: str | None = None  # what the model puts before a text: nothing, or a space

    @classmethod
    def load(cls, directory: Path) -> "Tokenizer":
        """The tokenizer of a directory that holds `tokenizer.model`: a tokenizer stage, shards or an export.

        Raises:
            MGLMError: no such file, or it is no SentencePiece model.
        """
        path = Path(directory) / MODEL_NAME
        command = MADE_BY[TOKENIZER]
        if not path.is_file():
            raise MGLMError(f"tokenizer {directory}", found=f"no {MODEL_NAME}", action=f"run {command} first")
        model = path.read_bytes()
        if model:  # SentencePiece takes an empty model for a request to load none
            try:
                return cls(model)
            except RuntimeError:
                pass
        action = f"remove its directory and run {command}"
        raise MGLMError(f"{path}", found="a broken file", expected="a SentencePiece model", action=action)

    def save(self, directory: Path) -> None:
        """Writes what `load` and Hugging Face's `AutoTokenizer` (trust_remote_code=True, offline) need."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / MODEL_NAME).write_bytes(self._model)
        config = json.dumps(hugging_face_config(), indent=1, ensure_ascii=False)
        (directory / CONFIG_NAME).write_text(config + "\n", encoding="utf-8")
        source = resources.files("tokenizer").joinpath("hf", CLASS_FILE_NAME)  # a worker may have us as a zip
        (directory / CLASS_FILE_NAME).write_bytes(source.read_bytes())

    def command_id(self, name: str) -> int:
        """The id of a command, e.g. `[sMASK]`.

        Raises:
            MGLMError: there is no such command.
        """
        if name not in COMMANDS:
            raise MGLMError(
                f"command token {name!r}", found="an unknown name", expected=f"one of {', '.join(COMMANDS)}"
            )
        return self.pieces + COMMANDS[name]

    def encode(self, text: str) -> list[int]:
        """Ids below `pieces`: whatever the text says, it never becomes a command."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of each text, in one call into SentencePiece, on one thread."""
        try:
            # Bytes: a lone surrogate then fails here, and not somewhere inside the library.
            encoded = [text.encode("utf-8") for text in texts]
        except UnicodeEncodeError:
            encoded = [normalised(text).encode("utf-8") for text in texts]
        ids: list[list[int]] = self._processor.encode(encoded, out_type=int, num_threads=1)
        return ids

    def encode_arrays(self, texts: Sequence[bytes]) -> list[np.ndarray]:
        """`encode` of each text, given as UTF-8, as int32 arrays: what shards are made of, and quicker than lists."""
        ids: list[np.ndarray] = self._processor.encode(list(texts), return_type="numpy", num_threads=1)
        return ids

    def normalised(self, text: str) -> str:
        """What is left of `text` after encoding and decoding, unless some of it is unknown."""
        if self._prefix is None:
            self._prefix = str(self._processor.normalize("a")).removesuffix("a")
        made: str = self._processor.normalize(normalised(text))
        return made.removeprefix(self._prefix).replace(_SPACE_MARK, " ")

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the pieces; commands and padding of the vocabulary are skipped. Half a character is U+FFFD."""
        text: str = self._processor.decode([int(index) for index in ids if index < self.pieces])
        return text

    def piece_text(self, index: int) -> str:
        """The text a piece stands for; empty for commands, <unk> and a foreign model's control pieces, which stand for
        none, and for byte pieces that are not ASCII."""
        if index >= self.pieces or self._processor.is_unknown(index) or self._processor.is_control(index):
            return ""
        value = self.piece_byte(index)
        if value >= 0:
            return chr(value) if value < 0x80 else ""
        piece: str = self._processor.id_to_piece(index)
        return piece.replace(_SPACE_MARK, " ")

    def raw_piece(self, index: int) -> tuple[str, float]:
        """A piece as SentencePiece writes it, spaces as U+2581, and its score."""
        return str(self._processor.id_to_piece(index)), float(self._processor.get_score(index))

    def is_learnt(self, index: int) -> bool:
        """Whether a piece came out of the learning: no byte, no symbol given beforehand, no <unk>."""
        kinds = (self._processor.is_byte, self._processor.is_unknown, self._processor.is_control)
        return index < self.pieces and not any(is_of(index) for is_of in kinds)

    def extends(self, other: "Tokenizer") -> bool:
        """Whether this is `other` with pieces appended, as `mglm tokenizer extend` makes it: old ids are the same."""
        return self._model.startswith(other._model) and self.pieces > other.pieces

    def piece_byte(self, index: int) -> int:
        """The byte that a byte piece stands for; −1 for all others."""
        is_byte = index < self.pieces and self._processor.is_byte(index)
        return int(self._processor.id_to_piece(index)[3:5], 16) if is_byte else -1  # <0x41>

    def byte_length(self, ids: Iterable[int]) -> int:
        """How many UTF-8 bytes of (normalised) text the ids stand for; commands count 0."""
        if self._byte_lengths is None:
            self._byte_lengths = np.zeros(self.vocab_size, np.int64)
            for index in range(self.pieces):
                is_byte = self.piece_byte(index) >= 0
                self._byte_lengths[index] = 1 if is_byte else len(self.piece_text(index).encode("utf-8"))
        indices = ids if isinstance(ids, np.ndarray) else np.fromiter(ids, np.int64)
        return int(self._byte_lengths[indices].sum())


def hugging_face_config() -> dict[str, Any]:
    """tokenizer_config.json: which class `AutoTokenizer` loads, and that literal command names in text stay text."""
    return {
        "tokenizer_class": "MGLMTokenizer",
        "auto_map": {"AutoTokenizer": [f"{Path(CLASS_FILE_NAME).stem}.MGLMTokenizer", None]},
        "split_special_tokens": True,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "sep_token": "[SEP]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
        "unk_token": "[UNK]",
    }
