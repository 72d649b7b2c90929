"""Prompted sources as another model's tokenizer reads them: the same segments as GLM's, cut to fit in the same way.

A mask at the end is where the answer follows, so it is left out; elsewhere it is the sentinel or mask that the
tokenizer has (T5's <extra_id_0>, mBART's <mask>), else an underscore. What a text spells is no special token.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import MGLMError
from core.examples import Segment
from model.peer_languages import LanguageTokens
from tokenizer.inputs import common_limit

SENTINEL = "<extra_id_0>"
SEPARATOR = "\n"  # between prompt and answer of a model that has one stack for both
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class PeerSource:
    """`ids` are read; `start` is what a decoder begins its answer with, empty where there is none."""

    ids: list[int]
    start: tuple[int, ...]


class PeerText:
    """A tokenizer of transformers with what surrounds a source. Not for several threads: its language is a state."""

    def __init__(self, tokenizer: Any, *, causal: bool) -> None:
        self.tokenizer, self.causal = tokenizer, causal
        self.languages = LanguageTokens(tokenizer)
        # Whose vocabulary spells its special tokens may find them in a text, asked to or not.
        spelled = {token for token in tokenizer.all_special_tokens if token != tokenizer.unk_token and len(token) > 1}
        self._spelled = re.compile("|".join(map(re.escape, sorted(spelled, key=len, reverse=True))) or "(?!)")
        mask = SENTINEL if SENTINEL in tokenizer.get_vocab() else tokenizer.mask_token
        self._mask_id: int | None = None if mask is None else tokenizer.convert_tokens_to_ids(mask)
        self._around: dict[str, tuple[list[int], list[int]]] = {}
        # A text, the same as it is read, and where its tokens stand.
        self._cut: tuple[str, str, list[tuple[int, int]]] = ("", "", [])

    def encode(self, text: str) -> list[int]:
        """The ids of a text, special tokens neither added nor read."""
        ids: list[int] = self.tokenizer(
            self._clean(text), add_special_tokens=False, split_special_tokens=True, verbose=False
        ).input_ids
        return ids

    def _clean(self, text: str) -> str:
        """Without half characters, and with a space within whatever spells a special token."""
        return self._spelled.sub(lambda found: f"{found[0][0]} {found[0][1:]}", _SURROGATE.sub("\ufffd", text))

    def decode(self, ids: Sequence[int]) -> str:
        # Not every tokenizer counts its languages among the special tokens.
        told = [index for index in ids if index not in self.languages.ids]
        text: str = self.tokenizer.decode(told, skip_special_tokens=True)
        return text

    def source(self, segments: Sequence[Segment], lang: str, max_tokens: int) -> list[int]:
        """At most `max_tokens` ids. Only texts are cut, at their ends, the longest first.

        Raises:
            MGLMError: not exactly one mask, the prompt alone is too long, or no such language.
        """
        whole = self._ids(segments, lang, {})
        if len(whole) <= max_tokens:
            return whole
        texts = {index: segment.value for index, segment in enumerate(segments) if segment.kind == "text"}
        lengths = {index: len(self.encode(text)) for index, text in texts.items()}
        limit = common_limit(list(lengths.values()), max(0, max_tokens - len(whole) + sum(lengths.values())))
        while True:  # pieces may join otherwise where a text is cut, so that a token more is needed
            cut = {index: self._part(texts[index], 0, limit) for index in texts if lengths[index] > limit}
            ids = self._ids(segments, lang, cut)
            if len(ids) <= max_tokens:
                return ids
            if limit == 0:
                raise MGLMError(
                    "a source",
                    found=f"a prompt of {len(ids)} tokens",
                    expected=f"at most {max_tokens}",
                    action="raise the source length or shorten the prompt",
                )
            limit -= 1

    def windows(self, segments: Sequence[Segment], lang: str, max_tokens: int, stride: int) -> list[list[int]]:
        """Inputs whose windows of the longest text begin at most `stride` tokens apart; one input if all of it fits.

        Raises:
            MGLMError: as `source`, or no room is left for the longest text.
        """
        whole = self._ids(segments, lang, {})
        texts = [index for index, segment in enumerate(segments) if segment.kind == "text"]
        if len(whole) <= max_tokens or not texts:
            return [self.source(segments, lang, max_tokens)]
        lengths = {index: len(self.encode(segments[index].value)) for index in texts}
        longest = max(texts, key=lambda index: lengths[index])
        text, length, others = segments[longest].value, lengths[longest], len(whole) - lengths[longest]
        if others >= max_tokens:
            raise MGLMError(
                "a source",
                found=f"{others} tokens beside its longest text",
                expected=f"fewer than {max_tokens}",
                action="raise the source length",
            )
        found, start, stop = [], 0, 0
        while stop < length:
            stop = min(length, start + max_tokens - others)
            while len(ids := self._ids(segments, lang, {longest: self._part(text, start, stop)})) > max_tokens:
                if stop == start + 1:
                    raise MGLMError("a source", found="no room for its longest text", expected="more source tokens")
                stop -= 1
            found.append(ids)
            start = min(start + stride, stop)
        return found

    def _ids(self, segments: Sequence[Segment], lang: str, instead: dict[int, str]) -> list[int]:
        """All ids of a source, some texts replaced."""
        masks = [index for index, segment in enumerate(segments) if segment.kind == "mask"]
        if len(masks) != 1:
            raise MGLMError("a source", found=f"{len(masks)} masks", expected="exactly one", action="mend its segments")

        def words(chosen: range) -> str:
            return "".join(instead.get(index, segments[index].value) for index in chosen)

        before, after = words(range(masks[0])), words(range(masks[0] + 1, len(segments)))
        end: Callable[[str], str] = (lambda text: text.rstrip() + SEPARATOR) if self.causal else str.rstrip
        if not after.strip():
            body = self.encode(end(before))
        elif self._mask_id is None:
            body = self.encode(end(f"{before}_{after}"))
        else:
            body = [*self.encode(before), self._mask_id, *self.encode(end(after))]
        prefix, suffix = self._special(lang)
        return [*prefix, *body, *([] if self.causal else suffix)]

    def _special(self, lang: str) -> tuple[list[int], list[int]]:
        """What the tokenizer puts around a source of this language."""
        name = self.languages.name(lang) if self.languages else ""
        if name not in self._around:
            if name:
                self.tokenizer.src_lang = name
            bare, full = self.encode("a"), list(self.tokenizer("a").input_ids)
            place = next((at for at in range(len(full)) if full[at : at + len(bare)] == bare), 0)
            self._around[name] = full[:place], full[place + len(bare) :]
        return self._around[name]

    def _part(self, text: str, start: int, stop: int) -> str:
        """The piece of a text that its tokens from `start` to `stop` stand for."""
        if stop <= start:
            return ""
        if not self.tokenizer.is_fast:
            return self.decode(self.encode(self._clean(text))[start:stop])
        cut = self._cut
        if cut[0] != text:  # once for all windows of a text
            clean = self._clean(text)
            encoded = self.tokenizer(
                clean, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True, verbose=False
            )
            self._cut = cut = text, clean, encoded.offset_mapping
        _, clean, every = cut
        places = every[start:stop]
        return clean[places[0][0] : places[-1][1]]
