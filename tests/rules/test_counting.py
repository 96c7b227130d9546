"""Counts equal those of a brute-force counter, whatever the graph, the rule and the limit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corollary.errors import PlanDoesNotFit
from corollary.rules.counting import Counting, count, interval
from corollary.rules.rule import Rule, Rules, links_of
from tests.reference import rules as slow

ENTITIES, RELATIONS = 6, 2
STEP = st.integers(0, 2 * RELATIONS - 1)
ENTITY = st.integers(0, ENTITIES - 1)
TRIPLES = st.lists(st.tuples(ENTITY, st.integers(0, RELATIONS - 1), ENTITY), min_size=1, max_size=30)
CHAIN = st.tuples(st.integers(0, RELATIONS - 1), st.lists(STEP, min_size=1, max_size=4).map(tuple))
CONSTANT = st.tuples(
    STEP, st.lists(STEP, min_size=1, max_size=3).map(tuple), ENTITY, st.sampled_from([-1, *range(ENTITIES)])
)
RULES = st.lists(CHAIN | CONSTANT, min_size=1, max_size=6)


def links(triples):
    return links_of(np.array(triples).reshape(-1, 3), ENTITIES, RELATIONS)


@settings(max_examples=150, deadline=None)
@given(triples=TRIPLES, heldout=TRIPLES, rules=RULES, distinct=st.booleans())
def test_counts_equal_brute_force(triples, heldout, rules, distinct):
    """Pairs, support, PCA pairs, size of the head and held-out support, chains and constants together."""
    rules = [Rule(*parts) for parts in rules]
    how = Counting(distinct=distinct)
    found = count(Rules.of(rules, RELATIONS), links(triples), heldout=links(heldout), how=how)
    for row, rule in enumerate(rules):
        expected = slow.counts(triples, rule, ENTITIES, RELATIONS, distinct=distinct)
        assert (found.pairs[row], found.support[row], found.pca_pairs[row], found.head_size[row]) == expected
        later = slow.counts(triples, rule, ENTITIES, RELATIONS, distinct=distinct, facts=heldout)
        assert (found.heldout_support[row], found.heldout_size[row]) == (later[1], later[3])


def random_triples(seed=0, size=300, entities=40, relations=3):
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, n, size) for n in (entities, relations, entities)], 1)


def some_rules(size=60, relations=3, seed=1):
    rng = np.random.default_rng(seed)
    return Rules.of(
        [
            Rule(
                int(rng.integers(relations)),
                tuple(rng.integers(0, 2 * relations, rng.integers(1, 4)).tolist()),
            )
            for _ in range(size)
        ],
        relations,
    )


def test_a_smaller_limit_changes_no_count():
    """One walker or three, much memory or just enough."""
    graph, rules = links_of(random_triples(), 40, 3), some_rules()
    first = count(rules, graph)
    for how in (Counting(parts=1), Counting(parts=3), Counting(parts=3, most_bytes=6000)):
        other = count(rules, graph, how=how)
        assert (first.pairs == other.pairs).all()
        assert (first.support == other.support).all()
        assert (first.pca_pairs == other.pca_pairs).all()


def test_too_small_a_limit_is_named():
    with pytest.raises(PlanDoesNotFit, match=r"counting 60 rules on 40 entities needs 0\.0 MiB"):
        count(some_rules(), links_of(random_triples(), 40, 3), how=Counting(most_bytes=100))


def test_a_sample_says_so():
    """Above the limit on the work starts are drawn; the share stands beside the counts, and its interval holds the
    exact confidence of nearly all rules."""
    graph, rules = links_of(random_triples(size=4000, entities=400), 400, 3), some_rules()
    exact = count(rules, graph)
    drawn = count(rules, graph, how=Counting(most_edges=200_000))
    assert (exact.sampled == 1).all()
    assert 0.1 < drawn.sampled[0] < 0.9
    assert drawn.pairs.sum() < exact.pairs.sum()
    low, high = interval(drawn.support, drawn.pairs)
    share = exact.confidence("standard")
    inside = ((low <= share) & (share <= high))[drawn.pairs > 0]
    assert inside.mean() > 0.8


def test_confidences_are_what_their_names_say():
    """Four facts of the head, three pairs of the body, two of them facts."""
    triples = np.array([[0, 0, 1], [2, 0, 3], [4, 0, 5], [4, 0, 1], [0, 1, 1], [2, 1, 3], [3, 1, 5]])
    found = count(Rules.of([Rule(0, (1,))], 2), links_of(triples, 6, 2))
    assert (found.pairs[0], found.support[0], found.head_size[0]) == (3, 2, 4)
    assert found.confidence("standard")[0] == 2 / 3
    assert found.confidence("laplace")[0] == 2 / 8
    assert found.confidence("pca")[0] == 1.0  # 3 has no fact of the head: nothing is known of it
    assert found.head_coverage[0] == 0.5
    assert np.isnan(found.confidence("heldout")[0])
