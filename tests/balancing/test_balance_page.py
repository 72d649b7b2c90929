"""balance.html without a browser: what it holds, that nothing from outside gets loose, that its command is true."""

import base64
import hashlib
import json
import math
import random
import re
import shlex
import shutil
import subprocess
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from balancing.balance_page import base_command, page_of, write_page
from balancing.commands import app
from balancing.config import BalancingConfig
from balancing.fit import fit_plan
from balancing.shares import limit_epochs, log_shares
from core.languages import languages
from core.manifest import read_manifest
from core.plan import PLAN, Plan, read_plan

COUNTS = {"en": 3000.0, "ru": 700.0, "de": 90.0, "sw": 90.0, "yo": 4.0}
HOSTILE = [
    "</script><script>alert(1)</script>", "<img src=x onerror=alert(2)>", '"\'&amp;$(id)`id`', "עברית", "\u202eevil",
    "$sections", "a\nb",
]  # fmt: skip


class Page(HTMLParser):
    """What a browser would find: elements with their attributes, texts of scripts and of all else."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.shown = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script" and self.cdata_elem == "script":
            self.scripts[-1] += data
        else:
            self.shown += data

    def ids(self) -> set[str | None]:
        return {attributes.get("id") for _, attributes in self.elements} - {None}

    def data(self) -> Any:
        return json.loads(self.scripts[0])


def page_for(plan: Plan, counts: Path = Path("counts.csv"), **fields: Any) -> str:
    return page_of(plan, counts=counts, config=BalancingConfig(**fields))


def test_the_data_in_the_page_are_the_plan() -> None:
    available = {"en": 9e9, "ru": 2e9}
    plan = fit_plan(COUNTS, alpha=0.5, budget_tokens=1e9, available_tokens=available, count_unit="pages")
    data = Page(page_for(plan, alpha=0.5, budget_tokens=1e9)).data()
    assert data["unit"] == "pages"
    assert [row[0] for row in data["languages"]] == ["en", "ru", "de", "sw", "yo"]
    assert [row[2] for row in data["languages"]] == [language.count for language in plan.languages]
    assert [row[3] for row in data["languages"]] == [9e9, 2e9, None, None, None]
    assert [row[4] for row in data["languages"]] == [language.group for language in plan.languages]
    assert data["settings"] == {
        "strategy": "two-stage",
        "alpha": 0.5,
        "curve": "log-linear",
        "budget": 1e9,
        "cap": None,
    }


@pytest.mark.parametrize("strategy", ["two-stage", "alpha"])
def test_the_page_knows_the_line_of_every_curve(strategy: str) -> None:
    plan = fit_plan(COUNTS, strategy=strategy, regression="theil-sen", fit_ranks="1:4")  # type: ignore[arg-type]
    fields = {"strategy": strategy, "regression": "theil-sen", "fit_ranks": "1:4"}
    lines = Page(page_for(plan, **fields)).data()["lines"]
    for curve in ("log-linear", "zipf"):
        fit = fit_plan(COUNTS, curve=curve, regression="theil-sen", fit_ranks="1:4").fit  # type: ignore[arg-type]
        assert lines[curve] == {key: fit[key] for key in ("slope", "intercept", "r2")}


def test_what_cannot_be_fitted_is_not_offered() -> None:
    counts = {f"x{rank}": 1e9 if rank < 60 else 1.0 for rank in range(61)}
    plan = fit_plan(counts, strategy="raw")
    text = page_for(plan, strategy="raw", fit_ranks="60:61")
    assert Page(text).data()["lines"] == {}
    assert '<option value="two-stage">' not in text
    assert '<option value="table">' not in text
    assert '<option value="alpha">' in text


def test_one_language_has_no_line() -> None:
    assert Page(page_for(fit_plan({"en": 5.0}))).data()["lines"] == {"log-linear": None, "zipf": None}


def test_a_table_of_ones_own_comes_along_as_shares_before_the_cap() -> None:
    weights = {"en": 1.0, "yo": 3.0}
    available = dict.fromkeys(COUNTS, 1e6)
    plan = fit_plan(
        COUNTS, strategy="table", table=weights, budget_tokens=1.5e6, available_tokens=available, max_epochs=1
    )
    config = BalancingConfig(strategy="table", table="mine.csv", budget_tokens=1.5e6, max_epochs=1.0)
    text = page_of(plan, counts=Path("counts.csv"), config=config, weights=weights)
    assert Page(text).data()["table"] == [0.25, 0, 0, 0, 0.75]
    assert plan.shares()["yo"] == pytest.approx(2 / 3)
    assert '<option value="table">' in text


def test_nothing_from_outside_gets_loose() -> None:
    counts = {name: 1000.0 / (rank + 1) for rank, name in enumerate(HOSTILE)}
    unit = "<b>$(rm -rf ~)</b>"
    page = Page(page_for(fit_plan(counts, count_unit=unit), Path("</script>'; rm -rf ~ #.csv"), count_column=unit))
    assert [tag for tag, _ in page.elements].count("script") == 2
    assert not {"img", "iframe", "form", "object", "link"} & {tag for tag, _ in page.elements}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    codes = [row[0] for row in page.data()["languages"]]
    assert sorted(codes) == sorted(plan.code for plan in fit_plan(counts).languages)
    assert "</" not in page.scripts[0]
    assert unit in page.shown


def test_the_page_asks_for_nothing_and_runs_its_own_script_only() -> None:
    text = page_for(fit_plan(COUNTS))
    page = Page(text)
    for tag, attributes in page.elements:
        assert not {"src", "srcset", "action", "data"} & attributes.keys(), tag
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(" not in text
    assert "@import" not in text
    policy = next(attributes["content"] for _, attributes in page.elements if "http-equiv" in attributes)
    assert policy is not None
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert policy.count("unsafe-inline") == 1  # of styles


def test_the_script_finds_every_element_it_names() -> None:
    ids = Page(page_for(fit_plan(COUNTS))).ids()
    script = resources.files("balancing").joinpath("page/page.js").read_text("utf-8")
    named = set(re.findall(r'\$\("([\w-]+)"\)', script))
    assert len(named) > 20
    assert named <= ids
    assert len(ids) == len([1 for _, attributes in Page(page_for(fit_plan(COUNTS))).elements if attributes.get("id")])


def test_every_field_has_a_label() -> None:
    page = Page(page_for(fit_plan(COUNTS)))
    labelled = {attributes.get("for") for tag, attributes in page.elements if tag == "label"}
    open_labels = re.findall(r"<label[^>]*>.*?</label>", page_for(fit_plan(COUNTS)), re.DOTALL)
    for tag, attributes in page.elements:
        if tag in ("input", "select"):
            inside = any(f'id="{attributes["id"]}"' in label for label in open_labels)
            assert inside or attributes["id"] in labelled or attributes.get("aria-label"), attributes


def test_the_same_plan_gives_the_same_bytes_wherever_they_are_written(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_page(fit_plan(COUNTS), tmp_path / name, counts=Path("counts.csv"), config=BalancingConfig())
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_page_of_101_languages_is_small() -> None:
    plan = fit_plan({code: 1e9 / (rank + 1) for rank, code in enumerate(languages())})
    assert len(plan.languages) == 101
    assert len(page_for(plan).encode()) < 70_000


def test_the_command_makes_the_same_plan_again(tmp_path: Path) -> None:
    counts = tmp_path / "co$(un)t's; é.csv"
    counts.write_text('lang,"n,o","tokens ""B"""\nen,3000,9\nru,700,2\nde,90,0.5\n', encoding="utf-8")
    own = ["--code-column", "lang", "--count-column", "n,o", "--tokens-column", 'tokens "B"', "--tokens-unit", "1e9"]
    own += ["--set", "balancing.sequence_tokens=64", "--set", "balancing.seed=7", "--regression", "theil-sen"]
    chosen = ["--strategy", "alpha", "--alpha", "0.45", "--budget-tokens", "1e10", "--max-epochs", "3"]
    run = CliRunner().invoke(
        app, ["fit", "--counts", str(counts), "--output", str(tmp_path / "a"), *own, *chosen], catch_exceptions=False
    )
    assert run.exit_code == 0
    data = Page((tmp_path / "a" / "balance.html").read_text("utf-8")).data()
    words = shlex.split(data["command"])
    assert words[:3] == ["mglm", "balancing", "fit"]
    again = CliRunner().invoke(app, [*words[2:], "--output", str(tmp_path / "b"), *chosen], catch_exceptions=False)
    assert again.exit_code == 0
    assert read_plan(tmp_path / "b") == read_plan(tmp_path / "a")
    one, two = (read_manifest(tmp_path / name, PLAN) for name in ("a", "b"))
    assert one.fingerprint == two.fingerprint
    assert one.content_hash() == two.content_hash()


def test_the_command_names_only_what_is_not_the_default() -> None:
    plain = ["mglm", "balancing", "fit", "--counts", "counts.csv"]
    assert base_command(Path("counts.csv"), BalancingConfig(alpha=0.7, seed=3, max_epochs=4.0)) == plain
    changed = BalancingConfig(sequence_tokens=64, count_column="bytes")
    assert base_command(Path("counts.csv"), changed) == [
        *plain, "--count-column", "bytes", "--set", "balancing.sequence_tokens=64",
    ]  # fmt: skip


def test_how_to_supply_tokens_is_said_with_a_real_option() -> None:
    assert "--tokens-column NAME" in page_for(fit_plan(COUNTS))
    estimated = fit_plan(COUNTS, available_tokens=COUNTS, available_source="estimated")
    assert "estimates: 4 bytes to a token" in page_for(estimated)


def test_the_page_stands_in_the_manifest(tmp_path: Path) -> None:
    counts = tmp_path / "counts.csv"
    counts.write_text("code,documents\nen,5\nde,2\n")
    CliRunner().invoke(app, ["fit", "--counts", str(counts), "--output", str(tmp_path / "p")], catch_exceptions=False)
    page = tmp_path / "p" / "balance.html"
    entry = next(file for file in read_manifest(tmp_path / "p", PLAN).files if file.path == page.name)
    assert entry.sha256 == hashlib.sha256(page.read_bytes()).hexdigest()


def test_the_page_limits_epochs_as_the_plan_does() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node: python -m drills.balance_page holds the page's arithmetic to the plan's in a browser")
    draw = random.Random(0)
    cases = []
    for _ in range(200):
        counts = [draw.lognormvariate(0, 8) for _ in range(draw.randint(1, 30))]
        shares = log_shares([math.log(count) for count in counts], draw.choice([0.3, 1.0, 10.0, 45.0]))
        limits = [draw.lognormvariate(0, 3) * count**0.5 for count in counts]
        reach = math.fsum(limit for limit, share in zip(limits, shares, strict=True) if share)
        cases.append((shares, [limit / reach / draw.uniform(0.2, 1) for limit in limits]))
    script = f"{resources.files('balancing').joinpath('page/arithmetic.js').read_text('utf-8')}\n"
    script += f"process.stdout.write(JSON.stringify({json.dumps(cases)}.map((one) => limitShares(...one).shares)))"
    done = subprocess.run([node, "-"], input=script, capture_output=True, text=True, check=True, timeout=60)
    for (shares, most), found in zip(cases, json.loads(done.stdout), strict=True):
        codes = [f"x{index}" for index in range(len(shares))]
        expected, _ = limit_epochs(codes, shares, 1.0, dict(zip(codes, most, strict=True)), 1.0)
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-300)
        assert math.fsum(found) == pytest.approx(1, abs=1e-9)
