"""Prompts as data: what is said around a text so that the model summarises, titles, answers or chooses.

`{mask}` is where the model writes, other names in braces are texts from outside. Summaries and titles follow the paper
(§3.3.2; sentences and longer take [sMASK] as in the authors' code, titles [MASK]), questions §3.3.1: in English words
for every language. `native_summary` and `native_question` say the same in the language of the answer, so that a model
tuned with one prompt can be asked with another (§3.4); `named_summary` is the paper's "English Summary:" for every
language. `nli` and `paraphrase` are the authors' for XNLI and PAWS-X,
letter by letter; what may stand at the mask is the task's to say.
"""

import string
from collections.abc import Mapping, Sequence
from typing import get_args

from core.errors import MGLMError
from core.examples import MaskName, Segment
from core.languages import languages

# Languages that data sets have beside the 101.
_NAMES = {code: language.name for code, language in languages().items()} | {
    "om": "Oromo", "pcm": "Nigerian Pidgin", "rn": "Kirundi", "ti": "Tigrinya",
}  # fmt: skip

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
    "native_summary": {
        "ar": "{text}. الملخص بالعربية: {mask}",
        "bn": "{text}. বাংলা সারাংশ: {mask}",
        "de": "{text}. Deutsche Zusammenfassung: {mask}",
        "el": "{text}. Περίληψη στα ελληνικά: {mask}",
        "en": "{text}. English Summary: {mask}",
        "es": "{text}. Resumen en español: {mask}",
        "fr": "{text}. Résumé en français : {mask}",
        "gu": "{text}. ગુજરાતી સારાંશ: {mask}",
        "hi": "{text}. हिन्दी सारांश: {mask}",
        "ja": "{text}. 日本語の要約: {mask}",
        "kn": "{text}. ಕನ್ನಡ ಸಾರಾಂಶ: {mask}",
        "ml": "{text}. മലയാളം സംഗ്രഹം: {mask}",
        "mr": "{text}. मराठी सारांश: {mask}",
        "ru": "{text}. Краткое содержание на русском: {mask}",
        "ta": "{text}. தமிழ்ச் சுருக்கம்: {mask}",
        "te": "{text}. తెలుగు సారాంశం: {mask}",
        "th": "{text}. บทสรุปภาษาไทย: {mask}",
        "tr": "{text}. Türkçe özet: {mask}",
        "vi": "{text}. Tóm tắt tiếng Việt: {mask}",
        "zh": "{text}. 中文摘要: {mask}",
    },
    "named_summary": {code: f"{{text}}. {name} Summary: {{mask}}" for code, name in _NAMES.items()},
    "tldr": {"": "{text} TL;DR: {mask}"},
    "title": {
        "de": "Deutscher Titel: {mask} Text: {text}",
        "en": "English Title: {mask} Text: {text}",
        "es": "Título en español: {mask} Texto: {text}",
        "fr": "Titre français : {mask} Texte : {text}",
        "zh": "中文标题: {mask} 原文: {text}",
    },
    "question": {"": "{context} Question: {question} Answer: {mask}"},
    "native_question": {
        "ar": "{context} سؤال: {question} إجابة: {mask}",
        "de": "{context} Frage: {question} Antwort: {mask}",
        "en": "{context} Question: {question} Answer: {mask}",
        "es": "{context} Pregunta: {question} Respuesta: {mask}",
        "hi": "{context} प्रश्न: {question} उत्तर: {mask}",
        "vi": "{context} Câu hỏi: {question} Trả lời: {mask}",
        "zh": "{context} 问题: {question} 答案: {mask}",
    },
    "nli": {
        "": 'Based on the fact written in foreign language: "{premise}". Is the followling statement reasonably True '
        'or definitely False: "{hypothesis}"? Answer:{mask}'
    },
    "paraphrase": {"": '"{second}" ?{mask}, "{first}"'},
}

# Which mask a prompt takes unless told otherwise.
MASKS: dict[str, MaskName] = {
    "summary": "[sMASK]",
    "native_summary": "[sMASK]",
    "named_summary": "[sMASK]",
    "tldr": "[sMASK]",
    "title": "[MASK]",
    "question": "[sMASK]",
    "native_question": "[sMASK]",
    "nli": "[MASK]",
    "paraphrase": "[MASK]",
}


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
        raise no_prompt(prompt, target_lang, list(templates))
    return fill(template, MASKS[prompt] if mask is None else mask, texts)


def no_prompt(prompt: str, target_lang: str, known: Sequence[str]) -> MGLMError:
    """The error of a prompt that there is in other languages alone."""
    return MGLMError(
        f"prompt {prompt} for target language {target_lang!r}",
        found="none",
        expected=f"one of {', '.join(known)}",
        action="choose another target language",
    )


def fill(template: str, mask: MaskName, texts: Mapping[str, str]) -> list[Segment]:
    """The segments of a template such as `{text} In brief: {mask}`.

    Raises:
        MGLMError: braces that do not match, another number of masks than one, or a name that `texts` lacks.
    """
    assert mask in get_args(MaskName), mask
    known = {"mask", *texts}
    try:
        names = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
    except ValueError as error:
        raise MGLMError(f"prompt {template!r}", found=str(error), expected="names in braces, e.g. {text}") from None
    if names.count("mask") != 1 or not known.issuperset(names):
        found = f"{{{'}, {'.join(names)}}}" if names else "no name in braces"
        expected = f"{{mask}} once and any of {{{'}, {'.join(sorted(texts))}}}"
        raise MGLMError(f"prompt {template!r}", found=found, expected=expected)
    segments = []
    for words, field, _, _ in string.Formatter().parse(template):
        if words:
            segments.append(Segment(kind="prompt", value=words))
        if field == "mask":
            segments.append(Segment(kind="mask", value=mask))
        elif field is not None:
            segments.append(Segment(kind="text", value=texts[field]))
    return segments


def names_of(template: str) -> list[str]:
    """The names in braces, sorted."""
    return sorted(field for _, field, _, _ in string.Formatter().parse(template) if field is not None)


def summary_source(text: str, target_lang: str) -> list[Segment]:
    """`[text]. English Summary: [sMASK]` or `[text]. 中文摘要: [sMASK]` (paper §3.3.2)."""
    return source("summary", target_lang, text=text)
