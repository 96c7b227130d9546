"""A small random graph with types and a scorer with many ties."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from corollary.graph.folder import Graph, write_graph

NUM_ENTITIES, NUM_RELATIONS = 45, 3


class TableScorer:
    """Scores read from a dense array [entities, directed relations, entities]; counts what was asked."""

    def __init__(self, table: np.ndarray, dtype: torch.dtype = torch.float32) -> None:
        self.table = torch.from_numpy(table).to(dtype)
        self.num_entities = table.shape[0]
        self.device = torch.device("cpu")
        self.asked: list[tuple[int, int]] = []
        self.largest_tile = 0

    def prepare(self, queries: Any) -> Any:
        """The rows of the queries."""
        self.asked += zip(queries.entity_ids.tolist(), queries.relation_ids.tolist(), strict=True)
        return self.table[queries.entity_ids, queries.relation_ids]

    def scores(self, prepared: Any, rows: slice, out: torch.Tensor | None = None) -> torch.Tensor:
        """A part of the rows."""
        self.largest_tile = max(self.largest_tile, prepared[:, rows].numel())
        return prepared[:, rows]


@pytest.fixture(scope="session")
def table() -> np.ndarray:
    """Scores of a few values only, so that most rankings have ties."""
    rng = np.random.default_rng(1)
    return np.round(rng.standard_normal((NUM_ENTITIES, 2 * NUM_RELATIONS, NUM_ENTITIES)) * 2) / 2


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A graph folder and what it was made of. Test has queries unseen in train, and a duplicate."""
    rng = np.random.default_rng(0)
    triples = rng.integers(0, [NUM_ENTITIES, NUM_RELATIONS, NUM_ENTITIES], (300, 3)).astype(np.int32)
    triples = np.unique(triples, axis=0)
    triples[:60, 0] %= 5  # some queries with many answers
    triples = rng.permutation(np.unique(triples, axis=0))
    test = triples[-60:]
    splits = {"train": triples[:-80], "valid": triples[-80:-60], "test": np.concatenate([test, test[:1]])}
    types = [("", "town", "river", "hill")[i] for i in rng.integers(0, 4, NUM_ENTITIES)]
    train = splits["train"]
    towns = np.array([kind == "town" for kind in types])
    splits["train"] = train[
        ~((train[:, 1] == 1) & towns[train[:, 2]])
    ]  # so that some test answers fall outside
    graph = write_graph(
        tmp_path_factory.mktemp("world") / "graph",
        name="world",
        labels=[f"e'{i}" for i in range(NUM_ENTITIES)],
        relations=["near", "above", "part of"],
        triples=splits,
        types=types,
    )
    return SimpleNamespace(graph=graph, splits=splits, types=types)


@pytest.fixture
def scorer(table: np.ndarray) -> TableScorer:
    """A scorer over `table` that has not been asked anything."""
    return TableScorer(table)


@pytest.fixture
def make_scorer() -> Callable[..., TableScorer]:
    """The class, for tests that bring their own table."""
    return TableScorer


@pytest.fixture(scope="session")
def graph(world: SimpleNamespace) -> Graph:
    return world.graph
