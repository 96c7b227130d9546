"""Exact counts of rules: how many pairs a body links, and how many of them are facts of the head.

Starts are walked one after the other, all chains of the trie together; a thread has every `parts`-th start and its
own counts, which are whole numbers, so nothing depends on the number of threads. Plain twin: tests/reference/rules.py.
"""

import numpy as np
from jaxtyping import Bool, Int, UInt
from numba import prange

from corollary.kernels import compiled
from corollary.kernels.paths import NOBODY, Links, Room, Trie, begin, linked, reach, room, segment, walk_chain
from corollary.kernels.splitmix import GOLDEN, mixed

PAIRS, SUPPORT, PCA = 0, 1, 2


@compiled(parallel=True)
def count_chains(
    links: Links,
    facts: Links,
    trie: Trie,
    bounds: Int[np.ndarray, " nodes_bounds"],
    heads: Int[np.ndarray, " rules"],
    by_answer: Bool[np.ndarray, " rules"],
    starts: Int[np.ndarray, " starts"],
    num_relations: int,
    distinct: bool,
    parts: int,
) -> tuple[Int[np.ndarray, "parts rules 3"], Int[np.ndarray, " parts"]]:
    """Pairs, support and PCA pairs of every rule over the given starts, and the edges looked at, by part.

    Args:
        facts: what a head is compared with; may be another graph than the bodies are walked in.
        bounds: rules `bounds[n]` to `bounds[n + 1]` have node n of the trie as their body.
        by_answer: PCA counts pairs whose answer (not whose start) has a fact of the head.
    """
    num_entities = len(links.segments) - 1
    deepest = trie.chains.shape[1]
    counts = np.zeros((parts, len(heads), 3), np.int64)
    visited = np.zeros(parts, np.int64)
    for part in prange(parts):
        space = room(num_entities, deepest)
        tally = counts[part]
        for number in range(part, len(starts), parts):
            start = starts[number]
            if links.segments[start] == links.segments[start + 1]:
                continue
            begin(space, start)
            node = 0
            while node < len(trie.steps):
                size = reach(links, space, trie, node, start, NOBODY, distinct)
                if size == 0:
                    node = trie.skips[node]
                    continue
                for rule in range(bounds[node], bounds[node + 1]):
                    _count_rule(
                        facts, space, trie.depths[node], size, start, heads[rule], num_relations,
                        by_answer[rule], tally[rule],
                    )  # fmt: skip
                node += 1
        visited[part] = space.counters[1]
    return counts, visited


@compiled()
def _count_rule(
    facts: Links,
    space: Room,
    depth: int,
    size: int,
    start: int,
    head: int,
    num_relations: int,
    by_answer: bool,
    tally: Int[np.ndarray, " 3"],
) -> None:
    """Add what the ends of one start say about one rule."""
    tally[PAIRS] += size
    found = segment(facts, start, head)
    if found >= 0:
        walk = space.counters[0]
        for edge in range(facts.starts[found], facts.starts[found + 1]):
            tally[SUPPORT] += space.seen[facts.targets[edge]] == walk
        if not by_answer:
            tally[PCA] += size
    if by_answer:
        inverse = inverse_of(head, num_relations)
        for at in range(size):
            tally[PCA] += segment(facts, space.nodes[depth, at], inverse) >= 0


@compiled(parallel=True)
def count_constants(
    links: Links,
    facts: Links,
    chains: Int[np.ndarray, "rules longest"],
    ends: Int[np.ndarray, " rules"],
    heads: Int[np.ndarray, " rules"],
    answers: Int[np.ndarray, " rules"],
    by_answer: Bool[np.ndarray, " rules"],
    num_relations: int,
    distinct: bool,
    parts: int,
) -> Int[np.ndarray, "rules 3"]:
    """The same of rules head(X, answer) whose body leads from X to the constant `end`; -1: to anything.

    Cost: the walks backwards from the constant; for a body that may end anywhere, one walk from each entity that has
    its first step.
    """
    num_entities = len(links.segments) - 1
    counts = np.zeros((len(heads), 3), np.int64)
    for part in prange(parts):
        space = room(num_entities, chains.shape[1])
        for rule in range(part, len(heads), parts):
            head, answer, tally = heads[rule], answers[rule], counts[rule]
            inverse = inverse_of(head, num_relations)
            size, depth = subjects(links, space, chains[rule], ends[rule], answer, num_relations, distinct)
            for at in range(size):
                subject = space.nodes[depth, at]
                tally[PAIRS] += 1
                tally[SUPPORT] += linked(facts, subject, head, answer)
                if not by_answer[rule]:
                    tally[PCA] += segment(facts, subject, head) >= 0
            if by_answer[rule] and segment(facts, answer, inverse) >= 0:
                tally[PCA] = tally[PAIRS]
    return counts


@compiled()
def subjects(
    links: Links,
    space: Room,
    chain: Int[np.ndarray, " longest"],
    end: int,
    answer: int,
    num_relations: int,
    distinct: bool,
) -> tuple[int, int]:
    """The entities from which the body holds, at some depth of the room: how many, and the depth."""
    length = len(chain)
    while chain[length - 1] < 0:
        length -= 1
    if end >= 0:
        backwards = np.empty(length, np.int64)
        for at in range(length):
            backwards[at] = inverse_of(chain[length - 1 - at], num_relations)
        return walk_chain(links, space, backwards, end, answer, distinct), length
    size, spare = 0, len(space.nodes) - 1
    for at in range(links.firsts[chain[0]], links.firsts[chain[0] + 1]):
        entity = links.bearers[at]
        if length == 1:
            holds = leads_on(links, entity, chain[0], answer, distinct)
        else:
            holds = (not distinct or entity != answer) and (
                walk_chain(links, space, chain, entity, answer, distinct) > 0
            )
        if holds:
            space.nodes[spare, size] = entity
            size += 1
    return size, spare


@compiled()
def leads_on(links: Links, entity: int, step: int, answer: int, distinct: bool) -> bool:
    """Whether one step leads to anything; for distinct variables, to neither the entity nor the answer, from another."""
    found = segment(links, entity, step)
    if found < 0 or (distinct and entity == answer):
        return False
    first, last = links.starts[found], links.starts[found + 1]
    if not distinct or last - first > 2:
        return True
    for edge in range(first, last):
        if links.targets[edge] != entity and links.targets[edge] != answer:
            return True
    return False


@compiled()
def bearers_of_both(
    links: Links, facts: Links, directed: int, distinct: bool
) -> Int[np.ndarray, "steps heads"]:
    """How many entities have a step (to another entity, for distinct variables) and a fact of a head.

    The last column counts entities whatever their facts. Cost: pairs of steps and heads of every entity.
    """
    counts = np.zeros((directed, directed + 1), np.int64)
    for entity in range(len(links.segments) - 1):
        for one in range(links.segments[entity], links.segments[entity + 1]):
            step = links.steps[one]
            if not leads_on(links, entity, step, -1, distinct):
                continue
            counts[step, directed] += 1
            for two in range(facts.segments[entity], facts.segments[entity + 1]):
                counts[step, facts.steps[two]] += 1
    return counts


@compiled(parallel=True)
def count_free(
    links: Links,
    facts: Links,
    both: Int[np.ndarray, "steps heads"],
    steps: Int[np.ndarray, " rules"],
    heads: Int[np.ndarray, " rules"],
    answers: Int[np.ndarray, " rules"],
    by_answer: Bool[np.ndarray, " rules"],
    num_relations: int,
    distinct: bool,
) -> Int[np.ndarray, "rules 3"]:
    """`count_constants` for bodies of one step that may end anywhere: from `bearers_of_both`, less what the constant
    bars.

    Cost: the facts of the constant, not the entities that have the step.
    """
    counts = np.zeros((len(heads), 3), np.int64)
    for rule in prange(len(heads)):
        step, head, answer, tally = steps[rule], heads[rule], answers[rule], counts[rule]
        pairs, pca = both[step, both.shape[1] - 1], both[step, head]
        if distinct:
            if leads_on(links, answer, step, -1, True):
                pairs -= 1
                pca -= segment(facts, answer, head) >= 0
            back = segment(links, answer, inverse_of(step, num_relations))
            if back >= 0:
                for edge in range(links.starts[back], links.starts[back + 1]):
                    subject = links.targets[edge]
                    if subject != answer and not leads_on(links, subject, step, answer, True):
                        pairs -= 1
                        pca -= segment(facts, subject, head) >= 0
        known = segment(facts, answer, inverse_of(head, num_relations))
        if known >= 0:
            for edge in range(facts.starts[known], facts.starts[known + 1]):
                tally[SUPPORT] += leads_on(links, facts.targets[edge], step, answer, distinct)
        tally[PAIRS] = pairs
        tally[PCA] = (pairs if known >= 0 else 0) if by_answer[rule] else pca
    return counts


@compiled()
def inverse_of(step: int, num_relations: int) -> int:
    return step + num_relations if step < num_relations else step - num_relations


@compiled()
def pair_signatures(
    links: Links,
    trie: Trie,
    bounds: Int[np.ndarray, " nodes_bounds"],
    num_rules: int,
    starts: Int[np.ndarray, " starts"],
    hashes: int,
    distinct: bool,
) -> UInt[np.ndarray, "rules hashes"]:
    """The least values of so many hash functions over the pairs of each rule (Broder 1997)."""
    space = room(len(links.segments) - 1, trie.chains.shape[1])
    least = np.full((len(trie.steps), hashes), np.uint64(0xFFFFFFFFFFFFFFFF))
    for start in starts:
        begin(space, start)
        node = 0
        while node < len(trie.steps):
            size = reach(links, space, trie, node, start, NOBODY, distinct)
            if size == 0:
                node = trie.skips[node]
                continue
            if bounds[node] < bounds[node + 1]:
                for at in range(size):
                    pair = np.uint64(start) * np.uint64(len(links.segments)) + np.uint64(
                        space.nodes[trie.depths[node], at]
                    )
                    for number in range(hashes):
                        value = mixed(pair + np.uint64(number + 1) * GOLDEN)
                        if value < least[node, number]:
                            least[node, number] = value
            node += 1
    result = np.empty((num_rules, hashes), np.uint64)
    for node in range(len(trie.steps)):
        for rule in range(bounds[node], bounds[node + 1]):
            result[rule] = least[node]
    return result
