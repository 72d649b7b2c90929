"""mGLM's tokenizer for Hugging Face transformers: SentencePiece for text, command ids behind its pieces.

Self-contained: this file travels with the model and is loaded by `AutoTokenizer.from_pretrained(DIR,
trust_remote_code=True)`. A subclass of its own, because the generic fast Unigram gives other ids for some texts and
reads a literal "<0x41>" as that byte. With `split_special_tokens` (the default here) a literal "[MASK]" in a text stays
text.

Nothing is added to a text by itself; `source` makes the input that the model was fine-tuned on.
"""

import shutil
from pathlib import Path
from typing import Any

import sentencepiece
from transformers import AddedToken, PreTrainedTokenizer

# Command → its distance from the number of pieces.
COMMANDS = {
    "<|endoftext|>": 0,
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


class MGLMTokenizer(PreTrainedTokenizer):  # type: ignore[misc]  # transformers is untyped here
    """Same ids as the SentencePiece model it holds, for every text."""

    vocab_files_names = {"vocab_file": "tokenizer.model"}  # noqa: RUF012  # the base class declares it so
    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012

    def __init__(self, vocab_file: str, **kwargs: Any) -> None:
        self.vocab_file = vocab_file
        self.sp_model = sentencepiece.SentencePieceProcessor(model_file=vocab_file)
        self._pieces: int = self.sp_model.get_piece_size()
        self._vocabulary = {self.sp_model.id_to_piece(index): index for index in range(self._pieces)}
        self._added_tokens_decoder = {
            self._pieces + distance: AddedToken(name, special=True, normalized=False)
            for name, distance in COMMANDS.items()
        }
        defaults = {
            "eos_token": "<|endoftext|>",
            "pad_token": "<|endoftext|>",
            "sep_token": "[SEP]",
            "cls_token": "[CLS]",
            "mask_token": "[MASK]",
            "unk_token": "[UNK]",
            "extra_special_tokens": ["<|startofpiece|>", "<|endofpiece|>", "[sMASK]", "[gMASK]", "[dBLOCK]"],
            "split_special_tokens": True,
            "clean_up_tokenization_spaces": False,
        }
        super().__init__(**(defaults | kwargs))

    @property
    def vocab_size(self) -> int:
        """The pieces, without commands; the model's table is larger (padded to a multiple of 128)."""
        return self._pieces

    def get_vocab(self) -> dict[str, int]:
        return {**self._vocabulary, **{token.content: i for i, token in self._added_tokens_decoder.items()}}

    def source(
        self, text: str, prompt: str = "", mask: str = "[sMASK]", before: str = "", max_tokens: int | None = None
    ) -> list[int]:
        """`[CLS] before text prompt [mask]` as ids; only `text` is cut to fit `max_tokens`."""
        head = [self.cls_token_id, *self.sp_model.encode(before)]
        tail = [*self.sp_model.encode(prompt), self.convert_tokens_to_ids(mask)]
        body = self.sp_model.encode(text)
        if max_tokens is not None:
            body = body[: max(0, max_tokens - len(head) - len(tail))]
        return [*head, *body, *tail]

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str]:
        name = (f"{filename_prefix}-" if filename_prefix else "") + self.vocab_files_names["vocab_file"]
        target = Path(save_directory) / name
        if target.resolve() != Path(self.vocab_file).resolve():
            shutil.copyfile(self.vocab_file, target)
        return (str(target),)

    def _tokenize(self, text: str, **kwargs: Any) -> list[str]:
        pieces: list[str] = self.sp_model.encode(text, out_type=str)
        return pieces

    def _convert_token_to_id(self, token: str) -> int:
        return self._vocabulary.get(token, self._pieces + COMMANDS["[UNK]"])

    def _convert_id_to_token(self, index: int) -> str:
        return str(self.sp_model.id_to_piece(index)) if index < self._pieces else ""

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return self._decode(self.convert_tokens_to_ids(tokens))

    def _decode(self, token_ids: int | list[int], skip_special_tokens: bool = False, **kwargs: Any) -> str:
        ids = [token_ids] if isinstance(token_ids, int) else [int(index) for index in token_ids]
        parts: list[str] = []
        run: list[int] = []
        for index in ids:
            if index < self._pieces:
                run.append(index)
            elif not skip_special_tokens and index in self._added_tokens_decoder:
                parts += [self.sp_model.decode(run), self._added_tokens_decoder[index].content]
                run = []
        return "".join([*parts, self.sp_model.decode(run)])
