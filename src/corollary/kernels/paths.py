"""Walking along a chain of directed relations from one entity: the sets of entities reached, step by step.

With R relations, step r < R goes from head to tail of relation r, step r + R from tail to head. Two meanings: plain
walks may come back to where they were; distinct walks visit every entity once (AnyBURL's object identity). For up to
three distinct steps sets are enough: an entity reached over two different entities is reached whatever comes next, one
reached over a single entity remembers it. Longer distinct walks are followed one by one.

Plain twin: tests/reference/rules.py.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from corollary.kernels import compiled

LEVELS = 3  # distinct steps for which sets are enough
MANY = -1  # reached over more than one entity
NOBODY = -2  # no entity is barred, or was the only one on the way


class Links(NamedTuple):
    """All edges both ways, grouped by entity, then by step: segment s of entity v holds v's targets under `steps[s]`."""

    segments: Int[np.ndarray, " entities_bounds"]
    """First segment of each entity."""
    steps: Int[np.ndarray, " segments"]
    """Ascending within an entity."""
    starts: Int[np.ndarray, " segments_bounds"]
    """First target of each segment."""
    targets: Int[np.ndarray, " edges"]
    """Ascending within a segment, each once."""
    firsts: Int[np.ndarray, " steps_bounds"]
    """Where the entities that have a step begin in `bearers`."""
    bearers: Int[np.ndarray, " segments"]
    """By step: the entities that have it, ascending."""


class Trie(NamedTuple):
    """Chains that share their beginnings, in preorder: a node stands right behind its parent or behind a sibling."""

    steps: Int[np.ndarray, " nodes"]
    depths: Int[np.ndarray, " nodes"]
    """From 1."""
    skips: Int[np.ndarray, " nodes"]
    """The next node that is no descendant."""
    chains: Int[np.ndarray, "nodes longest"]
    """All steps up to the node; -1 behind them."""


class Room(NamedTuple):
    """Working memory of one walker, 16 bytes an entity and 16 an entity and level; the last level is for its caller."""

    seen: Int[np.ndarray, " entities"]
    """The walk that reached an entity last."""
    place: Int[np.ndarray, " entities"]
    """Where it stands in that walk's list."""
    nodes: Int[np.ndarray, "levels entities"]
    """By depth: entities reached."""
    over: Int[np.ndarray, "levels entities"]
    """By depth: the only entity on the way, MANY or NOBODY."""
    sizes: Int[np.ndarray, " levels"]
    counters: Int[np.ndarray, " two"]
    """Number of the last walk, and edges looked at so far."""


@compiled()
def room(num_entities: int, depth: int) -> Room:
    """Fresh working memory for walks of up to `depth` steps."""
    return Room(
        np.zeros(num_entities, np.int64),
        np.zeros(num_entities, np.int64),
        np.zeros((depth + 2, num_entities), np.int64),
        np.zeros((depth + 2, num_entities), np.int64),
        np.zeros(depth + 2, np.int64),
        np.zeros(2, np.int64),
    )


@compiled()
def segment(links: Links, entity: int, step: int) -> int:
    """The entity's segment of this step, or -1, by binary search."""
    low, high = links.segments[entity], links.segments[entity + 1]
    stop = high
    while low < high:
        middle = (low + high) // 2
        if links.steps[middle] < step:
            low = middle + 1
        else:
            high = middle
    return low if low < stop and links.steps[low] == step else -1


@compiled()
def linked(links: Links, entity: int, step: int, target: int) -> bool:
    """Whether one step leads from `entity` to `target`, by binary search."""
    found = segment(links, entity, step)
    if found < 0:
        return False
    low, high = links.starts[found], links.starts[found + 1]
    stop = high
    while low < high:
        middle = (low + high) // 2
        if links.targets[middle] < target:
            low = middle + 1
        else:
            high = middle
    return low < stop and links.targets[low] == target


@compiled()
def begin(space: Room, start: int) -> None:
    """Stand at `start`, before the first step."""
    space.nodes[0, 0], space.over[0, 0], space.sizes[0] = start, NOBODY, 1


@compiled()
def advance(links: Links, space: Room, depth: int, step: int, start: int, barred: int, distinct: bool) -> int:
    """The entities at `depth` from those at `depth - 1`, each once; how many.

    Args:
        barred: an entity that distinct walks do not visit, or NOBODY.
    """
    space.counters[0] += 1
    walk, size = space.counters[0], 0
    for at in range(space.sizes[depth - 1]):
        node, only = space.nodes[depth - 1, at], space.over[depth - 1, at]
        found = segment(links, node, step)
        if found < 0:
            continue
        space.counters[1] += links.starts[found + 1] - links.starts[found]
        for edge in range(links.starts[found], links.starts[found + 1]):
            target = links.targets[edge]
            if distinct and (target == start or target == node or target == barred or target == only):
                continue
            if space.seen[target] != walk:
                space.seen[target], space.place[target] = walk, size
                space.nodes[depth, size] = target
                space.over[depth, size] = node if depth > 1 else NOBODY
                size += 1
            elif space.over[depth, space.place[target]] != node and depth > 1:
                space.over[depth, space.place[target]] = MANY
    space.sizes[depth] = size
    return size


@compiled()
def follow(
    links: Links, space: Room, chain: Int[np.ndarray, " longest"], depth: int, start: int, barred: int
) -> int:
    """The ends of distinct walks of any length, each once, one walk at a time; how many. They stand at `depth`."""
    space.counters[0] += 1
    walk, size = space.counters[0], 0
    path = np.empty(depth + 1, np.int64)
    edges, stops = np.empty(depth + 1, np.int64), np.empty(depth + 1, np.int64)
    path[0], at = start, 0
    edges[0], stops[0] = _targets(links, start, chain[0])
    while at >= 0:
        if edges[at] == stops[at]:
            at -= 1
            continue
        target = links.targets[edges[at]]
        edges[at] += 1
        space.counters[1] += 1
        if target == barred or _among(path, at + 1, target):
            continue
        if at + 1 < depth:
            at += 1
            path[at] = target
            edges[at], stops[at] = _targets(links, target, chain[at])
        elif space.seen[target] != walk:
            space.seen[target], space.place[target] = walk, size
            space.nodes[depth, size] = target
            size += 1
    space.sizes[depth] = size
    return size


@compiled()
def _targets(links: Links, entity: int, step: int) -> tuple[int, int]:
    found = segment(links, entity, step)
    return (links.starts[found], links.starts[found + 1]) if found >= 0 else (0, 0)


@compiled()
def _among(path: Int[np.ndarray, " entities"], size: int, entity: int) -> bool:
    for at in range(size):
        if path[at] == entity:
            return True
    return False


@compiled()
def reach(links: Links, space: Room, trie: Trie, node: int, start: int, barred: int, distinct: bool) -> int:
    """The entities at a node of the trie, whose parent was reached just before; how many."""
    depth = trie.depths[node]
    if distinct and depth > LEVELS:
        return follow(links, space, trie.chains[node], depth, start, barred)
    return advance(links, space, depth, trie.steps[node], start, barred, distinct)


@compiled()
def walk_chain(
    links: Links, space: Room, chain: Int[np.ndarray, " longest"], start: int, barred: int, distinct: bool
) -> int:
    """The ends of one chain (-1 behind its last step), at the depth of its length; how many."""
    length = len(chain)
    while chain[length - 1] < 0:
        length -= 1
    if distinct and length > LEVELS:
        return follow(links, space, chain, length, start, barred)
    begin(space, start)
    for depth in range(1, length + 1):
        if advance(links, space, depth, chain[depth - 1], start, barred, distinct) == 0:
            space.sizes[length] = 0
            return 0
    return space.sizes[length]
