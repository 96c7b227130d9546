"""The walks behind the scores of DRUM: which bodies lead from start to answer of a fact, and the share of the score
that each of them carries.

A body s1, s2, .. is the number s1 + 1 + (s2 + 1) * base + .., with base = steps + 1, staying left out. Plain twin:
tests/reference/drum.py.
"""

import numpy as np
from jaxtyping import Float, Int
from numba import int64

from corollary.kernels import compiled
from corollary.kernels.drum.states import Example, States, has_edge, new_states
from corollary.kernels.drum.walking import walk
from corollary.kernels.paths import Links
from corollary.kernels.rule_counts import inverse_of


@compiled()
def body_shares(
    links: Links,
    attention: Float[np.ndarray, "steps operators components"],
    relation: int,
    starts: Int[np.ndarray, " facts"],
    answers: Int[np.ndarray, " facts"],
    normalise: bool,
    num_relations: int,
    most_walks: int,
) -> tuple[Int[np.ndarray, " found"], Float[np.ndarray, " found"], int]:
    """Bodies and shares of all facts of one query, one after the other (a body may stand there several times), and how
    many facts were cut short.

    The fact's own edge is left out; the shares of a fact that has any walk sum to 1.

    Args:
        most_walks: walks of a fact that are followed.

    Memory: the states of one walker, 16 bytes a walk.
    """
    steps, _, components = attention.shape
    weights = attention.astype(np.float64)
    space = new_states(steps + 1, len(links.segments) - 1, components)
    distance = np.full(len(links.segments) - 1, -1, np.int64)
    codes, shares, size, cut = np.empty(1024, np.int64), np.empty(1024, np.float64), 0, 0
    no_edges = np.zeros(0, np.uint8)
    backward = inverse_of(relation, num_relations)
    for fact in range(len(starts)):
        start, answer = starts[fact], answers[fact]
        own = has_edge(links, no_edges, start, relation, answer)
        example = Example(fact, start, answer, relation, backward, own, np.uint64(0), 1.0)
        walk(links, no_edges, space, weights, steps, example)
        if space.seen[steps, answer] != fact:
            continue
        scale, score = np.zeros(components), 0.0
        for component in range(components):
            total = 0.0
            for at in range(space.sizes[steps]):
                total += space.values[steps, space.reached[steps, at], component]
            scale[component] = (1.0 / total if total > 0.0 else 0.0) if normalise else 1.0
            score += space.values[steps, answer, component] * scale[component]
        if not score > 0.0:
            continue
        _measure(links, distance, answer, steps, space)
        first = size
        codes, shares, size, whole = _follow(
            links, weights, distance, example, scale / score, num_relations, most_walks, codes, shares, size,
        )  # fmt: skip
        cut += not whole
        _forget(distance, space)
        assert size >= first
    return codes[:size], shares[:size], cut


@compiled()
def _measure(
    links: Links, distance: Int[np.ndarray, " entities"], answer: int, steps: int, space: States
) -> None:
    """Steps from every near entity to the answer; the list of those entities stands in the last level of the room."""
    listed, size = space.reached[0], 1
    distance[answer], listed[0] = 0, answer
    first = 0
    for step in range(1, steps):
        last = size
        for at in range(first, last):
            node = listed[at]
            for edge in range(links.starts[links.segments[node]], links.starts[links.segments[node + 1]]):
                target = links.targets[edge]
                if distance[target] < 0:
                    distance[target], listed[size] = step, target
                    size += 1
        first = last
    space.sizes[0] = size


@compiled()
def _forget(distance: Int[np.ndarray, " entities"], space: States) -> None:
    for at in range(space.sizes[0]):
        distance[space.reached[0, at]] = -1


@compiled()
def _follow(
    links: Links,
    weights: Float[np.ndarray, "steps operators components"],
    distance: Int[np.ndarray, " entities"],
    example: Example,
    scale: Float[np.ndarray, " components"],
    num_relations: int,
    most_walks: int,
    codes: Int[np.ndarray, " room"],
    shares: Float[np.ndarray, " room"],
    size: int,
) -> tuple[Int[np.ndarray, " room"], Float[np.ndarray, " room"], int, bool]:
    """All walks of full length from start to answer, depth first; each one's body with its share."""
    steps, operators, components = weights.shape
    base = int64(2 * num_relations + 1)
    nodes, segments, edges = (
        np.zeros(steps + 1, np.int64),
        np.zeros(steps + 1, np.int64),
        np.zeros(steps + 1, np.int64),
    )
    code, power = np.zeros(steps + 1, np.int64), np.ones(steps + 1, np.int64)
    mass = np.ones((steps + 1, components))
    mass[0] = scale
    start, answer = example.start, example.answer
    nodes[0], segments[0] = start, -1  # -1: stay first, then the segments
    depth, found = 0, 0
    while depth >= 0:
        node = nodes[depth]
        if depth == steps:
            if node == answer:
                if size == len(codes):
                    more_codes, more_shares = np.empty(2 * size, np.int64), np.empty(2 * size, np.float64)
                    more_codes[:size], more_shares[:size] = codes, shares
                    codes, shares = more_codes, more_shares
                codes[size], shares[size] = code[depth], mass[depth].sum()
                size += 1
                found += 1
                if found == most_walks:
                    return codes, shares, size, False
            depth -= 1
            continue
        target, operator = -1, operators - 1
        if segments[depth] < 0:
            target = node
            segments[depth] = links.segments[node]
            edges[depth] = links.starts[segments[depth]]
        else:
            while segments[depth] < links.segments[node + 1]:
                if edges[depth] < links.starts[segments[depth] + 1]:
                    operator = links.steps[segments[depth]]
                    target = links.targets[edges[depth]]
                    edges[depth] += 1
                    break
                segments[depth] += 1
            if target < 0:
                depth -= 1
                continue
            if example.own and (
                (operator == example.forward and node == start and target == answer)
                or (operator == example.backward and node == answer and target == start)
            ):
                continue
        left = steps - depth - 1
        if distance[target] < 0 or distance[target] > left or not weights[depth, operator].any():
            continue
        mass[depth + 1] = mass[depth] * weights[depth, operator]
        if operator == operators - 1:
            code[depth + 1], power[depth + 1] = code[depth], power[depth]
        else:
            code[depth + 1] = code[depth] + (operator + 1) * power[depth]
            power[depth + 1] = power[depth] * base
        depth += 1
        nodes[depth], segments[depth] = target, -1
    return codes, shares, size, True
