"""What one walker holds, and the edges that an example passes over."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt

from corollary.kernels import compiled
from corollary.kernels.paths import Links
from corollary.kernels.ranking import _STEP, _mixed


class States(NamedTuple):
    """Working memory of one thread: 16 bytes an entity, component and step, 16 more an entity and component."""

    values: Float[np.ndarray, "steps entities components"]
    gradients: Float[np.ndarray, "steps entities components"]
    reached: Int[np.ndarray, "steps entities"]
    sizes: Int[np.ndarray, " steps"]
    seen: Int[np.ndarray, "steps entities"]
    """The last example that reached an entity."""
    last: Float[np.ndarray, "entities components"]
    """What one unit of mass at an entity becomes in the last step, summed over all entities, for the query at hand."""
    last_gradient: Float[np.ndarray, "entities components"]
    known: Int[np.ndarray, " entities"]
    """The last query that needed it."""
    needed: Int[np.ndarray, " entities"]


@compiled()
def new_states(steps: int, entities: int, components: int) -> States:
    return States(
        np.zeros((steps, entities, components)),
        np.zeros((steps, entities, components)),
        np.zeros((steps, entities), np.int64),
        np.zeros(steps, np.int64),
        np.full((steps, entities), -1, np.int64),
        np.zeros((entities, components)),
        np.zeros((entities, components)),
        np.full(entities, -1, np.int64),
        np.zeros(entities, np.int64),
    )


@compiled()
def kept(key: np.uint64, step: int, entity: int, component: int, threshold: np.uint64) -> bool:
    """Whether dropout keeps this entry of a state: a function of the example's key and the place alone."""
    place = np.uint64(entity) * np.uint64(64) + np.uint64(component)
    return bool(_mixed(_mixed(key + np.uint64(step + 1) * _STEP) + place * _STEP) < threshold)


@compiled()
def has_edge(links: Links, removed: UInt[np.ndarray, " edges"], start: int, step: int, answer: int) -> bool:
    """Whether the example's own edge is there to be passed over."""
    for one in range(links.segments[start], links.segments[start + 1]):
        if links.steps[one] == step:
            for edge in range(links.starts[one], links.starts[one + 1]):
                if links.targets[edge] == answer:
                    return len(removed) == 0 or removed[edge] == 0
    return False


@compiled()
def is_reached(space: States, step: int, example: int, node: int, start: int) -> bool:
    return node == start if step == 0 else space.seen[step, node] == example


@compiled()
def passed_over(
    links: Links,
    removed: UInt[np.ndarray, " edges"],
    edge: int,
    source: int,
    step_in: int,
    start: int,
    answer: int,
    forward: int,
    backward: int,
    own: bool,
) -> bool:
    """Whether the edge from `source` into the answer is left out. `edge` is the same edge the other way round; both
    ways are removed together."""
    if len(removed) and removed[edge]:
        return True
    if not own:
        return False
    return (source == start and step_in == forward) or (
        start == answer and source == answer and step_in == backward
    )
