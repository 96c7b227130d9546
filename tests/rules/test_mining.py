"""Mining finds every rule of its kind that has the support, with the right counts."""

from itertools import product

import numpy as np
import pytest

from corollary.errors import ConfigError
from corollary.kernels.body_candidates import chains_between
from corollary.rules.counting import Counting
from corollary.rules.mining import Mining, mine, restricted
from corollary.rules.rule import Rule, links_of
from tests.reference import rules as slow
from tests.rules.test_counting import random_triples


@pytest.mark.parametrize("distinct", [True, False])
@pytest.mark.parametrize("longest", [1, 2, 3])
def test_chains_beside_a_fact(longest, distinct):
    """As the slow enumeration of all bodies finds them, the fact's own edge left out."""
    triples = random_triples(size=40, entities=8, relations=2)
    graph = links_of(triples, 8, 2)
    for head, relation, tail in triples[:12].tolist():
        codes, counts, cut = chains_between(
            graph, np.array([head]), np.array([tail]), relation, 2, longest, distinct, 10**9
        )
        found = {
            tuple(s for s in (code // 5**at % 5 - 1 for at in range(3)) if s >= 0) for code in codes.tolist()
        }
        fact = (head, relation, tail)
        assert found == slow.chains_between(triples.tolist(), fact, 2, longest, distinct=distinct)
        assert (counts == 1).all()
        assert cut == 0


@pytest.mark.parametrize("distinct", [True, False])
def test_every_rule_with_support_is_found(distinct):
    """Among all chains of up to two steps and all rules with constants of one, with brute-force counts."""
    triples = random_triples(size=30, entities=7, relations=2)
    graph = links_of(triples, 7, 2)
    mining = Mining(longest=2, min_support=2, redundant=True)
    found = mine(graph, 2, mining=mining, how=Counting(distinct=distinct))
    by_rule = {rule: row for row, rule in enumerate(found)}
    chains = [Rule(r, body) for r in range(2) for n in (1, 2) for body in product(range(4), repeat=n)]
    constants = [
        Rule(head, (step,), answer, end)
        for head, step, answer, end in product(range(4), range(4), range(7), range(-1, 7))
        if not (head == step and answer == end)
    ]
    chains = [rule for rule in chains if rule.body != (rule.head,)]
    missed = 0
    for rule in chains + constants:
        counts = slow.counts(triples.tolist(), rule, 7, 2, distinct=distinct)
        if rule in by_rule:
            row = by_rule[rule]
            assert (
                found.pairs[row],
                found.support[row],
                found.pca_pairs[row],
                found.head_size[row],
            ) == counts
            assert counts[1] >= 2
        elif counts[1] >= 2:
            missed += 1
    assert len(by_rule) > 20
    # what only a fact's own edge supports (r because of r and back) is not looked for where walks may turn back
    assert missed == 0 if distinct else missed < 10


def test_only_targets_and_only_body_relations():
    """What is listed, and nothing else; ids keep their meaning."""
    triples = random_triples(size=120, entities=12, relations=4)
    found = mine(links_of(triples, 12, 4), 4, targets=[1], body_relations=[2, 3])
    assert set(found.relations.tolist()) == {1}
    assert set((found.bodies[found.bodies >= 0] % 4).tolist()) <= {2, 3}
    for row, rule in list(enumerate(found))[:20]:
        assert found.pairs[row] == slow.counts(triples.tolist(), rule, 12, 4, distinct=True)[0]


def test_restricted_links_hold_the_edges_of_some_relations():
    triples = random_triples(size=120, entities=12, relations=4)
    found = restricted(links_of(triples, 12, 4), [1, 3], 4)
    expected = links_of(triples[np.isin(triples[:, 1], [1, 3])], 12, 4)
    for name in found._fields:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_a_more_special_rule_of_no_more_use_goes():
    """head(X, c) <= body(X, e) beside head(X, c) <= body(X, A) of the same confidence."""
    triples = random_triples(size=120, entities=12, relations=3)
    graph = links_of(triples, 12, 3)
    every, some = mine(graph, 3, mining=Mining(redundant=True)), mine(graph, 3)
    confidence = dict(zip(every, every.confidence(), strict=True))
    gone = set(every) - set(some)
    assert gone
    for rule in gone:
        assert confidence[Rule(rule.head, rule.body, rule.answer)] >= confidence[rule]


def test_chains_that_are_too_long_are_refused():
    with pytest.raises(ConfigError, match="longest = 4: Input should be less than or equal to 3"):
        Mining.build({"longest": 4})


def test_of_chains_that_give_the_same_pairs_the_best_stays():
    """Two relations with the same facts but one: at a similarity of .5 one rule is left, at 1 both."""
    triples = [(h, r, h + 20) for h in range(20) for r in range(3)]
    triples.append((3, 1, 30))
    graph = links_of(np.array(triples), 45, 3)
    mining = Mining(longest=1, constants=False)
    assert len(mine(graph, 3, targets=[0], mining=mining)) == 2
    left = mine(graph, 3, targets=[0], mining=mining.changed(similar=0.5))
    assert [rule.body for rule in left] == [(2,)]
