"""The degree baseline ranks by how often an entity answers a relation in train, whoever asks."""

import torch

from corollary.evaluation.degree_baseline import DegreeBaseline
from corollary.evaluation.ranking import rank_split
from corollary.learners.protocol import Queries, Scorer


def test_scores_are_counts_of_answers(tiny):
    """Told by a plain walk over the triples; ties go by the degree over all relations."""
    baseline = DegreeBaseline(tiny)
    assert isinstance(baseline, Scorer)
    triples, count = tiny.triples("train").tolist(), tiny.num_relations
    degree = [sum((h == e) + (t == e) for h, _, t in triples) for e in range(tiny.num_entities)]
    queries = Queries(torch.arange(6), torch.arange(6) % (2 * count))
    found = baseline.scores(baseline.prepare(queries), slice(3, 25))
    for row, relation in enumerate(queries.relation_ids.tolist()):
        for entity in range(3, 25):
            if relation < count:
                answers = sum(r == relation and t == entity for _, r, t in triples)
            else:
                answers = sum(r == relation - count and h == entity for h, r, _ in triples)
            expected = answers + 1e-6 * degree[entity]
            assert abs(float(found[row, entity - 3]) - expected) < 1e-6  # float32 of counts up to some tens
    out = torch.empty(6, 22)
    assert torch.equal(baseline.scores(baseline.prepare(queries), slice(3, 25), out), found)


def test_it_can_be_ranked_with(tiny):
    assert 0 < rank_split(DegreeBaseline(tiny), tiny, "test", resamples=0).mrr < 1
