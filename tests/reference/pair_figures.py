"""Figures of a matrix of scores the slow, obvious way: loops over pairs, nothing shared with the fast path."""

import numpy as np

Pairs = set[tuple[int, int]]


def candidates(shape: tuple[int, int], known: Pairs) -> list[tuple[int, int]]:
    return [(r, c) for r in range(shape[0]) for c in range(shape[1]) if (r, c) not in known]


def ranks(scores: np.ndarray, asked: Pairs, known: Pairs, like: np.ndarray | None = None) -> dict:
    """Rank of each asked pair in its row, other asked pairs left out; among columns of its own kind where given."""
    found = {}
    for row, column in asked:
        others = [
            scores[row, c]
            for c in range(scores.shape[1])
            if (row, c) not in known and (row, c) not in asked and (like is None or like[c] == like[column])
        ]
        own = scores[row, column]
        above, equal = sum(value > own for value in others), sum(value == own for value in others)
        found[row, column] = (1 + above + equal / 2, len(others) + 1)
    return found


def auroc(scores: np.ndarray, asked: Pairs, known: Pairs, weights: np.ndarray) -> float:
    """Share of (asked, other) comparisons that are won, ties by half, each weighed by both rows."""
    won = whole = 0.0
    for row, column in asked:
        for other in candidates(scores.shape, known):
            if other in asked:
                continue
            weight = weights[row] * weights[other[0]]
            own, its = scores[row, column], scores[other]
            won += weight * ((own > its) + 0.5 * (own == its))
            whole += weight
    return won / whole if whole else float("nan")


def average_precision(scores: np.ndarray, asked: Pairs, known: Pairs, weights: np.ndarray) -> float:
    """Precision at the score of each asked pair, in the mean."""
    total = sum(weights[row] for row, _ in asked)
    found = 0.0
    for row, column in asked:
        taken = [p for p in candidates(scores.shape, known) if scores[p] >= scores[row, column]]
        right = sum(weights[p[0]] for p in taken if p in asked)
        found += weights[row] * right / max(sum(weights[p[0]] for p in taken), 1e-300)
    return found / total if total else float("nan")


def recall(scores: np.ndarray, asked: Pairs, known: Pairs, first: int, draw: np.random.Generator) -> float:
    """Share of asked pairs among the first, over many random orders of equal scores."""
    pairs = candidates(scores.shape, known)
    values = np.array([scores[p] for p in pairs])
    true = np.array([p in asked for p in pairs])
    shares = []
    for _ in range(4000):
        order = np.lexsort((draw.random(len(pairs)), -values))
        shares.append(true[order[:first]].sum() / true.sum())
    return float(np.mean(shares))
