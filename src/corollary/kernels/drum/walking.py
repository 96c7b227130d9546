"""Walks from one start, state by state, and back again with their gradient."""

import numpy as np
from jaxtyping import Float, UInt

from corollary.kernels import compiled
from corollary.kernels.drum.states import Example, States, dropout_scale
from corollary.kernels.paths import Links


@compiled()
def walk(
    links: Links,
    removed: UInt[np.ndarray, " edges"],
    space: States,
    weights: Float[np.ndarray, "steps operators components"],
    steps: int,
    example: Example,
) -> None:
    """States 0 to `steps`, each with the list of entities it reaches."""
    components = weights.shape[2]
    number, start, answer = example.number, example.start, example.answer
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
            if seen[node] != number:
                seen[node], listed[size] = number, node
                size += 1
                made[node] = 0.0
            for component in range(components):
                made[node, component] += mass[component] * stay[component]
            own_step = example.forward if example.own and node == start else -1
            own_back = example.backward if example.own and node == answer else -1
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
                    if seen[target] != number:
                        seen[target], listed[size] = number, target
                        size += 1
                        made[target] = 0.0
                    for component in range(components):
                        made[target, component] += mass[component] * factor[component]
        space.sizes[step] = size
        if example.keep < 1.0:
            for at in range(size):
                node = listed[at]
                for component in range(components):
                    made[node, component] *= dropout_scale(example, step, node, component)


@compiled()
def step_back(
    links: Links,
    removed: UInt[np.ndarray, " edges"],
    space: States,
    factors: Float[np.ndarray, "operators components"],
    ga: Float[np.ndarray, "operators components"],
    step: int,
    example: Example,
) -> None:
    """From the gradient of state `step + 1` to that of state `step`, and of the attention between them."""
    components = factors.shape[1]
    values, gradients, later = space.values[step], space.gradients[step], space.gradients[step + 1]
    stay, start, answer = len(factors) - 1, example.start, example.answer
    if example.keep < 1.0:
        for at in range(space.sizes[step + 1]):
            node = space.reached[step + 1, at]
            for component in range(components):
                later[node, component] *= dropout_scale(example, step + 1, node, component)
    total, factor_gradient = np.empty(components), np.empty(components)
    for at in range(space.sizes[step]):
        node = space.reached[step, at]
        mass = values[node]
        for component in range(components):
            total[component] = later[node, component] * factors[stay, component]
            ga[stay, component] += mass[component] * later[node, component]
        own_step = example.forward if example.own and node == start else -1
        own_back = example.backward if example.own and node == answer else -1
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
