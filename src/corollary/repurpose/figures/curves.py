"""Figures over the whole matrix: AUROC, average precision, recall among the first n pairs; exact, with intervals.

Only the scores of asked pairs decide: for each of them it is counted how many other candidates stand above it and how
many beside it, row by row, so that a draw of rows is a sum of these counts. Nothing as large as the matrix is sorted.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from corollary.repurpose.figures.resampling import Draws, ratio
from corollary.repurpose.figures.truth import Truth, standing

_PART = 1 << 21
"""Counts of rows or draws that are made at once."""


@dataclass(frozen=True)
class Curve:
    """By draw of rows and by distinct score of an asked pair, the highest first."""

    positives: Float[np.ndarray, "draws scores"]
    """Asked pairs with the very score."""
    above: Float[np.ndarray, "draws scores"]
    """Other candidates with a higher score."""
    equal: Float[np.ndarray, "draws scores"]
    """Other candidates with the same score."""
    negatives: Float[np.ndarray, " draws"]
    """Other candidates in all."""

    def auroc(self) -> Draws:
        """Probability that an asked pair stands above another candidate; ties count half."""
        return self._by_draws(_auroc)

    def average_precision(self) -> Draws:
        """Mean precision at the score of each asked pair; pairs with one score are taken in together."""
        return self._by_draws(_average_precision)

    def recall(self, first: int) -> Draws:
        """Share of asked pairs among the `first` highest candidates, in the mean over orders of equal scores."""
        return self._by_draws(lambda part: _recall(part, first))

    def _by_draws(self, figure: "Callable[[Curve], Draws]") -> Draws:
        """A figure of some draws at a time, so that what is made on the way stays small."""
        height = max(1, _PART // max(self.positives.shape[1], 1))
        parts = [slice(first, first + height) for first in range(0, len(self.negatives), height)]
        return np.concatenate(
            [figure(Curve(self.positives[p], self.above[p], self.equal[p], self.negatives[p])) for p in parts]
        )


def _auroc(found: Curve) -> Draws:
    wrong = (found.positives * (found.above + found.equal / 2)).sum(1)
    return 1 - ratio(wrong, found.positives.sum(1) * found.negatives)


def _average_precision(found: Curve) -> Draws:
    right = np.cumsum(found.positives, axis=1)
    taken = right + found.above + found.equal
    precision = np.divide(right, taken, out=np.zeros_like(right), where=taken > 0)
    return ratio((found.positives * precision).sum(1), found.positives.sum(1))


def _recall(found: Curve, first: int) -> Draws:
    before = np.cumsum(found.positives, axis=1) - found.positives + found.above
    share = np.clip((first - before) / np.maximum(found.positives + found.equal, 1), 0, 1)
    return ratio((found.positives * share).sum(1), found.positives.sum(1))


def curve(
    scores: Float[np.ndarray, "rows columns"], truth: Truth, weights: Float[np.ndarray, "draws rows"]
) -> Curve:
    """Count once for all figures.

    Time: a sort of every row, a search in it for each asked pair, and draws x rows x asked pairs multiplications.
    Memory: 24 bytes a draw and asked pair, a block of rows in float64 with its mask, and 64 MiB.
    """
    own, place = np.unique(truth.of_asked(scores), return_inverse=True)
    draws, count = len(weights), len(own)
    above, equal = np.zeros((draws, count)), np.zeros((draws, count))
    negatives = np.zeros(draws)
    height = max(1, _PART // max(count, 1))
    for block in truth.blocks():
        for first in range(block.start, block.stop, height):
            rows = slice(first, min(first + height, block.stop))
            higher, same, sizes = _counts(scores, truth, rows, own)
            above += weights[:, rows] @ higher
            equal += weights[:, rows] @ same
            negatives += weights[:, rows] @ sizes
    positives = _by_score(truth, place, weights, count)
    return Curve(positives[:, ::-1], above[:, ::-1], equal[:, ::-1], negatives)


def _counts(
    scores: Float[np.ndarray, "rows columns"], truth: Truth, rows: slice, own: Float[np.ndarray, " scores"]
) -> tuple[Float[np.ndarray, "block scores"], Float[np.ndarray, "block scores"], Float[np.ndarray, " block"]]:
    """By row and distinct score: candidates above and beside it; and all of the row's."""
    open_, height = truth.negatives(rows), rows.stop - rows.start
    higher, same = np.empty((height, len(own))), np.empty((height, len(own)))
    for row in range(height):
        values = np.asarray(scores[rows.start + row], np.float64)
        higher[row], same[row] = standing(values[open_[row]], own)
    return higher, same, open_.sum(1).astype(np.float64)


def _by_score(
    truth: Truth, place: Int[np.ndarray, " asked"], weights: Float[np.ndarray, "draws rows"], count: int
) -> Float[np.ndarray, "draws scores"]:
    """Asked pairs by draw and score."""
    found = np.zeros((len(weights), count))
    for pair, score in enumerate(place.tolist()):
        found[:, score] += weights[:, truth.asked[pair, 0]]
    return found
