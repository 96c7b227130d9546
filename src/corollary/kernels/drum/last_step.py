"""The last step of a walk: at the answer alone, and as one sum over all entities that all examples of a query share."""

import numpy as np
from jaxtyping import Float, Int, UInt

from corollary.kernels import compiled
from corollary.kernels.drum.states import Example, States, dropout_scale, is_reached, passed_over
from corollary.kernels.paths import Links
from corollary.kernels.rule_counts import inverse_of


@compiled()
def prepare_last(
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
def end_at_answer(
    links: Links,
    removed: UInt[np.ndarray, " edges"],
    space: States,
    factors: Float[np.ndarray, "operators components"],
    ga: Float[np.ndarray, "operators components"],
    step: int,
    example: Example,
    normalise: bool,
    floor: float,
    num_relations: int,
) -> float:
    """The last step at the answer, the loss, and the gradient down to the state before the step."""
    components = factors.shape[1]
    values, gradients = space.values[step], space.gradients[step]
    start, answer, own = example.start, example.answer, example.own
    stay = len(factors) - 1
    there, everywhere = np.zeros(components), np.zeros(components)
    for component in range(components):
        for at in range(space.sizes[step]):
            node = space.reached[step, at]
            everywhere[component] += values[node, component] * space.last[node, component]
    here = is_reached(space, step, example, answer)
    began = is_reached(space, step, example, start)
    for component in range(components):
        if here:
            there[component] = values[answer, component] * factors[stay, component]
            if own:
                everywhere[component] -= values[answer, component] * factors[example.backward, component]
        if began and own:
            everywhere[component] -= values[start, component] * factors[example.forward, component]
    for one in range(links.segments[answer], links.segments[answer + 1]):
        step_in = inverse_of(links.steps[one], num_relations)
        for edge in range(links.starts[one], links.starts[one + 1]):
            source = links.targets[edge]
            if passed_over(links, removed, edge, source, step_in, example):
                continue
            if is_reached(space, step, example, source):
                for component in range(components):
                    there[component] += values[source, component] * factors[step_in, component]
    held = np.ones(components)
    if example.keep < 1.0:
        for component in range(components):
            held[component] = dropout_scale(example, step + 1, answer, component)
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
                gradients[answer, component] -= by_sum[component] * factors[example.backward, component]
                ga[example.backward, component] -= by_sum[component] * values[answer, component]
        if began and own:
            gradients[start, component] -= by_sum[component] * factors[example.forward, component]
            ga[example.forward, component] -= by_sum[component] * values[start, component]
    for one in range(links.segments[answer], links.segments[answer + 1]):
        step_in = inverse_of(links.steps[one], num_relations)
        for edge in range(links.starts[one], links.starts[one + 1]):
            source = links.targets[edge]
            if passed_over(links, removed, edge, source, step_in, example):
                continue
            if is_reached(space, step, example, source):
                for component in range(components):
                    gradients[source, component] += by_there[component] * factors[step_in, component]
                    ga[step_in, component] += by_there[component] * values[source, component]
    return -np.log(score)


@compiled()
def finish_last(
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
