"""`typed_batches` gives what training takes, as plain tensors under the names of the graph."""

import sys

import numpy as np
import pytest

import corollary
from corollary.errors import MissingExtra, RunError
from tests.learners.hgt.small import WAYS, typed_graph


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return typed_graph(tmp_path_factory.mktemp("graphs") / "graph")


def options(way, **more):
    return corollary.HgtOptions.build({"links": {"folds": 4}, "sampling": WAYS.get(way, {}), **more})


def triples_of(batch, edges, graph):
    """As (head, relation, tail) in ids of the graph; those of reverse messages turned round."""
    found = set()
    for (source, relation, target), (one, other) in edges.items():
        heads, tails = batch.nodes[source][one].tolist(), batch.nodes[target][other].tolist()
        if relation.startswith("rev_"):
            heads, tails = tails, heads
        number = list(graph.relations.labels).index(relation.removeprefix("rev_"))
        found |= {(head, number, tail) for head, tail in zip(heads, tails, strict=True)}
    return found


@pytest.mark.parametrize("way", ["whole", *WAYS])
def test_messages_and_what_is_asked_are_training_triples_and_never_the_same_pair(graph, way):
    """Every message and every asked triple is a fact of train, by type; no message links an asked pair."""
    train = set(map(tuple, np.asarray(graph.triples("train")).tolist()))
    batches = list(corollary.typed_batches(graph, options(way)))
    assert len(batches) == (6 if way in WAYS else 4)
    for batch in batches:
        for number, name in enumerate(graph.info.node_types):
            assert (np.asarray(graph.types)[batch.nodes[name].numpy()] == number).all()
        messages, asked = (triples_of(batch, edges, graph) for edges in (batch.edges, batch.asked))
        assert messages
        assert asked
        assert messages | asked <= train
        assert not {frozenset((h, t)) for h, _, t in messages} & {frozenset((h, t)) for h, _, t in asked}


def test_an_epoch_over_the_whole_graph_asks_for_every_triple_once(graph):
    asked = [
        triples_of(batch, batch.asked, graph) for batch in corollary.typed_batches(graph, options("whole"))
    ]
    assert sum(map(len, asked)) == len(set().union(*asked)) == graph.info.num_triples["train"]


def test_a_run_gives_its_own_batches(graph, tmp_path):
    """Those of its graph under its options; another learner has none."""
    config = options("edges", training={"epochs": 1})
    run = corollary.train_hgt(graph, tmp_path / "run", config)
    own, same = (
        list(batches) for batches in (corollary.typed_batches(run), corollary.typed_batches(graph, config))
    )
    assert [triples_of(batch, batch.edges, graph) for batch in own] == [
        triples_of(batch, batch.edges, graph) for batch in same
    ]
    with pytest.raises(RunError, match="give its graph"):
        corollary.typed_batches(run, config)


def test_without_pyg_what_to_install_is_said(graph, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_geometric.data", None)
    with pytest.raises(MissingExtra, match="pip install torch-geometric"):
        next(corollary.typed_batches(graph)).to_pyg()
