"""The shares are the paper's, whatever table comes in."""

import csv
import logging
import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancing import fit_plan
from balancing.config import Curve, Regression, Strategy
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
    assert fit_plan(TABLE, strategy="alpha", alpha=0).shares() == fit_plan(TABLE, strategy="uniform").shares()
    sharper = fit_plan(TABLE, strategy="alpha", alpha=2.5).shares()
    assert sharper["ru"] / sharper["de"] == pytest.approx((700 / 90) ** 2.5)
    upside_down = fit_plan(TABLE, strategy="alpha", alpha=-1).shares()
    assert upside_down["yo"] / upside_down["en"] == pytest.approx(1500)


@settings(deadline=None)
@given(
    COUNTS,
    st.sampled_from([strategy for strategy in get_args(Strategy) if strategy not in ("unimax", "table")]),
    st.sampled_from(get_args(Curve)),
    st.sampled_from(get_args(Regression)),
)
def test_shares_sum_to_one_fall_with_rank_and_do_not_depend_on_the_unit_or_the_order(
    counts: dict[str, float], strategy: Strategy, curve: Curve, regression: Regression
) -> None:
    plan = fit_plan(counts, strategy=strategy, curve=curve, regression=regression)
    shares = list(plan.shares().values())
    assert math.fsum(shares) == pytest.approx(1)
    assert all(after <= before * (1 + 1e-9) for before, after in pairwise(shares))
    assert [language.rank for language in plan.languages] == list(range(1, len(counts) + 1))
    reversed_counts = {code: 8 * count for code, count in reversed(counts.items())}
    scaled = fit_plan(reversed_counts, strategy=strategy, curve=curve, regression=regression)
    assert scaled.shares() == pytest.approx(plan.shares(), rel=1e-6)
    assert "NaN" not in plan.to_json()
    for language in plan.languages:
        assert language.ratio == pytest.approx(language.share / language.raw_share)
        if strategy == "two-stage":
            assert language.residual == pytest.approx(math.log(language.count / language.fitted_count), abs=1e-9)


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


def test_two_thousand_languages_and_counts_over_six_hundred_powers_of_ten() -> None:
    counts = {f"x{rank:04d}": 1e9 / rank**1.3 for rank in range(1, 2001)}
    plan = fit_plan(counts)
    assert len(plan.languages) == 2000
    assert math.fsum(plan.shares().values()) == pytest.approx(1)
    wide = fit_plan({"en": 1e300, "de": 1.0, "sw": 1e-300}, strategy="alpha", alpha=1)
    assert wide.shares() == {"en": 1.0, "de": pytest.approx(1e-300), "sw": 0.0}
    assert "Infinity" not in wide.to_json()


def test_zero_counts_and_the_unknown_language_are_left_out_with_a_note(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="mglm"):
        plan = fit_plan({**TABLE, "la": 0, "und": 99})
    assert plan.shares() == fit_plan(TABLE).shares()
    assert plan.fit["left_out"] == {"la": "count 0", "und": "no language"}
    assert "la (count 0)" in caplog.text
    assert plan.notes == ["left out of the plan: la (count 0), und (no language)"]


def test_codes_outside_the_101_are_taken_with_a_note(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="mglm"):
        plan = fit_plan({"en": 3, "ru-Latn": 2, "he": 1})
    assert list(plan.shares()) == ["en", "ru-latn", "iw"]
    assert plan.notes == ["1 language outside the 101, taken along: ru-latn"]
    assert "ru-latn" in caplog.text


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "no language"),
        ({"en": 0}, "no language"),
        ({"en": -1.0}, "count of en; found -1.0"),
        ({"en": math.nan}, "found nan"),
        ({"en": math.inf}, "found inf"),
        ({"en": None}, "count of en; found nothing"),
        ({"en": True}, "found True"),
        ({"en": "many"}, "found 'many'"),
        ({"en": 1j}, "found 1j"),
        ({"iw": 1, "he": 2}, "as iw and as he"),
        ({7: 1}, "no language but 7"),
        ([("en", 1)], "found list; expected a mapping"),
    ],
)
def test_counts_that_will_not_do_are_told(counts: dict[str, float], message: str) -> None:
    with pytest.raises(MGLMError, match=message):
        fit_plan(counts)


@pytest.mark.parametrize(
    "options",
    [
        {"alpha": math.inf},
        {"alpha": math.nan},
        {"strategy": "unknown"},
        {"curve": "bent"},
        {"regression": "none"},
        {"fit_ranks": "9:"},
        {"max_epochs": 2.0},
        {"max_epochs": -1.0, "budget_tokens": 1e6, "available_tokens": TABLE},
        {"budget_tokens": 0.0},
        {"strategy": "unimax"},
        {"strategy": "table"},
        {"strategy": "table", "table": {"xx": 1}},
    ],
)
def test_options_that_will_not_do_are_told(options: dict[str, object]) -> None:
    with pytest.raises(MGLMError):
        fit_plan(TABLE, **options)  # type: ignore[arg-type]


def test_a_budget_tells_tokens_and_epochs_and_warns_of_many(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="mglm"):
        plan = fit_plan(TABLE, budget_tokens=1e6, available_tokens={"en": 5e6, "yo": 10_000})
    tokens = {language.code: language.tokens for language in plan.languages}
    assert sum(value or 0 for value in tokens.values()) == pytest.approx(1e6)
    yoruba = plan.languages[-1]
    assert yoruba.epochs == pytest.approx(1e6 * yoruba.share / 10_000)
    assert yoruba.available_source == "measured"
    assert plan.languages[1].epochs is None
    assert "1 language seen more than 4 times: yo" in caplog.text
    assert "3 languages whose tokens are not known: ru, de, sw" in caplog.text


def test_a_budget_below_one_sequence_of_each_language_is_told_and_less_than_one_of_some_is_noted() -> None:
    with pytest.raises(MGLMError, match="found 4.998 sequences of 512 for 5 languages"):
        fit_plan(TABLE, budget_tokens=2559)
    plan = fit_plan(TABLE, budget_tokens=2560)
    rare = [row.code for row in plan.languages if (row.tokens or 0) < 512]
    assert plan.notes == [f"{len(rare)} languages with less than one sequence of 512 tokens: {', '.join(rare)}"]
    assert fit_plan(TABLE, budget_tokens=100, sequence_tokens=20).budget_tokens == 100


BUDGETED = COUNTS.map(lambda counts: {code: 1e6 * count for code, count in counts.items()})


@settings(deadline=None)
@given(BUDGETED, st.sampled_from(get_args(Strategy)), st.floats(1.0, 5.0), st.floats(0.05, 1.0))
def test_with_every_strategy_no_language_is_seen_more_often_than_allowed(
    counts: dict[str, float], strategy: Strategy, limit: float, part: float
) -> None:
    budget = part * limit * sum(counts.values())
    table = dict.fromkeys(counts, 1.0)
    plan = fit_plan(
        counts,
        strategy=strategy,
        table=table,
        budget_tokens=budget,
        available_tokens=counts,
        max_epochs=limit,
        sequence_tokens=1,
    )
    free = fit_plan(counts, strategy="uniform" if strategy == "unimax" else strategy, table=table).shares()
    assert math.fsum(plan.shares().values()) == pytest.approx(1)
    assert all((language.epochs or 0) <= limit * (1 + 1e-9) for language in plan.languages)
    untouched = [code for code in free if code not in plan.fit["max_epochs"]["limited"]]
    raised = [plan.shares()[code] / free[code] for code in untouched]
    assert raised == pytest.approx(raised[:1] * len(raised))
    assert all(value >= 1 - 1e-9 for value in raised)


def test_limited_languages_are_named_in_the_plan() -> None:
    plan = fit_plan(TABLE, budget_tokens=1e5, available_tokens={"en": 5e6, "yo": 1000}, max_epochs=2)
    assert plan.fit["max_epochs"]["limited"] == ["yo"]
    assert any("1 language limited to 2 epochs" in note and note.endswith(": yo") for note in plan.notes)
    assert plan.languages[-1].epochs == pytest.approx(2)


def test_a_budget_beyond_all_epochs_is_told() -> None:
    with pytest.raises(MGLMError, match="Lower the budget"):
        fit_plan(TABLE, budget_tokens=1e9, available_tokens=TABLE, max_epochs=2.0)


def test_unimax_takes_one_epoch_by_default_and_counts_where_no_tokens_are_known() -> None:
    tokens = {"en": 90_000, "de": 30_000, "sw": 6_000}
    plan = fit_plan(tokens, strategy="unimax", budget_tokens=60_000, available_tokens=tokens)
    assert plan.shares() == pytest.approx({"en": 0.45, "de": 0.45, "sw": 0.1})
    assert (plan.fit["max_epochs"]["limit"], plan.languages[-1].epochs) == (1, pytest.approx(1))
    by_count = fit_plan({"en": 90, "de": 30, "sw": 6}, strategy="unimax", budget_tokens=60)
    assert by_count.shares() == pytest.approx(plan.shares())
    assert by_count.notes[0] == "no tokens are known: UniMax takes the budget of 60 for one in documents"
    assert {language.tokens for language in by_count.languages} == {None}
    with pytest.raises(MGLMError, match="UniMax; found no budget"):
        fit_plan(tokens, strategy="unimax", available_tokens=tokens)


def test_a_table_is_scaled_to_the_languages_there_are() -> None:
    plan = fit_plan(TABLE, strategy="table", table={"en": 3, "ru": 1, "HE": 4})
    assert plan.shares() == {"en": 0.75, "ru": 0.25, "de": 0, "sw": 0, "yo": 0}
    assert plan.notes == [
        "1 language of the table without a count, 50 % of its weight, left out and the others scaled up: iw",
        "3 languages without a weight in the table, not trained on: de, sw, yo",
    ]
    assert (plan.alpha, plan.curve) == (None, None)


def test_a_language_without_tokens_is_left_out() -> None:
    plan = fit_plan(TABLE, available_tokens={**TABLE, "yo": 0}, budget_tokens=1e5)
    assert plan.fit["left_out"] == {"yo": "no tokens"}


def test_pandas_and_pyarrow_tables_give_the_plan_of_the_mapping() -> None:
    columns = {"code": list(TABLE), "pages": list(TABLE.values()), "tok": [1e6, 2e6, None, 4e6, 5e6]}
    expected = fit_plan(TABLE, count_unit="pages")
    for table in (pa.table(columns), pd.DataFrame(columns), pa.RecordBatch.from_pydict(columns)):
        plan = fit_plan(table, column="pages")
        assert plan == expected
        with_tokens = fit_plan(table, column="pages", tokens_column="tok", budget_tokens=1e5)
        assert [row.available_tokens for row in with_tokens.languages] == columns["tok"]
        with pytest.raises(MGLMError, match="found columns code, pages, tok; expected a column documents"):
            fit_plan(table)
    series = pd.Series(TABLE)
    assert fit_plan(series, count_unit="pages") == expected
    for twice in (pd.Series([1, 9], index=["en", "en"]), pd.Series([1, 9], index=["iw", "he"])):
        with pytest.raises(MGLMError, match=r"found language (en|iw) again"):
            fit_plan(twice)
    with pytest.raises(MGLMError, match="column documents twice"):
        fit_plan(pa.table([["en"], [1], [9]], names=["code", "documents", "documents"]))
    whole = pd.DataFrame({"language": ["en", "de"], "documents": np.array([3, 1], np.int64)})
    assert fit_plan(whole).shares() == fit_plan({"en": 3, "de": 1}).shares()
    nullable = pd.DataFrame({"code": ["en", "de"], "documents": pd.array([3, None], dtype="Int64")})
    with pytest.raises(MGLMError, match="row 1, column documents; found nothing"):
        fit_plan(nullable)
    with pytest.raises(MGLMError, match="found columns none"):
        fit_plan(pd.DataFrame())


def test_the_library_loads_no_more_than_it_uses() -> None:
    code = "import sys; from balancing import fit_plan; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"pyspark", "torch", "pandas", "pyarrow", "numpy", "scipy", "matplotlib", "fasttext", "typer"}
    assert not heavy & set(loaded)
    code = "import sys; from balancing import fit_plan; fit_plan({'en': 2, 'de': 1}); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not heavy - {"numpy", "scipy"} & set(loaded)
