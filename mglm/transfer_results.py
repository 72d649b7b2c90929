"""What a transfer experiment has shown, from the directories its commands left: one JSON object.

`cells`: a system asked for a pair under a prompt, with its scores and the languages it answered in. `settings`: means
over the cells of one of the paper's settings, each pair weighing the same. `weights`: how far tuning has moved each
layer.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from core.languages import UNKNOWN, canonical_code
from core.manifest import read_manifest
from eval.predictions import read_predictions
from eval.score import read_scores
from mglm.transfer_stages import Experiment, System, named

SCHEMA = "transfer/1"
Told = Callable[[str], frozenset[str]]  # a text → the languages it may be in
PREFERRED = ("rougeL", "f1", "accuracy")  # the measure that figures show


def detected(text: str) -> frozenset[str]:
    """The language that the detector of evaluation sees; none where it sees none."""
    from eval.language_check import detector

    lang = detector().detect(text).lang
    return frozenset() if lang == UNKNOWN else frozenset({lang})


def gather(experiment: Experiment, told: Told) -> dict[str, Any]:
    """The results of an experiment all of whose commands have finished."""
    cells = [
        cell
        for system in experiment.systems
        for prompt in experiment.ask
        for cell in _cells(experiment, system, prompt, told)
    ]
    measures = read_scores(experiment.scores(experiment.systems[0], experiment.ask[0]))["measures"]
    return {
        "schema": SCHEMA,
        "task": experiment.task,
        "measures": measures,
        "measure": next((name for name in PREFERRED if name in measures), measures[0]),
        "scale": read_scores(experiment.scores(experiment.systems[0], experiment.ask[0]))["scale"],
        "evaluated": [named(pair) for pair in experiment.evaluated],
        "prompts": list(experiment.ask),
        "systems": [_system(experiment, system) for system in experiment.systems],
        "cells": cells,
        "settings": _settings(cells, measures),
        "weights": {system.name: _weights(experiment, system) for system in experiment.systems if system.pairs},
    }


def _system(experiment: Experiment, system: System) -> dict[str, Any]:
    trained = [named(pair) for pair in system.pairs]
    row: dict[str, Any] = {"name": system.name, "trained": trained, "variant": list(system.variant.settings)}
    if system.pairs:
        facts = read_manifest(experiment.folder(system) / "finetune", "checkpoint/1")
        examples = read_manifest(experiment.output / "examples" / System(system.pairs).name, "examples/1")
        row["steps"] = facts.facts["steps"]
        row["examples"] = sum(count["train"] for count in examples.counts.values())
        row["seconds"] = facts.made["wall_s"]
    return row


def _cells(experiment: Experiment, system: System, prompt: str, told: Told) -> list[dict[str, Any]]:
    scores = read_scores(experiment.scores(system, prompt))
    written: dict[tuple[str, str], list[frozenset[str]]] = {}
    for item in read_predictions(experiment.predictions(system, prompt)):
        written.setdefault((item.lang, item.target_lang), []).append(told(item.prediction))
    learned = {canonical_code(target) for _, target in system.pairs}
    rows = []
    for row in scores["pairs"]:
        pair = row["lang"], row["target_lang"]
        asked = canonical_code(pair[1])
        seen = written[pair]
        rows.append(
            {
                "system": system.name, "prompt": prompt, "lang": pair[0], "target_lang": pair[1],
                "setting": system.setting(pair), "examples": row["examples"],
                **{name: row[name] for name in scores["measures"]}, "interval": row["interval"],
                "in_asked": fmean(asked in langs for langs in seen),
                "in_trained": fmean(asked not in langs and bool(learned & langs) for langs in seen),
            }
        )  # fmt: skip
    return rows


def _settings(cells: Sequence[Mapping[str, Any]], measures: Sequence[str]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for cell in cells:
        groups.setdefault((cell["system"], cell["prompt"], cell["setting"]), []).append(cell)
    return [
        {
            "system": system, "prompt": prompt, "setting": setting, "pairs": len(group),
            **{name: fmean(cell[name] for cell in group) for name in (*measures, "in_asked", "in_trained")},
        }
        for (system, prompt, setting), group in groups.items()
    ]  # fmt: skip


def _weights(experiment: Experiment, system: System) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from model.weight_change import weight_change

    return [asdict(one) for one in weight_change(experiment.model(System()), experiment.model(system))]
