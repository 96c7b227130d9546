"""Rules applied to queries: which answers they give, and one score an answer from the confidences of its rules.

Rules stand in the order of falling confidence, so the rules of an answer, sorted by number, are sorted by confidence.
Scores of a query are in the order of the aggregation, exactly: where two answers differ in it, so do their scores.
Plain twin: tests/reference/rules.py.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from corollary.kernels import compiled
from corollary.kernels.paths import NOBODY, Links, Room, Trie, begin, reach, room, walk_chain
from corollary.kernels.rule_counts import inverse_of, subjects

MAX, MAXPLUS, NOISY_OR, NON_REDUNDANT = 0, 1, 2, 3


class Table(NamedTuple):
    """Rules arranged by the query that they answer. Directed relation d of a query has nodes of its own in the trie."""

    trie: Trie
    nodes: Int[np.ndarray, " directed_bounds"]
    """First node of each directed relation."""
    chain_bounds: Int[np.ndarray, " nodes_bounds"]
    chain_rules: Int[np.ndarray, " chains"]
    """By node: rules whose answers are the ends of the chain."""
    end_bounds: Int[np.ndarray, " nodes_bounds"]
    end_values: Int[np.ndarray, " ends"]
    """By node of depth 1: constants that a rule's body ends in, ascending."""
    end_rules: Int[np.ndarray, " ends"]
    free_bounds: Int[np.ndarray, " nodes_bounds"]
    free_rules: Int[np.ndarray, " free"]
    """By node of depth 1: rules with a constant answer whose body may end anywhere."""
    long_bounds: Int[np.ndarray, " directed_bounds"]
    long_rules: Int[np.ndarray, " long"]
    """By directed relation: rules with a constant answer and a body of several steps."""
    subject_keys: Int[np.ndarray, " keys"]
    """head * entities + answer of the rules with a constant answer, ascending, each once."""
    subject_bounds: Int[np.ndarray, " keys_bounds"]
    subject_rules: Int[np.ndarray, " subjects"]
    answers: Int[np.ndarray, " rules"]
    ends: Int[np.ndarray, " rules"]
    chains: Int[np.ndarray, "rules longest"]
    confidences: Float[np.ndarray, " rules"]
    """Falling."""
    levels: Int[np.ndarray, " rules"]
    """Number of the confidence among the different ones, from 0."""
    clusters: Int[np.ndarray, " rules"]
    """Rules of one cluster say much the same."""


@compiled()
def _emit(
    found: Int[np.ndarray, " room"], size: int, entity: int, rule: int, num_rules: int
) -> tuple[Int[np.ndarray, " room"], int]:
    if size == len(found):
        larger = np.empty(2 * size, np.int64)
        larger[:size] = found
        found = larger
    found[size] = entity * num_rules + rule
    return found, size + 1


@compiled()
def _position(values: Int[np.ndarray, " values"], low: int, high: int, wanted: int) -> int:
    """The first place from `low` on whose value is not below `wanted`."""
    while low < high:
        middle = (low + high) // 2
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@compiled()
def fire(
    table: Table,
    links: Links,
    space: Room,
    entity: int,
    relation: int,
    num_relations: int,
    distinct: bool,
    found: Int[np.ndarray, " room"],
) -> tuple[Int[np.ndarray, " room"], int]:
    """All (answer, rule) of one query, as answer * rules + rule, in no order; the buffer, grown, and their number."""
    num_rules, size = len(table.levels), 0
    begin(space, entity)
    node = table.nodes[relation]
    while node < table.nodes[relation + 1]:
        ends = reach(links, space, table.trie, node, entity, NOBODY, distinct)
        if ends == 0:
            node = table.trie.skips[node]
            continue
        listed = space.nodes[table.trie.depths[node]]
        for at in range(table.chain_bounds[node], table.chain_bounds[node + 1]):
            for place in range(ends):
                found, size = _emit(found, size, listed[place], table.chain_rules[at], num_rules)
        first, last = table.end_bounds[node], table.end_bounds[node + 1]
        if first < last:
            for place in range(ends):
                at = _position(table.end_values, first, last, listed[place])
                while at < last and table.end_values[at] == listed[place]:
                    rule = table.end_rules[at]
                    if not (distinct and table.answers[rule] == entity):
                        found, size = _emit(found, size, table.answers[rule], rule, num_rules)
                    at += 1
        for at in range(table.free_bounds[node], table.free_bounds[node + 1]):
            rule = table.free_rules[at]
            answer = table.answers[rule]
            if not distinct or (answer != entity and (ends > 1 or listed[0] != answer)):
                found, size = _emit(found, size, answer, rule, num_rules)
        node += 1
    for at in range(table.long_bounds[relation], table.long_bounds[relation + 1]):
        rule = table.long_rules[at]
        answer, end = table.answers[rule], table.ends[rule]
        if distinct and answer == entity:
            continue
        ends = walk_chain(links, space, table.chains[rule], entity, answer, distinct)
        if ends and (end < 0 or space.seen[end] == space.counters[0]):
            found, size = _emit(found, size, answer, rule, num_rules)
    key = inverse_of(relation, num_relations) * (len(links.segments) - 1) + entity
    at = _position(table.subject_keys, 0, len(table.subject_keys), key)
    if at < len(table.subject_keys) and table.subject_keys[at] == key:
        for place in range(table.subject_bounds[at], table.subject_bounds[at + 1]):
            rule = table.subject_rules[place]
            count, depth = subjects(
                links, space, table.chains[rule], table.ends[rule], entity, num_relations, distinct
            )
            for who in range(count):
                found, size = _emit(found, size, space.nodes[depth, who], rule, num_rules)
    return found, size


@compiled()
def fire_all(
    table: Table,
    links: Links,
    entities: Int[np.ndarray, " queries"],
    relations: Int[np.ndarray, " queries"],
    num_relations: int,
    distinct: bool,
) -> tuple[Int[np.ndarray, " queries_bounds"], Int[np.ndarray, " fired"], Int[np.ndarray, " fired"]]:
    """By query: the answers, ascending, and the rules that give them, by falling confidence.

    Memory: 24 bytes a pair of answer and rule.
    """
    space = room(len(links.segments) - 1, table.chains.shape[1])
    found, kept, used = np.empty(1024, np.int64), np.empty(1024, np.int64), 0
    offsets = np.zeros(len(entities) + 1, np.int64)
    for query in range(len(entities)):
        found, size = fire(
            table, links, space, entities[query], relations[query], num_relations, distinct, found
        )
        while used + size > len(kept):
            larger = np.empty(2 * len(kept), np.int64)
            larger[:used] = kept[:used]
            kept = larger
        kept[used : used + size] = np.sort(found[:size])
        used += size
        offsets[query + 1] = used
    num_rules = max(1, len(table.levels))
    return offsets, kept[:used] // num_rules, kept[:used] % num_rules


@compiled()
def score_all(
    table: Table,
    links: Links,
    entities: Int[np.ndarray, " queries"],
    relations: Int[np.ndarray, " queries"],
    num_relations: int,
    distinct: bool,
    way: int,
    best: int,
) -> tuple[Int[np.ndarray, " queries_bounds"], Int[np.ndarray, " answers"], Float[np.ndarray, " answers"]]:
    """By query: the answers that any rule gives, ascending, with their scores in (0, 1].

    Args:
        way: MAX, MAXPLUS, NOISY_OR or NON_REDUNDANT.
        best: rules an answer (clusters with NON_REDUNDANT) that NOISY_OR counts.
    """
    space = room(len(links.segments) - 1, table.chains.shape[1])
    found = np.empty(1024, np.int64)
    ids, scores, used = np.empty(1024, np.int64), np.empty(1024, np.float64), 0
    offsets = np.zeros(len(entities) + 1, np.int64)
    num_rules = len(table.levels)
    for query in range(len(entities)):
        found, size = fire(
            table, links, space, entities[query], relations[query], num_relations, distinct, found
        )
        fired = np.sort(found[:size])
        bounds, count = np.empty(size + 1, np.int64), 0
        for at in range(size):
            if at == 0 or fired[at] // num_rules != fired[at - 1] // num_rules:
                bounds[count] = at
                count += 1
        bounds[count] = size
        while used + count > len(ids):
            more_ids, more_scores = np.empty(2 * len(ids), np.int64), np.empty(2 * len(ids), np.float64)
            more_ids[:used], more_scores[:used] = ids[:used], scores[:used]
            ids, scores = more_ids, more_scores
        for at in range(count):
            ids[used + at] = fired[bounds[at]] // num_rules
        rules = fired % num_rules
        mine = scores[used : used + count]
        if way == MAXPLUS:
            _maxplus(table, rules, bounds[: count + 1], mine)
        else:
            _noisy_or(
                table, rules, bounds[: count + 1], 1 if way == MAX else best, way == NON_REDUNDANT, mine
            )
        used += count
        offsets[query + 1] = used
    return offsets, ids[:used], scores[:used]


@compiled()
def _noisy_or(
    table: Table,
    rules: Int[np.ndarray, " fired"],
    bounds: Int[np.ndarray, " answers_bounds"],
    best: int,
    by_cluster: bool,
    out: Float[np.ndarray, " answers"],
) -> None:
    """1 - product of (1 - confidence) over the best rules of each answer, or over the best of the best clusters."""
    used = np.empty(best, np.int64)
    for answer in range(len(out)):
        count, miss = 0, 1.0
        for at in range(bounds[answer], bounds[answer + 1]):
            cluster, again = table.clusters[rules[at]], False
            for other in range(count):
                again |= by_cluster and used[other] == cluster
            if again:
                continue
            used[count] = cluster
            count += 1
            miss *= 1.0 - table.confidences[rules[at]]
            if count == best:
                break
        out[answer] = table.confidences[rules[bounds[answer]]] if count == 1 else 1.0 - miss


@compiled()
def _before(
    levels: Int[np.ndarray, " rules"], rules: Int[np.ndarray, " fired"], bounds: Int[np.ndarray, " answers_bounds"],
    first: int, second: int,
) -> int:  # fmt: skip
    """-1 where the confidences of the first answer are the greater, 1 where the second's are, 0 where they are equal."""
    one, other = bounds[first], bounds[second]
    while one < bounds[first + 1] and other < bounds[second + 1]:
        difference = levels[rules[one]] - levels[rules[other]]
        if difference != 0:
            return -1 if difference < 0 else 1
        one += 1
        other += 1
    left, right = bounds[first + 1] - one, bounds[second + 1] - other
    return 0 if left == right else (-1 if left > right else 1)


@compiled()
def _maxplus(
    table: Table,
    rules: Int[np.ndarray, " fired"],
    bounds: Int[np.ndarray, " answers_bounds"],
    out: Float[np.ndarray, " answers"],
) -> None:
    """Answers in the order of their best confidence, then their second best, and so on, as scores near the best.

    Each score is the best confidence, lowered by single bits where the order asks for it.
    """
    order, other = np.arange(len(out)), np.empty(len(out), np.int64)
    width = 1
    while width < len(out):  # merge sort, from pairs upwards
        for low in range(0, len(out), 2 * width):
            middle, high = min(low + width, len(out)), min(low + 2 * width, len(out))
            left, right = low, middle
            for place in range(low, high):
                if left < middle and (
                    right == high or _before(table.levels, rules, bounds, order[left], order[right]) <= 0
                ):
                    other[place] = order[left]
                    left += 1
                else:
                    other[place] = order[right]
                    right += 1
        order, other = other, order
        width *= 2
    last = 2.0
    for place in range(len(out)):
        answer = order[place]
        if place and _before(table.levels, rules, bounds, order[place - 1], answer) == 0:
            out[answer] = last
            continue
        last = min(table.confidences[rules[bounds[answer]]], np.nextafter(last, 0.0))
        out[answer] = last
