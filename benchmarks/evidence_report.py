"""docs/evidence.md, its figure and its record, from the scores of `benchmarks.evidence`.

A variant is compared with the baseline of its experiment seed by seed, so that what a seed's weights and draws do to
both cancels. A group's figure is the mean of its languages; intervals are Student's t over the seeds, at 95 %: they say
how far another seed might lead, not how far other languages or another size of model would.
"""

import math
import statistics
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from benchmarks.record import write_record
from core.figures import BLUE, GREEN, QUIET, TEXT, VERMILLION, new_figure, save_figure, tidy
from core.languages import language_name, languages
from core.manifest import write_atomically

DOCS = Path(__file__).parents[1] / "docs"
LEAST_BYTES = 100_000  # languages with less are left out of groups: their scores are of a document or two
GROUPS = ("high", "middle", "low")
LARGEST = "five largest"
BASELINES = {"plans": "raw", "mc4": "raw", "tokenizers": "raw", "objectives": "all three", "targets": "all three"}
TITLES = {
    "plans": "Plans, one tokenizer",
    "mc4": "Plans at mC4's proportions, one tokenizer",
    "tokenizers": "Plans, each with a tokenizer of its own",
    "objectives": "What is blanked",
    "targets": "What is blanked, as many targets for each",
}
NOTES = {
    "objectives": "Held-out text is scored as generation is trained: a quarter of a window is read, the rest written "
    "after [gMASK]. So generation alone is at home here, and so may be the authors' sentence ends in the other "
    "scripts, where they blank whole rows. And in as many steps a model has had more targets (tokens to write, with "
    "the end of each blank) or fewer: of those of all three, generation alone 2.2 times as many, the authors' sentence "
    "ends 1.4, token blanks alone 0.8, sentence blanks alone 0.6. The next experiment evens that out.",
    "targets": "Each is trained until it has had as many targets as all three in their steps: token blanks alone 1.26 "
    "times as many steps, sentence blanks alone 1.77, generation alone 0.45, the authors' sentence ends 0.72, with "
    "warm-up and decay over its own. So it has read more text or less: equal is how many tokens it was corrected on.",
}
FILLING = """## {title}: filling each kind of blank

The same models, on the same held-out text: blanks of one kind are cut from all of it as pretraining cuts them, the same
for every model, and what stood there is scored, per byte. The first row is bits per byte, the others are differences.
"""
AMOUNTS = {"plans": "bytes of text a language has", "mc4": "million pages a language has in mC4"}
# Scripts in which the authors' code finds no sentence end.
UNMARKED = (
    "Deva", "Beng", "Guru", "Gujr", "Taml", "Telu", "Knda", "Mlym", "Sinh", "Arab", "Thai", "Laoo", "Khmr", "Mymr",
    "Ethi",
)  # fmt: skip

Scores = Mapping[Any, Mapping[str, float]]


class Run(Protocol):
    """What is asked of a run here."""

    @property
    def experiment(self) -> str: ...
    @property
    def variant(self) -> str: ...
    @property
    def seed(self) -> int: ...


class Interval(NamedTuple):
    """A mean over seeds and half the width of its interval; None with one seed."""

    mean: float
    half: float | None

    def __str__(self) -> str:
        return f"{self.mean:+.4f}" + (f" ± {self.half:.4f}" if self.half is not None else "")

    @property
    def word(self) -> str:
        """What it says of bits per byte, of which fewer are better."""
        if self.half is not None and abs(self.mean) <= self.half:
            return "neither gain nor lose beyond the interval"
        return "gain" if self.mean < 0 else "lose"


def write(
    scores: Scores,
    blanks: Mapping[Any, Mapping[str, Mapping[str, float]]],
    sizes: Mapping[str, int],
    pages: Mapping[str, float],
    made: Mapping[str, Any],
) -> None:
    """Writes the report of every experiment there is.

    `blanks` are scores by the kind of blank that is filled, `sizes` UTF-8 bytes of a language's text here, `pages` its
    pages in mC4, by which that experiment's groups go.
    """
    rows, parts = [], [head(made, groups_of(sizes, sizes), sizes)]
    for experiment, title in TITLES.items():
        of_experiment = {run: found for run, found in scores.items() if run.experiment == experiment}
        if not of_experiment:
            continue
        groups = groups_of(sizes, pages if experiment == "mc4" else sizes)
        table = compared(of_experiment, groups, BASELINES[experiment])
        rows += [[f"{title}: {variant}", *map(str, cells)] for variant, cells in table]
        parts.append(section(experiment, table, groups, of_experiment))
        if experiment in AMOUNTS:
            amounts, said = (sizes, AMOUNTS["plans"]) if experiment == "plans" else (pages, AMOUNTS["mc4"])
            parts += [conclusion(of_experiment, groups)]
            draw(of_experiment, amounts, sizes, said, DOCS / f"evidence_{experiment}.svg")
            parts.append(f"![Change of bits per byte against {said}](evidence_{experiment}.svg)\n")
            if experiment == "mc4":
                parts.append(proportions(made, groups))
        filled = {run: found for run, found in blanks.items() if run.experiment == experiment}
        if filled:
            parts.append(FILLING.format(title=title))
            for kind in next(iter(filled.values())):
                table = compared({run: found[kind] for run, found in filled.items()}, groups, BASELINES[experiment])
                rows += [[f"{title}, filling {kind}: {variant}", *map(str, cells)] for variant, cells in table]
                parts += [f"### {kind.capitalize()}\n", comparison(table, groups)]
    for experiment in AMOUNTS:
        of_plans = {run: found for run, found in scores.items() if run.experiment == experiment}
        if of_plans:
            parts.append(every_language(TITLES[experiment], of_plans, sizes))
    write_atomically(DOCS / "evidence.md", "\n".join(parts))
    write_record(
        "evidence",
        "Does two-stage balancing do what the paper says?",
        ["experiment: variant", LARGEST, *GROUPS, "all", "other scripts"],
        rows,
        remarks=[
            "Held-out bits per byte, means over the languages of a group; below the first row of an experiment the "
            "difference to it, with 95 % intervals over seeds. docs/evidence.md has the whole.",
            f"{made['layers']} layers of {made['hidden']}, {made['steps']} steps of {made['batch']} rows of "
            f"{made['window']} tokens, {made['vocab_size']:,} pieces; {made['source']}. Trained at "
            f"{', '.join(made['trained_at'])}.",
        ],
    )


def groups_of(sizes: Mapping[str, int], amounts: Mapping[str, float]) -> dict[str, list[str]]:
    """Languages with enough text in thirds by an amount, falling; the five largest of them; and those in whose scripts
    the authors' code finds no sentence end."""
    enough = sorted(
        (code for code, size in sizes.items() if size >= LEAST_BYTES and code in amounts),
        key=lambda code: (-amounts[code], code),
    )
    bounds = [round(index * len(enough) / len(GROUPS)) for index in range(len(GROUPS) + 1)]
    groups = {LARGEST: enough[:5]}  # whose loss a group's mean would hide
    groups |= {name: enough[bounds[index] : bounds[index + 1]] for index, name in enumerate(GROUPS)}
    script = {language.code: language.script for language in languages().values()}
    groups["all"] = enough
    groups["other scripts"] = [code for code in enough if script[code] in UNMARKED]
    return {name: of_group for name, of_group in groups.items() if of_group}


def compared(
    scores: Scores, groups: Mapping[str, Sequence[str]], baseline: str
) -> list[tuple[str, list[str | Interval]]]:
    """For each variant a cell for each group: of the baseline its bits per byte, of others the difference to it."""
    by_variant: dict[str, dict[int, Mapping[str, float]]] = {}
    for run, found in scores.items():
        by_variant.setdefault(run.variant, {})[run.seed] = found
    base = by_variant[baseline]
    table: list[tuple[str, list[str | Interval]]] = []
    for variant in by_variant:
        if variant == baseline:
            table.append(
                (
                    variant,
                    [
                        f"{statistics.mean(mean_of(base[seed], codes) for seed in base):.4f}"
                        for codes in groups.values()
                    ],
                )
            )
            continue
        table.append((variant, [difference(by_variant[variant], base, codes) for codes in groups.values()]))
    return table


def difference(
    ours: Mapping[int, Mapping[str, float]], base: Mapping[int, Mapping[str, float]], codes: Sequence[str]
) -> Interval:
    """Bits per byte of a group less the baseline's, over the seeds that both have."""
    return interval(
        [mean_of(ours[seed], codes) - mean_of(base[seed], codes) for seed in sorted(ours.keys() & base.keys())]
    )


def mean_of(found: Mapping[str, float], codes: Sequence[str]) -> float:
    return statistics.mean(found[code] for code in codes)


def interval(values: Sequence[float]) -> Interval:
    """The mean with a 95 % interval by Student's t."""
    if len(values) < 2:
        return Interval(values[0], None)
    from scipy.stats import t

    error = statistics.stdev(values) / math.sqrt(len(values))
    return Interval(statistics.mean(values), float(t.ppf(0.975, len(values) - 1)) * error)


def head(made: Mapping[str, Any], groups: Mapping[str, Sequence[str]], sizes: Mapping[str, int]) -> str:
    tokens = made["steps"] * made["batch"] * made["window"]
    members = "; ".join(
        f"{name}: {len(groups[name])} languages, "
        f"{sizes[groups[name][-1]] / 1e6:.2f} to {sizes[groups[name][0]] / 1e6:.2f} MB"
        for name in GROUPS
        if name in groups
    )
    paragraphs = [
        f"Made by `python -m benchmarks.evidence`. Every model has {made['layers']} layers of {made['hidden']} and "
        f"{made['vocab_size']:,} pieces, and is trained for {made['steps']} steps of {made['batch']} rows of "
        f"{made['window']} tokens, {tokens / 1e6:.1f} million in all, on {made['source']}. {made['heldout_share']:.0%} "
        f"of the documents are held out by their hash, before anything is trained; of each language "
        f"{made['heldout_documents']} of them are measured. Shares follow the bytes of text. Groups are thirds of the "
        f"languages with at least {LEAST_BYTES // 1000} kB: {members}; *other scripts*: those in whose scripts the "
        "authors' code finds no sentence end. Figures are bits per byte, of which fewer are better; ± are 95 % "
        "intervals over seeds.",
        "Most of these documents are translations of each other, so a language is not far from its neighbours; and a "
        "model of this size on so few tokens shows what sampling does early in a training, not what is left of it "
        "after 600,000 steps. UniMax with one epoch at most is all but uniform where the budget is small against the "
        "text, as here.",
        f"Intervals are not widened for the many comparisons made: of twenty, one may miss. The group of the {LARGEST} "
        "was added when the first results had been seen, since the mean of the high group hid English; steps and batch "
        "were chosen beforehand, by the time there was.",
    ]
    filled = (textwrap.fill(paragraph, 120, break_on_hyphens=False) for paragraph in paragraphs)
    return "\n\n".join(["# Evidence: does two-stage balancing do what the paper says?", *filled]) + "\n"


def section(
    experiment: str,
    table: Sequence[tuple[str, Sequence[str | Interval]]],
    groups: Mapping[str, Sequence[str]],
    scores: Scores,
) -> str:
    seeds = len({run.seed for run in scores})
    lines = [f"## {TITLES[experiment]}", ""]
    lines += [f"{seeds} seed{'s' * (seeds > 1)}; differences to *{BASELINES[experiment]}*.", ""]
    lines.append(comparison(table, groups))
    lines += textwrap.wrap(note, 120) if (note := NOTES.get(experiment)) else []
    return "\n".join(lines).rstrip("\n") + "\n"


def comparison(table: Sequence[tuple[str, Sequence[str | Interval]]], groups: Mapping[str, Sequence[str]]) -> str:
    """The cells of `compared` as a table."""
    lines = ["| variant | " + " | ".join(groups) + " |", "|---|" + "---:|" * len(groups)]
    lines += [f"| {variant} | " + " | ".join(map(str, cells)) + " |" for variant, cells in table]
    return "\n".join(lines) + "\n"


def conclusion(plans: Scores, groups: Mapping[str, Sequence[str]]) -> str:
    """Three sentences that say what the numbers say."""
    by_variant: dict[str, dict[int, Mapping[str, float]]] = {}
    for run, found in plans.items():
        by_variant.setdefault(run.variant, {})[run.seed] = found
    ours = by_variant["two-stage"]

    def told(other: str) -> str:
        found = {name: difference(ours, by_variant[other], codes) for name, codes in groups.items()}
        parts = [f"{name}-resource languages {found[name].word} ({found[name]})" for name in reversed(GROUPS)]
        return ", ".join(parts) + f", the {LARGEST} {found[LARGEST].word} ({found[LARGEST]})"

    said = (
        "**Conclusion.** Under two-stage balancing, against drawing languages as often as they come, "
        f"{told('raw')}. Against α = 0.3 alone, {told('alpha')}. Against UniMax, {told('unimax')}."
    )
    return textwrap.fill(said, 120, break_on_hyphens=False) + "\n"


def proportions(made: Mapping[str, Any], groups: Mapping[str, Sequence[str]]) -> str:
    """Which share of the training each group gets at mC4's proportions, and that little text comes twice."""
    lines = ["| share of the training | " + " | ".join(GROUPS) + " | English |", "|---|" + "---:|" * (len(GROUPS) + 1)]
    passes: dict[tuple[str, str], float] = {}
    for name, plan in made["mc4_plans"].items():
        shares = {row["code"]: row["share"] for row in plan["languages"]}
        cells = [sum(shares[code] for code in groups[group]) for group in GROUPS] + [shares["en"]]
        lines.append(f"| {name} | " + " | ".join(f"{cell:.2%}" for cell in cells) + " |")
        trained = made["steps"] * made["batch"] * made["window"]
        passes |= {(name, code): shares[code] * trained / made["tokens"][code] for code in groups["all"]}
    name, code = max(passes, key=passes.__getitem__)
    lines += ["", f"Nothing is read often: at most {passes[name, code]:.2f} times, {language_name(code)} under {name}."]
    return "\n".join(lines) + "\n"


def every_language(title: str, plans: Scores, sizes: Mapping[str, int]) -> str:
    """Bits per byte of each language under each plan, means over seeds."""
    variants = list(dict.fromkeys(run.variant for run in plans))
    lines = [f"## Every language: {title}", "", "| language | kB | " + " | ".join(variants) + " |"]
    lines.append("|---|---:|" + "---:|" * len(variants))
    for code in sorted(sizes, key=lambda code: -sizes[code]):
        cells = [
            statistics.mean(found[code] for run, found in plans.items() if run.variant == variant)
            for variant in variants
            if all(code in found for found in plans.values())
        ]
        if cells:
            shown = " | ".join(f"{cell:.3f}" for cell in cells)
            lines.append(f"| {language_name(code)} ({code}) | {sizes[code] / 1e3:,.0f} | {shown} |")
    return "\n".join(lines) + "\n"


def draw(plans: Scores, amounts: Mapping[str, float], sizes: Mapping[str, int], said: str, path: Path) -> None:
    """Each language's change of bits per byte against its amount, a mark for each plan; those in no group are faint."""
    seeds = sorted({run.seed for run in plans})
    found = {(run.variant, run.seed): of_run for run, of_run in plans.items()}
    styles = {
        "alpha": (BLUE, "s", "α = 0.3"),
        "two-stage": (VERMILLION, "o", "two-stage"),
        "unimax": (GREEN, "^", "UniMax"),
    }
    measured = [code for code in amounts if all(code in of_run for of_run in plans.values())]
    with new_figure(7.2, 4.0) as figure:
        axes = figure.add_subplot()
        axes.axhline(0, color=QUIET, linewidth=0.8)
        for variant, (color, mark, label) in styles.items():
            for codes, alpha, named in (
                ([code for code in measured if sizes[code] >= LEAST_BYTES], 0.8, label),
                ([code for code in measured if sizes[code] < LEAST_BYTES], 0.2, None),
            ):
                change = [
                    statistics.mean(found[variant, seed][code] - found["raw", seed][code] for seed in seeds)
                    for code in codes
                ]
                axes.scatter(
                    [amounts[code] for code in codes], change, s=14, color=color, marker=mark, label=named, alpha=alpha
                )
        axes.set_xscale("log")
        axes.set_xlabel(f"{said} (faint: less than {LEAST_BYTES // 1000} kB of text, in no group)", color=TEXT)
        axes.set_ylabel("bits per byte less those of raw counts", color=TEXT)
        axes.legend(frameon=False)
        tidy(axes)
        save_figure(figure, [path])
