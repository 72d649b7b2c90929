"""A transfer experiment as Markdown and as a page: settings, matrix with a heat map, languages written, weights."""

from collections.abc import Mapping
from typing import Any

from core.figures import BLUE, GREEN, INK, ORANGE, PURPLE, SKY, VERMILLION, figure_bytes, new_figure, tidy
from core.page import escaped, figure, page, table
from eval.report_parts import Part, Table, markdown
from mglm.transfer_stages import MIXED, SOURCE, TARGET, TRAINED, UNTUNED, ZERO_SHOT

TITLE = "Transfer between languages"
SIGNS = {TRAINED: "■", SOURCE: "S", TARGET: "T", ZERO_SHOT: "Z", MIXED: "■", UNTUNED: ""}
_LINES = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, INK)
_MARKS = "osD^vPX"


def as_markdown(results: Mapping[str, Any]) -> str:
    return markdown(TITLE, [part for part, _ in _parts(results)])


def as_page(results: Mapping[str, Any]) -> str:
    sections = [
        (part.key, part.title, picture + "".join(_html(item) for item in part.content))
        for part, picture in _parts(results)
    ]
    facts = {
        "systems": str(len(results["systems"])),
        "pairs asked": str(len(results["evaluated"])),
        "scored by": _measure(results),
    }
    return page(TITLE, f"Task {results['task']}", sections, facts=facts)


def _html(item: str | Table) -> str:
    if isinstance(item, str):
        return f"<p>{escaped(item)}</p>"
    rows = [[escaped(cell) for cell in row] for row in item.rows]
    return table(item.caption, item.heads, rows, item.numbers_from)


def _parts(results: Mapping[str, Any]) -> list[tuple[Part, str]]:
    """Sections with their figure as HTML, "" where there is none."""
    parts = [(_settings(results), "")]
    parts += [(_matrix(results, prompt), _heat_map(results, prompt)) for prompt in results["prompts"]]
    if results["weights"]:
        parts.append((_weights(results), _weights_figure(results)))
    parts.append((_systems(results), ""))
    return parts


def _settings(results: Mapping[str, Any]) -> Part:
    measures = results["measures"]
    caption = (
        "Means over pairs of languages, each weighing the same. Right language: answers in the language asked for. "
        "Trained language: answers in a language that was tuned for instead; the rest is neither, or cannot be told."
    )
    rows = [
        [row["system"], row["prompt"] or "the task's", row["setting"], str(row["pairs"]),
         *(_figure(results, row[name]) for name in measures), f"{row['in_asked']:.1%}", f"{row['in_trained']:.1%}"]
        for row in results["settings"]
    ]  # fmt: skip
    heads = ["tuned on", "prompt", "setting", "pairs", *measures, "right language", "trained language"]
    return Part(
        "settings",
        "The settings of the paper's §3.3.2, and prompts that were not tuned (§3.4)",
        [Table(caption, heads, rows, 3)],
    )


def _matrix(results: Mapping[str, Any], prompt: str) -> Part:
    measure, cells = results["measure"], _by_place(results, prompt)
    caption = (
        f"{_measure(results)} and, in brackets, the share of answers in the right language. Rows: what was tuned on; "
        "columns: what was asked. ■ trained, S another source, T another target, Z both others."
    )
    rows = []
    for system in results["systems"]:
        row = [system["name"]]
        for pair in results["evaluated"]:
            cell = cells.get((system["name"], pair))
            sign = SIGNS.get(cell["setting"], "") if cell else ""
            row.append(f"{_figure(results, cell[measure])} ({cell['in_asked']:.0%}) {sign}".strip() if cell else "–")
        rows.append(row)
    asked = f"prompt {prompt}" if prompt else "the task's own prompt"
    return Part(
        f"matrix-{prompt or 'own'}", f"Matrix: {asked}", [Table(caption, ["tuned on", *results["evaluated"]], rows, 1)]
    )


def _heat_map(results: Mapping[str, Any], prompt: str) -> str:
    systems, pairs, cells = (
        [one["name"] for one in results["systems"]],
        results["evaluated"],
        _by_place(results, prompt),
    )
    measure, scale = results["measure"], results["scale"]
    values = [
        [cells[name, pair][measure] if (name, pair) in cells else float("nan") for pair in pairs] for name in systems
    ]
    with new_figure(2.6 + 0.62 * len(pairs), 1.4 + 0.42 * len(systems)) as drawn:
        axes = drawn.subplots()
        image = axes.imshow(values, cmap="cividis", vmin=0, vmax=scale, aspect="auto")
        axes.set_xticks(range(len(pairs)), pairs, rotation=60, ha="right")
        axes.set_yticks(range(len(systems)), systems)
        axes.set_xlabel("asked")
        axes.set_ylabel("tuned on")
        for row, name in enumerate(systems):
            for column, pair in enumerate(pairs):
                if (cell := cells.get((name, pair))) is None:
                    continue
                shown = f"{_figure(results, cell[measure], short=True)} {SIGNS.get(cell['setting'], '')}".strip()
                colour = "white" if cell[measure] < scale / 2 else "black"
                axes.text(column, row, shown, ha="center", va="center", color=colour, fontsize=7)
        drawn.colorbar(image, ax=axes, label=measure)
        return figure(
            figure_bytes(drawn, "svg"), "image/svg+xml", f"{_measure(results)} by what was tuned on and what was asked"
        )


def _weights(results: Mapping[str, Any]) -> Part:
    caption = (
        "‖W' − W‖ / ‖W‖ of each part, all its weights as one vector, between the checkpoint that tuning began with (W) "
        "and the tuned one (W'). The paper explains the lack of prompt transferring by upper layers that move much "
        "more than lower ones."
    )
    names = list(results["weights"])
    by_part = {name: {row["part"]: row["change"] for row in rows} for name, rows in results["weights"].items()}
    parts = [row["part"] for row in results["weights"][names[0]]]
    rows = [[part, *(_percent(by_part[name].get(part)) for name in names)] for part in parts]
    return Part("weights", "How far tuning moves each layer", [Table(caption, ["part", *names], rows, 1)])


def _weights_figure(results: Mapping[str, Any]) -> str:
    with new_figure(7, 3.6) as drawn:
        axes = drawn.subplots()
        for number, (name, rows) in enumerate(results["weights"].items()):
            layers = [
                (row["layer"], row["change"]) for row in rows if row["layer"] is not None and row["change"] is not None
            ]
            if not layers:
                return ""
            places, changes = zip(*layers, strict=True)
            colour, mark = _LINES[number % len(_LINES)], _MARKS[number // len(_LINES) % len(_MARKS)]
            axes.plot(places, changes, marker=mark, color=colour, markersize=4, linewidth=1.2, label=name)
        axes.set_xlabel("layer, from the input upwards")
        axes.set_ylabel("‖W' − W‖ / ‖W‖")
        axes.set_ylim(bottom=0)
        axes.set_xticks(sorted({row["layer"] for rows in results["weights"].values() for row in rows} - {None}))
        axes.legend(frameon=False, fontsize=7)
        tidy(axes)
        return figure(figure_bytes(drawn, "svg"), "image/svg+xml", "Relative change of each layer's weights by tuning")


def _systems(results: Mapping[str, Any]) -> Part:
    rows = [
        [
            one["name"],
            ", ".join(one["trained"]) or "–",
            "; ".join(one["variant"]) or "–",
            str(one.get("examples", "–")),
            str(one.get("steps", "–")),
        ]
        for one in results["systems"]
    ]
    heads = ["tuned on", "pairs", "settings of its own", "examples", "steps"]
    return Part(
        "systems", "What was tuned, and how", [Table("Everything else is alike in all of them.", heads, rows, 3)]
    )


def _by_place(results: Mapping[str, Any], prompt: str) -> dict[tuple[str, str], Mapping[str, Any]]:
    return {
        (cell["system"], f"{cell['lang']}-{cell['target_lang']}"): cell
        for cell in results["cells"]
        if cell["prompt"] == prompt
    }


def _measure(results: Mapping[str, Any]) -> str:
    return f"{results['measure']}{' in percent' if results['scale'] == 100 else ''}"


def _figure(results: Mapping[str, Any], value: float, *, short: bool = False) -> str:
    if results["scale"] == 100:
        return f"{value:.0f}" if short else f"{value:.1f}"
    return f"{value:.2f}" if short else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"
