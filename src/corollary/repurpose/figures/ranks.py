"""The rank of every asked pair among all candidates of its row, the row's other asked pairs left out, ties in the middle."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from corollary.repurpose.figures.truth import Truth, standing


class Ranks(NamedTuple):
    """In the order of `Truth.asked`."""

    ranks: Float[np.ndarray, " asked"]
    """From 1; half-way among equal scores."""
    candidates: Int[np.ndarray, " asked"]
    """Columns that competed, the asked one among them."""

    @property
    def beaten(self) -> Float[np.ndarray, " asked"]:
        """Share of the other candidates that the asked pair stands above, equal ones by half; NaN without others."""
        others = self.candidates - 1
        above = self.candidates - self.ranks
        return np.divide(above, others, out=np.full(len(above), np.nan), where=others > 0)


def row_ranks(scores: Float[np.ndarray, "rows columns"], truth: Truth) -> Ranks:
    """Exact ranks over all candidates.

    Time: a sort of each row that is asked about. Memory: a block of rows in float64 (`truth.BLOCK_BYTES`), once more
    for its mask, and 16 bytes an asked pair.
    """
    ranks, candidates = np.empty(len(truth.asked)), np.empty(len(truth.asked), np.int64)
    for rows in truth.blocks():
        here = truth.asked_in(rows)
        if here.start == here.stop:
            continue
        open_ = truth.negatives(rows)
        for row in np.unique(truth.asked[here, 0]).tolist():
            mine = truth.asked_in(slice(row, row + 1))
            values, others = np.asarray(scores[row], np.float64), open_[row - rows.start]
            above, equal = standing(values[others], values[truth.asked[mine, 1]])
            ranks[mine] = 1 + above + equal / 2
            candidates[mine] = others.sum() + 1
    return Ranks(ranks, candidates)


def matched_ranks(scores: Float[np.ndarray, "rows columns"], truth: Truth) -> Ranks:
    """The same among columns of like degree alone: what a score knows beside how often a column occurs."""
    ranks, candidates = np.empty(len(truth.asked)), np.empty(len(truth.asked), np.int64)
    own = asked_kinds(truth)
    parts = truth.parts[truth.asked[:, 0]]
    for part, kind in np.unique(np.stack([parts, own], axis=1), axis=0).tolist():
        columns = np.flatnonzero(degree_kinds(truth.degrees[part]) == kind)
        mine = (parts == part) & (own == kind)
        ranks[mine], candidates[mine] = row_ranks(scores[:, columns], truth.within(part, columns))
    return Ranks(ranks, candidates)


def asked_kinds(truth: Truth) -> Int[np.ndarray, " asked"]:
    """The kind of the degree that the column of each asked pair had in training."""
    rows, columns = truth.asked.T
    return degree_kinds(truth.degrees[truth.parts[rows], columns])


def degree_kinds(degrees: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Columns of like degree share a number: 0, 1, 2 to 3, 4 to 7, and so on, each twice as wide as the last."""
    return np.where(degrees > 0, np.floor(np.log2(np.maximum(degrees, 1))).astype(np.int64) + 1, 0)


def kind_name(kind: int) -> str:
    """The degrees that share a number, such as `4-7`."""
    if kind <= 1:
        return str(kind)
    return f"{2 ** (kind - 1)}-{2**kind - 1}"
