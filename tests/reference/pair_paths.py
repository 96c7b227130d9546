"""Paths between two entities, slowly: every simple path is listed and weighed."""

from collections.abc import Sequence


def neighbours(
    triples: Sequence[tuple[int, int, int]], num_relations: int
) -> dict[tuple[int, int], set[int]]:
    """Entities by entity and directed relation."""
    found: dict[tuple[int, int], set[int]] = {}
    for head, relation, tail in triples:
        found.setdefault((head, relation), set()).add(tail)
        found.setdefault((tail, relation + num_relations), set()).add(head)
    return found


def all_paths(
    triples: Sequence[tuple[int, int, int]],
    num_relations: int,
    start: int,
    end: int,
    longest: int,
    power: float,
) -> dict[tuple[tuple[int, ...], tuple[int, ...]], float]:
    """Weights by steps and entities between, of simple paths with at least two edges."""
    edges = neighbours(triples, num_relations)
    found: dict[tuple[tuple[int, ...], tuple[int, ...]], float] = {}

    def walk(entities: tuple[int, ...], steps: tuple[int, ...], weight: float) -> None:
        if entities[-1] == end:
            if len(steps) > 1:
                found[steps, entities[1:-1]] = weight
            return
        if len(steps) == longest:
            return
        for (entity, step), others in edges.items():
            if entity != entities[-1]:
                continue
            back = (step + num_relations) % (2 * num_relations)
            for other in others:
                if other not in entities:
                    damped = (len(others) * len(edges[other, back])) ** -power
                    walk((*entities, other), (*steps, step), weight * damped)

    walk((start,), (), 1.0)
    return found
