"""`mglm eval transfer`: fine-tunes on chosen pairs of languages, asks every model for all pairs, tells what came out.

Here train and eval meet, so it belongs to neither. A killed run continues, and what is finished is not redone: every
step is a command of ours in a directory of its own (mglm/transfer_stages.py).
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path

from core.config import RunConfig
from core.errors import MGLMError
from core.manifest import write_atomically
from eval.config import EvalConfig
from eval.sources import check_inputs
from eval.tasks import asked_with, find_task, pair_of
from mglm.transfer_results import Told, detected, gather
from mglm.transfer_stages import Experiment, Pair, Variant, named, systems_of, transfer_stages
from mglm.walk import say, walk
from model.checkpoint_meta import locate_checkpoint
from model.config import ModelConfig
from train.config import FinetuneConfig

RESULTS_NAME, TABLES_NAME, PAGE_NAME = "transfer.json", "transfer.md", "index.html"


def plan_experiment(
    *,
    task: str,
    inputs: Sequence[Path],
    init: Path,
    output: Path,
    train: Sequence[str],
    evaluate: Sequence[str],
    ask: Sequence[str],
    variants: Sequence[Variant],
    mixed: bool,
    config: Path | None,
    overrides: Sequence[str],
    nproc: int | None,
) -> Experiment:
    """What is to be done, checked before anything is.

    Raises:
        MGLMError: no pair, a pair or variant of another form, an unknown task or prompt, no checkpoint, or settings
            that do not fit.
    """
    declared = find_task(task)
    for prompt in ask:
        asked_with(declared, prompt)
    check_inputs(inputs)
    locate_checkpoint(init)
    trained = _unique([pair_of(text) for text in train], "--train")
    asked = _unique([pair_of(text) for text in evaluate], "--evaluate")
    if not trained and not (mixed and asked):
        expected = "SOURCE-TARGET, e.g. en-zh; or --mixed with --evaluate"
        raise MGLMError("--train", found="no pair", expected=expected)
    if variants and not trained:
        raise MGLMError("--variant", found="no --train", expected="a pair to tune another way, too")
    if not asked:
        sources, targets = ([*dict.fromkeys(pair[side] for pair in trained)] for side in (0, 1))
        asked = [(source, target) for source in sources for target in targets]
    if mixed and len(asked) == 1:
        raise MGLMError("--mixed", found=f"{named(asked[0])} alone", expected="two pairs or more that are asked")
    if len({one.name for one in variants}) != len(variants):
        raise MGLMError("--variant", found="a name twice", expected="a name of its own for each")
    for variant in [(), *(one.settings for one in variants)]:
        run = RunConfig(config, [*overrides, *variant])
        for name, section in (("model", ModelConfig), ("finetune", FinetuneConfig), ("eval", EvalConfig)):
            run.section(name, section)
    shared = [
        *(("--config", str(config)) if config is not None else ()),
        "--overwrite",
    ]  # the directory is the run's own
    for override in overrides:
        shared += ["--set", override]
    return Experiment(
        task=task, inputs=tuple(inputs), init=init, output=output,
        systems=systems_of(trained, asked, variants, mixed=mixed), evaluated=tuple(asked),
        ask=("", *(prompt for prompt in dict.fromkeys(ask))), shared=tuple(shared), nproc=nproc,
    )  # fmt: skip


def run_experiment(experiment: Experiment, told: Told = detected) -> Path:
    """Does what is not done yet, writes transfer.json, transfer.md and the page, and returns the page's path.

    `told` says in which languages a text may be.

    Raises:
        MGLMError: a command failed; what is finished stays.
    """
    stages, started = transfer_stages(experiment), time.monotonic()
    say(f"{len(experiment.systems)} systems, {len(stages)} commands into {experiment.output}")
    for number, stage in enumerate(stages, start=1):
        walk(stage, number, len(stages), experiment.output)
    page = write_results(experiment, told)
    say(f"done in {time.monotonic() - started:.0f} s; open {page}")
    return page


def write_results(experiment: Experiment, told: Told = detected) -> Path:
    """The tables and the page from what finished commands have left."""
    from mglm.transfer_page import as_markdown, as_page

    results = gather(experiment, told)
    output = experiment.output
    write_atomically(output / RESULTS_NAME, json.dumps(results, indent=1, ensure_ascii=False))
    write_atomically(output / TABLES_NAME, as_markdown(results))
    write_atomically(output / PAGE_NAME, as_page(results))
    return output / PAGE_NAME


def variant_of(text: str) -> Variant:
    """`freeze 2: finetune.freeze_upper_layers=2` as a variant; several settings are parted by `;`.

    Raises:
        MGLMError: it is none.
    """
    name, _, settings = text.partition(":")
    chosen = tuple(setting.strip() for setting in settings.split(";") if setting.strip())
    name = " ".join(name.split())
    if not chosen or not name or not all(character.isalnum() or character in " ._=" for character in name):
        expected = "NAME: SECTION.FIELD=VALUE [; …], e.g. freeze: finetune.freeze_upper_layers=12"
        raise MGLMError(f"--variant {text!r}", found="another form", expected=expected)
    return Variant(name, chosen)


def _unique(pairs: Sequence[Pair], option: str) -> list[Pair]:
    if twice := [pair for pair in pairs if pairs.count(pair) > 1]:
        raise MGLMError(option, found=f"{named(twice[0])} twice", expected="each pair once")
    return list(pairs)
