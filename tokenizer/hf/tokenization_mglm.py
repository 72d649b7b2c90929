"""mGLM's tokenizer for Hugging Face transformers: SentencePiece for text, command ids behind its pieces.

Self-contained: this file travels with the model and is loaded by `AutoTokenizer.from_pretrained(DIR,
trust_remote_code=True)`. A subclass of its own, because the generic fast Unigram gives other ids for some texts and
reads a literal "<0x41>" as that byte. With `split_special_tokens` (the default here) a literal "[MASK]" in a text stays
text.

Nothing is added to a text by itself; `build_inputs_for_generation` makes the input that the model was fine-tuned on.
"""

import re
import shutil
import string
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sentencepiece
from transformers import AddedToken, BatchEncoding, PreTrainedTokenizer

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
MASKS = ("[MASK]", "[sMASK]", "[gMASK]")
_SURROGATE = re.compile("[\ud800-\udfff]")


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
        parts = [(before, False), (text, True), (prompt, False), (None, False)]
        return self._source(parts, mask, max_tokens)

    def build_inputs_for_generation(
        self,
        texts: "str | Mapping[str, str] | Sequence[str | Mapping[str, str]]",
        template: str = "{text}. English Summary: {mask}",
        *,
        mask: str = "[sMASK]",
        max_tokens: int | None = None,
        targets: "str | Sequence[str] | None" = None,
        return_tensors: str | None = "pt",
    ) -> BatchEncoding:
        """Rows for `model.generate(**inputs)`, or with `targets` for `model(**inputs).loss`.

            inputs = tokenizer.build_inputs_for_generation([article, other], "{text}. English Summary: {mask}")
            ids = model.generate(**inputs)
            tokenizer.batch_decode(ids[:, inputs.input_ids.shape[1] :], skip_special_tokens=True)

        A row is `[CLS]`, the template with its texts, then [sop], from where the model writes. Rows are padded on the
        left. The model derives positions from the ids, as long as a row has one mask.

        Args:
            texts: what stands in the template's braces: a string for `{text}`, a mapping for several names; or a list
                of either, one for each row. Whatever they spell, they stay text.
            template: fixed words, names in braces, and `{mask}` once, where the answer belongs.
            mask: "[sMASK]" for sentences and longer, "[MASK]" for titles, "[gMASK]" for an open end.
            max_tokens: the most tokens before [sop]. Only texts are cut, at their ends, the longest first.
            targets: the answers to train on, one for each row: rows go on with their ids, and `labels` [B, S] holds
                them with the end token, aligned with the logits, −100 elsewhere.

        Raises:
            ValueError: not one mask in the template, a prompt longer than `max_tokens`, or rows and targets that do
                not match.
        """
        rows = [texts] if isinstance(texts, (str, Mapping)) else list(texts)
        answers = [targets] if isinstance(targets, str) else targets
        if answers is not None and len(answers) != len(rows):
            raise ValueError(f"{len(rows)} texts, {len(answers)} targets")
        sop, eop = (COMMANDS[name] + self._pieces for name in ("<|startofpiece|>", "<|endofpiece|>"))
        ids, labels = [], []
        for number, row in enumerate(rows):
            source = self._source(_parts(template, {"text": row} if isinstance(row, str) else row), mask, max_tokens)
            answer = self._ids(answers[number]) if answers is not None else []
            ids.append([*source, sop, *answer])
            labels.append([-100] * len(source) + [*answer, eop])
        longest = max(map(len, ids), default=0)
        data = {
            "input_ids": [[self.pad_token_id] * (longest - len(row)) + row for row in ids],
            "attention_mask": [[0] * (longest - len(row)) + [1] * len(row) for row in ids],
        }
        if answers is not None:
            data["labels"] = [[-100] * (longest - len(row)) + row for row in labels]
        return BatchEncoding(data, tensor_type=return_tensors)

    def _source(self, parts: "Sequence[tuple[str | None, bool]]", mask: str, max_tokens: int | None) -> list[int]:
        """`[CLS]` and the parts: words, whether they may be cut; None is the mask."""
        if mask not in MASKS:
            raise ValueError(f"mask {mask!r}; it is one of {', '.join(MASKS)}")
        encoded = [
            ([self._pieces + COMMANDS[mask]] if words is None else self._ids(words), cut) for words, cut in parts
        ]
        limit = None
        if max_tokens is not None:
            room = max_tokens - 1 - sum(len(ids) for ids, cut in encoded if not cut)
            if room < 0:
                raise ValueError(f"a prompt of {max_tokens - room} tokens; at most {max_tokens} fit")
            lengths = [len(ids) for ids, cut in encoded if cut]
            # The largest limit with which the texts fit: each is cut to it.
            limits = range(1, max(lengths, default=0) + 1)
            limit = bisect_right(limits, room, key=lambda limit: sum(min(length, limit) for length in lengths))
        return [self.cls_token_id, *(index for ids, cut in encoded for index in (ids[:limit] if cut else ids))]

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.sp_model.encode(_SURROGATE.sub("\ufffd", text))
        return ids

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str]:
        name = (f"{filename_prefix}-" if filename_prefix else "") + self.vocab_files_names["vocab_file"]
        target = Path(save_directory) / name
        if target.resolve() != Path(self.vocab_file).resolve():
            shutil.copyfile(self.vocab_file, target)
        return (str(target),)

    def _tokenize(self, text: str, **kwargs: Any) -> list[str]:
        # By way of the ids: asked for strings, SentencePiece gives the text of what it does not know.
        return [self.sp_model.id_to_piece(index) for index in self._ids(text)]

    def _convert_token_to_id(self, token: str) -> int:
        return self._vocabulary.get(token, self.sp_model.unk_id())

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


def _parts(template: str, texts: Mapping[str, str]) -> list[tuple[str | None, bool]]:
    """The template's words and texts, whether they may be cut; None for its mask."""
    parts: list[tuple[str | None, bool]] = []
    for words, field, _, _ in string.Formatter().parse(template):
        if words:
            parts.append((words, False))
        if field == "mask":
            parts.append((None, False))
        elif field is not None:
            if field not in texts:
                raise ValueError(f"the template names {field!r}, the texts are {', '.join(texts) or 'none'}")
            parts.append((texts[field], True))
    if sum(words is None for words, _ in parts) != 1:
        raise ValueError("a template has {mask} once")
    return parts
