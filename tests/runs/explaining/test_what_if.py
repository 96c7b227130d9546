"""Scores without some facts are those of the same weights on a graph that never held them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from corollary.graph.folder import Graph, write_graph
from corollary.learners.fusion import whole_scores
from corollary.learners.protocol import Queries
from corollary.runs.drum.kind import train_drum
from corollary.runs.drum.options import DrumOptions
from corollary.runs.hgt.kind import train_hgt
from corollary.runs.hgt.options import HgtOptions
from corollary.runs.run import Run


def trained(kind: str, graph: Graph, folder: Path) -> Run:
    """A small run of one epoch."""
    if kind == "drum":
        return train_drum(graph, folder, DrumOptions.build({"training": {"epochs": 1}}))
    options = {"model": {"hidden_dim": 8, "embedding_dim": 8, "attn": 2}, "training": {"epochs": 1}}
    return train_hgt(graph, folder, HgtOptions.build(options))


@pytest.mark.parametrize(("kind", "name"), [("drum", "tiny"), ("hgt", "countries")])
def test_taking_facts_away_is_another_graph(kind: str, name: str, request, tmp_path: Path) -> None:
    """Every fifth training triple is gone; all scores of a few queries agree to rounding."""
    graph: Graph = request.getfixturevalue(name)
    run = trained(kind, graph, tmp_path / "run")
    train = np.asarray(graph.triples("train"))
    gone = train[::5]
    types = None if graph.types is None else [graph.info.node_types[code] for code in graph.types]
    smaller = write_graph(
        tmp_path / "smaller",
        name="smaller",
        labels=[graph.entities.label(row) for row in range(graph.num_entities)],
        relations=[graph.relations.label(row) for row in range(graph.num_relations)],
        triples={"train": np.delete(train, np.s_[::5], axis=0)},
        types=types,
    )
    queries = Queries(torch.tensor([0, 3, 7]), torch.tensor([0, 1, graph.num_relations]))

    there = whole_scores(Run(run.folder, smaller).scorer, queries, 4096)
    here = whole_scores(run.without(gone).scorer, queries, 4096)

    np.testing.assert_allclose(here, there, rtol=1e-5, atol=1e-6)  # sums in float32, in the same order
    assert not np.allclose(here, whole_scores(run.scorer, queries, 4096))
