"""Slow, obvious versions of what `graph.taxonomy` and `kernels.taxonomy` do: sets and lists, every node by hand."""

Links = list[tuple[int, int]]


def ancestors(links: Links) -> dict[int, set[int]]:
    """Everything above each node, by walking up every path."""
    nodes = {node for link in links for node in link}
    up = {node: {parent for child, parent in links if child == node} for node in nodes}

    def above(node: int) -> set[int]:
        return set().union(up[node], *(above(parent) for parent in up[node]))

    return {node: above(node) for node in nodes}


def has_cycle(links: Links) -> bool:
    """Whether a node can be reached from itself."""
    up: dict[int, set[int]] = {}
    for child, parent in links:
        up.setdefault(child, set()).add(parent)

    def reaches(node: int, goal: int, seen: set[int]) -> bool:
        for parent in up.get(node, set()) - seen:
            seen.add(parent)
            if parent == goal or reaches(parent, goal, seen):
                return True
        return False

    return any(reaches(node, node, set()) for node in up)


def permitted(above: dict[int, set[int]], node: int) -> set[int]:
    """What may be a negative of a descendant: all but its ancestors and itself."""
    return set(above) - above[node] - {node}


def permitted_at_level(
    above: dict[int, set[int]], depth: dict[int, int], ancestor: int, descendant: int
) -> tuple[set[int], bool]:
    """Nodes of the descendant's depth that are neither below nor above the ancestor nor itself; else stand-ins."""
    same = {n for n in above if depth[n] == depth[descendant]}
    free = {n for n in same if n != ancestor and ancestor not in above[n] and n not in above[ancestor]}
    if free:
        return free, False
    others = {n for n in above if depth[n] == depth[ancestor]}
    return others - above[descendant] - {descendant}, True


def tree_distance(parent: list[int], first: int, second: int) -> int:
    """Links between two nodes; roots hang on one common node."""

    def path(node: int) -> list[int]:
        return [node] if parent[node] < 0 else [node, *path(parent[node])]

    one, other = [*path(first), -1], [*path(second), -1]
    meeting = next(node for node in one if node in other)
    return one.index(meeting) + other.index(meeting)
