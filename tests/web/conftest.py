"""A site on the hostile graph whose models are functions, and a client that speaks to it without a network."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from corollary.errors import InputError
from corollary.evaluation.embedding_health import examine
from corollary.graph.folder import Graph
from corollary.messages import Say
from corollary.records.explanation import Explanation, Rescored
from corollary.records.rule_sheet import RuleSheet, Which
from corollary.web.app import create_app
from corollary.web.search import SearchIndex
from corollary.web.site import Answered, Asked, Cancelled, Question, Shown, Site
from tests.reports.fake_run import write_run
from tests.web.hostile import LABELS, explained, hostile_graph, rule_sheet


class Models:
    """Answers and explanations at once; `hold` makes explanations wait until they are let go or cancelled."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.asked, self.hold = graph, list[Asked](), False
        self.go, self.ended = threading.Event(), threading.Event()

    def predict(self, run: str, question: Question, k: int, new_only: bool) -> list[Answered]:
        """All entities in the order of ids."""
        found = [(place, label) for place, label in enumerate(LABELS, start=1)][:k]
        return [
            Answered(place, label, self.graph.entities.name(place - 1), 1 / place, place % 2 == 0)
            for place, label in found
            if not (new_only and place % 2 == 0)
        ]

    def near(self, entity: int, count: int) -> list[tuple[int, float]]:
        """The next ones in the order of ids."""
        return [((entity + one) % len(LABELS), 1 / one) for one in range(1, count + 1)]

    def what_if(self, asked: Asked, facts: Mapping[int, tuple[int, int, int]]) -> list[Rescored]:
        """A rank that falls by one for each fact."""
        return [Rescored(removed=list(facts), run="two", rank_before=1.0, rank=1.0 + len(facts))]

    def rule(self, run: str, formula: str, which: Which, offset: int, limit: int) -> RuleSheet:
        """A rule that gives every entity to itself, some of them facts."""
        if formula == "nonsense":
            raise InputError("'nonsense' is no rule")
        return rule_sheet(self.graph, run, formula, which, offset, limit)

    def health(self, run: str) -> dict[str, Any]:
        """A made-up verdict on random numbers, with a type that is markup."""
        vectors = np.random.default_rng(0).standard_normal((60, 8))
        return examine(vectors, ["<b>Drug</b>"] * 30 + ["Disease"] * 30).model_dump(mode="json")

    def disk(self, run: str) -> bytes:
        """The beginning of a PNG."""
        return b"\x89PNG"

    def explain(self, asked: Asked, say: Say, cancelled: Callable[[], bool]) -> Explanation:
        """A made-up explanation."""
        self.asked.append(asked)
        for part in ("ranks", "rules"):
            say(part)
            while self.hold and not self.go.is_set():
                if cancelled():
                    self.ended.set()
                    raise Cancelled(part)
                self.go.wait(0.01)
        return explained(self.graph, asked.head, asked.relation, asked.tail, side=asked.side)


class Client:
    """A browser without a network: `get`, `post`, `delete`, each until the whole answer is there."""

    def __init__(self, app: Any, host: str = "localhost") -> None:
        self._loop = asyncio.new_event_loop()
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url=f"http://{host}")

    def __getattr__(self, method: str) -> Callable[..., httpx.Response]:
        return lambda *given, **named: self._loop.run_until_complete(
            getattr(self._client, method)(*given, **named)
        )

    def close(self) -> None:
        self._loop.run_until_complete(self._client.aclose())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


@pytest.fixture(scope="session")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return hostile_graph(tmp_path_factory.mktemp("hostile") / "graph")


@pytest.fixture(scope="session")
def index(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> SearchIndex:
    return SearchIndex.of(graph, tmp_path_factory.mktemp("index"))


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shown, ...]:
    """Two that rank facts, one that does not; all with the files of one made-up training."""
    folder = tmp_path_factory.mktemp("runs")
    one, two, tree = (write_run(folder / name) for name in ("one", "two", "tree"))
    return (
        Shown("one", "conve", one, True, embeds="table"),
        Shown("two", "drum", two, True, "tail"),
        Shown("tree", "poincare", tree, False, embeds="disk"),
    )


@pytest.fixture
def models(graph: Graph) -> Models:
    return Models(graph)


@pytest.fixture
def site(
    graph: Graph, runs: tuple[Shown, ...], models: Models, tmp_path_factory: pytest.TempPathFactory
) -> Site:
    return _site(graph, runs, models, tmp_path_factory)


@pytest.fixture
def client(site: Site) -> Iterator[Client]:
    yield from _client(site)


@pytest.fixture(scope="session")
def reader(
    graph: Graph, runs: tuple[Shown, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """One site for all tests that only read."""
    yield from _client(_site(graph, runs, Models(graph), tmp_path_factory))


def _site(
    graph: Graph, runs: tuple[Shown, ...], models: Models, tmp_path_factory: pytest.TempPathFactory
) -> Site:
    index = SearchIndex.of(graph, tmp_path_factory.getbasetemp() / "index-of-sites")
    return Site(
        graph,
        runs,
        "i" * 64,
        models.predict,
        models.explain,
        index,
        models.what_if,
        models.rule,
        models.near,
        models.health,
        models.disk,
    )


def _client(site: Site) -> Iterator[Client]:
    app = create_app(site)
    found = Client(app)
    yield found
    app.state.jobs.close()
    found.close()
    site.close()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"
