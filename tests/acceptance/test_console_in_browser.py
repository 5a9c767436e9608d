"""The operator's pages in Chromium: no sideways scroll, no console message, no axe-core violation, live numbers.

A daemon of its own, with an issue that was refused in part and one that goes out while the page is open.
"""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, sync_playwright
from smtp_server import SmtpServer, run_in_thread
from workshop import fill_workshop

from newsletter.core.tokens import Purpose, Signer

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Debian's package chromium is not installed")
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
PAGES = (
    *("/console", "/console/issues", "/console/issues/1", "/console/issues/1/retry", "/console/pause"),
    *("/console/deliveries?q=issue:1", "/console/deliveries?q=colour:red", "/console/deliveries/1-1"),
    *("/console/schedule", "/console/subscribers", "/console/subscribers/1", "/console/bounces", "/console/topics"),
    *("/console/settings", "/console/help", "/console/issues/99", "/sign-in", "/preview", "/preview/2026-11-23-monday"),
    *("/themes", "/themes/cards"),
    *("/preview/2026-11-23-monday/checks", "/preview/2026-11-23-monday/compare", "/preview/2026-11-23-monday/test"),
)


@contextmanager
def run_daemon(folder: Path) -> Iterator[str]:
    """A daemon in a folder: the address of its pages. At the end it is told to end, and must do so well."""
    command = [sys.executable, "-m", "newsletter", "run"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if found := re.search(r"web=(http://\S+)", line):
                    address = found[1]
                if "the pages are served" in line:
                    break
            yield address
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()


@dataclass(frozen=True)
class House:
    """A working folder, and where its pages are."""

    folder: Path
    address: str


def run(folder: Path, *arguments: str) -> str:
    """A command in a process of its own: Playwright has an event loop in this one."""
    command = [sys.executable, "-m", "newsletter", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A service with an issue that was sent, and its daemon."""
    folder = tmp_path_factory.mktemp("console")
    workshop = fill_workshop(folder)
    workshop.configure(WEB__PORT=0, SCHEDULE="0 7 * * 1-5", BASE_URL="http://127.0.0.1:8000", TEST_TO="me@example.org")
    refusals = {"RCPT": {"ada@example.org": "550 5.1.1 <ada@example.org>: no such user"}}
    with run_in_thread(SmtpServer(replies=refusals)) as server:
        workshop.use(server)
        run(folder, "subscribers", "import", "subscribers/list.csv")
        run(folder, "send")
        with run_daemon(folder) as address:
            yield House(folder, address)


def watch(page: Page) -> list[str]:
    """What the page's console says, and what is refused or fails: nothing, it is hoped."""
    said: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if "404 (Not Found)" not in message.text:  # the page that is not there
            said.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: said.append(str(error)))
    return said


def find_violations(page: Page, *rules: str) -> list[str]:
    """axe-core's findings on a page as it is drawn now, by all rules or by these."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    options = {"iframes": False, "resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
    found = page.evaluate("options => axe.run(document, options)", options)
    return [f"{rule['id']}: {rule['nodes'][0]['html'][:200]}" for rule in found["violations"]]


@pytest.mark.long
def test_every_page_is_accessible_fits_and_says_nothing_in_the_console(house: House, browser: Browser) -> None:
    """In both schemes, from 320 px on."""
    wrong = {}
    page = browser.new_page()
    said = watch(page)
    for path in PAGES:
        found, wide = look_at(page, house.address + path)
        if path == "/preview/2026-11-23-monday":
            page.wait_for_selector("html[data-drawn]")
            assert page.frames[1].query_selector("h1") is not None  # the mail itself, in its frame
        if found or any(wide) or said:
            wrong[path] = (found, wide, list(said))
        said.clear()
    page.close()
    assert not wrong, "\n".join(f"{place}: {found}" for place, found in wrong.items())


@pytest.mark.long
@pytest.mark.parametrize("language", ["en", "ar"])
def test_the_pages_of_readers_are_too_from_left_and_from_right(house: House, browser: Browser, language: str) -> None:
    signer = Signer(["0123456789abcdef0123456789abcdef"])
    paths = ["/", "/archive", "/archive/1", "/confirm/forged"]
    paths += [f"/{purpose}/{signer.sign(purpose, 2)}" for purpose in (Purpose.PREFERENCES, Purpose.UNSUBSCRIBE)]
    paths += [f"/preferences/{signer.sign(Purpose.PREFERENCES, 2)}/preview?topics=*"]
    context = browser.new_context(extra_http_headers={"Accept-Language": language})
    page = context.new_page()
    said = watch(page)
    wrong = {}
    for path in paths:
        found, wide = look_at(page, house.address + path)
        is_own = "/preferences/" in path or "/unsubscribe/" in path  # of a reader who chose German
        assert page.get_attribute("html", "lang") == ("de" if is_own else language)
        if found or any(wide) or said:
            wrong[path] = (found, wide, list(said))
        said.clear()
    if language == "ar":
        page.goto(house.address)
        assert page.evaluate("getComputedStyle(document.querySelector('h1')).direction") == "rtl"
    context.close()
    assert not wrong, "\n".join(f"{place}: {found}" for place, found in wrong.items())


def look_at(page: Page, address: str) -> tuple[list[str], list[int]]:
    """What axe-core finds in both schemes, and how far the page goes beyond 1,280 and 320 px."""
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light")
    page.goto(address, wait_until="load")
    found = find_violations(page)
    page.emulate_media(color_scheme="dark")
    found += find_violations(page, "color-contrast")
    wide = [measure_overhang(page)]
    page.set_viewport_size({"width": 320, "height": 900})
    return found, [*wide, measure_overhang(page)]


def test_what_a_reader_would_have_got_follows_the_choices(house: House, browser: Browser) -> None:
    token = Signer(["0123456789abcdef0123456789abcdef"]).sign(Purpose.PREFERENCES, 1)
    page = browser.new_page()
    said = watch(page)
    page.goto(f"{house.address}/preferences/{token}")
    page.wait_for_selector("#last >> text=A comet passes close by")
    page.uncheck("input[name=topics][value=science]")
    page.check("input[name=topics][value=culture]")
    page.wait_for_selector("#last >> text=The museum opens late")
    assert said == []
    page.close()


def measure_overhang(page: Page) -> int:
    """How far the page goes beyond the window, sideways."""
    script = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    return int(page.evaluate(script))


def test_the_numbers_follow_what_happens_without_reloading(house: House, browser: Browser) -> None:
    page = browser.new_page()
    said = watch(page)
    page.goto(f"{house.address}/console")
    page.wait_for_selector("#live[data-drawn]")
    page.evaluate("window.untouched = true")
    assert "The service is paused" not in page.inner_text("main")
    run(house.folder, "pause")
    page.wait_for_selector("text=The service is paused")
    run(house.folder, "resume")
    page.wait_for_selector("text=The service is paused", state="detached")
    assert page.evaluate("window.untouched")
    assert said == []
    page.close()


def test_keys_lead_everywhere(house: House, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"{house.address}/console")
    page.keyboard.press("g")
    page.keyboard.press("d")
    page.wait_for_url("**/console/deliveries")
    page.keyboard.press("/")
    page.keyboard.type("state:rejected")
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/deliveries?q=state%3Arejected")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/deliveries/1-1")
    assert "550 5.1.1 <ada@example.org>: no such user" in page.inner_text("main")
    page.keyboard.press("?")
    page.wait_for_url("**/console/help")
    page.close()


def test_without_a_script_an_action_is_asked_for_and_done(house: House, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{house.address}/console/issues/1")
    page.click("text=retry these")
    assert "no such user" in page.inner_text("main")
    page.click("button")
    page.wait_for_url("**/console/issues/1")
    context.close()
    books = json.loads(run(house.folder, "audit", "--json"))
    assert books["balanced"]
    assert books["rejected"] == 0  # taken up again, and then excluded: an unknown user is suppressed
