"""Makes harness/1: tasks of ours as local task files of lm-evaluation-harness, with data beside them; no hub.

    mglm eval harness --examples xquad --output tasks
    python -m eval.harness run --model mglm --model_args pretrained=MODEL --tasks mglm_xquad --include_path tasks

Other models of the harness read the plain prompt; ours reads the very segments that `mglm eval predict` does. Both are
scored by our scorers, which the harness calls for each example and averages.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import MGLMError
from core.examples import EXAMPLES, Example, read_examples
from core.log import get_logger
from core.manifest import Manifest, read_manifest, write_atomically
from core.stage import open_stage
from eval.config import EvalConfig
from eval.scorers import scorer_of

HARNESS = "harness/1"
PREFIX = "mglm_"  # before a task's name: the harness has tasks called xquad and xnli
SCORES_FILE = "mglm_scores.py"
_SCORES = """# Named by the task files beside it.
from eval.harness_scores import process_results

__all__ = ["process_results"]
"""


def write_harness_tasks(
    example_sets: Sequence[Path], output: Path, config: EvalConfig, *, overwrite: bool = False
) -> Manifest:
    """A task file and its held-out examples for each set, one row each.

    Raises:
        MGLMError: no held-out examples, long contexts that are read in windows, or two sets of one task.
    """
    manifests = [read_manifest(path, EXAMPLES) for path in example_sets]
    tasks: list[dict[str, Any]] = [manifest.facts.get("task", {}) for manifest in manifests]
    names = [PREFIX + str(task.get("name", path.name)) for task, path in zip(tasks, example_sets, strict=True)]
    if len(set(names)) < len(names):
        raise MGLMError("--examples", found=f"{', '.join(names)}", expected="each task once", action="leave one out")
    decoding = [config.decoding(task.get("decoding")) for task in tasks]
    inputs = {name: manifest.content_hash() for name, manifest in zip(names, manifests, strict=True)}
    settings = {"decoding": dict(zip(names, decoding, strict=True)), "at": str(output.resolve())}
    stage = open_stage(output, schema=HARNESS, config=settings, inputs=inputs, overwrite=overwrite)
    if stage.manifest is not None:
        return stage.manifest
    counts = {}
    for name, path, task, how in zip(names, example_sets, tasks, decoding, strict=True):
        examples = list(read_examples(path / "heldout.jsonl"))
        if not examples:
            raise MGLMError(f"{path}", found="no held-out example", expected="at least one", action="prepare more")
        rows = [row_of(example, task, how) for example in examples]
        data = output / f"{name}.jsonl"
        write_atomically(data, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        write_atomically(output / f"{name}.yaml", task_file(name, data, task, how, examples[0]))
        counts[data.name] = len(rows)
    write_atomically(output / SCORES_FILE, _SCORES)
    get_logger("eval").info("%s: %s", output, ", ".join(names))
    return stage.finish(rows=counts)


def row_of(example: Example, task: dict[str, Any], decoding: dict[str, Any]) -> dict[str, Any]:
    """What the harness reads: `prompt` without mask, `choices` as they are said, and in `mglm` what is ours."""
    prompt = "".join(segment.value for segment in example.source if segment.kind != "mask").rstrip()
    ours = {
        "example": example.model_dump(),
        "decoding": decoding,
        "scorer": task.get("scorer", "rouge"),
        "postprocess": task.get("postprocess", []),
    }
    return {
        "id": example.id,
        "prompt": prompt,
        "target": example.target,
        "choices": [word for words in example.choices.values() for word in words],
        "mglm": json.dumps(ours, ensure_ascii=False),
    }


def task_file(name: str, data: Path, task: dict[str, Any], decoding: dict[str, Any], example: Example) -> str:
    """The YAML. JSON is YAML, but for the function that it names."""
    scorer = scorer_of(task.get("scorer", "rouge"))
    fields: dict[str, Any] = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data.resolve())}},
        "test_split": "test",
        "doc_to_text": "prompt",
        "doc_to_target": "target",
        "target_delimiter": "" if example.choices else " ",
        "metric_list": [
            {"metric": measure, "aggregation": "mean", "higher_is_better": True} for measure in scorer.measures
        ],
        "metadata": {"version": 1},
    }
    if example.choices:
        fields |= {"output_type": "multiple_choice", "doc_to_choice": "{{choices}}", "doc_to_target": 0}
    else:
        from eval.writer import generation_settings

        # Also for one beam, whose search has none: windows of a long context are ranked by it.
        settings = generation_settings(decoding) | {"length_penalty": decoding["length_penalty"]}
        settings["max_gen_toks"] = settings.pop("max_new_tokens")
        fields |= {"output_type": "generate_until", "generation_kwargs": {"until": [], **settings}}
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
    return "\n".join([*lines, f"process_results: !function {Path(SCORES_FILE).stem}.process_results", ""])


def temperature_of(settings: Mapping[str, Any], otherwise: float | None = None) -> float | None:
    """At which temperature tokens are drawn, None where they are not, by what the harness's command line says of
    generation. `do_sample` decides where it is said; nothing is drawn at 0; `otherwise` where no temperature is said.
    """
    temperature, drawn = settings.get("temperature", otherwise), settings.get("do_sample")
    if drawn is False or temperature == 0:
        return None
    return 1.0 if drawn and temperature is None else temperature
