"""Plug-ins as a user may write them, for the tests of the chain of rules."""

from dataclasses import replace

from corpus.verdicts import Document, Refusal, Rule


def length_score() -> Rule:
    def judge(document: Document) -> Document | Refusal:
        length = len(document.text)
        return replace(document, quality=float(length)) if length > 10 else Refusal("too_short", str(length))

    return judge


def blank() -> Rule:
    return lambda document: replace(document, text=" ")
