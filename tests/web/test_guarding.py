"""Hosts, sizes, time and headers: nothing foreign runs, nobody else asks, nothing takes for ever."""

import asyncio
import logging
import time

import pytest

from corollary.web.app import create_app
from corollary.web.guarding import LARGEST, POLICY, Guard
from tests.web.conftest import Client
from tests.web.hostile import OVERRIDE, SCRIPT

EVERY = [
    "/",
    "/search.json?q=a",
    "/nothing",
    "/static/page.css",
    "/static/theme.js",
    "/api/openapi.json",
    "/search?offset=x",
]


@pytest.mark.parametrize("path", EVERY)
def test_every_answer_has_the_headers(client, path):
    """Pages, data, errors and files."""
    headers = client.get(path).headers
    assert headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert "default-src 'none'" in POLICY
    assert "require-trusted-types-for 'script'" in POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "server" not in headers


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.2", "", "[::2]:80"])
def test_other_hosts_are_refused(client, host):
    """A name that someone else has pointed at the loopback address gets nothing."""
    assert client.get("/", headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "[::1]:8080"])
def test_loopback_names_are_served(client, host):
    assert client.get("/help/reading", headers={"Host": host}).status_code == 200


def test_a_named_host_is_served_beside_them(site):
    """The address that it was started with; a star means any."""
    for hosts, asked, status in ((["box"], "box:80", 200), (["box"], "other", 400), (["*"], "other", 200)):
        app = create_app(site, hosts=hosts)
        client = Client(app)
        assert client.get("/help/reading", headers={"Host": asked}).status_code == status
        app.state.jobs.close()
        client.close()


@pytest.mark.parametrize("origin", ["cross-site", "same-site"])
def test_other_pages_change_nothing(client, origin):
    """A form or a script of another site cannot begin or cancel an explanation."""
    response = client.post("/api/explanations", json={}, headers={"Sec-Fetch-Site": origin})
    assert response.status_code == 403
    wish = {"head": SCRIPT, "relation": "treats", "tail": OVERRIDE}
    same = client.post("/api/explanations", json=wish, headers={"Sec-Fetch-Site": "same-origin"})
    assert same.status_code == 202


def test_large_bodies_are_refused(client):
    """Said or sent."""
    assert client.post("/api/explanations", content=b"x" * (LARGEST + 1)).status_code == 413

    async def parts():
        for _ in range(LARGEST // 1000 + 2):
            yield b"x" * 1000

    assert client.post("/api/explanations", content=parts()).status_code == 413


def test_what_takes_too_long_is_ended(site, models):
    """503 with when to come again; the page is there for others meanwhile."""

    def slow(run, question, k, new_only):
        time.sleep(0.5)
        return []

    object.__setattr__(site, "predict", slow)
    app = create_app(site, seconds=0.1)
    client = Client(app)
    begun = time.monotonic()
    response = client.get("/predict.json", params={"head": SCRIPT, "relation": "treats"})
    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"
    assert time.monotonic() - begun < 0.4
    assert client.get("/search.json?q=a").status_code == 200
    app.state.jobs.close()
    client.close()


def test_a_fault_is_told_without_its_words(site, caplog):
    """500 with all headers; what went wrong stands in the log, not in the answer."""

    def broken(run, question, k, new_only):
        raise ZeroDivisionError("secret")

    object.__setattr__(site, "predict", broken)
    app = create_app(site)
    client = Client(app)
    log = logging.getLogger(
        "uvicorn.error"
    )  # keeps its lines to itself once a server has run in this process
    log.addHandler(caplog.handler)
    response = client.get("/predict.json", params={"head": SCRIPT, "relation": "treats"})
    log.removeHandler(caplog.handler)
    assert response.status_code == 500
    assert "secret" not in response.text
    assert response.headers["content-security-policy"] == POLICY
    assert "secret" in caplog.text
    app.state.jobs.close()
    client.close()


def test_a_stream_of_events_has_no_limit():
    """It may last as long as someone listens."""

    async def app(scope, receive, send):
        await asyncio.sleep(0.05)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"there"})

    client = Client(Guard(app, hosts=["localhost"], seconds=0.01))
    assert client.get("/api/explanations/x/events").text == "there"
    assert client.get("/other").status_code == 503
    client.close()


def test_pages_are_compressed(client):
    """For who takes gzip."""
    response = client.get("/static/page.css", headers={"Accept-Encoding": "gzip"})
    assert response.headers["content-encoding"] == "gzip"
