"""Slow, obvious twin of `corollary.kernels.components`: walk from every entity that has not been seen."""

from collections import defaultdict


def component_of(edges: list[tuple[int, int]], num_entities: int) -> list[int]:
    """The smallest entity id in the component of each entity."""
    neighbours = defaultdict(set)
    for head, tail in edges:
        neighbours[head].add(tail)
        neighbours[tail].add(head)
    result = [-1] * num_entities
    for start in range(num_entities):
        waiting = [start] if result[start] < 0 else []
        while waiting:
            entity = waiting.pop()
            if result[entity] < 0:
                result[entity] = start
                waiting.extend(neighbours[entity])
    return result
