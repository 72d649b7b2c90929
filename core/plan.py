"""plan/1, the contract between balancing, which makes it, and sample, tokenizer and trainer, which follow it."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import MGLMError
from core.manifest import MADE_BY, hash_of

PLAN = "plan/1"


class PlanLanguage(BaseModel):
    """One language of a plan. Shares lie between 0 and 1; `tokens` and `epochs` are None without a budget.

    `residual` is ln(count) − ln(fitted_count), above 0 for a language above the line; `ratio` is share / raw_share.
    `group` is the resource group: high, middle or low, by raw_share.
    """

    model_config = ConfigDict(extra="forbid")
    code: str
    count: float
    rank: int
    fitted_count: float
    raw_share: float
    stage1_share: float
    share: float = Field(ge=0, le=1)
    residual: float | None = None
    ratio: float | None = None
    group: str | None = None
    tokens: float | None = None
    epochs: float | None = None
    available_tokens: float | None = None
    available_source: Literal["measured", "estimated"] | None = None


class Plan(BaseModel):
    """Which share of training sequences each language gets, and how that came about.

    `notes` say in words what a reader should know: what was left out, what was limited, which unit was taken.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    schema_name: Literal["plan/1"] = Field(default="plan/1", alias="schema")
    strategy: str
    alpha: float | None
    curve: str | None
    count_unit: str
    budget_tokens: float | None = None
    fit: dict[str, Any] = {}
    notes: list[str] = []
    languages: list[PlanLanguage]

    def shares(self) -> dict[str, float]:
        """Language code → share of training sequences; sums to 1."""
        return {language.code: language.share for language in self.languages}

    def content_hash(self) -> str:
        return hash_of(self.model_dump(by_alias=True))

    def to_json(self) -> str:
        return json.dumps(self.model_dump(by_alias=True), indent=1, ensure_ascii=False)


def read_plan(path: Path) -> Plan:
    """Reads and checks a plan; `path` is plan.json or the directory that holds it.

    Raises:
        MGLMError: no such file, not a plan/1, a language twice, or shares that do not sum to 1.
    """
    if path.is_dir():
        path = path / "plan.json"
    command = MADE_BY[PLAN]
    anew = f"remove its directory and run {command}"
    try:
        plan = Plan.model_validate_json(path.read_text("utf-8"))
    except FileNotFoundError:
        raise MGLMError(f"plan {path}", found="no such file", action=f"run {command} first") from None
    except (ValidationError, UnicodeDecodeError) as error:
        found = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "bytes that are not UTF-8"
        raise MGLMError(f"plan {path}", found=found, expected=f"a {PLAN} file", action=anew) from None
    codes = [language.code for language in plan.languages]
    if twice := sorted({code for code in codes if codes.count(code) > 1}):
        found, expected = f"{', '.join(twice)} more than once", "each language once"
        raise MGLMError(f"plan {path}", found=found, expected=expected, action=anew)
    total = sum(language.share for language in plan.languages)
    if abs(total - 1) > 1e-6:
        raise MGLMError(
            f"plan {path}",
            found=f"shares that sum to {total:.6f}",
            expected="1",
            action=anew,
        )
    return plan
