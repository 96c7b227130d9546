"""What a step asks never travels as a message, and candidates come from train alone."""

import numpy as np
import pytest

from corollary.errors import ConfigError
from corollary.graph.pairs import linked_pairs, pair_numbers
from corollary.graph.typed_links import TypedLinks
from corollary.learners.hgt.config import LinksConfig
from corollary.learners.hgt.questions import Links, WholeGraph, leaked
from corollary.learners.protocol import Place


def asks(graph, **options):
    return Links(graph, LinksConfig.build({"folds": 4, **options}), TypedLinks.of(graph))


def test_no_message_goes_between_the_ends_of_a_pair_that_is_asked_for(typed):
    """Counted edge by edge, over three epochs: treated pairs are palliated too, and hidden in both directions."""
    links = asks(typed)
    for epoch in range(3):
        for batch in WholeGraph(links, seed=0, epoch=epoch):
            assert len(batch) > 0
            assert leaked(batch, links) == 0


def test_the_audit_sees_a_leak(typed):
    """Without hiding parallel relations a palliated pair gives a treated one away, and without hiding all is given."""
    same = asks(typed, parallel="same")
    assert sum(leaked(batch, same) for batch in WholeGraph(same, seed=0, epoch=0)) > 0
    batch = WholeGraph(same, seed=0, epoch=0)[0]
    batch.removed[:] = 0
    assert leaked(batch, same) >= 2 * len(batch)


def test_named_relations_hide_each_other_and_no_other(typed):
    """Treats and palliates are hidden together; a pair's other relations still carry messages."""
    triples = np.asarray(typed.triples("train"))
    numbers = pair_numbers(triples, typed.num_entities, typed.num_relations, (0, 1))
    by_pair: dict[tuple, dict[int, int]] = {}
    for (h, r, t), number in zip(triples.tolist(), numbers.tolist(), strict=True):
        by_pair.setdefault((min(h, t), max(h, t)), {})[r] = number
    both = [found for found in by_pair.values() if {0, 1} <= set(found)]
    assert both
    assert all(found[0] == found[1] for found in both)
    assert len(set(numbers.tolist())) == sum(len(set(found.values())) for found in by_pair.values())


def test_an_epoch_asks_for_every_pair_once(typed):
    """Folds cut pairs, not rows: what links the same two is asked for in the same step."""
    links = asks(typed)
    batches = list(WholeGraph(links, seed=0, epoch=1))
    asked = np.concatenate([batch.triples for batch in batches])
    assert sorted(asked.tolist()) == list(range(len(links.pairs)))
    for batch in batches:
        inside = np.isin(links.pairs, links.pairs[batch.triples])
        assert inside.sum() == len(batch)


def test_at_most_so_many_edges_of_a_relation_are_asked_for(typed):
    links = asks(typed, edges_per_type=3, folds=2, relations=["treats", "binds"])
    batch = WholeGraph(links, seed=0, epoch=0)[0]
    assert np.bincount(links.relations[batch.triples], minlength=5).tolist() == [3, 0, 3, 0, 0]


@pytest.mark.parametrize("name", ["uniform", "degree", "matched"])
@pytest.mark.parametrize("count", [5, 100])
def test_candidates_are_of_the_answers_type_and_not_known_to_train(typed, name, count):
    """Valid and test facts are not looked at: some of them are drawn as negatives, as any untrue fact is."""
    links = asks(typed, negatives={"count": count, "name": name})
    known = {(int(h), int(r), int(t)) for h, r, t in typed.triples("train")}
    held = {(int(h), int(r), int(t)) for s in ("valid", "test") for h, r, t in typed.triples(s)}
    met, order, kinds = set(), links.nodes.order, typed.types
    for epoch in range(12):
        for question in WholeGraph(links, seed=0, epoch=epoch)[0].questions:
            relation, tail = question.relation % 5, question.relation < 5
            masked = set(map(tuple, question.known.T.tolist()))
            assert len(question.candidates) <= count
            for asking, row in enumerate(question.asking.tolist()):
                for place, candidate in enumerate(question.candidates.tolist()):
                    ends = (order[row], order[candidate]) if tail else (order[candidate], order[row])
                    fact = (int(ends[0]), relation, int(ends[1]))
                    assert ((asking, place) in masked) == (fact in known)
                    if (asking, place) not in masked and fact in held:
                        met.add(fact)
            answer_kinds = set(kinds[order[question.answers.numpy()]].tolist())
            assert set(kinds[order[question.candidates.numpy()]].tolist()) == answer_kinds
    assert met, "held-out facts must be drawn like any other"


@pytest.mark.parametrize("name", ["uniform", "degree", "matched"])
def test_weights_of_candidates_make_the_sum_right_on_average(typed, name):
    """log-q: the expected weight of every entity is one, however it is drawn (4,000 draws: within 4 deviations)."""
    links = asks(typed, negatives={"count": 5, "name": name})
    kind = next(k for k in links.links.edge_types if k.relation == 0)
    first, last = links.nodes.starts[kind.target], links.nodes.starts[kind.target + 1]
    total, squares = np.zeros(last - first), np.zeros(last - first)
    for step in range(4000):
        rows, log_weights = links.chances.draw(kind, Place(0, 0, step))
        total[rows - first] += np.exp(log_weights)
        squares[rows - first] += np.exp(log_weights) ** 2
    mean = total / 4000
    deviation = np.sqrt((squares / 4000 - mean**2) / 4000)
    assert (np.abs(mean - 1) < 4 * deviation + 1e-6).all()


def test_a_batch_is_the_same_whoever_makes_it(typed):
    """A function of seed, epoch and step: made alone or after others, by any thread."""
    one, other = (WholeGraph(asks(typed), seed=3, epoch=2) for _ in range(2))
    list(one)
    for number in (2, 0):
        first, second = one[number], other[number]
        assert np.array_equal(first.triples, second.triples)
        for a, b in zip(first.questions, second.questions, strict=True):
            assert a.candidates.tolist() == b.candidates.tolist()
            assert a.known.tolist() == b.known.tolist()
    assert not np.array_equal(one[0].triples, WholeGraph(asks(typed), seed=4, epoch=2)[0].triples)


def test_weights_of_relations_are_shares_of_the_loss(typed):
    """By relation each counts the same or as weighted; by edges each edge does."""
    links = asks(typed, weights={"treats": 3.0, "binds": 0.0})
    batch = WholeGraph(links, seed=0, epoch=0)[0]
    found = {question.relation: question.weight for question in batch.questions}
    assert 2 not in found
    assert found[0] == pytest.approx(3 * found[3])
    assert sum(found.values()) == pytest.approx(1)
    by_edge = WholeGraph(asks(typed, weighting="edges"), seed=0, epoch=0)[0]
    ratios = [question.weight / len(question.answers) for question in by_edge.questions]
    assert ratios == pytest.approx([ratios[0]] * len(ratios))


def test_an_unknown_relation_is_named(typed):
    with pytest.raises(ConfigError, match="treatz"):
        asks(typed, relations=["treatz"])


def test_held_out_pairs_that_train_links_are_counted(typed):
    """Palliated test pairs, told by a plain walk."""
    train, test = np.asarray(typed.triples("train")), np.asarray(typed.triples("test"))
    pairs = {frozenset((int(h), int(t))) for h, _, t in train}
    expected = [i for i, (h, _, t) in enumerate(test) if frozenset((int(h), int(t))) in pairs]
    assert linked_pairs(train, test, typed.num_entities).tolist() == expected
    assert expected
