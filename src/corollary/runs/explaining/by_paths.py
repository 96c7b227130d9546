"""Paths between head and tail: true, near by, and weighed against pairs of like degrees."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from corollary.graph.folder import Graph
from corollary.kernels.pair_paths import NO_STEP, dampings, heaviest, pattern_weights
from corollary.kernels.paths import Links
from corollary.randomness import generator
from corollary.records.explanation import Missing, PathReason, PathReasons, wilson
from corollary.runs.explaining.asked import AskedTriple, FactList, Triple

PART = "paths"
_MOST_PATTERNS = 12


@dataclass(frozen=True)
class PathLimits:
    shown: int = 10
    longest: int = 3
    damping: float = 0.4
    pairs: int = 200
    """Pairs of like degrees that each pattern is compared with."""
    seed: int = 0


def path_reasons(
    asked: AskedTriple, links: Links, facts: FactList, limits: PathLimits = PathLimits()
) -> PathReasons | Missing:
    """The heaviest simple paths of two and three edges.

    Args:
        links: the training triples without the asked one.
    """
    if asked.head == asked.tail:
        return Missing(missing="head and tail are the same entity")
    count = asked.graph.num_relations
    weights = dampings(links, count, limits.damping)
    found = heaviest(links, weights, count, asked.head, asked.tail, limits.longest, limits.shown)
    if found.total == 0:
        return Missing(missing=f"no path of up to {limits.longest} training facts links the two")
    patterns = np.unique(found.steps, axis=0)[:_MOST_PATTERNS]
    starts, ends = _like_pairs(asked, links, limits)
    own = pattern_weights(links, weights, count, np.array([asked.head]), np.array([asked.tail]), patterns)[0]
    null = pattern_weights(links, weights, count, starts, ends, patterns)
    below = {
        tuple(pattern): int((null[:, at] < own[at]).sum()) for at, pattern in enumerate(patterns.tolist())
    }
    shown = []
    for weight, steps, between in zip(
        found.weights.tolist(), found.steps.tolist(), found.between.tolist(), strict=True
    ):
        entities = [asked.head, *(entity for entity in between if entity >= 0), asked.tail]
        triples = triples_of(steps, entities, count)
        share = below.get(tuple(steps))
        shown.append(
            PathReason(
                facts=[facts.cite(triple, PART) for triple in triples],
                entities=entities,
                weight=weight,
                pattern=pattern_of(steps, asked.graph),
                above=None if share is None or not len(starts) else wilson(share, len(starts)),
            )
        )
    return PathReasons(longest=limits.longest, total=found.total, damping=limits.damping, shown=shown)


def triples_of(steps: list[int], entities: list[int], count: int) -> list[Triple]:
    """The facts of a path, as the graph holds them; `count` is the number of relations."""
    pairs = zip(steps, entities, entities[1:], strict=False)
    return [
        (one, step, other) if step < count else (other, step - count, one)
        for step, one, other in pairs
        if step != NO_STEP
    ]


def pattern_of(steps: list[int], graph: Graph) -> str:
    """Relations on the way; `<` behind one that is walked backwards."""
    count = graph.num_relations
    parts = [
        graph.relations.name(step % count) + ("" if step < count else " <")
        for step in steps
        if step != NO_STEP
    ]
    return " · ".join(parts)


def _like_pairs(
    asked: AskedTriple, links: Links, limits: PathLimits
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Random pairs whose ends have the type, and within a factor of two the degree, of head and tail."""
    degrees = np.diff(links.starts[links.segments])
    draw = generator(limits.seed, "like pairs", asked.head, asked.tail)
    starts, ends = (draw.choice(_like(asked, degrees, end), limits.pairs) for end in (asked.head, asked.tail))
    different = starts != ends
    return starts[different], ends[different]


def _like(asked: AskedTriple, degrees: Int[np.ndarray, " entities"], entity: int) -> Int[np.ndarray, " like"]:
    level = np.floor(np.log2(np.maximum(degrees, 1)))
    alike = level == level[entity]
    if asked.graph.types is not None:
        alike &= asked.graph.types == asked.graph.types[entity]
    return np.flatnonzero(alike)
