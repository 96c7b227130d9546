"""The page in a real browser: search, open, explain, follow a fact, back; nothing is refused by the policy, and axe
finds no serious fault.

Skipped, with the reason, where Playwright or a Chromium of the system is not there.
"""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import uvicorn

from corollary.cli.serving import Models
from corollary.web.app import create_app
from corollary.web.serving import listen
from corollary.web.site import Site
from tests.web.hostile import LABELS

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
    pytest.mark.xdist_group("browser"),
]

LISTEN = """
window.refused = [];
document.addEventListener("securitypolicyviolation", (event) => window.refused.push(event.violatedDirective));
"""
MISSING = "status of 404"  # what the console says of a page that is not there


@contextmanager
def served(site: Site) -> Iterator[Any]:
    """A page of a served site; whatever goes wrong in it fails the test, but for pages that are not there."""
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
    assert [fault for fault in faults if MISSING not in fault] == []


@pytest.fixture
def page(site: Site) -> Iterator[Any]:
    """Of the hostile graph, whose models are functions."""
    with served(site) as found:
        yield found


@pytest.fixture
def countries_page(explained: Path, tmp_path: Path) -> Iterator[Any]:
    """Of the embedded graph, with a trained ConvE and counted rules."""
    with served(Models([explained / "run", explained / "rules"]).site(tmp_path)) as found:
        yield found


def prediction(head: str, tail: str, relation: str = "treats") -> str:
    """The address of a prediction's page."""
    return "/prediction?" + urlencode({"head": head, "relation": relation, "tail": tail})


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
    page.goto(prediction(LABELS[12], LABELS[13]))
    page.get_by_text("Now: ranks").wait_for()
    models.go.set()
    page.get_by_role("heading", name="How far to trust it").wait_for()


def test_every_arrow_is_reached_by_tab_and_parts_can_be_hidden(page):
    """The picture is no island for the keyboard."""
    page.goto(prediction(LABELS[12], LABELS[13]))
    arrows = page.locator("svg.evidence a.edge")
    arrows.first.focus()
    seen = 1
    while seen < arrows.count():
        page.keyboard.press("Tab")
        seen += 1
    assert page.evaluate("document.activeElement.classList.contains('edge')")
    page.get_by_role("checkbox", name="influence").uncheck()
    assert page.locator("svg.evidence a.edge.off").count() > 0


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_runs_out_of_a_narrow_page(page, width):
    """Only tables and the picture scroll on their own."""
    page.set_viewport_size({"width": width, "height": 700})
    for path in ("/", "/help/reading", prediction(LABELS[0], LABELS[9])):
        assert page.goto(path).ok
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_embedded_graph_from_a_search_to_a_rule_and_its_facts(countries_page, tmp_path):
    """Search, open, ask, explain with real models; follow a rule's fact, download, back and forward."""
    page = countries_page
    page.goto("/")
    page.get_by_role("combobox").first.fill("Belg")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Belgium").first.click()
    page.wait_for_url("**/entity?**")
    page.goto(prediction("Belgium", "France", "borders"))
    page.get_by_role("heading", name="How far to trust it").wait_for(timeout=60_000)
    rules = page.locator("section", has=page.get_by_role("heading", name="Rules"))
    rules.locator("a.ref").first.click()
    assert "#fact-" in page.url
    with page.expect_download() as download:
        page.get_by_role("link", name="facts as csv").click()
    assert "Belgium" in Path(download.value.path()).read_text(encoding="utf-8")
    with page.expect_download() as download:
        page.get_by_role("link", name="report as one file").click()
    assert download.value.suggested_filename.endswith(".html")
    page.go_back()
    page.go_forward()
    assert "#fact-" in page.url
    page.get_by_text("Take facts of your choice away").click()
    page.locator("input[name=fact]").first.check()
    page.get_by_role("button", name="Score again").click()
    assert page.get_by_role("row", name="rules").is_visible()
    page.get_by_role("link", name="back to all reasons").click()
    page.get_by_role("link", name="all its pairs").first.click()
    page.get_by_role("link", name="where it fails").click()
    page.wait_for_url("**/rule?**which=fails")


@pytest.mark.parametrize("path", ["/nowhere", "/entity?id=nobody", "/predict?head=nobody&relation=treats"])
def test_what_is_not_there_is_said_and_leads_back(page, path):
    """An error page says what is wrong and has the search on it."""
    assert page.goto(path).status == 404
    assert page.get_by_role("combobox").first.is_visible()
    page.get_by_role("link", name="corollary").first.click()
    page.wait_for_url("**/")


PAGES = {
    "home": "/",
    "search": "/search?q=diab",
    "entity": "/entity?" + urlencode({"id": LABELS[14]}),
    "answers": "/predict?" + urlencode({"head": LABELS[12], "relation": "treats"}),
    "prediction": prediction(LABELS[12], LABELS[13]),
    "what if": prediction(LABELS[12], LABELS[13]).replace("/prediction", "/what-if") + "&fact=1",
    "rule": "/rule?run=two&rule=r",
    "model": "/model?run=one",
    "embeddings": "/model/embeddings?run=one",
    "compare": "/compare?left=one&right=two",
    "api": "/api",
    "reading": "/help/reading",
    "error": "/nowhere",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(page, scheme):
    """Contrast, names of controls, landmarks, headings: on every page, in both schemes."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    page.emulate_media(color_scheme=scheme)
    found = {}
    for name, path in PAGES.items():
        page.goto(path)
        violations = axe.run(page).response["violations"]
        found[name] = [
            (fault["id"], fault["nodes"][0]["html"][:200])
            for fault in violations
            if fault["impact"] in ("serious", "critical")
        ]
    assert {name: faults for name, faults in found.items() if faults} == {}
