"""Makes examples/1: train.jsonl, dev.jsonl and heldout.jsonl of a task, and rejected.jsonl with what could not be used.

Nothing vanishes: records in = records with examples + without a summary + left out + rejected, in the manifest. The
task itself (how it is decoded and scored) stands in the manifest's facts, for prediction and scoring.
"""

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.errors import MGLMError
from core.examples import EXAMPLES
from core.log import get_logger
from core.manifest import Manifest, hash_of, inputs_of_files
from core.stage import Stage, open_stage
from eval.config import EvalConfig
from eval.records import LeftOut, Outcome, Rejected, Unsummarised
from eval.sources import check_inputs
from eval.summaries import NAME as SUMMARIES
from eval.summaries import read_summaries
from eval.task_examples import check_weights, find_sources, task_outcomes
from eval.tasks import Task, asked_with, find_task, pair_of
from eval.translation import load_translator

_log = get_logger("eval")


def prepare(task: str, inputs: list[Path], output: Path, config: EvalConfig, *, overwrite: bool = False) -> Manifest:
    """Reads records, writes examples, returns the manifest: counts per language, facts about the rest.

    Raises:
        MGLMError: an unknown task, a missing or empty input, a file of another form, or no usable record at all.
    """
    declared = find_task(task)
    if declared.name == SUMMARIES and declared is not find_task(SUMMARIES):  # below, none of it would be read
        expected = "another name: this is the demo's task"
        raise MGLMError(f"--task {task}", found=f"a task called {SUMMARIES}", expected=expected)
    if config.prompt is not None:
        declared = asked_with(declared, config.prompt)
    check_weights(declared, config.weights)
    pairs = [pair_of(text) for text in config.pairs]
    check_inputs(inputs)
    settings: dict[str, Any] = {"task": declared.name, "heldout_share": config.heldout_share}
    if declared.name == SUMMARIES:
        if pairs or config.prompt is not None:
            name = "prompt" if config.prompt is not None else "pairs"
            action = "declare a task of your own (docs/evaluation.md)"
            raise MGLMError(f"eval.{name}", found=f"--task {SUMMARIES}", expected="another task", action=action)
        for path in inputs:
            if path.is_dir():
                raise MGLMError(f"input {path}", found="a directory", expected="a JSONL file", action="check --input")
        used = inputs
        outcomes: Iterator[Outcome] = read_summaries(inputs, config.heldout_share)
    else:
        translator = load_translator(config.translator) if config.translator else None
        found = find_sources(declared, inputs, translate=translator is not None)
        for source, files in found:
            if not files:
                _log.info("no %s: none of %s", f"{source.split} {source.part}".strip(), ", ".join(source.files))
        used = sorted({path for _, files in found for file in files for path in (file.path, *file.beside)})
        settings |= {"declaration": hash_of(declared.model_dump()), "weights": config.weights}
        settings |= {"translator": config.translator}
        if pairs:
            settings["pairs"] = sorted({f"{source}-{target}" for source, target in pairs})
        outcomes = task_outcomes(
            declared, found, inputs,
            heldout_share=config.heldout_share, weights=config.weights, pairs=pairs, translator=translator,
        )  # fmt: skip
    stage = open_stage(output, schema=EXAMPLES, config=settings, inputs=inputs_of_files(used), overwrite=overwrite)
    if stage.manifest is not None:
        _log.info("already made: %s", output)
        return stage.manifest
    try:
        return _write(stage, declared, inputs, outcomes)
    except MGLMError:
        shutil.rmtree(output)  # there is nothing to continue
        raise


def _write(stage: Stage, task: Task, inputs: list[Path], outcomes: Iterator[Outcome]) -> Manifest:
    output = stage.output
    splits = ["train", "heldout"]
    if task.name != SUMMARIES and any(source.split in ("dev", "by_hash") for source in task.sources):
        splits.insert(1, "dev")
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    rows: Counter[str] = Counter()
    tally = Counter(records_without_summary=0, records_left_out=0)
    reasons: Counter[str] = Counter()
    paths = {name: output / f"{name}.jsonl" for name in (*splits, "rejected")}
    files = {name: path.open("w", encoding="utf-8") for name, path in paths.items()}
    try:
        for outcome in outcomes:
            tally["records_in"] += 1
            if isinstance(outcome, Rejected):
                files["rejected"].write(json.dumps(asdict(outcome), ensure_ascii=False) + "\n")
                rows["rejected.jsonl"] += 1
                reasons[outcome.reason] += 1
            elif isinstance(outcome, Unsummarised):
                tally["records_without_summary"] += 1
            elif isinstance(outcome, LeftOut):
                tally["records_left_out"] += 1
            else:
                tally["records_with_examples"] += 1
                for example in outcome:
                    files[example.split].write(example.model_dump_json(exclude_defaults=True) + "\n")
                    rows[f"{example.split}.jsonl"] += 1
                    counts[example.lang][example.split] += 1
    finally:
        for file in files.values():
            file.close()
    rejected = reasons.total()
    assert tally["records_in"] == rejected + sum(tally[name] for name in tally if name != "records_in")
    if not tally["records_with_examples"] and tally["records_left_out"] == tally["records_in"]:
        action = "look at eval.pairs, eval.weights and `only` of the task's sources"
        found = f"{tally['records_in']} records, all left out"
        raise MGLMError(f"input {', '.join(map(str, inputs))}", found=found, expected="some taken", action=action)
    if not tally["records_with_examples"]:
        raise MGLMError(
            f"input {', '.join(map(str, inputs))}",
            found=f"no usable record among {tally['records_in']}"
            + "".join(f", {times} times {reason}" for reason, times in reasons.most_common(3)),
            expected="records with id, text and summary_en or summary_zh" if task.name == SUMMARIES else "some",
            action="mend the input",
        )
    manifest = stage.finish(
        rows={path.name: rows[path.name] for path in paths.values()},
        counts={lang: {name: counts[lang][name] for name in splits} for lang in sorted(counts)},
        facts={**tally, "rejected": dict(reasons), "task": task.public()},
    )
    if rejected:
        _log.warning("%d of %d records rejected, see %s", rejected, tally["records_in"], paths["rejected"])
    _log.info(
        "prepared %s of %s in %d languages in %.1f s: %s",
        ", ".join(f"{rows[f'{name}.jsonl']} {name}" for name in splits), task.name, len(counts),
        manifest.made["wall_s"], output,
    )  # fmt: skip
    return manifest
