"""Which of its language tokens a translation model (NLLB, M2M-100, mBART) has for a language of ours."""

import re
from typing import Any

from core.errors import MGLMError
from core.languages import UNKNOWN, canonical_code, code_of_label, languages

_FLORES = re.compile("[a-z]{3}_[A-Z][a-z]{3}")


class LanguageTokens:
    """The language tokens of a tokenizer; empty for models without."""

    def __init__(self, tokenizer: Any) -> None:
        self._ids: dict[str, int] = {}
        if hasattr(tokenizer, "src_lang"):
            told = getattr(tokenizer, "lang_code_to_id", None)
            vocabulary = {token: index for token, index in tokenizer.get_vocab().items() if _FLORES.fullmatch(token)}
            self._ids = dict(told) if told else vocabulary
        self.ids = frozenset(self._ids.values())
        self._names: dict[str, str] = {}
        for name in sorted(self._ids):
            code = code_of_label(name)
            if code != UNKNOWN and (code not in self._names or name == languages()[code].labels.get("flores200")):
                self._names[code] = name

    def __bool__(self) -> bool:
        return bool(self._ids)

    def name(self, lang: str) -> str:
        """What the tokenizer calls the language: `zho_Hans`, `zh_CN` or `zh` for `zh`; its own names pass unchanged.

        Raises:
            MGLMError: the model does not have it.
        """
        name = self._names.get(canonical_code(lang), lang if lang in self._ids else None)
        if name is None:
            found = f"{len(self._names)} of the 101 languages: {' '.join(sorted(self._names))}"
            action = "leave the language out of the examples, or take another model"
            raise MGLMError(f"language {lang!r} in this model", found=found, expected="a token for it", action=action)
        return name

    def id(self, lang: str) -> int:
        """The id of that token. Raises MGLMError as `name`."""
        return self._ids[self.name(lang)]
