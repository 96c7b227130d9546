"""DRUM, slowly and obviously: one dense matrix an operator, normalised after every step, own edges set to zero."""

import torch


def operators(triples, num_entities, num_relations, *, without=()):
    """[operators, entities, entities] with A[k][x, y] = 1 where step k leads from y to x; the last one stays."""
    result = torch.zeros(2 * num_relations + 1, num_entities, num_entities, dtype=torch.float64)
    for head, relation, tail in triples:
        if (head, relation, tail) in without:
            continue
        result[relation, tail, head] = 1
        result[relation + num_relations, head, tail] = 1
    result[-1] = torch.eye(num_entities, dtype=torch.float64)
    return result


def distribution(matrices, attention, start, *, normalise=True):
    """[entities] from attention [steps, operators, components]."""
    total = 0
    for component in range(attention.shape[2]):
        state = torch.zeros(matrices.shape[1], dtype=torch.float64)
        state[start] = 1
        for step in range(attention.shape[0]):
            state = torch.einsum("k,kxy,y->x", attention[step, :, component], matrices, state)
            if normalise:
                state = state / state.sum().clamp(min=1e-300)
        total = total + state
    return total


def loss(
    triples, attention, example, num_entities, num_relations, *, removed=None, normalise=True, floor=1e-12
):
    """-log of the answer's score, without the example's own edge or without those that are `removed`."""
    start, relation, answer = example
    forward = relation < num_relations
    own = (start, relation, answer) if forward else (answer, relation - num_relations, start)
    without = {own} if removed is None else set(removed)
    matrices = operators(triples, num_entities, num_relations, without=without)
    score = distribution(matrices, attention, start, normalise=normalise)[answer]
    return -torch.log(score.clamp(min=floor))


def body_shares(triples, attention, example, num_entities, num_relations):
    """By body: its share of the example's normalised score, over all walks of full length written out."""
    start, relation, answer = example
    own = (start, relation, answer) if relation < num_relations else (answer, relation - num_relations, start)
    edges = [t for t in triples if t != own]
    steps = [(h, r, t) for h, r, t in edges] + [(t, r + num_relations, h) for h, r, t in edges]
    length, operators, components = attention.shape
    walks = [((start,), (), torch.ones(components, dtype=torch.float64))]
    for at in range(length):
        walks = [
            ((*nodes, to), (*body, step), mass * attention[at, step])
            for nodes, body, mass in walks
            for source, step, to in [*steps, (nodes[-1], operators - 1, nodes[-1])]
            if source == nodes[-1]
        ]
    totals = sum((mass for _, _, mass in walks), torch.zeros(components, dtype=torch.float64))
    found = {}
    for nodes, body, mass in walks:
        if nodes[-1] == answer:
            body = tuple(step for step in body if step != operators - 1)
            found[body] = found.get(body, 0.0) + float((mass / totals).sum())
    score = sum(found.values())
    return {body: share / score for body, share in found.items()}
