import json
from pathlib import Path

import pytest

from core.errors import MGLMError
from core.plan import Plan, PlanLanguage, read_plan


def plan_of(shares: dict[str, float]) -> Plan:
    languages = [
        PlanLanguage(code=code, count=1, rank=rank, fitted_count=1, raw_share=share, stage1_share=share, share=share)
        for rank, (code, share) in enumerate(shares.items(), start=1)
    ]
    return Plan(strategy="raw", alpha=1.0, curve=None, count_unit="documents", languages=languages)


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    plan = plan_of({"en": 0.75, "sw": 0.25})
    (tmp_path / "plan.json").write_text(plan.to_json(), "utf-8")
    assert read_plan(tmp_path) == read_plan(tmp_path / "plan.json") == plan
    assert read_plan(tmp_path).shares() == {"en": 0.75, "sw": 0.25}
    assert json.loads(plan.to_json())["schema"] == "plan/1"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "plan/1"),
        ('{"schema": "plan/2"}', "plan/1"),
        (plan_of({"en": 0.75, "sw": 0.35}).to_json(), "1.1"),
        (plan_of({"en": 0.5, "sw": 0.25, "ig": 0.25}).to_json().replace('"ig"', '"sw"'), "sw more than once"),
    ],
)
def test_a_file_that_is_no_plan_is_named(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "plan.json").write_text(text, "utf-8")
    with pytest.raises(MGLMError, match=word) as caught:
        read_plan(tmp_path)
    assert "mglm balancing fit" in str(caught.value)


def test_a_missing_plan_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(MGLMError, match="no such file.*mglm balancing fit"):
        read_plan(tmp_path / "none.json")
