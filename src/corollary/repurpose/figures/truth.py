"""The matrix of all pairs as a test sees it: which are asked for, and which are known and compete with nobody.

Rows are what is asked about (diseases), columns what answers (drugs). Every other pair is a candidate, and counts as
false: a graph does not say which pairs nobody has looked at.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from jaxtyping import Bool, Float, Int

from corollary.errors import InputError

BLOCK_BYTES = 64 << 20
"""Scores handled at once, in float64."""


@dataclass(frozen=True)
class Truth:
    """Pairs by place, each list in the order of rows, then columns."""

    num_rows: int
    num_columns: int
    asked: Int[np.ndarray, "asked 2"]
    """The held-out pairs: row and column."""
    known: Int[np.ndarray, "known 2"]
    """Pairs that are no candidates: those that training saw."""
    groups: Int[np.ndarray, " rows"]
    """Rows with one number are drawn together in the bootstrap: a disease that stands in several folds."""
    parts: Int[np.ndarray, " rows"]
    """The fold that each row stands in."""
    degrees: Int[np.ndarray, "parts columns"]
    """By fold: the pairs of each column that training saw."""

    @classmethod
    def of(
        cls,
        shape: tuple[int, int],
        asked: Int[np.ndarray, "asked 2"],
        known: Int[np.ndarray, "known 2"],
        *,
        groups: Int[np.ndarray, " rows"] | None = None,
        parts: Int[np.ndarray, " rows"] | None = None,
        degrees: Int[np.ndarray, "parts columns"] | None = None,
    ) -> Self:
        """Pairs in any order, repeated or not. Without groups every row is drawn by itself; without folds there is one, and
        its degrees are counted from the known pairs.

        Raises `InputError` where a pair lies outside or is in both lists.
        """
        rows, columns = shape
        held, seen = (
            np.unique(_numbers(pairs, shape, name)) for pairs, name in ((asked, "asked"), (known, "known"))
        )
        if (both := np.intersect1d(held, seen, assume_unique=True)).size:
            row, column = divmod(int(both[0]), columns)
            raise InputError(
                f"{both.size:,} pairs are held out and known at once, such as row {row}, column {column}: remove them "
                "from what training sees"
            )
        placed = [np.stack(np.divmod(one, max(columns, 1)), axis=1) for one in (held, seen)]
        every = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]
        return cls(
            rows,
            columns,
            placed[0],
            placed[1],
            every.astype(np.int64),
            np.zeros(rows, np.int64) if parts is None else parts,
            np.bincount(placed[1][:, 1], minlength=columns)[None] if degrees is None else degrees,
        )

    @property
    def num_groups(self) -> int:
        return int(self.groups.max(initial=-1)) + 1

    @property
    def num_candidates(self) -> int:
        """Pairs that compete, those asked for among them."""
        return self.num_rows * self.num_columns - len(self.known)

    def check_asked(self) -> None:
        """Raises `InputError` where no pair is asked for."""
        if not len(self.asked):
            raise InputError("no pair is held out: there is nothing to judge scores by")

    def blocks(self) -> Iterator[slice]:
        """All rows, so many at a time that their scores take BLOCK_BYTES in float64."""
        height = max(1, BLOCK_BYTES // (8 * max(self.num_columns, 1)))
        for first in range(0, self.num_rows, height):
            yield slice(first, min(first + height, self.num_rows))

    def asked_in(self, rows: slice) -> slice:
        """Where the asked pairs of some rows stand in `asked`."""
        return slice(*np.searchsorted(self.asked[:, 0], [rows.start, rows.stop]).tolist())

    def known_in(self, rows: slice) -> slice:
        """Where the known pairs of some rows stand in `known`."""
        return slice(*np.searchsorted(self.known[:, 0], [rows.start, rows.stop]).tolist())

    def candidates(self, rows: slice) -> Bool[np.ndarray, "block columns"]:
        """Which pairs of some rows compete. Memory: a byte a pair."""
        open_ = np.ones((rows.stop - rows.start, self.num_columns), bool)
        here = self.known[self.known_in(rows)]
        open_[here[:, 0] - rows.start, here[:, 1]] = False
        return open_

    def negatives(self, rows: slice) -> Bool[np.ndarray, "block columns"]:
        """Which pairs of some rows compete and are not asked for."""
        open_ = self.candidates(rows)
        here = self.asked[self.asked_in(rows)]
        open_[here[:, 0] - rows.start, here[:, 1]] = False
        return open_

    def of_asked(self, scores: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, " asked"]:
        """The scores of the pairs that are asked for."""
        return np.asarray(scores[self.asked[:, 0], self.asked[:, 1]], np.float64)

    def within(self, part: int, columns: Int[np.ndarray, " kept"]) -> Self:
        """The asked pairs of one fold among some columns alone, numbered in the order given."""
        place = np.full(self.num_columns, -1)
        place[columns] = np.arange(len(columns))
        asked, known = (
            np.stack([pairs[:, 0], place[pairs[:, 1]]], axis=1)[place[pairs[:, 1]] >= 0]
            for pairs in (self.asked, self.known)
        )
        mine = self.parts[asked[:, 0]] == part
        return replace(
            self, num_columns=len(columns), asked=asked[mine], known=known, degrees=self.degrees[:, columns]
        )


def standing(
    competing: Float[np.ndarray, " candidates"], own: Float[np.ndarray, " scores"]
) -> tuple[Int[np.ndarray, " scores"], Int[np.ndarray, " scores"]]:
    """How many competing scores are higher than each of some, and how many are equal. Time: one sort."""
    ordered = np.sort(competing)
    upto, below = np.searchsorted(ordered, own, "right"), np.searchsorted(ordered, own, "left")
    return len(ordered) - upto, upto - below


def check_scores(
    scores: Float[np.ndarray, "rows columns"],
    truth: Truth,
    what: str = "scores",
    *,
    low: float = -np.inf,
    high: float = np.inf,
) -> None:
    """Raises `InputError` for a matrix of another shape, and for the first number that is not finite or out of bounds."""
    if scores.shape != (truth.num_rows, truth.num_columns):
        raise InputError(
            f"{what} are {scores.shape[0]:,} by {scores.shape[1]:,}, and the pairs {truth.num_rows:,} by "
            f"{truth.num_columns:,}"
        )
    for rows in truth.blocks():
        part = scores[rows]
        right = np.isfinite(part) & (part >= low) & (part <= high)
        if not right.all():
            row, column = np.argwhere(~right)[0].tolist()
            expected = "a finite number" if np.isinf(low) else f"a number from {low:g} to {high:g}"
            raise InputError(
                f"{what}: row {rows.start + row}, column {column} is {part[row, column]}: every pair needs {expected}"
            )


def _numbers(pairs: Int[np.ndarray, "n 2"], shape: tuple[int, int], name: str) -> Int[np.ndarray, " n"]:
    """One number a pair."""
    wrong = (pairs < 0).any(1) | (pairs >= np.array(shape)).any(1)
    if wrong.any():
        row, column = pairs[wrong][0].tolist()
        raise InputError(
            f"{name} pair ({row}, {column}) is outside of {shape[0]:,} rows and {shape[1]:,} columns"
        )
    return pairs[:, 0].astype(np.int64) * shape[1] + pairs[:, 1]
