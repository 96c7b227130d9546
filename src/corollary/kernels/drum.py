"""DRUM's step on a CPU: the loss of each example with its gradient, and the scores of a query.

An example is a walk of T steps that starts at one entity and should end at another. Its states are made, used backward
and forgotten before the next example begins, so that memory does not grow with the batch, the relations or the
edges: two numbers an entity, component and step. States hold the entities that were reached, not all. Normalising
each step is the same as normalising once at the end; the last step is needed only at the answer (and, summed over all
entities, as one number an entity and query). The example's own edge is passed over in every step, which is exact.

Examples of one query are walked in their order, queries each by one thread: nothing depends on the number of threads.
All arithmetic is in float64. Plain twin: tests/reference/drum.py. Source: Sadeghian et al. 2019, "DRUM".
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt
from numba import prange

from corollary.kernels import compiled
from corollary.kernels.paths import Links
from corollary.kernels.ranking import _STEP, _mixed
from corollary.kernels.rule_counts import inverse_of


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
def _states(steps: int, entities: int, components: int) -> States:
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
        space = _states(steps, num_entities, components)
        for query in range(part, len(relations), parts):
            weights = attention[query].astype(np.float64)
            ga = gradient[query]
            forward = relations[query]
            backward = inverse_of(forward, num_relations)
            size_needed = 0
            for example in range(bounds[query], bounds[query + 1]):
                start, answer = starts[example], answers[example]
                own = leave_out and _has_edge(links, removed, start, forward, answer)
                key = keys[example] if len(keys) else np.uint64(0)
                _walk(links, removed, space, weights, steps - 1, example, start, answer, forward, backward, own, key,
                      keep, len(keys) > 0)  # fmt: skip
                size_needed = _prepare_last(
                    links, counts, space, weights[steps - 1], query, steps - 1, size_needed
                )
                losses[example] = _end(
                    links, removed, space, weights[steps - 1], ga[steps - 1], steps - 1, start, answer, forward,
                    backward, own, key, keep, len(keys) > 0, normalise, floor, num_relations,
                )  # fmt: skip
                if losses[example] < -np.log(floor):
                    for step in range(steps - 2, -1, -1):
                        _back(links, removed, space, weights[step], ga[step], step, start, answer, forward, backward,
                              own, key, keep, len(keys) > 0)  # fmt: skip
            _finish_last(links, counts, space, ga[steps - 1], size_needed)
            for step in range(steps):
                for operator in range(operators):
                    for component in range(components):
                        ga[step, operator, component] *= weights[step, operator, component]
    return losses, gradient


@compiled()
def _has_edge(links: Links, removed: UInt[np.ndarray, " edges"], start: int, step: int, answer: int) -> bool:
    """Whether the example's own edge is there to be passed over."""
    for one in range(links.segments[start], links.segments[start + 1]):
        if links.steps[one] == step:
            for edge in range(links.starts[one], links.starts[one + 1]):
                if links.targets[edge] == answer:
                    return len(removed) == 0 or removed[edge] == 0
    return False


@compiled()
def _walk(
    links: Links,
    removed: UInt[np.ndarray, " edges"],
    space: States,
    weights: Float[np.ndarray, "steps operators components"],
    steps: int,
    example: int,
    start: int,
    answer: int,
    forward: int,
    backward: int,
    own: bool,
    key: np.uint64,
    keep: float,
    drop: bool,
) -> None:
    """States 0 to `steps`, each with the list of entities it reaches."""
    components = weights.shape[2]
    threshold = np.uint64(keep * 18446744073709551615.0)
    space.reached[0, 0], space.sizes[0] = start, 1
    for component in range(components):
        space.values[0, start, component] = 1.0
    for step in range(1, steps + 1):
        size = 0
        given, made, seen = space.values[step - 1], space.values[step], space.seen[step]
        listed, factors = space.reached[step], weights[step - 1]
        stay = factors[len(factors) - 1]
        for at in range(space.sizes[step - 1]):
            node = space.reached[step - 1, at]
            mass = given[node]
            if seen[node] != example:
                seen[node], listed[size] = example, node
                size += 1
                made[node] = 0.0
            for component in range(components):
                made[node, component] += mass[component] * stay[component]
            own_step = forward if own and node == start else -1
            own_back = backward if own and node == answer else -1
            for one in range(links.segments[node], links.segments[node + 1]):
                factor = factors[links.steps[one]]
                if not factor.any():
                    continue
                skip_to = answer if links.steps[one] == own_step else -1
                skip_from = start if links.steps[one] == own_back else -1
                for edge in range(links.starts[one], links.starts[one + 1]):
                    target = links.targets[edge]
                    if target == skip_to or target == skip_from or (len(removed) and removed[edge]):
                        continue
                    if seen[target] != example:
                        seen[target], listed[size] = example, target
                        size += 1
                        made[target] = 0.0
                    for component in range(components):
                        made[target, component] += mass[component] * factor[component]
        space.sizes[step] = size
        if drop:
            for at in range(size):
                node = listed[at]
                for component in range(components):
                    held = kept(key, step, node, component, threshold)
                    made[node, component] *= (1.0 / keep) if held else 0.0


@compiled()
def _prepare_last(
    links: Links,
    counts: Int[np.ndarray, " segments"],
    space: States,
    factors: Float[np.ndarray, "operators components"],
    query: int,
    step: int,
    size_needed: int,
) -> int:
    """`last` at every entity that this example reached and no other of the query had."""
    components = factors.shape[1]
    for at in range(space.sizes[step]):
        node = space.reached[step, at]
        if space.known[node] == query:
            continue
        space.known[node], space.needed[size_needed] = query, node
        size_needed += 1
        total = space.last[node]
        for component in range(components):
            total[component] = factors[len(factors) - 1, component]
            space.last_gradient[node, component] = 0.0
        for one in range(links.segments[node], links.segments[node + 1]):
            for component in range(components):
                total[component] += factors[links.steps[one], component] * counts[one]
    return size_needed


@compiled()
def _end(
    links: Links,
    removed: UInt[np.ndarray, " edges"],
    space: States,
    factors: Float[np.ndarray, "operators components"],
    ga: Float[np.ndarray, "operators components"],
    step: int,
    start: int,
    answer: int,
    forward: int,
    backward: int,
    own: bool,
    key: np.uint64,
    keep: float,
    drop: bool,
    normalise: bool,
    floor: float,
    num_relations: int,
) -> float:
    """The last step at the answer, the loss, and the gradient down to the state before the step."""
    components = factors.shape[1]
    values, gradients, seen = space.values[step], space.gradients[step], space.seen[step]
    example = seen[space.reached[step, 0]] if step else -1
    stay = len(factors) - 1
    there, everywhere = np.zeros(components), np.zeros(components)
    for component in range(components):
        for at in range(space.sizes[step]):
            node = space.reached[step, at]
            everywhere[component] += values[node, component] * space.last[node, component]
    here = _is_reached(space, step, example, answer, start)
    began = _is_reached(space, step, example, start, start)
    for component in range(components):
        if here:
            there[component] = values[answer, component] * factors[stay, component]
            if own:
                everywhere[component] -= values[answer, component] * factors[backward, component]
        if began and own:
            everywhere[component] -= values[start, component] * factors[forward, component]
    for one in range(links.segments[answer], links.segments[answer + 1]):
        step_in = inverse_of(links.steps[one], num_relations)
        for edge in range(links.starts[one], links.starts[one + 1]):
            source = links.targets[edge]
            if _passed(links, removed, edge, source, step_in, start, answer, forward, backward, own):
                continue
            if _is_reached(space, step, example, source, start):
                for component in range(components):
                    there[component] += values[source, component] * factors[step_in, component]
    held = np.ones(components)
    if drop:
        threshold = np.uint64(keep * 18446744073709551615.0)
        for component in range(components):
            held[component] = (1.0 / keep) if kept(key, step + 1, answer, component, threshold) else 0.0
    score = 0.0
    for component in range(components):
        if not normalise:
            everywhere[component] = 1.0
        if there[component] > 0.0:  # then so is the sum, but for rounding
            everywhere[component] = max(everywhere[component], there[component]) if normalise else 1.0
            score += held[component] * there[component] / everywhere[component]
    if not score > floor:
        return -np.log(floor)
    by_there, by_sum = np.zeros(components), np.zeros(components)
    for component in range(components):
        if there[component] > 0.0:
            by_there[component] = -held[component] / (score * everywhere[component])
            if normalise:
                by_sum[component] = -by_there[component] * there[component] / everywhere[component]
    for at in range(space.sizes[step]):
        node = space.reached[step, at]
        for component in range(components):
            gradients[node, component] = by_sum[component] * space.last[node, component]
            space.last_gradient[node, component] += by_sum[component] * values[node, component]
    for component in range(components):
        if here:
            gradients[answer, component] += by_there[component] * factors[stay, component]
            ga[stay, component] += by_there[component] * values[answer, component]
            if own:
                gradients[answer, component] -= by_sum[component] * factors[backward, component]
                ga[backward, component] -= by_sum[component] * values[answer, component]
        if began and own:
            gradients[start, component] -= by_sum[component] * factors[forward, component]
            ga[forward, component] -= by_sum[component] * values[start, component]
    for one in range(links.segments[answer], links.segments[answer + 1]):
        step_in = inverse_of(links.steps[one], num_relations)
        for edge in range(links.starts[one], links.starts[one + 1]):
            source = links.targets[edge]
            if _passed(links, removed, edge, source, step_in, start, answer, forward, backward, own):
                continue
            if _is_reached(space, step, example, source, start):
                for component in range(components):
                    gradients[source, component] += by_there[component] * factors[step_in, component]
                    ga[step_in, component] += by_there[component] * values[source, component]
    return -np.log(score)


@compiled()
def _is_reached(space: States, step: int, example: int, node: int, start: int) -> bool:
    return node == start if step == 0 else space.seen[step, node] == example


@compiled()
def _passed(
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


@compiled()
def _back(
    links: Links,
    removed: UInt[np.ndarray, " edges"],
    space: States,
    factors: Float[np.ndarray, "operators components"],
    ga: Float[np.ndarray, "operators components"],
    step: int,
    start: int,
    answer: int,
    forward: int,
    backward: int,
    own: bool,
    key: np.uint64,
    keep: float,
    drop: bool,
) -> None:
    """From the gradient of state `step + 1` to that of state `step`, and of the attention between them."""
    components = factors.shape[1]
    values, gradients, later = space.values[step], space.gradients[step], space.gradients[step + 1]
    stay = len(factors) - 1
    if drop:
        threshold = np.uint64(keep * 18446744073709551615.0)
        for at in range(space.sizes[step + 1]):
            node = space.reached[step + 1, at]
            for component in range(components):
                held = kept(key, step + 1, node, component, threshold)
                later[node, component] *= (1.0 / keep) if held else 0.0
    total, factor_gradient = np.empty(components), np.empty(components)
    for at in range(space.sizes[step]):
        node = space.reached[step, at]
        mass = values[node]
        for component in range(components):
            total[component] = later[node, component] * factors[stay, component]
            ga[stay, component] += mass[component] * later[node, component]
        own_step = forward if own and node == start else -1
        own_back = backward if own and node == answer else -1
        for one in range(links.segments[node], links.segments[node + 1]):
            operator = links.steps[one]
            if not factors[operator].any():
                continue
            skip_to = answer if operator == own_step else -1
            skip_from = start if operator == own_back else -1
            for component in range(components):
                factor_gradient[component] = 0.0
            for edge in range(links.starts[one], links.starts[one + 1]):
                target = links.targets[edge]
                if target == skip_to or target == skip_from or (len(removed) and removed[edge]):
                    continue
                for component in range(components):
                    factor_gradient[component] += later[target, component]
            for component in range(components):
                total[component] += factor_gradient[component] * factors[operator, component]
                ga[operator, component] += factor_gradient[component] * mass[component]
        for component in range(components):
            gradients[node, component] = total[component]


@compiled()
def _finish_last(
    links: Links,
    counts: Int[np.ndarray, " segments"],
    space: States,
    ga: Float[np.ndarray, "operators components"],
    size_needed: int,
) -> None:
    """The gradient of the last step's attention through the sums, for all examples of the query at once."""
    components = ga.shape[1]
    for at in range(size_needed):
        node = space.needed[at]
        gradient = space.last_gradient[node]
        for component in range(components):
            ga[len(ga) - 1, component] += gradient[component]
        for one in range(links.segments[node], links.segments[node + 1]):
            for component in range(components):
                ga[links.steps[one], component] += gradient[component] * counts[one]


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
        space = _states(steps + 1, num_entities, components)
        for row in range(part, len(starts), parts):
            weights = attention[query_of[row]].astype(np.float64)
            _walk(links, no_edges, space, weights, steps, row, starts[row], -1, -1, -1, False, np.uint64(0), 1.0,
                  False)  # fmt: skip
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
