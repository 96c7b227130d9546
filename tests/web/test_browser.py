"""The page in a real browser: search, open, explain, follow a fact, back; nothing is refused by the policy.

Skipped, with the reason, where Playwright or a Chromium of the system is not there.
"""

import shutil
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from corollary.web.app import create_app
from corollary.web.serving import listen
from tests.web.hostile import LABELS

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")

LISTEN = """
window.refused = [];
document.addEventListener("securitypolicyviolation", (event) => window.refused.push(event.violatedDirective));
"""


@pytest.fixture
def page(site) -> Iterator[Any]:
    """A page of a served site; whatever goes wrong in it fails the test."""
    app = create_app(site)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    listening = listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    faults: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        found = browser.new_page(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}")
        found.add_init_script(LISTEN)
        found.on("pageerror", lambda error: faults.append(str(error)))
        found.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        found.on("dialog", lambda dialog: faults.append("a dialog"))
        yield found
        faults += found.evaluate("window.refused")
        browser.close()
    server.should_exit = True
    thread.join(10)
    listening.close()
    assert faults == []


def test_a_name_is_completed_opened_and_explained(page):
    """By the keyboard alone, and back to where it was."""
    page.goto("/")
    page.get_by_role("combobox").first.type("diab")
    page.get_by_role("option").first.wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/entity?**")
    page.locator("a[href^='/predict?']").first.click()
    page.get_by_role("link", name="why").first.click()
    page.wait_for_url("**/prediction?**")
    page.locator("a.ref").first.focus()
    assert page.locator("tr.lit").count() == 1
    page.locator("a.ref").first.click()
    assert "#fact-" in page.url
    page.go_back()
    page.go_back()
    page.wait_for_url("**/predict?**")


def test_a_slow_explanation_shows_its_progress(page, models):
    """Parts appear while it is made; then the page shows itself."""
    models.hold = True
    page.goto(f"/prediction?head={LABELS[12]}&relation=treats&tail={LABELS[13]}")
    page.get_by_text("Now: ranks").wait_for()
    models.go.set()
    page.get_by_role("heading", name="How far to trust it").wait_for()


def test_every_arrow_is_reached_by_tab_and_parts_can_be_hidden(page):
    """The picture is no island for the keyboard."""
    page.goto(f"/prediction?head={LABELS[12]}&relation=treats&tail={LABELS[13]}")
    arrows = page.locator("svg.evidence a.edge")
    arrows.first.focus()
    seen = 1
    while seen < arrows.count():
        page.keyboard.press("Tab")
        seen += 1
    assert page.evaluate("document.activeElement.classList.contains('edge')")
    page.get_by_label("influence").uncheck()
    assert page.locator("svg.evidence a.edge.off").count() > 0


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_runs_out_of_a_narrow_page(page, width):
    """Only tables and the picture scroll on their own."""
    page.set_viewport_size({"width": width, "height": 700})
    for path in ("/", "/help/reading", f"/prediction?head={LABELS[0]}&relation=treats&tail={LABELS[9]}"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
