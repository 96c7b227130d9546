"""Which examples have any walk to their answer, from both ends towards the middle. Plain twin: tests/reference/drum.py."""

import numpy as np
from jaxtyping import Bool, Int

from corollary.kernels import compiled
from corollary.kernels.paths import Links
from corollary.kernels.rule_counts import inverse_of


@compiled()
def reached(
    links: Links,
    allowed: Bool[np.ndarray, "queries operators"],
    relations: Int[np.ndarray, " examples"],
    starts: Int[np.ndarray, " examples"],
    answers: Int[np.ndarray, " examples"],
    steps: int,
    num_relations: int,
) -> Bool[np.ndarray, " examples"]:
    """Whether up to so many steps lead from start to answer, over allowed operators and not over the example's own edge.

    Args:
        allowed: by directed relation; without rows: all operators are.

    Memory: 24 bytes an entity.
    """
    num_entities = len(links.segments) - 1
    found = np.zeros(len(starts), np.bool_)
    near, seen = np.full(num_entities, -1, np.int64), np.full(num_entities, -1, np.int64)
    listed = np.empty(num_entities, np.int64)
    for example in range(len(starts)):
        start, answer, relation = starts[example], answers[example], relations[example]
        _spread(
            links, allowed, near, listed, example, answer, start, answer, relation, steps // 2, True, num_relations,
            near,
        )  # fmt: skip
        found[example] = _spread(
            links, allowed, seen, listed, example, start, start, answer, relation, steps - steps // 2, False,
            num_relations, near,
        )  # fmt: skip
    return found


@compiled()
def _spread(
    links: Links,
    allowed: Bool[np.ndarray, "queries operators"],
    mark: Int[np.ndarray, " entities"],
    listed: Int[np.ndarray, " entities"],
    example: int,
    origin: int,
    start: int,
    answer: int,
    relation: int,
    steps: int,
    backwards: bool,
    num_relations: int,
    goal: Int[np.ndarray, " entities"],
) -> bool:
    """Mark what lies within so many steps; forwards, stop at the first entity that is marked in `goal`."""
    inverse = inverse_of(relation, num_relations)
    mark[origin], listed[0] = example, origin
    if not backwards and goal[origin] == example:
        return True
    begin, size = 0, 1
    for _ in range(steps):
        end = size
        for at in range(begin, end):
            node = listed[at]
            for one in range(links.segments[node], links.segments[node + 1]):
                operator = inverse_of(links.steps[one], num_relations) if backwards else links.steps[one]
                if len(allowed) and not allowed[relation, operator]:
                    continue
                for edge in range(links.starts[one], links.starts[one + 1]):
                    other = links.targets[edge]
                    source, target = (other, node) if backwards else (node, other)
                    own = source == start and target == answer and operator == relation
                    if own or (source == answer and target == start and operator == inverse):
                        continue
                    if mark[other] != example:
                        if not backwards and goal[other] == example:
                            return True
                        mark[other], listed[size] = example, other
                        size += 1
        begin = end
    return False
