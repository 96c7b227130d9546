"""`corollary serve` from end to end: real runs behind a real socket."""

import http.client
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
import torch
import uvicorn
from typer.testing import CliRunner

from corollary.cli import main
from corollary.cli.serving import Models
from corollary.errors import ConfigError, MissingExtra, RunError, StorageError
from corollary.records.explanation import Explanation
from corollary.runs.config import RunConfig
from corollary.runs.conve import train_conve
from corollary.runs.embeddings import nearest
from corollary.runs.run import Run
from corollary.web.app import create_app
from corollary.web.serving import listen
from corollary.web.site import Asked
from tests.web.markup import Page


@pytest.fixture(scope="module")
def run(countries, tmp_path_factory) -> Path:
    """A small ConvE after two epochs, with both checkpoints kept for influence."""
    folder = tmp_path_factory.mktemp("served") / "small"
    config = RunConfig.build(
        {
            "model": {"embedding_dim": 16, "image_height": 4, "channels": 2, "batch_size": 64},
            "training": {"epochs": 2, "lr": 0.01, "checkpoint_frequency": 1},
        }
    )
    train_conve(countries.path, folder, config)
    return folder


@pytest.fixture(scope="module")
def models(run) -> Models:
    return Models([run])


@pytest.fixture(scope="module")
def place(models, tmp_path_factory) -> Iterator[tuple[str, int]]:
    """Host and port of the page, served by uvicorn in a thread."""
    app = create_app(models.site(tmp_path_factory.mktemp("index")))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", server_header=False))
    listening = listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield "127.0.0.1", listening.getsockname()[1]
    server.should_exit = True
    thread.join(10)
    listening.close()


def get(place: tuple[str, int], path: str, **values: str) -> tuple[int, str]:
    """Status and text."""
    connection = http.client.HTTPConnection(*place, timeout=120)
    connection.request("GET", f"{path}?{urlencode(values)}" if values else path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_from_a_name_to_its_reasons(place):
    """Search, entity, answers, explanation: each from the link on the page before."""
    found = json.loads(get(place, "/search.json", q="franc")[1])["results"]
    assert found[0]["label"] == "France"
    entity = Page(get(place, found[0]["url"])[1])
    asked = next(link for link in entity.links() if link.startswith("/predict?") and "borders" in link)
    why = next(link for link in Page(get(place, asked)[1]).links() if link.startswith("/prediction?"))
    status, text = get(place, why)
    data = why.replace("/prediction?", "/prediction.json?")
    while status == 202:
        time.sleep(0.1)
        status, text = get(place, data)
    assert status == 200
    assert Explanation.model_validate_json(get(place, data)[1]).head.label == "France"
    page = Page(get(place, why)[1])
    page.runs_nothing()
    assert "How far to trust it" in page.text
    assert "Facts that spoke for it" in page.text
    assert get(place, "/model", run="small")[0] == 200


def test_the_page_shows_what_the_command_prints(place, models):
    """The same explanation as the library's, but for its timing."""
    asked = Asked("France", "borders", "Spain", "tail", ("small",))
    expected = models.explain(asked, lambda part: None, lambda: False)
    values = {"head": "France", "relation": "borders", "tail": "Spain"}
    while (answer := get(place, "/prediction.json", **values))[0] == 202:
        time.sleep(0.1)
    shown = Explanation.model_validate_json(answer[1])
    assert shown.comparable() == expected.comparable()


def test_nearest_entities_are_those_of_the_whole_table(run):
    """Cosines of all embeddings at once give the same, to the rounding of float32."""
    opened = Run.open(run)
    rows = torch.cat([opened.model.entities.block(rows)[0] for rows in opened.model.entities.block_slices()])
    unit = torch.nn.functional.normalize(rows.double(), dim=1)
    cosines = unit @ unit[7]
    cosines[7] = -torch.inf
    expected = cosines.topk(5)
    found = nearest(opened, 7, 5)
    assert [one for one, _ in found] == expected.indices.tolist()
    torch.testing.assert_close(
        torch.tensor([value for _, value in found]).double(), expected.values, rtol=0, atol=1e-6
    )


def test_embeddings_of_a_run_are_judged(place, countries):
    """By type, on the page, over all entities."""
    found = json.loads(get(place, "/model/embeddings.json", run="small")[1])["health"]
    assert found["rows"] == countries.num_entities
    assert {one["name"] for one in found["types"]} <= set(countries.info.node_types)


def test_the_command_says_what_is_missing(monkeypatch, tmp_path):
    """A folder that is no run; the extra, with how to get it."""
    with pytest.raises(RunError, match="is not a run folder"):
        CliRunner().invoke(main.app, ["serve", str(tmp_path)], catch_exceptions=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingExtra, match="pip install 'corollary\\[web\\]'"):
        CliRunner().invoke(main.app, ["serve", str(tmp_path)], catch_exceptions=False)


def test_a_reader_who_leaves_is_noticed(place, caplog):
    """The connection of a stream of events is cut: the job has no listener, and nothing is written about a fault."""
    answer = get(place, "/prediction.json", head="Spain", relation="borders", tail="Chad")
    if answer[0] != 202:
        pytest.skip("the explanation was made before it could be followed")
    job = json.loads(answer[1])
    connection = http.client.HTTPConnection(*place, timeout=10)
    connection.request("GET", job["events"])
    stream = connection.getresponse()
    assert stream.fp.readline()
    assert connection.sock is not None
    stream.close()
    connection.sock.close()
    while get(place, "/prediction.json", head="Spain", relation="borders", tail="Chad")[0] == 202:
        time.sleep(0.1)
    assert [one.getMessage() for one in caplog.records if one.levelname == "ERROR"] == []


def test_two_runs_of_one_name_are_refused(run):
    """Pages and links know runs by their folder's name."""
    with pytest.raises(ConfigError, match="two of the runs are named small: rename one of the folders"):
        Models([run, run])


def test_a_place_that_is_taken_is_told(place):
    """The address, what the system says, and what to do."""
    with pytest.raises(
        StorageError, match=r"127.0.0.1:\d+ cannot be served on \(.+\): take another --host or --port"
    ):
        listen(*place)
