"""Counting as a model: the plain count of training facts by relation and answer."""

import numpy as np
import torch

from corollary.evaluation.popularity import popularity
from corollary.graph.folder import Graph
from corollary.learners.frequency import RelationFrequency
from corollary.learners.protocol import Queries


def test_scores_are_counts(tiny: Graph) -> None:
    train = np.asarray(tiny.triples("train"))
    model = RelationFrequency.of(tiny)
    relations = torch.tensor([0, 4, 2])
    scores = model.scores(model.prepare(Queries(torch.zeros(3, dtype=torch.int64), relations)), slice(5, 25))
    for row, relation in enumerate(relations.tolist()):
        side = 2 if relation < 3 else 0
        mine = train[train[:, 1] == relation % 3]
        assert scores[row].tolist() == [(mine[:, side] == entity).sum() for entity in range(5, 25)]


def test_the_same_answers_for_every_query_are_popular(tiny: Graph) -> None:
    """Ten entities could hold all places; known answers give way to others, so not quite all are theirs."""
    found = popularity(RelationFrequency.of(tiny), tiny, 0)
    known = tiny.answers("known")
    _, relations = known.queries(slice(0, known.num_queries))
    assert found.num_queries == (relations == 0).sum()
    assert found.counts.sum() == 10 * found.num_queries
    assert 10 / 30 < found.held_by_ten <= 1


def test_a_sample_of_the_queries(tiny: Graph) -> None:
    assert popularity(RelationFrequency.of(tiny), tiny, 0, most=5).num_queries == 5
