"""A ConvE of tails alone: one relation row a relation, trained and ranked on tail queries and nothing else."""

import numpy as np
import pytest
import torch

from corollary.evaluation.ranking import rank_split
from corollary.learners.conve import ConvE
from corollary.learners.conve_config import ConvEConfig
from corollary.training.optimizers import OptimizerConfig, Rule

SMALL = {"embedding_dim": 12, "channels": 4, "batch_size": 20, "block_rows": 7}


def learner(graph, **values) -> ConvE:
    sizes = {"num_entities": graph.num_entities, "num_relations": graph.num_relations}
    return ConvE(ConvEConfig.build(SMALL | values), **sizes, seed=0)


@pytest.mark.parametrize("examples", ["kvsall", "1vsall"])
def test_every_tail_query_of_train_is_shown_once(tiny, examples):
    """With all its answers; no query about heads."""
    model = learner(tiny, sides="tail", examples=examples)
    assert model.relations.shape == (3, 12)
    shown = [
        (int(head), int(relation), int(tail))
        for batch in model.batches(tiny, seed=0, epoch=0)
        for i, (head, relation) in enumerate(
            zip(batch.queries.entity_ids, batch.queries.relation_ids, strict=True)
        )
        for tail in batch.answers[batch.offsets[i] : batch.offsets[i + 1]]
    ]
    assert sorted(shown) == sorted(map(tuple, tiny.triples("train").tolist()))


def test_one_side_of_an_index_holds_its_queries_alone(tiny):
    """Keys stay sorted, answers and triples stay with their queries; both sides together are the whole."""
    whole = tiny.answers("known")
    parts = {side: whole.one_side(side) for side in ("head", "tail")}
    assert sum(part.num_examples for part in parts.values()) == whole.num_examples
    for side, part in parts.items():
        entities, relations = part.queries(slice(None))
        assert ((relations >= 3) == (side == "head")).all()
        assert (np.diff(part.keys) > 0).all()
        rows = whole.find(entities, relations)
        for number, row in enumerate(rows.tolist()):
            mine, theirs = (slice(*i.offsets[at : at + 2]) for i, at in ((part, number), (whole, row)))
            assert part.answers[mine].tolist() == whole.answers[theirs].tolist()
            assert part.triples[mine].tolist() == whole.triples[theirs].tolist()


@pytest.mark.parametrize("side", ["head", "tail"])
def test_ranking_one_side_gives_the_figures_of_that_side(tiny, side):
    """The same numbers as in an evaluation of both, and no figures of the other side."""
    model = learner(tiny).eval()
    both = rank_split(model, tiny, "test", resamples=0)
    one = rank_split(model, tiny, "test", side=side, resamples=0)
    assert set(one.figures.sides) == {"both", side}
    assert one.figures.sides["both"] == one.figures.sides[side] == both.figures.sides[side]
    assert one.figures.macro[side] == both.figures.macro[side]
    assert (one.num_triples, one.num_rankings) == (both.num_triples, both.num_rankings // 2)
    assert {item.side for item in one.figures.relations} == {"both", side}


def test_scores_need_no_inverse_rows(tiny):
    """Tail queries score; the gradient reaches the rows of the relations that were asked."""
    model = learner(tiny, sides="tail").train()

    model.entities.prepare_training(Rule(OptimizerConfig(name="sgd")))
    loss = model.loss(model.batches(tiny, seed=0, epoch=0)[0])
    loss.backward()
    assert torch.isfinite(loss)
    assert (model.relations.grad.abs().sum(1) > 0).all()
