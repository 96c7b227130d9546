"""What one walker holds, and the edges that an example passes over."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt

from corollary.kernels import compiled
from corollary.kernels.paths import Links
from corollary.kernels.splitmix import GOLDEN, mixed


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


class Example(NamedTuple):
    """What is asked in one walk: the answer of a start, and what the walk must not see of it."""

    number: int
    """Marks what it reaches; no other example in the same states may have it."""
    start: int
    answer: int
    forward: int
    """The directed relation from start to answer, and `backward` its inverse: walks pass over that edge, both ways,
    where it is `own`."""
    backward: int
    own: bool
    key: np.uint64
    """Of dropout."""
    keep: float
    """Probability with which dropout keeps an entry of a state; 1: no dropout."""


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
def dropout_scale(example: Example, step: int, entity: int, component: int) -> float:
    """What dropout multiplies this entry of a state with: a function of the example's key and the place alone."""
    threshold = np.uint64(example.keep * 18446744073709551615.0)
    place = np.uint64(entity) * np.uint64(64) + np.uint64(component)
    bits = mixed(mixed(example.key + np.uint64(step + 1) * GOLDEN) + place * GOLDEN)
    return 1.0 / example.keep if bits < threshold else 0.0


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
def is_reached(space: States, step: int, example: Example, node: int) -> bool:
    """Whether a state of this example has anything at a node."""
    return node == example.start if step == 0 else space.seen[step, node] == example.number


@compiled()
def passed_over(
    links: Links,
    removed: UInt[np.ndarray, " edges"],
    edge: int,
    source: int,
    step_in: int,
    example: Example,
) -> bool:
    """Whether the edge from `source` into the answer is left out. `edge` is the same edge the other way round; both
    ways are removed together."""
    if len(removed) and removed[edge]:
        return True
    if not example.own:
        return False
    is_loop = example.start == example.answer
    return (source == example.start and step_in == example.forward) or (
        is_loop and source == example.answer and step_in == example.backward
    )
