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
