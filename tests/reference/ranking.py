"""Filtered ranking, its figures and the best answers, the obvious way: one ranking at a time over dense scores."""

import math

import numpy as np

MASK = 2**64 - 1


def rank(scores, true, known, allowed):
    """Places among the allowed entities that are no other known answer: (above, equal, candidates).

    A true answer that is not allowed itself is ranked among all.
    """
    if not allowed[true]:
        allowed = np.ones(len(scores), bool)
    above = equal = others = 0
    for entity in range(len(scores)):
        if entity == true or entity in known or not allowed[entity]:
            continue
        others += 1
        above += scores[entity] > scores[true]
        equal += scores[entity] == scores[true]
    return int(above), int(equal), others + 1


def place(above, equal, ties):
    """The rank of a true answer."""
    return 1 + above + {"optimistic": 0, "realistic": equal / 2, "pessimistic": equal}[ties]


def metrics(ranks, candidates, ks):
    """MRR, hits, mean rank and adjusted mean rank index of some rankings."""
    n = len(ranks)
    mean_rank = sum(ranks) / n
    expected = sum((count + 1) / 2 for count in candidates) / n
    return {
        "mrr": sum(1 / rank for rank in ranks) / n,
        **{f"hits@{k}": sum(rank <= k for rank in ranks) / n for k in ks},
        "mean_rank": mean_rank,
        "adjusted_mean_rank_index": 1 - (mean_rank - 1) / (expected - 1) if expected > 1 else None,
    }


def answers(triples, num_relations):
    """Every query (entity, directed relation) with the set of its answers."""
    found = {}
    for head, relation, tail in np.asarray(triples).tolist():
        found.setdefault((head, relation), set()).add(tail)
        found.setdefault((tail, relation + num_relations), set()).add(head)
    return found


def allowed_types(train, types, num_relations):
    """By directed relation, which entities may answer: of a type seen in train, or without a type."""
    seen = {}
    for (_, relation), entities in answers(train, num_relations).items():
        seen.setdefault(relation, set()).update(types[entity] for entity in entities if types[entity])
    return {
        relation: np.array([not kind or not seen.get(relation) or kind in seen[relation] for kind in types])
        for relation in range(2 * num_relations)
    }


def all_rankings(scores, triples, known, num_relations, allowed=None):
    """(triple, side, relation, above, equal, candidates) of both sides of every distinct triple.

    Args:
        scores: by entity and directed relation, an array over entities.
        known: answers left out, as `answers` gives them.
    """
    rows = []
    everything = np.ones(scores.shape[2], bool)
    for row, (head, relation, tail) in enumerate(np.asarray(triples).tolist()):
        if [head, relation, tail] in np.asarray(triples)[:row].tolist():
            continue
        for side, entity, asked, true in (
            ("head", tail, relation + num_relations, head),
            ("tail", head, relation, tail),
        ):
            limits = everything if allowed is None else allowed[asked]
            counts = rank(scores[entity, asked], true, known.get((entity, asked), set()), limits)
            rows.append((row, side, relation, *counts))
    return rows


def top(scores, k, excluded):
    """The k best (entity, score), equal scores in the order of ids."""
    left = [entity for entity in range(len(scores)) if entity not in excluded]
    return [(entity, scores[entity]) for entity in sorted(left, key=lambda e: (-scores[e], e))[:k]]


def split_mix(stream, number):
    """Number `number` of SplitMix64 started at `stream`."""
    z = (stream + (number + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def poisson(number):
    """How often a triple is drawn: the inverse of the distribution function with mean 1 at number / 2^64."""
    times, share = 0, math.exp(-1)
    term = share
    while number / 2**64 >= share and times < 20:
        times += 1
        term /= times
        share += term
    return times
