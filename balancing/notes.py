"""What a reader of a plan should know, in sentences: who was left out, limited, seen too often or hardly at all."""

from collections.abc import Mapping, Sequence

from core.languages import languages
from core.plan import Plan

EPOCHS_TO_WARN_ABOVE = 4.0  # repeated more often, text is worth ever less (Muennighoff et al. 2023)
MOST_NAMED = 5  # languages named in a note


def notes_on_languages(ranked: Sequence[tuple[str, float]], left_out: Mapping[str, str]) -> list[str]:
    notes = []
    if left_out:
        named = [f"{code} ({why})" for code, why in left_out.items()]
        notes.append(f"left out of the plan: {some(named)}")
    if strangers := [code for code, _ in ranked if code not in languages()]:
        notes.append(f"{number_of(len(strangers))} outside the 101, taken along: {some(strangers)}")
    return notes


def note_epochs(plan: Plan, max_epochs: float | None, sequence_tokens: int) -> None:
    often = sorted(
        (row for row in plan.languages if (row.epochs or 0) > EPOCHS_TO_WARN_ABOVE), key=lambda row: -(row.epochs or 0)
    )
    if often and max_epochs is None:
        named = [f"{row.code} {row.epochs:.1f}" for row in often]
        plan.notes.append(
            f"{number_of(len(named))} seen more than {EPOCHS_TO_WARN_ABOVE:g} times: {some(named)}. "
            "--max-epochs limits that"
        )
    if rare := [row.code for row in plan.languages if row.tokens is not None and 0 < row.tokens < sequence_tokens]:
        plan.notes.append(
            f"{number_of(len(rare))} with less than one sequence of {sequence_tokens} tokens: {some(rare)}"
        )
    if plan.budget_tokens is not None:
        unknown = [row.code for row in plan.languages if row.available_tokens is None]
        if 0 < len(unknown) < len(plan.languages):
            limit = " and epochs not limited" if max_epochs is not None else ""
            plan.notes.append(f"{number_of(len(unknown))} whose tokens are not known{limit}: {some(unknown)}")


def number_of(languages: int) -> str:
    return f"{languages} language{'' if languages == 1 else 's'}"


def some(named: Sequence[str]) -> str:
    return ", ".join(named[:MOST_NAMED]) + (", …" if len(named) > MOST_NAMED else "")
