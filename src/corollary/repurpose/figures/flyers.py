"""Frequent flyers: columns that stand among the ten best of row after row, whatever the row; and what normalising does.

A drug that treats much is near the top of every list, and a list that is the same for every disease says nothing of any.
Source: the frequent-flyer transformation of Every Cure's MATRIX; here ranks within row and column count the same.
"""

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict

from corollary.repurpose.figures.truth import Truth, standing

PLACES = 10
"""Best candidates of a row, and most frequent columns."""


class Flyers(BaseModel):
    """How much of the top of all lists a few columns hold."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    share: float
    """Of the ten best places of every row, those held by the ten most frequent columns."""
    columns: tuple[int, ...]
    """These columns, the most frequent first."""
    counts: tuple[int, ...]
    """Rows that have each among their ten best."""
    distinct: int
    """Columns that are among the ten best of some row."""


def frequent_flyers(scores: Float[np.ndarray, "rows columns"], truth: Truth) -> Flyers:
    """Count the ten best candidates of every row; of equal scores the column that comes first.

    Time: a sort of every row. Memory: the mask of a block of rows.
    """
    times = np.zeros(truth.num_columns, np.int64)
    for rows in truth.blocks():
        open_ = truth.candidates(rows)
        for at, row in enumerate(range(rows.start, rows.stop)):
            columns = np.flatnonzero(open_[at])
            best = np.argsort(-scores[row, columns], kind="stable")[:PLACES]
            times[columns[best]] += 1
    order = np.argsort(-times, kind="stable")[:PLACES]
    order = order[times[order] > 0]
    return Flyers(
        share=float(times[order].sum() / max(times.sum(), 1)),
        columns=tuple(order.tolist()),
        counts=tuple(times[order].tolist()),
        distinct=int((times > 0).sum()),
    )


def rank_normalised(scores: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows columns"]:
    """A score that is high where a pair stands high in its row and in its column: minus the mean log share of the two
    ranks, ties in the middle. What is high in every row is high in its column only once.

    Memory: the result in float32, and a block of rows or columns in float64 four times.
    """
    rows, columns = scores.shape
    found = np.empty(scores.shape, np.float32)
    height = max(1, (1 << 21) // max(columns, 1))
    for first in range(0, rows, height):
        part = slice(first, first + height)
        found[part] = np.log(_ranks(scores[part]) / columns) / -2
    width = max(1, (1 << 21) // max(rows, 1))
    for first in range(0, columns, width):
        part = slice(first, first + width)
        found[:, part] -= (np.log(_ranks(scores[:, part].T) / rows) / 2).T
    return found


def _ranks(scores: Float[np.ndarray, "lists items"]) -> Float[np.ndarray, "lists items"]:
    """Of every item in its list, 1 for the highest, half-way among equal ones."""
    ranks = np.empty(scores.shape)
    for at, values in enumerate(np.asarray(scores, np.float64)):
        above, equal = standing(values, values)
        ranks[at] = above + (equal + 1) / 2
    return ranks
