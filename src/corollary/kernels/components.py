"""Connected components by union-find. Plain twin: tests/reference/components.py."""

import numpy as np
from jaxtyping import Int

from corollary.kernels import compiled


@compiled()
def component_of(
    head: Int[np.ndarray, " edges"], tail: Int[np.ndarray, " edges"], num_entities: int
) -> Int[np.ndarray, " entities"]:
    """The smallest entity id in the component of each entity; edges join whatever their direction.

    Near-linear in edges. Scratch: 8 bytes an entity, which is the result.
    """
    parent = np.arange(num_entities)
    for edge in range(len(head)):
        a, b = np.int64(head[edge]), np.int64(tail[edge])
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        if a < b:
            parent[b] = a
        else:
            parent[a] = b
    for entity in range(
        num_entities
    ):  # a parent's id is never above its child's: one pass in order is enough
        parent[entity] = parent[parent[entity]]
    return parent
