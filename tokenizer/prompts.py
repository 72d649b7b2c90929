"""Prompts as data: what is said around a text so that the model summarises, titles or answers.

`{mask}` is where the model writes, other names in braces are texts from outside. Summaries and titles follow the paper
(§3.3.2; sentences and longer take [sMASK] as in the authors' code, titles [MASK]), questions §3.3.1: in English words
for every language.
"""

import string
from typing import get_args

from core.errors import MGLMError
from core.examples import MaskName, Segment

# Prompt → language of the answer ("" for any) → template.
PROMPTS: dict[str, dict[str, str]] = {
    "summary": {
        "en": "{text}. English Summary: {mask}",
        "zh": "{text}. 中文摘要: {mask}",
        "fr": "{text}. Résumé en français : {mask}",
        "de": "{text}. Deutsche Zusammenfassung: {mask}",
        "es": "{text}. Resumen en español: {mask}",
        "ru": "{text}. Краткое содержание на русском: {mask}",
    },
    "tldr": {"en": "{text} TL;DR: {mask}"},
    "title": {
        "en": "English Title: {mask} Text: {text}",
        "zh": "中文标题: {mask} 原文: {text}",
    },
    "question": {"": "{context} Question: {question} Answer: {mask}"},
}

# Which mask a prompt takes unless told otherwise.
MASKS: dict[str, MaskName] = {"summary": "[sMASK]", "tldr": "[sMASK]", "title": "[MASK]", "question": "[sMASK]"}


def source(prompt: str, target_lang: str, *, mask: MaskName | None = None, **texts: str) -> list[Segment]:
    """The segments of a prompt with its texts filled in; the texts stay data, whatever braces or masks they contain.

    Raises:
        MGLMError: no such prompt, or none for this language.
    """
    if prompt not in PROMPTS:
        raise MGLMError(f"prompt {prompt!r}", found="an unknown name", expected=f"one of {', '.join(PROMPTS)}")
    templates = PROMPTS[prompt]
    template = templates.get(target_lang, templates.get(""))
    if template is None:
        raise MGLMError(
            f"prompt {prompt} for target language {target_lang!r}",
            found="none",
            expected=f"one of {', '.join(templates)}",
            action="choose another target language",
        )
    mask = MASKS[prompt] if mask is None else mask
    assert mask in get_args(MaskName), mask
    segments = []
    for words, field, _, _ in string.Formatter().parse(template):
        if words:
            segments.append(Segment(kind="prompt", value=words))
        if field == "mask":
            segments.append(Segment(kind="mask", value=mask))
        elif field is not None:
            segments.append(Segment(kind="text", value=texts[field]))
    return segments


def summary_source(text: str, target_lang: str) -> list[Segment]:
    """`[text]. English Summary: [sMASK]` or `[text]. 中文摘要: [sMASK]` (paper §3.3.2)."""
    return source("summary", target_lang, text=text)
