"""What the classifier sees of a pair: a row of numbers, made from the visible known pairs alone.

In this order:

- counts: known answers of the row and of the column, edges of both over all relations;
- every likeness on its own, and what likenesses and paths come to together;
- similar rows and similar columns at once: from the row to rows like it, to their known columns, to columns like those;
- the place of each of these but paths in its row, as the share of columns below it: what is high differs from row to row;
- every kind of path on its own, of two steps and, in so far as they are asked for, of three;
- of each set of vectors: cosine, product and distance, known columns of near rows, columns near the row's known ones, their
  places, and with `elementwise` a product and a difference by dimension;
- of each learned score of the pair itself: the score, and its place in the row.

Features of a row are made for all columns at once, so memory is a row's: 4 bytes a column and feature.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from corollary.kernels.walks import Step
from corollary.repurpose.pairs import Places
from corollary.repurpose.steps import known_step, walked
from corollary.repurpose.untrained import Untrained, one, together


@dataclass(frozen=True)
class Vectors:
    """An embedding of every row and every column."""

    name: str
    rows: Float[np.ndarray, "rows dim"]
    columns: Float[np.ndarray, "columns dim"]
    elementwise: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """Of the features it gives."""
        few = [
            f"{self.name} {kind}" for kind in ("cosine", "product", "distance", "near rows", "near columns")
        ]
        dims = range(self.rows.shape[1]) if self.elementwise else ()
        return (
            *few,
            *(f"place of {name}" for name in few),
            *(f"{self.name} product {dim}" for dim in dims),
            *(f"{self.name} difference {dim}" for dim in dims),
        )

    def features(
        self, known: Step, row: int, columns: Int[np.ndarray, " asked"]
    ) -> Float[np.ndarray, "asked features"]:
        """Of one row and some columns."""
        mine, whole = self.rows[row], np.asarray(self.columns)
        distance = np.sqrt(((whole - mine) ** 2).sum(1))
        few = np.stack(
            [_cosines(whole, mine), whole @ mine, distance, *self._near(known, row)], axis=1, dtype=np.float32
        )
        found = [few[columns], places(few)[columns]]
        if self.elementwise:
            found += [whole[columns] * mine, np.abs(whole[columns] - mine)]
        return np.concatenate(found, axis=1)

    def _near(
        self, known: Step, row: int
    ) -> tuple[Float[np.ndarray, " columns"], Float[np.ndarray, " columns"]]:
        """Known columns of rows near this one, and columns near its known ones; cosines count by their cube."""
        rows = np.maximum(_cosines(np.asarray(self.rows), self.rows[row]), 0) ** 3
        rows[row] = 0
        place = slice(known.offsets[row], known.offsets[row + 1])
        mine = zip(known.targets[place], known.weights[place], strict=True)
        whole = np.asarray(self.columns)
        columns = sum(
            (np.maximum(_cosines(whole, whole[one]), 0) ** 3 * weight for one, weight in mine),
            np.zeros(len(whole), np.float32),
        )
        return walked(known, rows.astype(np.float32)), columns


@dataclass(frozen=True)
class PairScores:
    """A learned score of every pair, such as a decoder's or that of rules."""

    name: str
    scores: Float[np.ndarray, "rows columns"]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the features it gives."""
        return f"{self.name} score", f"place of {self.name} score"

    def features(
        self, known: Step, row: int, columns: Int[np.ndarray, " asked"]
    ) -> Float[np.ndarray, "asked 2"]:
        """Score, and the share of all columns that score lower."""
        whole = np.asarray(self.scores[row])[:, None]
        return np.concatenate([whole, places(whole)], axis=1)[columns]


Given = Vectors | PairScores


@dataclass(frozen=True)
class Features:
    """Makes the features of pairs."""

    untrained: Untrained
    """Over every relation that there is."""
    baseline: Untrained
    """Over those that were chosen."""
    given: tuple[Given, ...] = ()
    longest: int = 3
    """Steps of the longest paths."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of every feature, in order."""
        untrained = self.untrained
        placed = (
            *("known of column", "edges of column"),
            *(f"similar columns {walk.name}" for walk in untrained.columns),
            *(f"similar rows {walk.name}" for walk in untrained.rows),
            *("similar columns", "similar rows", "paths", "all three", "similar both", "baseline"),
        )
        return (
            *("known of row", "edges of row"),
            *placed,
            *(f"place of {name}" for name in placed),
            *(f"path {walk.name}" for walk in untrained.paths),
            *(f"path {name}" for name in (self._long_names() if self.longest > 2 else ())),
            *(name for given in self.given for name in given.names),
        )

    def of_rows(self, visible: Places, rows: Int[np.ndarray, " asked"]) -> Iterator["RowFeatures"]:
        """Features of row after row, from some known pairs.

        Known pairs weigh one a row in the mean, however many are visible: a fold sees fewer of them while it learns than
        when it answers, and its probabilities would be too high by as much (by a quarter, on Hetionet).
        """
        known = known_step(self.untrained.pairs, visible)
        share = np.float32(len(self.untrained.pairs.rows) / max(len(visible), 1))
        for row in rows.tolist():
            baseline = self.baseline.scores_of(known, row)["all three"]
            weighed = known._replace(weights=known.weights * share)
            yield RowFeatures(self, weighed, row, self._counted(weighed, baseline, row))

    def _counted(
        self, known: Step, baseline: Float[np.ndarray, " columns"], row: int
    ) -> Float[np.ndarray, "columns counted"]:
        """All but what is given."""
        untrained = self.untrained
        row_edges, column_edges = untrained.steps.degrees
        mine = slice(known.offsets[row], known.offsets[row + 1])
        of_row = np.array([known.weights[mine].sum(), row_edges[row]], np.float32)
        popularity = np.bincount(known.targets, known.weights, known.num_targets).astype(np.float32)
        empty = np.zeros_like(popularity)
        columns = list(untrained.similar_columns(known, row))
        rows = list(untrained.similar_rows(known, row))
        paths = list(untrained.through_others(row))
        sums = [sum(found, empty) for found in (columns, rows, paths)]
        both = sum((walk.from_(sums[1]) for walk in untrained.columns), empty)
        whole = together(popularity, *sums)
        placed = np.stack([popularity, column_edges, *columns, *rows, *sums, whole, both, baseline], axis=1)
        long = self._long(row) if self.longest > 2 else ()
        return np.concatenate(
            [np.tile(of_row, (len(empty), 1)), placed, places(placed), *_as_columns([*paths, *long])], axis=1
        )

    def _long(self, row: int) -> Iterator[Float[np.ndarray, " columns"]]:
        """Paths of three steps, those that begin alike together."""
        steps = self.untrained.steps
        for first in steps.ways(steps.row_type):
            begun = walked(steps.steps[first], one(len(steps.pairs.rows), row))
            for second in steps.ways(first.target):
                further = walked(steps.steps[second], begun)
                for last in steps.ways(steps.column_type):
                    if last.target == second.target:
                        yield walked(steps.back(last), further)

    def _long_names(self) -> Iterator[str]:
        """From column to row."""
        steps = self.untrained.steps
        for first in steps.ways(steps.row_type):
            for second in steps.ways(first.target):
                arrow = "" if second.backwards else "<"  # it is walked towards the column
                for last in steps.ways(steps.column_type):
                    if last.target == second.target:
                        yield f"{steps.name(last)}-{arrow}{steps.name(second)}-{steps.name(first)}"


@dataclass(frozen=True)
class RowFeatures:
    """Features of one row: those that are counted are there, those that are given are made for the columns asked."""

    features: Features
    known: Step
    row: int
    counted: Float[np.ndarray, "columns counted"]

    def of(self, columns: Int[np.ndarray, " asked"]) -> Float[np.ndarray, "asked features"]:
        """Features of some columns."""
        given = [part.features(self.known, self.row, columns) for part in self.features.given]
        return np.concatenate([self.counted[columns], *given], axis=1, dtype=np.float32)

    def every(self) -> Float[np.ndarray, "columns features"]:
        """Features of all columns."""
        return self.of(np.arange(len(self.counted)))


def _cosines(
    vectors: Float[np.ndarray, "nodes dim"], one: Float[np.ndarray, " dim"]
) -> Float[np.ndarray, " nodes"]:
    """Of every vector with one; 0 where either is nothing."""
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(one)
    return np.divide(vectors @ one, lengths, out=np.zeros(len(vectors), np.float32), where=lengths > 0)


def _as_columns(
    found: Sequence[Float[np.ndarray, " columns"]],
) -> list[Float[np.ndarray, "columns features"]]:
    return [np.stack(found, axis=1)] if found else []


def places(values: Float[np.ndarray, "columns features"]) -> Float[np.ndarray, "columns features"]:
    """By feature, the share of columns that are lower."""
    found = np.empty_like(values)
    for at, column in enumerate(values.T):
        found[:, at] = np.searchsorted(np.sort(column), column) / len(column)
    return found
