"""The service's page in a real Chromium: all that a person does with it, on a desk and on a phone.

    python -m drills.serve_browser [--browser FILE] [--screenshots DIR]

The model is tiny, and a third of its vocabulary is hostile HTML, so its summaries hold such; the articles do too. Ends
with an error as soon as something is not as it should be: HTML that is not shown as text, a dialog, an error on the
console, a request to anyone else, a page wider than the screen.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.serve.running import Service
from tests.serve.tiny_model import article, write_model

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
HOSTILE = [f"<img src=x{number} onerror=alert({number})>" for number in range(120)]
HOSTILE += [f"</p><script>alert({number})</script>" for number in range(40)]
FROM_THE_RIGHT = [f"نهر{number}" for number in range(60)]
ATTACK = (
    "</textarea><script>alert('article')</script><img src=x onerror=alert(1)> [x](javascript:alert(2)) **the** river"
)
ARABIC = "ارتفع منسوب النهر مترين خلال الليل بعد أسبوع من المطر، لكن الجسور في المدينة القديمة بقيت مفتوحة أمام الناس."
TOKEN = "a-token-for-the-browser"
MOST_CHARACTERS = 3000


def main() -> None:
    """Runs every check; prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browser", default=shutil.which("chromium") or shutil.which("google-chrome"))
    parser.add_argument("--screenshots", type=Path, help="directory for pictures to look at")
    arguments = parser.parse_args()
    if arguments.browser is None:
        sys.exit("error: no chromium found: install it (Debian: apt install chromium) or pass --browser FILE")
    with tempfile.TemporaryDirectory(prefix="mglm-browser-") as folder, sync_playwright() as playwright:
        model = write_model(Path(folder) / "tiny", pieces=[*HOSTILE, *FROM_THE_RIGHT])
        browser = playwright.chromium.launch(executable_path=arguments.browser, args=["--no-sandbox"])
        service = Service(model, device="cpu", max_characters=MOST_CHARACTERS, max_queue=4, max_texts=4).ready()
        guarded = Service(model, environment={"MGLM_SERVE_TOKENS": TOKEN}, device="cpu")
        try:
            found = telling_articles(service)
            for name, size, scheme in (
                ("desktop", DESKTOP, "light"),
                ("phone", PHONE, "light"),
                ("dark", PHONE, "dark"),
            ):
                with opened(browser, service.url, size, scheme) as page:
                    summarise(page, found)
                    right_to_left(page, found)
                    hostile(page, found)
                    shot(page, arguments.screenshots, name)
                    print(f"{name}: a summary, right-to-left, hostile text")
            with opened(browser, service.url, PHONE, "light") as page:
                live(page, service)
                limits(page, service)
                shot(page, arguments.screenshots, "too-long")
                cancelled(page, service)
                refused(page, service)
                shot(page, arguments.screenshots, "refused")
                print("streaming, limits, cancelling and refusals")
            with opened(browser, guarded.url, DESKTOP, "dark", expected=("401",)) as page:
                asked_for_a_token(page, guarded)
                shot(page, arguments.screenshots, "token")
                print("tokens")
            service.stop()
        finally:
            guarded.stop()
            service.stop()
            browser.close()


@contextmanager
def opened(browser: Browser, url: str, size: Any, scheme: Any, expected: tuple[str, ...] = ()) -> Iterator[Page]:
    """The page. In the end, nobody else was asked, the console held no error but those `expected`, no dialog came."""
    context = browser.new_context(viewport=size, color_scheme=scheme, has_touch=size is PHONE)
    page = context.new_page()
    wrong: list[str] = []

    def request(made: Request) -> None:
        if not made.url.startswith((url, "data:")):
            wrong.append(f"a request to {made.url}")

    def message(said: ConsoleMessage) -> None:
        # Chromium logs every answer with an error status; those are looked at in the page itself.
        if said.type in ("error", "warning") and not any(part in said.text for part in (*expected, "status of 503")):
            wrong.append(f"console: {said.text}")

    page.on("request", request)
    page.on("console", message)
    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.goto(url)
    yield page
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if wide > 0:
        wrong.append(f"{wide} pixels wider than the screen")
    context.close()
    if wrong:
        sys.exit("error: " + "; ".join(wrong))


def telling_articles(service: Service) -> dict[str, tuple[str, str]]:
    """Articles and their summaries: one summary holds images and scripts, one reads from the right."""
    found: dict[str, tuple[str, str]] = {}
    with service.client() as client:
        for number in range(400):
            text = article(number)
            answer = client.post("/v1/summaries", json={"text": text, "target": "zh"}).raise_for_status().json()
            summary = answer["summaries"][0]["summary"]
            if "onerror" in summary and "<script>" in summary:
                found.setdefault("hostile", (text, summary))
            if from_the_right(summary):
                found.setdefault("right", (text, summary))
            if len(found) == 2:
                return found
    sys.exit(f"error: 400 articles gave no summaries to test with, only {sorted(found)}")


def from_the_right(text: str) -> bool:
    strong = [unicodedata.bidirectional(character) for character in text]
    return next((kind for kind in strong if kind in ("L", "R", "AL")), "L") != "L"


def write(page: Page, text: str, target: str = "zh") -> None:
    page.get_by_label("Article").fill(text)
    page.locator(f"input[name=target][value={target}]").check()
    page.get_by_role("button", name="Summarise").click()


def summarise(page: Page, found: dict[str, tuple[str, str]]) -> None:
    expect(page.locator("input[name=target]")).to_have_count(6)
    expect(page.get_by_role("button", name="Summarise")).to_be_disabled()
    text = "Der Fluss ist über Nacht um zwei Meter gestiegen, doch beide Brücken der alten Stadt sind offen geblieben."
    write(page, text, "en")
    expect(page.locator("#facts")).to_contain_text("taken to be German", timeout=60_000)
    expect(page.locator("#count")).to_have_text(f"{len(text)} of {MOST_CHARACTERS:,} characters")
    expect(page.locator("#summary")).not_to_be_empty()


def right_to_left(page: Page, found: dict[str, tuple[str, str]]) -> None:
    """Scripts that run from right to left do so, in the article and in the summary, whichever the other is in."""
    page.get_by_label("Article").fill(ARABIC)
    assert direction(page, "#article") == "rtl"
    text, summary = found["right"]
    write(page, text)
    expect(page.locator("#summary")).to_have_text(shown(summary), timeout=60_000)
    assert direction(page, "#summary") == "rtl"
    write(page, ARABIC, "en")
    expect(page.locator("#facts")).to_contain_text("taken to be Arabic", timeout=60_000)


def hostile(page: Page, found: dict[str, tuple[str, str]]) -> None:
    text, summary = found["hostile"]
    write(page, text)
    expect(page.locator("#summary")).to_have_text(shown(summary), timeout=60_000)
    assert page.locator("#summary").inner_html().count("<") == 0, "the summary holds elements"
    page.get_by_label("Article").fill(ATTACK)
    write(page, ATTACK)
    expect(page.locator("#facts")).to_contain_text("tokens read", timeout=60_000)
    assert page.evaluate("document.querySelectorAll('img, main script, main a').length") == 0


def live(page: Page, service: Service) -> None:
    page.get_by_label("Show the words").check()
    with service.client() as client:
        answer = client.post("/v1/summaries", json={"text": article(3), "target": "zh", "options": {"num_beams": 1}})
    write(page, article(3))
    expect(page.locator("#facts")).to_contain_text("tokens read", timeout=60_000)
    expect(page.locator("#summary")).to_have_text(shown(answer.json()["summaries"][0]["summary"]))
    page.get_by_label("Show the words").uncheck()


def limits(page: Page, service: Service) -> None:
    page.get_by_label("Article").fill("𝒳" * MOST_CHARACTERS)  # one character each, though two for JavaScript
    expect(page.get_by_role("button", name="Summarise")).to_be_enabled()
    page.get_by_label("Article").fill("x" * (MOST_CHARACTERS + 1))
    expect(page.get_by_role("button", name="Summarise")).to_be_disabled()
    expect(page.locator("#count")).to_have_class("quiet count over")


def cancelled(page: Page, service: Service) -> None:
    """What is cancelled in the page is dropped by the service."""
    before = service.metric('mglm_dropped_texts_total{where="model"}')
    service.pause_worker()
    write(page, article(4))
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#state")).to_have_text("Cancelled")
    expect(page.get_by_role("button", name="Summarise")).to_be_enabled()
    while service.metric('mglm_dropped_texts_total{where="model"}') == before:
        page.wait_for_timeout(20)
    service.resume_worker()


def refused(page: Page, service: Service) -> None:
    """A refusal of the service is told in its own words."""
    service.process.send_signal(signal.SIGSTOP)  # so that both requests are there before the signal is heard
    write(page, article(5))
    service.process.terminate()
    os.kill(service.process.pid, signal.SIGCONT)
    expect(page.locator("#problem")).to_be_visible(timeout=60_000)
    words = page.locator("#problem").inner_text()
    assert words in ("The service is shutting down.", "The service cannot be reached. Try again in a moment."), words


def asked_for_a_token(page: Page, service: Service) -> None:
    field = page.get_by_label("Access token")
    expect(field).to_be_visible()
    field.fill("wrong-wrong-wrong-wrong")
    field.press("Tab")
    expect(page.locator("#problem")).to_have_text(
        "This token is not accepted. Send the header Authorization: Bearer TOKEN."
    )
    field.fill(TOKEN)
    field.press("Tab")
    expect(page.locator("input[name=target]")).to_have_count(6)
    service.ready()
    write(page, article(6), "en")
    expect(page.locator("#facts")).to_contain_text("tokens read", timeout=60_000)
    stored = page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]")
    assert stored == [0, 0, ""], "the token is kept"


def direction(page: Page, selector: str) -> Any:
    return page.locator(selector).evaluate("element => getComputedStyle(element).direction")


def shown(text: str) -> str:
    return " ".join(text.split())


def shot(page: Page, folder: Path | None, name: str) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / f"{name}.png", full_page=True)


if __name__ == "__main__":
    main()
