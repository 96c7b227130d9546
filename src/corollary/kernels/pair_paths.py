"""Simple paths of two and three edges between two entities, weighed down where they pass through hubs.

A step s from u to v weighs (d(u, s) * d(v, back))**-w, where d counts the edges of an entity under a directed relation
and `back` is the step the other way; a path weighs the product of its steps. Edges of the end are marked once, so that
three steps cost the edges of the start's neighbours, not their neighbours' neighbours.

Source: Himmelstein & Baranzini 2015 (degree-weighted path count, w = 0.4). Plain twin: tests/reference/pair_paths.py.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numba import prange

from corollary.kernels import compiled
from corollary.kernels.paths import Links, segment

NO_STEP = -1


class Found(NamedTuple):
    """The heaviest paths, best first; of equal weight the one with smaller ids comes first."""

    weights: Float[np.ndarray, " paths"]
    steps: Int[np.ndarray, "paths 3"]
    """Directed relations; NO_STEP behind the second of a path of two."""
    between: Int[np.ndarray, "paths 2"]
    """Entities on the way; -1 behind the first of a path of two."""
    total: int
    """All paths, listed or not."""


@compiled()
def dampings(links: Links, num_relations: int, power: float) -> Float[np.ndarray, " edges"]:
    """The weight of every edge as a step, in the order of `links.targets`. Memory: 8 bytes an edge."""
    found = np.empty(len(links.targets), np.float64)
    for entity in range(len(links.segments) - 1):
        for at in range(links.segments[entity], links.segments[entity + 1]):
            step = links.steps[at]
            back = step - num_relations if step >= num_relations else step + num_relations
            degree = links.starts[at + 1] - links.starts[at]
            for edge in range(links.starts[at], links.starts[at + 1]):
                other = segment(links, links.targets[edge], back)
                back_degree = links.starts[other + 1] - links.starts[other]
                found[edge] = (float(degree) * float(back_degree)) ** -power
    return found


@compiled()
def _edges_of(links: Links, entity: int) -> tuple[int, int]:
    return int(links.starts[links.segments[entity]]), int(links.starts[links.segments[entity + 1]])


@compiled()
def _into(
    links: Links, weights: Float[np.ndarray, " edges"], num_relations: int, end: int
) -> tuple[Int[np.ndarray, " near"], Int[np.ndarray, " near"], Float[np.ndarray, " near"]]:
    """Edges into the end, by the entity they come from: entities, ascending, the steps from them, and weights."""
    first, last = _edges_of(links, end)
    sources, steps = np.empty(last - first, np.int64), np.empty(last - first, np.int64)
    for at in range(links.segments[end], links.segments[end + 1]):
        step = links.steps[at]
        for edge in range(links.starts[at], links.starts[at + 1]):
            sources[edge - first] = links.targets[edge]
            steps[edge - first] = step - num_relations if step >= num_relations else step + num_relations
    order = np.argsort(sources, kind="mergesort")
    return sources[order], steps[order], weights[first:last][order]


@compiled()
def _first_of(sources: Int[np.ndarray, " near"], entity: int) -> int:
    """Where the edges from an entity begin, or -1."""
    at = np.searchsorted(sources, entity)
    return int(at) if at < len(sources) and sources[at] == entity else -1


@compiled()
def heaviest(
    links: Links,
    weights: Float[np.ndarray, " edges"],
    num_relations: int,
    start: int,
    end: int,
    longest: int,
    most: int,
) -> Found:
    """The `most` heaviest simple paths of two up to `longest` (2 or 3) edges; edges straight from start to end are none.

    Time: the edges of the start, and with three steps those of its neighbours. Memory: 100 bytes a listed path.
    """
    kept = np.full(most, -1.0)
    steps, between = np.full((most, 3), NO_STEP, np.int64), np.full((most, 2), -1, np.int64)
    weakest, total = 0, 0
    sources, last_steps, last_weights = _into(links, weights, num_relations, end)
    for one in range(links.segments[start], links.segments[start + 1]):
        for edge in range(links.starts[one], links.starts[one + 1]):
            middle = links.targets[edge]
            if middle == start or middle == end:
                continue
            near = _first_of(sources, middle)
            while near >= 0 and near < len(sources) and sources[near] == middle:
                total += 1
                weight = weights[edge] * last_weights[near]
                if most > 0 and weight > kept[weakest]:
                    kept[weakest] = weight
                    steps[weakest] = np.array((links.steps[one], last_steps[near], NO_STEP))
                    between[weakest] = np.array((middle, -1))
                    weakest = int(np.argmin(kept))
                near += 1
            if longest < 3:
                continue
            for two in range(links.segments[middle], links.segments[middle + 1]):
                for further in range(links.starts[two], links.starts[two + 1]):
                    second = links.targets[further]
                    if second == start or second == end or second == middle:
                        continue
                    near = _first_of(sources, second)
                    while near >= 0 and near < len(sources) and sources[near] == second:
                        total += 1
                        weight = weights[edge] * weights[further] * last_weights[near]
                        if most > 0 and weight > kept[weakest]:
                            kept[weakest] = weight
                            steps[weakest] = np.array((links.steps[one], links.steps[two], last_steps[near]))
                            between[weakest] = np.array((middle, second))
                            weakest = int(np.argmin(kept))
                        near += 1
    filled = int((kept >= 0).sum())
    order = np.argsort(-kept, kind="mergesort")[:filled]
    return Found(kept[order], steps[order], between[order], total)


@compiled(parallel=True)
def pattern_weights(
    links: Links,
    weights: Float[np.ndarray, " edges"],
    num_relations: int,
    starts: Int[np.ndarray, " pairs"],
    ends: Int[np.ndarray, " pairs"],
    patterns: Int[np.ndarray, "patterns 3"],
) -> Float[np.ndarray, "pairs patterns"]:
    """By pair and pattern (steps; NO_STEP behind the second of two): the weight of all its simple paths together."""
    found = np.zeros((len(starts), len(patterns)))
    for pair in prange(len(starts)):
        start, end = starts[pair], ends[pair]
        sources, last_steps, last_weights = _into(links, weights, num_relations, end)
        for number in range(len(patterns)):
            long = patterns[number, 2] != NO_STEP
            last = patterns[number, 2] if long else patterns[number, 1]
            one = segment(links, start, patterns[number, 0])
            if one < 0:
                continue
            for edge in range(links.starts[one], links.starts[one + 1]):
                middle = links.targets[edge]
                if middle == start or middle == end:
                    continue
                if not long:
                    found[pair, number] += weights[edge] * _closing(
                        sources, last_steps, last_weights, middle, last
                    )
                    continue
                two = segment(links, middle, patterns[number, 1])
                if two < 0:
                    continue
                for further in range(links.starts[two], links.starts[two + 1]):
                    second = links.targets[further]
                    if second != start and second != end and second != middle:
                        closing = _closing(sources, last_steps, last_weights, second, last)
                        found[pair, number] += weights[edge] * weights[further] * closing
    return found


@compiled()
def _closing(
    sources: Int[np.ndarray, " near"],
    steps: Int[np.ndarray, " near"],
    weights: Float[np.ndarray, " near"],
    entity: int,
    step: int,
) -> float:
    """Weight of the edge from an entity into the end by a step; 0 where there is none."""
    near = _first_of(sources, entity)
    while near >= 0 and near < len(sources) and sources[near] == entity:
        if steps[near] == step:
            return weights[near]
        near += 1
    return 0.0
