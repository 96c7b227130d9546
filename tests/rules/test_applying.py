"""Rules answer queries as the brute-force reading of them does, in the order of every aggregation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corollary.errors import ConfigError
from corollary.rules.applying import Application, Applying
from corollary.rules.counting import Counting, count
from corollary.rules.rule import Rule, Rules
from tests.reference import rules as slow
from tests.rules.test_counting import ENTITIES, RELATIONS, RULES, TRIPLES, links, random_triples, some_rules

QUERIES = [(entity, relation) for entity in range(ENTITIES) for relation in range(2 * RELATIONS)]


def asked(queries=QUERIES):
    return tuple(np.array(column, np.int64) for column in zip(*queries, strict=True))


@settings(max_examples=80, deadline=None)
@given(triples=TRIPLES, rules=RULES, distinct=st.booleans())
def test_every_answer_has_the_rules_that_give_it(triples, rules, distinct):
    """Chains asked from either side, constants asked for and asked with, with walks that may or may not turn back."""
    graph = links(triples)
    rules = count(
        Rules.of([Rule(*parts) for parts in rules], RELATIONS).once(), graph, how=Counting(distinct=distinct)
    )
    application = Application(rules, graph, Applying(distinct=distinct))
    offsets, answers, fired = application.fired(*asked())
    kept = list(application.rules)
    for number, query in enumerate(QUERIES):
        mine = slice(offsets[number], offsets[number + 1])
        found: dict[int, list[int]] = {}
        for answer, row in zip(answers[mine].tolist(), fired[mine].tolist(), strict=True):
            found.setdefault(answer, []).append(row)
        expected = slow.answers(triples, kept, query, ENTITIES, RELATIONS, distinct=distinct)
        assert found == expected


@pytest.mark.parametrize("way", ["max", "maxplus", "noisy-or"])
def test_scores_are_in_the_order_of_the_aggregation(way):
    """Greater where it is greater, equal where it is equal, and next to the best rule's confidence."""
    triples = random_triples(size=200, entities=25)
    graph = links_of_25(triples)
    rules = count(some_rules(25), graph)
    application = Application(rules, graph, Applying(aggregation=way, best=3))
    queries = [(entity, relation) for entity in range(25) for relation in range(6)]
    offsets, answers, scores = application.scores(*asked(queries))
    kept, confidences = list(application.rules), application.rules.confidence()
    for number, query in list(enumerate(queries))[::7]:
        expected = slow.answers(triples.tolist(), kept, query, 25, 3, distinct=True)
        mine = slice(offsets[number], offsets[number + 1])
        assert answers[mine].tolist() == sorted(expected)
        orders = [slow.order_of(confidences[expected[a]], way, 3) for a in answers[mine].tolist()]
        got = scores[mine]
        for one in range(len(got)):
            for two in range(len(got)):
                if way == "noisy-or":  # made by the same products, in the same order
                    assert got[one] == pytest.approx(orders[one][0], abs=1e-12)
                else:
                    assert (got[one] > got[two]) == (orders[one] > orders[two])
        if way != "noisy-or":
            np.testing.assert_allclose(got, [order[0] for order in orders], atol=1e-12, rtol=0)


def links_of_25(triples):
    from corollary.rules.rule import links_of

    return links_of(triples, 25, 3)


def test_rules_of_one_cluster_count_once():
    """Two relations with the same facts say the same thing: together no more than one of them."""
    triples = [(0, 0, 1), (2, 0, 3), (0, 1, 1), (2, 1, 3), (4, 1, 5)]
    triples += [(h, 2, t) for h, r, t in triples if r == 1]
    graph = links_of_small(triples)
    rules = count(Rules.of([Rule(0, (1,)), Rule(0, (2,))], 3), graph)
    single = Application(rules, graph, Applying(aggregation="max")).scores(np.array([4]), np.array([0]))[2]
    twice = Application(rules, graph, Applying(aggregation="noisy-or")).scores(np.array([4]), np.array([0]))[
        2
    ]
    once = Application(rules, graph, Applying(aggregation="non-redundant")).scores(
        np.array([4]), np.array([0])
    )[2]
    assert single == once < twice


def links_of_small(triples):
    from corollary.rules.rule import links_of

    return links_of(np.array(triples), 6, 3)


def test_groundings_are_the_walks():
    """Every grounding of a chain is one of the slow walks, and all of them are found."""
    triples = random_triples(size=200, entities=25)
    graph = links_of_25(triples)
    rules = count(some_rules(25), graph)
    application = Application(rules, graph)
    edges = slow.edges_of(triples.tolist(), 3)
    offsets, answers, fired = application.fired(np.arange(25), np.zeros(25, np.int64))
    for query in range(25):
        for at in range(offsets[query], offsets[query + 1]):
            row, answer = int(fired[at]), int(answers[at])
            rule = application.rules[row]
            expected = [w for w in slow.walks(edges, query, rule.body, distinct=True) if w[-1] == answer]
            found = application.groundings(row, query, answer, most=1000)
            assert [ground.entities for ground in found] == sorted(expected)


def test_an_unknown_aggregation_is_named():
    with pytest.raises(ConfigError, match="aggregation = 'maxpluss': Input should be 'max', 'maxplus'"):
        Applying.build({"aggregation": "maxpluss"})
