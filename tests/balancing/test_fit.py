"""The shares are the paper's, whatever table comes in."""

import csv
import logging
import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancing import fit_plan
from balancing.config import Curve, Strategy
from core.errors import MGLMError
from core.languages import INDIAN_LANGUAGES_OF_THE_PAPER, languages

MC4 = Path(__file__).parents[2].parent / "shared" / "data" / "language_tables" / "mc4.csv"
TABLE = {"en": 3000.0, "ru": 700.0, "de": 90.0, "sw": 4.0, "yo": 2.0}

COUNTS = st.dictionaries(st.sampled_from(sorted(languages())), st.floats(1e-3, 1e12), min_size=1, max_size=40)


def test_the_numbers_of_mc4() -> None:
    if not MC4.is_file():
        pytest.skip(f"no {MC4.name} beside the project")
    with MC4.open(encoding="utf-8") as file:
        counts = {row["code"]: float(row["pages_M"]) for row in csv.DictReader(file)}
    expected = {("alpha", "log-linear"): (4.68, 5.58), ("two-stage", "log-linear"): (5.47, 2.47)}
    expected |= {("two-stage", "zipf"): (3.95, 10.41)}
    strategy: Strategy
    curve: Curve
    for (strategy, curve), (indian, english) in expected.items():  # type: ignore[assignment]
        shares = fit_plan(counts, strategy=strategy, curve=curve).shares()
        assert len(shares) == 107
        assert 100 * sum(shares[code] for code in INDIAN_LANGUAGES_OF_THE_PAPER) == pytest.approx(indian, abs=0.005)
        assert 100 * shares["en"] == pytest.approx(english, abs=0.005)


def test_a_small_table_against_the_normal_equations() -> None:
    ranks = np.arange(1, len(TABLE) + 1)
    design = np.stack([ranks, np.ones_like(ranks)], axis=1).astype(float)
    logs = np.log(list(TABLE.values()))
    slope, intercept = np.linalg.lstsq(design, logs, rcond=None)[0]
    plan = fit_plan(TABLE, alpha=0.3)
    assert plan.fit["slope"] == pytest.approx(slope)
    assert plan.fit["intercept"] == pytest.approx(intercept)
    assert plan.fit["r2"] == pytest.approx(np.corrcoef(ranks, logs)[0, 1] ** 2)
    fitted = np.exp(design @ [slope, intercept])
    assert [language.fitted_count for language in plan.languages] == pytest.approx(fitted.tolist())
    assert list(plan.shares().values()) == pytest.approx((fitted**0.3 / (fitted**0.3).sum()).tolist())
    change = dict(zip(TABLE, fitted / np.array(list(TABLE.values())), strict=True))
    assert plan.fit["most_reduced"] == pytest.approx({code: change[code] for code in change if change[code] < 1})
    assert plan.fit["most_raised"] == pytest.approx({code: change[code] for code in change if change[code] > 1})
    assert [*plan.fit["most_reduced"], *reversed(plan.fit["most_raised"])] == sorted(change, key=change.__getitem__)


def test_each_strategy_is_what_it_says() -> None:
    assert fit_plan(TABLE, strategy="raw").shares()["en"] == pytest.approx(3000 / sum(TABLE.values()))
    assert set(fit_plan(TABLE, strategy="uniform").shares().values()) == {0.2}
    alpha = fit_plan(TABLE, strategy="alpha", alpha=0.5).shares()
    assert alpha["en"] / alpha["sw"] == pytest.approx(math.sqrt(3000 / 4))
    assert fit_plan(TABLE, strategy="alpha", alpha=1).shares() == fit_plan(TABLE, strategy="raw").shares()


@given(COUNTS, st.sampled_from(["two-stage", "alpha", "raw", "uniform"]), st.sampled_from(["log-linear", "zipf"]))
def test_shares_sum_to_one_fall_with_rank_and_do_not_depend_on_the_unit_or_the_order(
    counts: dict[str, float], strategy: Strategy, curve: Curve
) -> None:
    plan = fit_plan(counts, strategy=strategy, curve=curve)
    shares = list(plan.shares().values())
    assert math.fsum(shares) == pytest.approx(1)
    assert all(after <= before * (1 + 1e-9) for before, after in pairwise(shares))
    assert [language.rank for language in plan.languages] == list(range(1, len(counts) + 1))
    scaled = fit_plan({code: 8 * count for code, count in reversed(counts.items())}, strategy=strategy, curve=curve)
    assert scaled.shares() == pytest.approx(plan.shares(), rel=1e-6)
    assert "NaN" not in plan.to_json()


def test_equal_counts_are_ranked_by_code_and_a_level_line_has_no_r2() -> None:
    plan = fit_plan({"sw": 5, "de": 5, "yo": 5})
    assert list(plan.shares()) == ["de", "sw", "yo"]
    assert (plan.fit["slope"], plan.fit["r2"]) == (0.0, None)
    assert list(plan.shares().values()) == pytest.approx([1 / 3] * 3)


def test_one_language_has_the_whole_and_two_lie_on_their_line() -> None:
    one = fit_plan({"sw": 5})
    assert one.shares() == {"sw": 1.0}
    assert "no line" in one.fit["note"]
    two = fit_plan({"sw": 5, "en": 50})
    assert [language.fitted_count for language in two.languages] == pytest.approx([50, 5])
    assert two.fit["r2"] == pytest.approx(1)
    assert two.fit["slope_stderr"] is None


def test_zero_counts_and_the_unknown_language_are_left_out_with_a_note(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="mglm"):
        plan = fit_plan({**TABLE, "la": 0, "und": 99})
    assert plan.shares() == fit_plan(TABLE).shares()
    assert plan.fit["left_out"] == {"la": "count 0", "und": "no language"}
    assert "la (count 0)" in caplog.text


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "no language"),
        ({"en": 0}, "no language"),
        ({"en": -1.0}, "count of en; found -1.0"),
        ({"en": math.nan}, "found nan"),
        ({"en": math.inf}, "found inf"),
        ({"en": True}, "found True"),
        ({"en": "7"}, "found '7'"),
        ({"iw": 1, "he": 2}, "as iw and as he"),
    ],
)
def test_counts_that_will_not_do_are_told(counts: dict[str, float], message: str) -> None:
    with pytest.raises(MGLMError, match=message):
        fit_plan(counts)


@pytest.mark.parametrize(
    "options", [{"alpha": 1.5}, {"alpha": math.nan}, {"strategy": "unknown"}, {"curve": "bent"}, {"max_epochs": 2.0}]
)
def test_options_that_will_not_do_are_told(options: dict[str, object]) -> None:
    with pytest.raises(MGLMError):
        fit_plan(TABLE, **options)  # type: ignore[arg-type]


def test_a_budget_tells_tokens_and_epochs_and_warns_of_many(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="mglm"):
        plan = fit_plan(TABLE, budget_tokens=1000, available_tokens={"en": 5000, "yo": 10})
    tokens = {language.code: language.tokens for language in plan.languages}
    assert sum(value or 0 for value in tokens.values()) == pytest.approx(1000)
    yoruba = plan.languages[-1]
    assert yoruba.epochs == pytest.approx(1000 * yoruba.share / 10)
    assert yoruba.available_source == "measured"
    assert plan.languages[1].epochs is None
    assert "1 languages are seen more than 4 times (yo" in caplog.text


@given(COUNTS, st.floats(1.0, 5.0), st.floats(0.05, 1.0))
def test_no_language_is_seen_more_often_than_allowed_and_the_rest_keep_their_proportions(
    counts: dict[str, float], limit: float, part: float
) -> None:
    budget = part * limit * sum(counts.values())
    plan = fit_plan(counts, budget_tokens=budget, available_tokens=counts, max_epochs=limit)
    free = fit_plan(counts).shares()
    assert math.fsum(plan.shares().values()) == pytest.approx(1)
    assert all((language.epochs or 0) <= limit * (1 + 1e-9) for language in plan.languages)
    untouched = [code for code in free if code not in plan.fit["max_epochs"]["limited"]]
    raised = [plan.shares()[code] / free[code] for code in untouched]
    assert raised == pytest.approx(raised[:1] * len(raised))
    assert all(value >= 1 - 1e-9 for value in raised)


def test_a_budget_beyond_all_epochs_is_told() -> None:
    with pytest.raises(MGLMError, match="Lower the budget"):
        fit_plan(TABLE, budget_tokens=1e9, available_tokens=TABLE, max_epochs=2.0)


def test_the_library_loads_neither_spark_nor_torch() -> None:
    code = "import sys; from balancing import fit_plan; fit_plan({'en': 2, 'de': 1}); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pyspark", "torch", "matplotlib", "fasttext"} & set(loaded)
