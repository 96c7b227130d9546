"""What a relation is like, read from lists of triples one by one: the plain twin of `relation_features`."""

import math

import numpy as np

from corollary.learners.drum.relation_features import HASHED, hashed_name
from corollary.randomness import generator


def described(triples, names, num_entities, relation, facts=None):
    """[2, numbers] of one relation, by all of its facts or by some; `relation` may be a new name without a number."""
    count = len(names)
    own = relation if isinstance(relation, int) else None
    name = names[own] if own is not None else relation
    if facts is None:
        facts = [(h, t) for h, r, t in triples if r == own]
    return np.stack(
        [
            np.concatenate(
                [
                    _means(triples, count, num_entities, facts, own, way, lambda d: _hash(names, d)),
                    _means(
                        triples, count, num_entities, facts, own, way, lambda d: _figures(triples, count, d)
                    ),
                    _means(
                        triples,
                        count,
                        num_entities,
                        facts,
                        own,
                        way,
                        lambda d: _one_step(triples, count, num_entities, d),
                    ),
                    _figures_of(facts, way),
                    hashed_name(name),
                    [float(bool(facts)), 1.0 - 2 * way],
                ]
            )
            for way in (0, 1)
        ]
    )


def _means(triples, count, num_entities, facts, own, way, table):
    sides = [_profile(triples, count, num_entities, {fact[side] for fact in facts}, own) for side in (0, 1)]
    if way:
        sides = sides[::-1]
    width = len(table(0))
    return np.concatenate(
        [sum((w * np.asarray(table(d)) for d, w in side.items()), np.zeros(width)) for side in sides]
    )


def _profile(triples, count, num_entities, entities, own):
    weights = {}
    for d in range(2 * count):
        bearers = {(h if d < count else t) for h, r, t in triples if r == d % count}
        share = len(bearers & entities) * math.log((num_entities + 1) / (len(bearers) + 1))
        if share and (own is None or d % count != own):
            weights[d] = share
    total = sum(weights.values())
    return {d: share / total for d, share in weights.items()}


def _hash(names, directed):
    draws = generator(0, "relation profile", names[directed % len(names)]).standard_normal((2, HASHED))
    return draws[directed // len(names)]


def _figures(triples, count, directed):
    return _figures_of([(h, t) for h, r, t in triples if r == directed % count], directed // count)


def _one_step(triples, count, num_entities, directed):
    facts = [(h, t) for h, r, t in triples if r == directed % count]
    return _means(
        triples,
        count,
        num_entities,
        facts,
        directed % count,
        directed // count,
        lambda d: _figures(triples, count, d),
    )


def _figures_of(facts, way):
    facts = {(fact[way], fact[1 - way]) for fact in facts}
    if not facts:
        return np.zeros(8)
    first, second = {a for a, _ in facts}, {b for _, b in facts}
    n = len(facts)
    return np.array(
        [
            math.log(n), math.log(len(first)), math.log(len(second)), len(first) / n, len(second) / n,
            sum((b, a) in facts for a, b in facts) / n, sum(a == b for a, b in facts) / n,
            len(first & second) / len(first | second),
        ]
    )  # fmt: skip
