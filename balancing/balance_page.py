"""balance.html: a plan as a page that computes, where a person tries other settings and copies the command for them.

In: a plan, and what it was made of. Out: one HTML file that makes no request. Its arithmetic is `page/arithmetic.js`,
its drawing `page/charts.js`; the lines of stage 1 do not depend on what the page chooses, so they are fitted here.
"""

import inspect
import json
import shlex
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, get_args

from balancing.config import BalancingConfig, Curve
from balancing.fit import EPOCHS_OF_UNIMAX
from balancing.line import fit_line
from balancing.notes import EPOCHS_TO_WARN_ABOVE
from balancing.plan_files import OF_THE_SAMPLE
from balancing.shares import HIGH_FROM, LOW_BELOW, normalised
from core.errors import MGLMError
from core.languages import language_name
from core.manifest import write_atomically
from core.page import escaped, page
from core.plan import Plan

SCRIPTS = ("arithmetic.js", "words.js", "charts.js", "page.js")
SECTIONS = {
    "settings": "Settings",
    "groups": "Resource groups",
    "stage1": "Stage 1: counts move to a line",
    "stage2": "Stage 2: an exponent evens out the shares",
    "epochs": "Epochs",
    "languages": "Languages",
    "command": "Command",
}
STRATEGIES = {
    "two-stage": "two-stage (the paper)",
    "alpha": "alpha: stage 2 alone",
    "raw": "raw: as counted",
    "uniform": "uniform: all the same",
    "unimax": "UniMax: even up to a cap",
    "table": "table: your own shares",
}
CURVES = {"log-linear": "log-linear (the paper)", "zipf": "Zipf"}
CHOSEN_ON_THE_PAGE = ("strategy", "alpha", "curve", "budget_tokens", "max_epochs")


def write_page(
    plan: Plan, path: Path, *, counts: Path, config: BalancingConfig, weights: Mapping[str, float] | None = None
) -> None:
    """Writes the page of the plan that `config` made of `counts`, a path that is shown as it was given.

    `weights` are those of the strategy table, as the user gave them.
    """
    write_atomically(path, page_of(plan, counts=counts, config=config, weights=weights))


def page_of(
    plan: Plan, *, counts: Path, config: BalancingConfig, weights: Mapping[str, float] | None = None
) -> str:  # fmt: skip
    """The page as HTML; the same arguments give the same text."""
    folder = resources.files("balancing").joinpath("page")
    data = _data(plan, counts, config, weights)
    offered = {name: text for name, text in STRATEGIES.items() if _can(name, data)}
    relative = not all(Path(name).is_absolute() for name in (counts, config.table) if name is not None)
    texts = {
        "strategies": _options(offered),
        "curves": _options({name: CURVES[name] for name in data["lines"]}),
        "source": _source_of_tokens(plan, config),
        "often": f"{EPOCHS_TO_WARN_ABOVE:g}",
        "tokens_option": escaped(" ".join(_option("tokens_column", "NAME"))),
        "relative": " Run it where this plan was made: paths stand as they were given." if relative else "",
    }  # fmt: skip
    sections = [
        (name, title, Template(folder.joinpath(f"{name}.html").read_text("utf-8")).substitute(texts))
        for name, title in SECTIONS.items()
    ]
    if plan.notes:
        notes = "".join(f"<li>{escaped(note)}</li>" for note in plan.notes)
        sections.append(("notes", "Notes on the plan as made", f"<ul>{notes}</ul>"))
    number = len(plan.languages)
    return page(
        "Language balance",
        f"{number:,} language{'s' if number > 1 else ''} by {plan.count_unit}. The plan as made: {_as_made(plan)}.",
        sections,
        script="\n".join(folder.joinpath(name).read_text("utf-8") for name in SCRIPTS),
        data=data,
        styles=folder.joinpath("page.css").read_text("utf-8"),
    )


def base_command(counts: Path, config: BalancingConfig) -> list[str]:
    """The words of `mglm balancing fit` that the page does not choose: counts, and every field off its default."""
    words = ["mglm", "balancing", "fit", "--counts", str(counts)]
    for name, field in BalancingConfig.model_fields.items():
        value = getattr(config, name)
        if name not in OF_THE_SAMPLE.union(CHOSEN_ON_THE_PAGE) and value != field.default:
            words += _option(name, value)
    return words


def _option(name: str, value: Any) -> list[str]:
    """A field as an option of the command, where it has one, or else as --set."""
    from balancing.commands import fit  # here: it imports Typer

    if name in inspect.signature(fit).parameters:
        return [f"--{name.replace('_', '-')}", str(value)]
    return ["--set", f"balancing.{name}={json.dumps(value, ensure_ascii=False)}"]  # JSON's scalars are TOML's


def _data(plan: Plan, counts: Path, config: BalancingConfig, weights: Mapping[str, float] | None) -> dict[str, Any]:
    """What the page's script knows: see page/arithmetic.js."""
    table = None
    wanted = [weights.get(language.code, 0.0) for language in plan.languages] if weights is not None else []
    if any(wanted):
        table = normalised(wanted)
    return {
        "unit": plan.count_unit,
        "languages": [
            [language.code, language_name(language.code), language.count, language.available_tokens, language.group]
            for language in plan.languages
        ],
        "groups": [
            {"key": "high", "name": "High", "meaning": f"{100 * HIGH_FROM:g} % of the data or more"},
            {"key": "middle", "name": "Middle", "meaning": f"{100 * LOW_BELOW:g} to {100 * HIGH_FROM:g} %"},
            {"key": "low", "name": "Low", "meaning": f"below {100 * LOW_BELOW:g} %"},
        ],
        "lines": _lines(plan, config),
        "table": table,
        "sequenceTokens": config.sequence_tokens,
        "unimaxCap": EPOCHS_OF_UNIMAX,
        "often": EPOCHS_TO_WARN_ABOVE,
        "settings": {
            "strategy": config.strategy,
            "alpha": config.alpha,
            "curve": config.curve,
            "budget": config.budget_tokens,
            "cap": config.max_epochs,
        },
        "command": shlex.join(base_command(counts, config)),
    }


def _lines(plan: Plan, config: BalancingConfig) -> dict[str, dict[str, Any] | None]:
    """Each curve's line, None for a single language; a curve that cannot be fitted is left out."""
    codes, counts = [language.code for language in plan.languages], [language.count for language in plan.languages]
    lines = {}
    for curve in get_args(Curve):
        try:
            fit = plan.fit
            if plan.curve != curve:
                _, fit = fit_line(
                    codes, counts, curve, config.regression,
                    fit_ranks=config.fit_ranks, fit_min_count=config.fit_min_count,
                )  # fmt: skip
        except MGLMError:
            continue
        lines[curve] = {key: fit[key] for key in ("slope", "intercept", "r2")} if "slope" in fit else None
    return lines


def _can(strategy: str, data: Mapping[str, Any]) -> bool:
    return bool(data["lines"]) if strategy == "two-stage" else strategy != "table" or data["table"] is not None


def _options(texts: Mapping[str, str]) -> str:
    return "".join(f'<option value="{escaped(value)}">{escaped(text)}</option>' for value, text in texts.items())


def _as_made(plan: Plan) -> str:
    parts = [plan.strategy]
    parts += [f"{plan.curve} curve"] if plan.curve else []
    parts += [f"α {plan.alpha:g}"] if plan.alpha is not None else []
    parts += [f"budget {plan.budget_tokens:,.0f} tokens"] if plan.budget_tokens is not None else []
    parts += [f"at most {plan.fit['max_epochs']['limit']:g} epochs"] if "max_epochs" in plan.fit else []
    return ", ".join(parts)


def _source_of_tokens(plan: Plan, config: BalancingConfig) -> str:
    if all(language.available_source != "estimated" for language in plan.languages):
        return ""
    return f" The tokens that languages have are estimates: {config.bytes_per_token:g} bytes to a token."
