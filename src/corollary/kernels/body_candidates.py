"""Candidates for bodies, from the bottom up: the chains that lead from start to answer beside known facts.

A chain s1, s2, .. is the number s1 + 1 + (s2 + 1) * base + .., with base = steps + 1; zero stands for no step.
Plain twin: tests/reference/rules.py.
"""

import numpy as np
from jaxtyping import Int

from corollary.kernels import compiled
from corollary.kernels.paths import Links


@compiled()
def chains_between(
    links: Links,
    starts: Int[np.ndarray, " facts"],
    answers: Int[np.ndarray, " facts"],
    relation: int,
    num_relations: int,
    longest: int,
    distinct: bool,
    most_edges: int,
) -> tuple[Int[np.ndarray, " chains"], Int[np.ndarray, " chains"], int]:
    """Chains of up to three steps between start and answer of facts of one directed relation, with the number of
    facts that have each, and how many facts were cut short.

    The fact itself is no part of a chain.

    Args:
        most_edges: edges looked at for a fact before its longest chains are given up (counted in the third result).
    """
    base = 2 * num_relations + 1
    inverse = relation + num_relations if relation < num_relations else relation - num_relations
    num_entities = len(links.segments) - 1
    mark = np.full(num_entities, -1, np.int64)
    first = np.zeros(num_entities, np.int64)
    found, used = np.empty(4096, np.int64), 0
    mine = np.empty(4096, np.int64)
    cut = 0
    for fact in range(len(starts)):
        start, answer = starts[fact], answers[fact]
        if distinct and start == answer:
            continue
        into, steps_in, entries = _around(links, answer, num_relations)
        for at in range(len(into)):  # lists by entity: where the edges into the answer begin
            if mark[into[at]] != fact:
                mark[into[at]], first[into[at]] = fact, at
        size, looked = 0, 0
        for one in range(links.segments[start], links.segments[start + 1]):
            step = links.steps[one]
            for edge in range(links.starts[one], links.starts[one + 1]):
                middle = links.targets[edge]
                if _is_fact(start, step, middle, start, answer, relation, inverse):
                    continue
                if middle == answer:
                    mine, size = _push(mine, size, step + 1)
                    if distinct:
                        continue
                if distinct and middle == start:
                    continue
                if longest >= 2 and mark[middle] == fact:
                    mine, size = _close(
                        mine, size, first[middle], into, steps_in, entries, middle, step + 1, base,
                        start, answer, relation, inverse,
                    )  # fmt: skip
                if longest < 3:
                    continue
                for two in range(links.segments[middle], links.segments[middle + 1]):
                    second = links.steps[two]
                    looked += links.starts[two + 1] - links.starts[two]
                    if looked > most_edges:
                        break
                    for further in range(links.starts[two], links.starts[two + 1]):
                        last = links.targets[further]
                        if mark[last] != fact or _is_fact(
                            middle, second, last, start, answer, relation, inverse
                        ):
                            continue
                        if distinct and (last == start or last == middle or last == answer):
                            continue
                        mine, size = _close(
                            mine, size, first[last], into, steps_in, entries, last,
                            step + 1 + (second + 1) * base, base * base, start, answer, relation, inverse,
                        )  # fmt: skip
        cut += looked > most_edges
        unique = np.unique(mine[:size])
        while used + len(unique) > len(found):
            larger = np.empty(2 * len(found), np.int64)
            larger[:used] = found[:used]
            found = larger
        found[used : used + len(unique)] = unique
        used += len(unique)
    return _tally(np.sort(found[:used]), cut)


@compiled()
def _around(
    links: Links, answer: int, num_relations: int
) -> tuple[Int[np.ndarray, " edges"], Int[np.ndarray, " edges"], Int[np.ndarray, " edges"]]:
    """Edges into an entity, by where they come from: source, step, and the next edge of the same source (or -1)."""
    begin, end = links.starts[links.segments[answer]], links.starts[links.segments[answer + 1]]
    sources = links.targets[begin:end].astype(np.int64)
    steps = np.empty(end - begin, np.int64)
    for one in range(links.segments[answer], links.segments[answer + 1]):
        step = links.steps[one]
        back = step + num_relations if step < num_relations else step - num_relations
        for edge in range(links.starts[one], links.starts[one + 1]):
            steps[edge - begin] = back
    order = np.argsort(sources, kind="mergesort")
    sources, steps = sources[order], steps[order]
    following = np.full(len(sources), -1, np.int64)
    for at in range(len(sources) - 1):
        if sources[at] == sources[at + 1]:
            following[at] = at + 1
    return sources, steps, following


@compiled()
def _is_fact(
    source: int, step: int, target: int, start: int, answer: int, relation: int, inverse: int
) -> bool:
    forward = source == start and target == answer and step == relation
    return forward or (source == answer and target == start and step == inverse)


@compiled()
def _push(values: Int[np.ndarray, " room"], size: int, value: int) -> tuple[Int[np.ndarray, " room"], int]:
    if size == len(values):
        larger = np.empty(2 * size, np.int64)
        larger[:size] = values
        values = larger
    values[size] = value
    return values, size + 1


@compiled()
def _close(
    values: Int[np.ndarray, " room"],
    size: int,
    at: int,
    sources: Int[np.ndarray, " edges"],
    steps: Int[np.ndarray, " edges"],
    following: Int[np.ndarray, " edges"],
    source: int,
    beginning: int,
    base: int,
    start: int,
    answer: int,
    relation: int,
    inverse: int,
) -> tuple[Int[np.ndarray, " room"], int]:
    """Add the chains that begin so and end with an edge from `source` into the answer."""
    while at >= 0:
        if not _is_fact(source, steps[at], answer, start, answer, relation, inverse):
            values, size = _push(values, size, beginning + (steps[at] + 1) * base)
        at = following[at]
    return values, size


@compiled()
def _tally(
    values: Int[np.ndarray, " values"], cut: int
) -> tuple[Int[np.ndarray, " chains"], Int[np.ndarray, " chains"], int]:
    """Each of the sorted values once, with how often it stands there."""
    chains, counts, size = np.empty(len(values), np.int64), np.empty(len(values), np.int64), 0
    for at in range(len(values)):
        if at == 0 or values[at] != values[at - 1]:
            chains[size], counts[size] = values[at], 0
            size += 1
        counts[size - 1] += 1
    return chains[:size], counts[:size], cut
