"""Prompted examples of a task, from its files as published."""

import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from core.documents import document_id, uniform
from core.errors import MGLMError
from core.examples import Example, Segment
from core.text import normalise
from eval.readers import READERS
from eval.records import LeftOut, Outcome, Record, Rejected, example_id
from eval.sources import FoundFile, find_files
from eval.tasks import Source, Split, Task
from eval.translation import Translator, translated
from tokenizer.prompts import MASKS, fill, no_prompt, source

Found = list[tuple[Source, list[FoundFile]]]


def find_sources(task: Task, inputs: Sequence[Path], *, translate: bool) -> Found:
    """The task's sources with the files that are there; what needs a translator only where there is one.

    Raises:
        MGLMError: none is there, with the names that were looked for.
    """
    wanted = [source for source in task.sources if translate or not source.translate]
    found = [(source, _taken(source, find_files(inputs, source.files, source.beside))) for source in wanted]
    if not any(files for _, files in found):
        names = list(dict.fromkeys(name for source in wanted for name in source.files))
        raise MGLMError(
            f"input {', '.join(map(str, inputs))}",
            found=f"no file of the task {task.name}",
            expected=f"{', '.join(names[:8])}{' …' if len(names) > 8 else ''}, or .gz of them",
            action="give the folder that holds the published files as --input",
        )
    return found


def task_outcomes(
    task: Task,
    found: Found,
    inputs: Sequence[Path],
    *,
    heldout_share: float,
    weights: Mapping[str, float],
    pairs: Sequence[tuple[str, str]] = (),
    translator: Translator | None = None,
) -> Iterator[Outcome]:
    """Examples, rejections or omissions, record by record, in the order of the task's sources and of the files; of
    these `pairs` of source and target language alone, where any are named.

    Raises:
        MGLMError: a file of another form, weights of no part, or no prompt for a language.
    """
    check_weights(task, weights)
    seen: set[tuple[str, str]] = set()
    for origin, files in found:
        weight = weights.get(origin.part, origin.weight) if origin.part else origin.weight
        for file in files:
            records = _limited(READERS[origin.reader](file, origin, inputs), origin.limit)
            if origin.translate:
                assert translator is not None
                records = translated(records, origin.translate, translator)
            for record in records:
                if isinstance(record, Rejected):
                    yield record
                elif origin.only and record.lang not in origin.only:
                    yield LeftOut()
                elif not pairs or (record.lang, record.target_lang) in pairs:
                    yield _outcome(task, origin, file, record, heldout_share, weight, seen)
                else:
                    yield LeftOut()


def check_weights(task: Task, weights: Mapping[str, float]) -> None:
    """Raises MGLMError for a weight of a part that the task does not have, or below 0."""
    parts = sorted({source.part for source in task.sources} - {""})
    for part, weight in weights.items():
        if part not in parts:
            expected = f"one of {', '.join(parts)}" if parts else f"none: {task.name} is not a mixture"
            raise MGLMError(f"eval.weights.{part}", found="a weight for no part of the task", expected=expected)
        if weight < 0:
            raise MGLMError(f"eval.weights.{part}", found=str(weight), expected="0 or more")


def prompted(task: Task, prompt: str, target_lang: str, texts: Mapping[str, str]) -> list[Segment]:
    """The segments of the task's template, or of the prompt that goes by its name."""
    clean = {name: normalise(text) for name, text in texts.items()}
    for name in task.rstrip_punctuation:
        clean[name] = clean[name].rstrip(string.punctuation)
    if task.template and not prompt:
        return fill(task.template, task.mask or MASKS["summary"], clean)
    name = prompt or task.prompt
    if name not in task.prompts:
        return source(name, target_lang, mask=task.mask, **clean)
    templates = task.prompts[name]
    template = templates.get(target_lang, templates.get(""))
    if template is None:
        raise no_prompt(name, target_lang, list(templates))
    return fill(template, task.mask or MASKS["summary"], clean)


def _outcome(
    task: Task, origin: Source, file: FoundFile, record: Record, share: float, weight: float, seen: set[tuple[str, str]]
) -> Outcome:
    raw = file.named.get("lang", "")
    pair = f"{raw if '_' in raw else record.lang}-{record.target_lang}"  # chinese_simplified is not _traditional
    key = example_id(origin.part, pair, normalise(record.id))
    split = _split(origin, record, share)

    def rejected(reason: str) -> Rejected:
        return Rejected(record.source, record.line, reason, key)

    if not record.lang or not record.target_lang:
        return rejected("no_language")
    if (split, key) in seen:
        return rejected("doubled_id")
    seen.add((split, key))
    target = record.targets[0] if task.kind == "choice" else normalise(record.targets[0])
    if task.kind == "choice" and target not in task.choices:
        return rejected("unknown_label")
    segments = prompted(task, origin.prompt, record.target_lang, record.texts)
    example = Example(
        id=key,
        task=task.name,
        lang=record.lang,
        target_lang=record.target_lang,
        split=split,
        source=segments,
        target=target,
        # As published, since scorers compare with these; one that is the target already needs no second copy.
        references=[] if record.targets == (target,) else list(record.targets),
        choices=task.choices,
    )
    if split != "train":
        return [example]
    copies = int(weight) + (uniform(document_id(key), "weight") < weight - int(weight))
    again = [example.model_copy(update={"id": f"{key}#{number}"}) for number in range(2, copies + 1)]
    return [example, *again] if copies else LeftOut()


def _split(origin: Source, record: Record, share: float) -> Split:
    if origin.split != "by_hash":
        return origin.split
    share = share if origin.heldout_share is None else origin.heldout_share
    group = record.group or " ".join(record.texts.values())
    drawn = uniform(document_id(normalise(group)), "split")
    return "heldout" if drawn < share else "dev" if drawn < 2 * share else "train"


def _taken(origin: Source, files: list[FoundFile]) -> list[FoundFile]:
    """Without files whose name says a language that the source does not take."""
    if not origin.only:
        return files
    return [file for file in files if not file.lang("lang") or file.lang("lang") in origin.only]


def _limited(records: Iterator[Record | Rejected], limit: int | None) -> Iterator[Record | Rejected]:
    for number, record in enumerate(records):
        if number == limit:
            return
        yield record
