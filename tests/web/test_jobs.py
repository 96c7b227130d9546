"""An explanation is made once for all who ask, shows how far it is, and ends when nobody wants it."""

import json
import time

import httpx
import pytest

from corollary.errors import UnknownName
from corollary.web import jobs as module
from corollary.web.jobs import WAITING, Busy, Jobs
from corollary.web.site import Asked
from tests.web.hostile import LABELS, OVERRIDE, SCRIPT
from tests.web.markup import Page

ASKED = Asked(SCRIPT, "treats", OVERRIDE, "tail", ("one",))
WISH = {"head": SCRIPT, "relation": "treats", "tail": OVERRIDE}


def until(true, seconds=10.0):
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


@pytest.fixture
def made(models):
    found = Jobs(models.explain, "identity")
    yield found
    models.go.set()
    found.close()


def events(text: str) -> list[tuple[str, dict]]:
    """Kind and data of each event of a stream."""
    found = []
    for block in text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        found.append((lines["event"], json.loads(lines["data"])))
    return found


def test_the_same_question_is_the_same_job(made, models):
    """Asked twice while it is made, and again afterwards: explained once."""
    models.hold = True
    first, second = made.start(ASKED), made.start(ASKED)
    assert first is second
    models.go.set()
    assert first.wait(10)
    assert first.state == "done"
    assert made.made(first.key) is not None
    assert len(models.asked) == 1
    assert made.key(ASKED) != Jobs.key(made, Asked(SCRIPT, "treats", OVERRIDE, "head", ("one",)))


def test_too_many_at_once_are_refused(made, models):
    """One is made, four wait, the sixth is told to come again."""
    models.hold = True
    others = [Asked(label, "treats", OVERRIDE, "tail", ("one",)) for label in LABELS]
    running = made.start(others[0])
    until(lambda: running.state == "running")
    for one in others[1 : WAITING + 1]:
        made.start(one)
    with pytest.raises(Busy, match="4 explanations wait already"):
        made.start(others[WAITING + 1])


def test_a_cancelled_one_ends_and_can_be_asked_again(made, models):
    """The function is told; the next wish begins anew."""
    models.hold = True
    job = made.start(ASKED)
    until(lambda: job.state == "running")
    assert made.cancel(job.key)
    assert job.wait(10)
    assert job.state == "cancelled"
    models.go.set()
    again = made.start(ASKED)
    assert again.wait(10)
    assert again.state == "done"
    assert not made.cancel("0" * 64)


def test_nobody_listening_ends_it(made, models, monkeypatch):
    """After a while without a listener or a question; one that is listened to goes on."""
    monkeypatch.setattr(module, "ALONE", 0.05)
    models.hold = True
    job = made.start(ASKED)
    job.listeners += 1
    until(lambda: job.state == "running")
    assert not job.wait(0.2)
    job.listeners -= 1
    assert job.wait(10)
    assert job.state == "cancelled"


def test_an_error_is_told_and_the_worker_lives(models):
    """One that a user can meet, and one that is ours."""

    def broken(asked, say, cancelled):
        raise UnknownName("no such thing") if asked.side == "tail" else ZeroDivisionError("oh")

    made = Jobs(broken, "identity")
    first, second = made.start(ASKED), made.start(Asked(SCRIPT, "treats", OVERRIDE, "head", ("one",)))
    assert second.wait(10)
    assert (first.state, first.message) == ("failed", "no such thing")
    assert second.message == "a fault of the program: ZeroDivisionError: oh"
    made.close()


def test_explanations_are_kept_for_the_next_start(models, cache):
    """Read again from the folder; a damaged file is made anew."""
    first = Jobs(models.explain, "identity", cache)
    job = first.start(ASKED)
    assert job.wait(10)
    first.close()
    second = Jobs(models.explain, "identity", cache)
    assert second.made(job.key) == first.made(job.key)
    third = Jobs(models.explain, "other graph", cache)
    assert third.made(third.key(ASKED)) is None
    (cache / f"{job.key}.json").write_text("{")
    assert Jobs(models.explain, "identity", cache).made(job.key) is None
    for one in (second, third):
        one.close()


def test_the_folder_stays_below_its_limit(models, cache, monkeypatch):
    """The oldest make room."""
    monkeypatch.setattr(module, "_ON_DISK", 30_000)
    made = Jobs(models.explain, "identity", cache)
    for side in ("head", "tail"):
        for label in LABELS[:3]:
            assert made.start(Asked(label, "treats", OVERRIDE, side, ("one",))).wait(10)
    assert 0 < sum(file.stat().st_size for file in cache.glob("*.json")) <= 30_000
    made.close()


def test_a_slow_one_shows_progress_and_is_followed_by_events(client, models):
    """A page that refreshes itself without a script, 202 as data, then the events, then the page itself."""
    models.hold = True
    pending = client.get("/prediction", params=WISH)
    assert pending.status_code == 202
    page = Page(pending.text)
    page.runs_nothing()
    page.is_reachable()
    assert page.all("noscript")
    assert "ranks" in page.text
    begun = client.get("/prediction.json", params=WISH)
    assert begun.status_code == 202
    key = begun.json()["key"]
    assert begun.headers["location"] == f"/api/explanations/{key}"
    assert client.post("/api/explanations", json=WISH).json()["key"] == key
    models.go.set()
    stream = client.get(begun.json()["events"])
    assert stream.headers["content-type"].startswith("text/event-stream")
    kinds = [kind for kind, _ in events(stream.text)]
    assert kinds == ["step", "step", "done"]
    later = client.get(begun.json()["events"], headers={"Last-Event-ID": "1"})
    assert [kind for kind, _ in events(later.text)] == ["step", "done"]
    assert client.get("/prediction", params=WISH).status_code == 200
    assert client.get(f"/api/explanations/{key}").json()["format"] == "corollary.explanation/1"
    assert client.post("/api/explanations", json=WISH).json()["state"] == "done"


@pytest.mark.parametrize("by", ["delete", "post", "form"])
def test_a_slow_one_can_be_cancelled(client, models, by):
    """By a program, and by a form without a body, which leads back to the answers."""
    models.hold = True
    key = client.get("/prediction.json", params=WISH).json()["key"]
    place = f"/api/explanations/{key}"
    if by == "delete":
        assert client.delete(place).json()["state"] == "cancelled"
    elif by == "post":
        assert client.post(f"{place}/cancel").json()["state"] == "cancelled"
    else:
        back = client.post(f"{place}/cancel", headers={"Accept": "text/html"})
        assert back.status_code == 303
        assert client.get(back.headers["location"]).status_code == 200
    assert models.ended.wait(10)
    until(lambda: client.get(place).status_code == 503)
    assert [kind for kind, _ in events(client.get(f"{place}/events").text)] == ["step", "cancelled"]


def test_parts_of_other_pages_start_nothing(client, models):
    """An image or a frame of a foreign page that names an explanation is refused."""
    response: httpx.Response = client.get("/prediction", params=WISH, headers={"Sec-Fetch-Dest": "image"})
    assert response.status_code == 400
    assert models.asked == []


@pytest.mark.parametrize(
    "wish", [{}, {**WISH, "more": 1}, {**WISH, "head": "x" * 9000}, {**WISH, "runs": ["a"] * 99}, []]
)
def test_wrong_wishes_are_told(client, wish):
    """422 with the place."""
    response = client.post("/api/explanations", json=wish)
    assert response.status_code == 422
    assert response.json()["error"]
