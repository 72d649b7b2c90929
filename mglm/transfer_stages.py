"""Which models a transfer experiment tunes and what each is asked, as stages: every one a command of ours.

A system is the checkpoint it begins with, tuned on examples of some pairs of languages, or not at all. Everyone is
asked the same: each pair, under each prompt.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.manifest import Manifest
from mglm.stages import DemoStage, checkpoint_made, examples_made, export_made, predictions_made, scores_made

Pair = tuple[str, str]  # source's language, target's language
UNTUNED, MIXED, OWN_PROMPT = "untuned", "mixed", "own"
# The paper's four settings (§3.3.2) and what else a cell of the matrix may be.
TRAINED, ZERO_SHOT, SOURCE, TARGET, OUTSIDE = "trained", "zero-shot", "source", "target", "outside the mixture"


@dataclass(frozen=True)
class Variant:
    """Another way to tune: what it is called, and settings as `--set` takes them."""

    name: str
    settings: tuple[str, ...]


PLAIN = Variant("", ())


@dataclass(frozen=True)
class System:
    """A model of the experiment. Without pairs it is not tuned; several pairs are a mixture."""

    pairs: tuple[Pair, ...] = ()
    variant: Variant = PLAIN

    @property
    def name(self) -> str:
        """Of its folder, and in tables."""
        base = UNTUNED if not self.pairs else named(self.pairs[0]) if len(self.pairs) == 1 else MIXED
        return f"{base}, {self.variant.name}" if self.variant.name else base

    def setting(self, pair: Pair) -> str:
        """What asking it for `pair` means, in the words of §3.3.2."""
        if not self.pairs:
            return UNTUNED
        if len(self.pairs) > 1:
            return MIXED if pair in self.pairs else OUTSIDE
        (source, target), one = pair, self.pairs[0]
        if pair == one:
            return TRAINED
        return SOURCE if target == one[1] else TARGET if source == one[0] else ZERO_SHOT


@dataclass(frozen=True)
class Experiment:
    """`ask`: names of prompts, "" for the task's own; `shared`: arguments that every command takes."""

    task: str
    inputs: tuple[Path, ...]
    init: Path
    output: Path
    systems: tuple[System, ...]
    evaluated: tuple[Pair, ...]
    ask: tuple[str, ...]
    shared: tuple[str, ...]
    nproc: int | None = None

    def folder(self, system: System) -> Path:
        return self.output / "systems" / system.name.replace(", ", "+").replace(" ", "_")

    def scores(self, system: System, prompt: str) -> Path:
        return self.folder(system) / f"scores-{prompt or OWN_PROMPT}"

    def predictions(self, system: System, prompt: str) -> Path:
        return self.folder(system) / f"predictions-{prompt or OWN_PROMPT}"

    def model(self, system: System) -> Path:
        return self.folder(system) / "model"


def named(pair: Pair) -> str:
    return "-".join(pair)


def systems_of(
    trained: Sequence[Pair], evaluated: Sequence[Pair], variants: Sequence[Variant], *, mixed: bool
) -> tuple[System, ...]:
    """The untuned checkpoint, a system for each trained pair, the variants of the first, the mixture of all evaluated
    pairs."""
    plain = [System((pair,)) for pair in trained]
    others = [System(tuple(trained[:1]), variant) for variant in variants]
    return (System(), *plain, *others, *([System(tuple(evaluated))] if mixed else []))


def transfer_stages(experiment: Experiment) -> list[DemoStage]:
    """Every command of the experiment, in order: examples, then tuning, prediction and scoring system by system."""
    given = [word for path in experiment.inputs for word in ("--input", str(path))]

    def stage(
        name: str, output: Path, schema: str, describe: Callable[[Manifest], str], *words: str | Path,
        settings: Sequence[str] = (),
    ) -> DemoStage:  # fmt: skip
        arguments = [*name.split(), *map(str, words), "--output", str(output), *experiment.shared]
        arguments += [word for setting in settings for word in ("--set", setting)]  # after what all share
        return DemoStage(name, tuple(arguments), output, schema, describe)

    def examples(folder: str, pairs: Sequence[Pair], prompt: str = "") -> DemoStage:
        chosen = ", ".join(f'"{named(pair)}"' for pair in pairs)
        return stage(
            "eval prepare", experiment.output / "examples" / folder, "examples/1", examples_made,
            "--task", experiment.task, *given,
            settings=[f"eval.pairs=[{chosen}]", *([f'eval.prompt="{prompt}"'] if prompt else [])],
        )  # fmt: skip

    asked = {
        prompt: examples(f"asked-{prompt or OWN_PROMPT}", experiment.evaluated, prompt) for prompt in experiment.ask
    }
    stages = list(asked.values())
    taught: dict[tuple[Pair, ...], DemoStage] = {}
    for system in experiment.systems:
        if system.pairs and system.pairs not in taught:
            taught[system.pairs] = examples(System(system.pairs).name, system.pairs)
            stages.append(taught[system.pairs])
    processes = ("--nproc", str(experiment.nproc)) if experiment.nproc is not None else ()
    for system in experiment.systems:
        folder, origin = experiment.folder(system), experiment.init
        if system.pairs:
            stages.append(
                stage(
                    "train finetune", folder / "finetune", "checkpoint/1", checkpoint_made,
                    "--init", experiment.init, "--examples", taught[system.pairs].output, *processes,
                    settings=system.variant.settings,
                )
            )  # fmt: skip
            origin = folder / "finetune"
        stages.append(
            stage(
                "model convert", experiment.model(system), "hf/1", export_made,
                "--from", "megatron", "--to", "hf", "--input", origin,
            )
        )  # fmt: skip
        for prompt in experiment.ask:
            predictions = experiment.predictions(system, prompt)
            stages.append(
                stage(
                    "eval predict", predictions, "predictions/1", predictions_made,
                    "--model", experiment.model(system), "--examples", asked[prompt].output,
                )
            )  # fmt: skip
            stages.append(
                stage(
                    "eval score", experiment.scores(system, prompt), "scores/1", scores_made,
                    "--predictions", predictions,
                )
            )  # fmt: skip
    return stages
