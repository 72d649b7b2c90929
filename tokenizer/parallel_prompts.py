"""One request in several languages: which prompts mean the same, and a source put from one into another (paper §3.4).

A group maps the language of the words around a text to a template; all templates of a group ask for the same, e.g. a
Chinese summary. Which group a source belongs to is read from its prompt's words, so that examples of any origin can be
asked anew. Texts stay data.
"""

import string
from collections.abc import Mapping, Sequence

from core.errors import MGLMError
from core.examples import Segment
from tokenizer.prompts import PROMPTS, fill

Group = Mapping[str, str]  # language of the words → template

# What languages are called in the requests below, in the form that each needs.
_SUMMARIES = {
    "de": ("{text}. %s Zusammenfassung: {mask}", {
        "de": "Deutsche", "en": "Englische", "es": "Spanische", "fr": "Französische", "ru": "Russische",
        "zh": "Chinesische",
    }),
    "es": ("{text}. Resumen en %s: {mask}", {
        "de": "alemán", "en": "inglés", "es": "español", "fr": "francés", "ru": "ruso", "zh": "chino",
    }),
    "fr": ("{text}. Résumé en %s : {mask}", {
        "de": "allemand", "en": "anglais", "es": "espagnol", "fr": "français", "ru": "russe", "zh": "chinois",
    }),
    "ru": ("{text}. Краткое содержание на %s: {mask}", {
        "de": "немецком", "en": "английском", "es": "испанском", "fr": "французском", "ru": "русском",
        "zh": "китайском",
    }),
    "zh": ("{text}. %s摘要: {mask}", {
        "de": "德文", "en": "英文", "es": "西班牙文", "fr": "法文", "ru": "俄文", "zh": "中文",
    }),
}  # fmt: skip
_TITLES = {
    "de": ("%s Titel: {mask} Text: {text}", {
        "de": "Deutscher", "en": "Englischer", "es": "Spanischer", "fr": "Französischer", "zh": "Chinesischer",
    }),
    "en": ("%s Title: {mask} Text: {text}", {
        "de": "German", "en": "English", "es": "Spanish", "fr": "French", "zh": "Chinese",
    }),
    "es": ("Título en %s: {mask} Texto: {text}", {
        "de": "alemán", "en": "inglés", "es": "español", "fr": "francés", "zh": "chino",
    }),
    "fr": ("Titre %s : {mask} Texte : {text}", {
        "de": "allemand", "en": "anglais", "es": "espagnol", "fr": "français", "zh": "chinois",
    }),
    "zh": ("%s标题: {mask} 原文: {text}", {
        "de": "德文", "en": "英文", "es": "西班牙文", "fr": "法文", "zh": "中文",
    }),
}  # fmt: skip


def groups() -> list[dict[str, str]]:
    """Ours: summaries and titles in each language they may be asked in, and questions."""
    summaries = []
    for target, in_english in PROMPTS["named_summary"].items():
        group = {"en": in_english}
        group |= {lang: words % names[target] for lang, (words, names) in _SUMMARIES.items() if target in names}
        if target in PROMPTS["native_summary"]:
            group[target] = PROMPTS["native_summary"][target]
        summaries.append(group)
    titles = [{lang: words % names[target] for lang, (words, names) in _TITLES.items()} for target in PROMPTS["title"]]
    return [*summaries, *titles, dict(PROMPTS["native_question"])]


class ParallelPrompts:
    """Asks sources in the languages wanted."""

    def __init__(self, languages: Sequence[str], more: Sequence[Group] = ()) -> None:
        """`more` groups go before ours: those of a task that brings its own."""
        self._languages = list(languages)
        self._groups: dict[tuple[str, ...], Group] = {}
        for group in [*groups(), *more]:
            for template in group.values():
                self._groups[_shape(template)] = group

    def of(self, source: Sequence[Segment]) -> list[list[Segment]]:
        """The source with its prompt in each of the languages.

        Raises:
            MGLMError: its prompt is in no group, or one of the languages is not in that.
        """
        shape = _shape_of(source)
        group = self.check(source)
        texts = [part.value for part in source if part.kind == "text"]
        (mask,) = [part.value for part in source if part.kind == "mask"]
        own = next(template for template in group.values() if _shape(template) == shape)
        named = dict(zip(_fields(own), texts, strict=True))
        return [fill(group[lang], mask, named) for lang in self._languages]  # type: ignore[arg-type]

    def check(self, source: Sequence[Segment]) -> Group:
        """The source's group; raises as `of`."""
        group = self._groups.get(_shape_of(source))
        said = "".join(f"{{{part.kind}}}" if part.kind != "prompt" else part.value for part in source)
        if group is None:
            raise MGLMError(
                f"prompt {said!r}",
                found="no parallel prompts for it",
                expected="a summary, a title or a question as in tokenizer/prompts.py, or a task that says them",
                action="declare `parallel` in the task (docs/evaluation.md), or leave finetune.prompt_languages out",
            )
        if missing := [lang for lang in self._languages if lang not in group]:
            raise MGLMError(
                f"finetune.prompt_languages {missing[0]}",
                found=f"no prompt in it that says the same as {said!r}",
                expected=f"any of {', '.join(sorted(group))}",
                action="name others, or declare `parallel` in the task (docs/evaluation.md)",
            )
        return group


def _shape(template: str) -> tuple[str, ...]:
    """What tells a prompt from others: its words, and where texts and the mask stand."""
    parts = []
    for words, field, _, _ in string.Formatter().parse(template):
        if words:
            parts.append(f"prompt {words}")
        if field is not None:
            parts.append("mask" if field == "mask" else "text")
    return tuple(parts)


def _shape_of(source: Sequence[Segment]) -> tuple[str, ...]:
    return tuple(f"prompt {part.value}" if part.kind == "prompt" else part.kind for part in source)


def _fields(template: str) -> list[str]:
    return [field for _, field, _, _ in string.Formatter().parse(template) if field not in (None, "mask")]
