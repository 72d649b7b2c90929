"""The chain of rules that judges a document: each returns it, changed or not, or says why it is none.

In: a parsed document, before its language is known and again after. Out: the document that goes on, or a `Refusal`,
which the build counts by its reason and keeps in `rejected/` with source and offset. What changes text comes before
detection, so that what is detected, hashed and counted is what is kept.
"""

import re
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points

from core.errors import MGLMError
from core.text import normalise
from corpus.blocked import BlockedIds, BlockedUrls, BlockedWords
from corpus.line_rules import LineRules
from corpus.private_data import PrivateData
from corpus.quality import Quality
from corpus.rules_config import RulesConfig
from corpus.verdicts import Document, Refusal, Rule

PLUGIN_GROUP = "mglm.corpus_rules"
WHITESPACE = "whitespace_collapsed"
EMPTY_AFTER_RULES = "empty_after_rules"

_SPACES = re.compile(r"[^\S\n]{2,}|[^\S\n ]")
_BLANK_LINES = re.compile(r"\n{3,}")


class Rules:
    """The chain of a build, made once in each worker: what rules load (models, lists) they load here."""

    def __init__(self, config: RulesConfig) -> None:
        """Raises MGLMError: a list, a model, a kind of private data or a plug-in is not there or not what it should."""
        self._before: list[Rule] = []
        if config.blocked_urls:
            self._before.append(BlockedUrls(config.blocked_urls))
        if config.whitespace:
            self._before.append(collapse_whitespace)
        lines = LineRules(config)
        if lines.any:
            self._before.append(lines)
        if config.private_data:
            self._before.append(PrivateData(config.private_data, config.phone_regions))
        self._after: list[Rule] = []
        if config.blocked_words:
            self._after.append(BlockedWords(config.blocked_words))
        if config.quality_model or config.quality_label:
            self._after.append(Quality(config))
        self._after += [load_plugin(name) for name in config.plugins]
        if config.blocked_ids:
            self._after.append(BlockedIds(config.blocked_ids))

    def before_detection(self, document: Document) -> Document | Refusal:
        """Judges and may change the text; what comes back is detected and hashed."""
        return _apply(self._before, document)

    def after_detection(self, document: Document) -> Document | Refusal:
        """Judges with language and script known. A changed text is hashed and counted as changed, not detected anew."""
        return _apply(self._after, document)


def collapse_whitespace(document: Document) -> Document:
    """Runs of spaces of any kind become one space, runs of blank lines one blank line."""
    text = _BLANK_LINES.sub("\n\n", _SPACES.sub(" ", document.text))
    return document if text == document.text else document.changed(text, [WHITESPACE])


def load_plugin(name: str) -> Rule:
    """The rule that a plug-in's factory makes, called without arguments, once in each worker.

    `name` is an entry point of the group `mglm.corpus_rules`, or `module:factory`.

    Raises:
        MGLMError: there is no such plug-in, or it cannot be imported.
    """
    if ":" in name:
        found = EntryPoint(name, name, PLUGIN_GROUP)
    else:
        known = {point.name: point for point in entry_points(group=PLUGIN_GROUP)}
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            raise MGLMError(
                f"corpus rule plug-in {name}", found=f"installed: {names}", expected="one of these, or module:factory"
            )
        found = known[name]
    try:
        rule: Rule = found.load()()
    except (ImportError, AttributeError, TypeError) as error:
        raise MGLMError(f"corpus rule plug-in {name}", found=str(error), expected="a factory of a rule") from None
    return rule


def _apply(rules: Sequence[Rule], document: Document) -> Document | Refusal:
    for rule in rules:
        judged = rule(document)
        if isinstance(judged, Refusal):
            return judged
        if judged.text is not document.text:
            text = normalise(judged.text)  # what is cut or joined may need it again
            if not text:
                return Refusal(EMPTY_AFTER_RULES, f"{len(document.text)} characters before")
            judged = judged if text == judged.text else judged.changed(text, ())
        document = judged
    return document
