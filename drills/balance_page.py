"""balance.html in a real Chromium: its arithmetic against `fit_plan`, and all that a person does with it.

`python -m drills.balance_page [--browser FILE] [--tables DIR] [--screenshots DIR] [--record]`. Makes plans with
`mglm balancing fit`: of small counts with ties, one and two languages, hostile codes, 101 and 2,000 languages, and of
mC4's counts where `--tables` has mc4.csv. Ends with an error as soon as something is not as it should be.
"""

import argparse
import csv
import itertools
import json
import logging
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from balancing.fit import fit_plan
from core.errors import MGLMError
from core.languages import languages
from core.plan import Plan, read_plan

TABLES = Path(__file__).parents[1] / ".." / "shared" / "data" / "language_tables"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
CLOSE = 1e-9

CURVES = ("log-linear", "zipf")
STRATEGIES = ("two-stage", "alpha", "raw", "uniform", "unimax")
ALPHAS = (0.0, 0.3, 0.77, 1.0, -0.5, 1.6)
BUDGETS = (None, 2e9, 8e11)
CAPS = (None, 1.0, 4.0, 40.0)

HOSTILE = {"</script><script>alert(1)</script>": 900, "<img src=x onerror=alert(2)>": 300, "עברית": 200, "a b'c": 90,
           "\u202eevil": 40, "&lt;": 7, "x" * 60: 3}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Counts, the tokens that languages have (if known), and options of the command beyond --counts and --output."""

    counts: dict[str, float]
    available: dict[str, float] | None = None
    options: tuple[str, ...] = ()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--browser", default=shutil.which("chromium") or shutil.which("google-chrome"))
    parser.add_argument("--tables", type=Path, default=TABLES, help="directory with mc4.csv")
    parser.add_argument("--screenshots", type=Path, help="directory for pictures to look at")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/balance_page.json")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)  # what fit_plan notes of a thousand plans
    if arguments.browser is None:
        sys.exit("error: no chromium found: install it (Debian: apt install chromium) or pass --browser FILE")
    rows = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=arguments.browser, args=["--no-sandbox"])
        for name, case in cases(arguments.tables).items():
            path = made_page(Path(folder) / name, case)
            with opened(browser, path, DESKTOP) as page:
                checked = check_arithmetic(page, case, path.parent)
                check_state(page)
                if len(case.counts) > 3:
                    check_table(page, case)
                    check_keyboard(page)
            for scheme in ("light", "dark"):
                with opened(browser, path, PHONE, scheme) as page:
                    check_width(page)
            milliseconds = update_ms(browser, path)
            rows.append([name, len(case.counts), round(path.stat().st_size / 1000, 1), checked, milliseconds])
            print(f"{name}: {checked} settings equal fit_plan within {CLOSE:g}", file=sys.stderr)
            if arguments.screenshots:
                take_pictures(browser, path, arguments.screenshots, name)
        check_copy(browser, Path(folder))
        browser.close()
    columns = ["page", "languages", "kB", "settings compared", "an update with layout, ms, median"]
    if arguments.record:
        from benchmarks.record import write_record

        write_record("balance_page", "balance.html in Chromium", columns, rows)
    else:
        print(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=1))


def cases(tables: Path) -> dict[str, Case]:
    """What pages are made of, by name."""
    falling = {code: float(round(3e9 / (rank + 1) ** 1.7)) for rank, code in enumerate(languages())}
    small = {"en": 5e6, "de": 4e4, "fr": 4e4, "sw": 4e4, "yo": 12.5, "zu": 0.5}
    found = {
        "one": Case({"en": 54_000.0}),
        "two": Case({"en": 54_000.0, "yo": 12.0}, {"en": 9e9, "yo": 1e6}),
        "equal": Case({"en": 7.0, "de": 7.0, "fr": 7.0}, {"en": 1e9, "de": 2e9, "fr": 3e9}),
        "ties": Case(small, {code: 900 * count for code, count in small.items() if code != "fr"}),
        "unknown tokens": Case(small),
        "hostile": Case({code: float(count) for code, count in HOSTILE.items()}),
        "101": Case(falling, {code: 700 * count for code, count in falling.items()}, ("--budget-tokens", "8e11")),
        "2000": Case({f"x{rank}": float(round(1e9 / (rank + 1) ** 2.2) + 1) for rank in range(2000)}),
        "steep": Case({f"x{rank}": 10.0 ** max(9 - rank, 0) for rank in range(200)}, options=("--fit-ranks", "1:9")),
    }
    mc4 = tables / "mc4.csv"
    if mc4.exists():
        with mc4.open(encoding="utf-8") as file:
            table = list(csv.DictReader(file))
        found["mC4"] = Case(
            {row["code"].lower(): float(row["pages_M"]) for row in table},
            {row["code"].lower(): 1e9 * float(row["tokens_B"]) for row in table},
            ("--budget-tokens", "8e11", "--max-epochs", "8"),
        )
    else:
        print(f"no {mc4}: without the counts of mC4 (--tables DIR)", file=sys.stderr)
    return found


def made_page(folder: Path, case: Case) -> Path:
    """The page that the command writes for a case."""
    folder.mkdir()
    counts = folder / "counts of 'this' $case.csv"
    options = ["--count-column", "<b>n", *case.options]
    with counts.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["code", "<b>n", "tok"])
        writer.writerows([code, count, (case.available or {}).get(code, "")] for code, count in case.counts.items())
    if case.available is not None:
        options += ["--tokens-column", "tok"]
    run(["fit", "--counts", str(counts), "--output", str(folder / "plan"), *options])
    return folder / "plan" / "balance.html"


def run(arguments: Sequence[str]) -> None:
    subprocess.run([sys.executable, "-m", "mglm", "balancing", *arguments], check=True, capture_output=True)


@contextmanager
def opened(browser: Browser, path: Path, viewport: Any, scheme: Any = "light") -> Iterator[Page]:
    """The page in a fresh window; anything on its console, any error and any request beside the file is a failure."""
    wrong: list[str] = []
    context = browser.new_context(viewport=viewport, color_scheme=scheme, has_touch=viewport is PHONE)
    page = context.new_page()
    page.on("console", lambda message: wrong.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
    page.on(
        "request", lambda request: wrong.append(f"request: {request.url}") if request.url != path.as_uri() else None
    )
    page.goto(path.as_uri())
    page.wait_for_selector("#shares-chart path.before", state="attached")
    yield page
    context.close()
    assert not wrong, wrong


def wait(page: Page, expression: str) -> None:
    """Until the expression is true. (Playwright's own wait evaluates text, which the page's policy forbids.)"""
    deadline = time.monotonic() + 10
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(20)


def check_arithmetic(page: Page, case: Case, plan_directory: Path) -> int:
    """Many combinations of settings, typed into the fields, against fit_plan. Returns how many made plans."""
    compare(page.evaluate("({ shares: plan.shares, epochs: plan.epochs })"), read_plan(plan_directory))
    assert page.evaluate("languages.map(l => l.code)") == list(read_plan(plan_directory).shares())
    number = 1
    ranks = case.options[case.options.index("--fit-ranks") + 1] if "--fit-ranks" in case.options else None
    for arguments in combinations(case):
        shown = page.evaluate(TYPE_SETTINGS, arguments)
        plan = None
        with suppress(MGLMError):
            plan = fit_plan(case.counts, available_tokens=case.available, fit_ranks=ranks, **arguments)
        assert shown["refused"] == (plan is None), arguments
        if plan is not None:
            compare(shown, plan)
            number += 1
    return number


# Types into the fields as a person would, and does at once what the page does in the next frame.
TYPE_SETTINGS = """({ strategy, curve, alpha, budget_tokens, max_epochs }) => {
    const fields = { strategy, curve, "alpha-exact": alpha, budget: budget_tokens ?? "", cap: max_epochs ?? "" };
    for (const [id, value] of Object.entries(fields)) {
        $(id).value = value;
        $(id).dispatchEvent(new Event("input"));
    }
    update();
    return { shares: plan.shares, epochs: plan.epochs, refused: !$("problem").hidden && $("copy").disabled };
}"""


def combinations(case: Case) -> list[dict[str, Any]]:
    """Those that make a difference; of many languages a part, and no cap where the page does not let one be set."""
    found = []
    for strategy, curve, alpha, budget, cap in itertools.product(STRATEGIES, CURVES, ALPHAS, BUDGETS, CAPS):
        of_the_line = strategy == "two-stage" or curve == "log-linear"
        of_alpha = strategy in ("two-stage", "alpha") or alpha == 0.3
        if of_the_line and of_alpha and (cap is None or case.available is not None or strategy == "unimax"):
            found.append(
                {"strategy": strategy, "curve": curve, "alpha": alpha, "budget_tokens": budget, "max_epochs": cap}
            )
    return found[:: 3 if len(case.counts) > 1000 else 1]


def compare(shown: Mapping[str, Any], plan: Plan) -> None:
    for ours, language in zip(shown["shares"], plan.languages, strict=True):
        assert abs(ours - language.share) <= CLOSE, (ours, language)
    for ours, language in zip(shown["epochs"], plan.languages, strict=True):
        theirs = language.epochs
        assert (ours is None) == (theirs is None), (ours, language)
        assert ours is None or theirs is None or abs(ours - theirs) <= CLOSE * max(theirs, 1), (ours, language)


def check_state(page: Page) -> None:
    """What a field cannot take is said and changes nothing; Reset leads back; the state is announced."""
    page.click("#as-made")
    wait(page, "sameSettings()")
    for field, text in (("#budget", "lots"), ("#budget", "-3"), ("#budget", "1e999"), ("#alpha-exact", "")):
        kept = page.evaluate("settings")
        page.fill(field, text)
        page.wait_for_selector("#problem:not([hidden])")
        assert page.evaluate("settings") == kept
        assert page.get_attribute(field, "aria-invalid") == "true"
    page.click("#as-made")
    page.wait_for_selector("#problem", state="hidden")
    assert page.evaluate("sameSettings()")
    if page.evaluate("!tokensKnown"):  # a cap that was set for UniMax can be taken back elsewhere
        page.select_option("#strategy", "unimax")
        page.fill("#cap", "3")
        page.select_option("#strategy", "two-stage")
        page.wait_for_selector("#problem:not([hidden])")
        page.fill("#cap", "")
        page.wait_for_selector("#problem", state="hidden")
    page.fill("#budget", "300 B")
    wait(page, "settings.budget === 3e11")
    page.click("#as-made")
    wait(page, "sameSettings()")
    wait(page, "document.getElementById('spoken').textContent === document.getElementById('state').textContent")


def check_table(page: Page, case: Case) -> None:
    """Sorting by every column in both directions, and finding a language."""
    for head in page.locator("#languages th[data-column]").all():
        column = head.get_attribute("data-column")
        for _ in range(2):
            head.locator("button").click()
            direction = head.get_attribute("aria-sort")
            assert page.locator("#languages th[aria-sort]").count() == 1
            # The whole order, whatever is shown of it.
            page.evaluate("allRows = true; showTable()")
            order = page.evaluate(
                "[...document.querySelectorAll('#languages-rows tr')].map(r => +r.cells[0].textContent - 1)"
            )
            values = page.evaluate("([column, order]) => order.map(columns[column].value)", [column, order])
            known = [value for value in values if value is not None]
            assert values[: len(known)] == known, f"{column}: what is unknown stands last"
            if column == "name":
                known = [name.casefold() for name in known if name.isascii() and name.isalnum()]
            assert known == sorted(known, reverse=direction == "descending"), (column, direction)
            assert sorted(order) == list(range(len(case.counts)))
    wanted = sorted(case.counts)[len(case.counts) // 2]
    page.fill("#search", wanted[:12].upper())
    wait(page, "document.querySelector('#found').textContent.includes(' of ')")
    assert wanted in page.evaluate("search($('search').value).map(i => languages[i].code)")
    page.fill("#search", "no such language")
    assert page.locator("#languages-rows tr").count() == 0
    page.fill("#search", "")
    assert page.locator("#languages-rows tr").count() == len(case.counts)


def check_keyboard(page: Page) -> None:
    """Charts are sliders over the languages; everything that can be worked can be reached by Tab and has a name."""
    chart = page.locator("#counts-chart")
    chart.focus()
    for key, expected in (("End", len(page.evaluate("languages"))), ("Home", 1), ("ArrowRight", 2), ("PageUp", None)):
        page.keyboard.press(key)
        if expected is not None:
            wait(page, f"$('counts-chart').getAttribute('aria-valuenow') === '{expected}'")
            wait(page, f"$('shares-chart').getAttribute('aria-valuenow') === '{expected}'")
    assert "rank" in (chart.get_attribute("aria-valuetext") or "")
    page.evaluate("scrollTo(0, 0); document.activeElement.blur()")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        hidden = page.evaluate(
            "(() => { const e = document.activeElement, bar = document.querySelector('#settings');"
            " const { top, bottom } = bar.getBoundingClientRect(); return !bar.contains(e) && e !== document.body"
            " && top <= 0 && e.getBoundingClientRect().bottom <= bottom; })()"
        )
        assert not hidden, "focus lies under the settings"
    assert {"strategy", "alpha", "alpha-exact", "budget", "copy", "counts-chart", "search", "output"} <= reached, (
        reached
    )


def check_width(page: Page) -> None:
    """A phone: the page does not move sideways, in any strategy, and nothing to be touched is tiny."""
    for strategy in page.evaluate("[...$('strategy').options].map(o => o.value)"):
        page.select_option("#strategy", strategy)
        wait(page, f"$('command-text').textContent.includes('--strategy {strategy}')")
        width, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width <= inner == PHONE["width"], (width, inner)
    small = page.evaluate(
        "[...document.querySelectorAll('button, select, input')].filter(e => e.offsetParent && e.type !== 'range')"
        ".map(e => [e.id || e.textContent, e.getBoundingClientRect().height]).filter(([, h]) => h < 40)"
    )
    assert not small, small


def check_copy(browser: Browser, folder: Path) -> None:
    """The copied command, run in a shell, makes the plan that the page shows."""
    page_path = folder / "ties" / "plan" / "balance.html"
    with opened(browser, page_path, DESKTOP) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        own = page.locator("#command-text").inner_text()
        assert shlex.split(own)[shlex.split(own).index("--output") + 1] == str(page_path.parent)
        page.select_option("#curve", "zipf")
        page.fill("#alpha-exact", "0.55")
        page.fill("#budget", "1.5B")
        page.fill("#cap", "2")
        wait(page, "settings.cap === 2 && plan.limited.size > 0")
        page.click("#copy")
        wait(page, "$('copied').textContent === 'Copied.'")
        command = page.evaluate("navigator.clipboard.readText()")
        shares = page.evaluate("Object.fromEntries(languages.map((l, i) => [l.code, plan.shares[i]]))")
        page.fill("#output", "it's $(here)")
        assert "'it'\"'\"'s $(here)'" in page.locator("#command-text").inner_text()
    words = shlex.split(command)
    assert words[:3] == ["mglm", "balancing", "fit"]
    output = Path(words[words.index("--output") + 1])
    assert output.parent == page_path.parents[1], output
    assert output != page_path.parent
    shell = f'mglm() {{ "{sys.executable}" -m mglm "$@"; }}; {command}'
    subprocess.run(["bash", "-c", shell], check=True, capture_output=True)
    made = read_plan(output).shares()
    assert all(abs(made[code] - share) <= CLOSE for code, share in shares.items())


def update_ms(browser: Browser, path: Path) -> float:
    """Milliseconds from a change of alpha to the finished layout, the median of 30."""
    with opened(browser, path, DESKTOP) as page:
        times = page.evaluate(
            "Array.from({ length: 30 }, (_, i) => { const start = performance.now(); settings.alpha = 0.2 + i / 100;"
            " update(); document.body.offsetHeight; return performance.now() - start; })"
        )
    return round(statistics.median(times), 1)


def take_pictures(browser: Browser, path: Path, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for viewport, kind in ((DESKTOP, "desktop"), (PHONE, "phone")):
        for scheme in ("light", "dark"):
            with opened(browser, path, viewport, scheme) as page:
                page.screenshot(path=folder / f"{name}-{kind}-{scheme}.png", full_page=True)


if __name__ == "__main__":
    main()
