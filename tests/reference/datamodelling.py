"""Slow, obvious statistics of scores against outcomes."""

from fractions import Fraction
from itertools import combinations

import numpy as np


def ranks(values):
    """Mean place from 1 of each value, by counting."""
    return [
        1 + sum(other < value for other in values) + (sum(other == value for other in values) - 1) / 2
        for value in values
    ]


def spearman(one, other):
    """Pearson correlation of ranks."""
    return float(np.corrcoef(ranks(one), ranks(other))[0, 1])


def area_under_curve(scores, wrong):
    """Over all pairs of a wrong and a right triple."""
    pairs = [
        1.0 if bad > good else 0.5 if bad == good else 0.0
        for bad, is_bad in zip(scores, wrong, strict=True)
        if is_bad
        for good, is_too in zip(scores, wrong, strict=True)
        if not is_too
    ]
    return sum(pairs) / len(pairs)


def average_precision(places):
    """Precision at each true triple's rank."""
    return sum(sum(other <= place for other in places) / place for place in places) / len(places)


def expected_by_chance(num_true, num_all):
    """Over every set of places, exactly."""
    sets = list(combinations(range(1, num_all + 1), num_true))
    first = sum(Fraction(1, min(places)) for places in sets) / len(sets)
    precision = sum(
        sum(Fraction(i, place) for i, place in enumerate(places, start=1)) / num_true for places in sets
    ) / len(sets)
    return float(first), float(precision)


def places(scores, rows):
    """Rank of each row among all, from 1; the middle of equal ones."""
    return [1 + sum(scores > scores[row]) + (sum(scores == scores[row]) - 1) / 2 for row in rows]
