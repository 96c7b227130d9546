"""The loss of each example of a batch with its gradient, and the scores of a query."""

import numpy as np
from jaxtyping import Float, Int, UInt
from numba import prange

from corollary.kernels import compiled
from corollary.kernels.drum.last_step import end_at_answer, finish_last, prepare_last
from corollary.kernels.drum.states import Example, has_edge, new_states
from corollary.kernels.drum.walking import step_back, walk
from corollary.kernels.paths import Links
from corollary.kernels.rule_counts import inverse_of


@compiled(parallel=True)
def losses_and_gradients(
    links: Links,
    counts: Int[np.ndarray, " segments"],
    removed: UInt[np.ndarray, " edges_or_none"],
    attention: Float[np.ndarray, "queries steps operators components"],
    relations: Int[np.ndarray, " queries"],
    bounds: Int[np.ndarray, " query_bounds"],
    starts: Int[np.ndarray, " examples"],
    answers: Int[np.ndarray, " examples"],
    keys: UInt[np.ndarray, " examples_or_none"],
    keep: float,
    leave_out: bool,
    normalise: bool,
    floor: float,
    num_relations: int,
    parts: int,
) -> tuple[Float[np.ndarray, " examples"], Float[np.ndarray, "queries steps operators components"]]:
    """-log of the answer's score for every example, and by query the gradient of their sum by the log of attention.

    Args:
        counts: edges of each segment that are not removed.
        removed: 1 for an edge that no example of this batch may use; empty: none.
        attention: of each query; operator s < 2R walks step s, the last one stays.
        bounds: examples `bounds[q]` to `bounds[q + 1]` ask query q, of directed relation `relations[q]`.
        keys: one an example for dropout, which keeps entries with probability `keep`; empty: no dropout.
        leave_out: pass over the example's own edge, both ways.
        floor: least score; below it the loss is constant.
    """
    num_entities = len(links.segments) - 1
    _, steps, operators, components = attention.shape
    losses = np.zeros(len(starts))
    gradient = np.zeros(attention.shape)
    for part in prange(parts):
        space = new_states(steps, num_entities, components)
        for query in range(part, len(relations), parts):
            weights = attention[query].astype(np.float64)
            ga = gradient[query]
            forward = relations[query]
            backward = inverse_of(forward, num_relations)
            size_needed = 0
            for number in range(bounds[query], bounds[query + 1]):
                start, answer = starts[number], answers[number]
                own = leave_out and has_edge(links, removed, start, forward, answer)
                key = keys[number] if len(keys) else np.uint64(0)
                example = Example(
                    number, start, answer, forward, backward, own, key, keep if len(keys) else 1.0
                )
                walk(links, removed, space, weights, steps - 1, example)
                size_needed = prepare_last(
                    links, counts, space, weights[steps - 1], query, steps - 1, size_needed
                )
                losses[number] = end_at_answer(
                    links, removed, space, weights[steps - 1], ga[steps - 1], steps - 1, example, normalise, floor,
                    num_relations,
                )  # fmt: skip
                if losses[number] < -np.log(floor):
                    for step in range(steps - 2, -1, -1):
                        step_back(links, removed, space, weights[step], ga[step], step, example)
            finish_last(links, counts, space, ga[steps - 1], size_needed)
            for step in range(steps):
                for operator in range(operators):
                    for component in range(components):
                        ga[step, operator, component] *= weights[step, operator, component]
    return losses, gradient


@compiled(parallel=True)
def scores(
    links: Links,
    attention: Float[np.ndarray, "queries steps operators components"],
    query_of: Int[np.ndarray, " rows"],
    starts: Int[np.ndarray, " rows"],
    normalise: bool,
    parts: int,
    out: Float[np.ndarray, "rows entities"],
) -> None:
    """The score of every entity as the answer of each row, on all edges."""
    num_entities = len(links.segments) - 1
    _, steps, _, components = attention.shape
    no_edges = np.zeros(0, np.uint8)
    for part in prange(parts):
        space = new_states(steps + 1, num_entities, components)
        for row in range(part, len(starts), parts):
            weights = attention[query_of[row]].astype(np.float64)
            example = Example(row, starts[row], -1, -1, -1, False, np.uint64(0), 1.0)
            walk(links, no_edges, space, weights, steps, example)
            for entity in range(num_entities):
                out[row, entity] = 0.0
            for component in range(components):
                total = 0.0
                for at in range(space.sizes[steps]):
                    total += space.values[steps, space.reached[steps, at], component]
                scale = 1.0 if not normalise else (1.0 / total if total > 0.0 else 0.0)
                for at in range(space.sizes[steps]):
                    node = space.reached[steps, at]
                    out[row, node] += space.values[steps, node, component] * scale
