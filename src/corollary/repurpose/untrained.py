"""What counting says of a pair, without any training: what a model has to beat.

- popularity: known rows of the column;
- similar columns: from the row to its known columns, and on to columns like them;
- similar rows: from the row to rows like it, and on to their known columns;
- paths: from the row to the column through nodes of other types;
- all of them: log similar columns + log similar rows + paths + half log popularity.

Like are two nodes of a type that a relation links, or that share a neighbour of another type. Everything is made for some
rows at a time from the visible known pairs; nothing else of the relation is looked at.
Measured on Hetionet's treatments: see docs/repurposing.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from corollary.errors import ConfigError, unknown
from corollary.graph.folder import Graph
from corollary.kernels.walks import Step
from corollary.repurpose.config import BaselineConfig
from corollary.repurpose.pairs import Pairs, Places
from corollary.repurpose.steps import Steps, Way, known_step, walked

FLOOR = 0.01
"""Added before a logarithm: a similarity of nothing is not the end of a candidate."""
NAMES = ("popularity", "degree product", "similar columns", "similar rows", "paths", "all three")


@dataclass(frozen=True)
class Walk:
    """Steps that lead from nodes of one type to those of another, or back to it."""

    name: str
    relations: tuple[str, ...]
    steps: tuple[Step, ...]

    def from_(self, vector: Float[np.ndarray, " sources"]) -> Float[np.ndarray, " targets"]:
        """What arrives at every target."""
        for step in self.steps:
            vector = walked(step, vector)
        return vector


@dataclass(frozen=True)
class Untrained:
    """The untrained scores of the pairs of one relation."""

    steps: Steps
    columns: tuple[Walk, ...]
    rows: tuple[Walk, ...]
    paths: tuple[Walk, ...]
    """From row to column."""

    @classmethod
    def of(cls, graph: Graph, pairs: Pairs, config: BaselineConfig = BaselineConfig()) -> "Untrained":
        """Find what the scores are counted over.

        Raises `ConfigError` where a relation that is named does not link what it would have to.
        """
        return cls.over(Steps.of(graph, pairs, config.damping), config)

    @classmethod
    def over(cls, steps: Steps, config: BaselineConfig = BaselineConfig()) -> "Untrained":
        """The same over steps that are there already."""
        return cls(
            steps,
            _chosen(alike(steps, steps.column_type), config.similar_columns, "similar_columns"),
            _chosen(alike(steps, steps.row_type), config.similar_rows, "similar_rows"),
            _chosen(paths(steps), config.paths, "paths"),
        )

    @property
    def pairs(self) -> Pairs:
        return self.steps.pairs

    def scores(
        self, visible: Places, rows: Int[np.ndarray, " asked"]
    ) -> dict[str, Float[np.ndarray, "asked columns"]]:
        """Every score of `NAMES` for some rows. Memory: 24 bytes a pair of them."""
        known = known_step(self.pairs, visible)
        found = {name: np.zeros((len(rows), known.num_targets), np.float32) for name in NAMES}
        for at, row in enumerate(rows.tolist()):
            for name, values in self.scores_of(known, row).items():
                found[name][at] = values
        return found

    def scores_of(self, known: Step, row: int) -> dict[str, Float[np.ndarray, " columns"]]:
        """Every score of `NAMES` for one row, from known pairs as a step."""
        popularity = np.bincount(known.targets, minlength=known.num_targets).astype(np.float32)
        row_degrees, column_degrees = self.steps.degrees
        empty = np.zeros(known.num_targets, np.float32)
        columns, rows, paths = (
            sum(walks, empty)
            for walks in (
                self.similar_columns(known, row),
                self.similar_rows(known, row),
                self.through_others(row),
            )
        )
        return {
            "popularity": popularity,
            "degree product": row_degrees[row] * column_degrees,
            "similar columns": columns,
            "similar rows": rows,
            "paths": paths,
            "all three": together(popularity, columns, rows, paths),
        }

    def similar_columns(self, known: Step, row: int) -> Iterator[Float[np.ndarray, " columns"]]:
        """For each likeness of columns: how much every column is like the known ones of a row."""
        mine = one(len(self.pairs.rows), row)
        answers = walked(known, mine)
        for likeness in self.columns:
            yield likeness.from_(answers)

    def similar_rows(self, known: Step, row: int) -> Iterator[Float[np.ndarray, " columns"]]:
        """For each likeness of rows: how much rows like this one have every column as known answer."""
        for likeness in self.rows:
            near = likeness.from_(one(len(self.pairs.rows), row))
            near[row] = 0
            yield walked(known, near)

    def through_others(self, row: int) -> Iterator[Float[np.ndarray, " columns"]]:
        """For each kind of path: the weight of all that lead from a row to every column."""
        for path in self.paths:
            yield path.from_(one(len(self.pairs.rows), row))


def together(
    popularity: Float[np.ndarray, " columns"],
    similar_columns: Float[np.ndarray, " columns"],
    similar_rows: Float[np.ndarray, " columns"],
    paths: Float[np.ndarray, " columns"],
) -> Float[np.ndarray, " columns"]:
    """The combination of all untrained scores."""
    return (
        np.log(similar_columns + FLOOR) + np.log(similar_rows + FLOOR) + paths + np.log1p(popularity) / 2
    ).astype(np.float32)


def untrained_scores(
    graph: Graph, pairs: Pairs, visible: Places, config: BaselineConfig = BaselineConfig()
) -> dict[str, Float[np.ndarray, "rows columns"]]:
    """Every untrained score of every pair, from some of the known pairs. Memory: 24 bytes a pair."""
    return Untrained.of(graph, pairs, config).scores(visible, np.arange(len(pairs.rows)))


def one(size: int, place: int) -> Float[np.ndarray, " size"]:
    """1 at a place, 0 elsewhere: where a walk from one node starts."""
    vector = np.zeros(size, np.float32)
    vector[place] = 1
    return vector


def alike(steps: Steps, kind: int) -> list[Walk]:
    """All ways in which nodes of a type are alike: linked in either direction, or with a neighbour in common."""
    linked = [way for way in steps.ways(kind, kind) if not way.backwards]
    walks: list[tuple[Way, tuple[Step, ...]]] = [(way, (steps.both(way),)) for way in linked]
    walks += [(way, (steps.steps[way], steps.back(way))) for way in steps.ways(kind)]
    return [Walk(steps.name(way), (steps.relations[way.relation],), found) for way, found in walks]


def paths(steps: Steps) -> list[Walk]:
    """All paths of two steps from row to column, named from column to row."""
    found = []
    for last in steps.ways(steps.column_type):
        for first in steps.ways(steps.row_type):
            if first.target == last.target:
                relations = (steps.relations[last.relation], steps.relations[first.relation])
                name = f"{steps.name(last)}-{steps.name(first)}"
                found.append(Walk(name, relations, (steps.steps[first], steps.back(last))))
    return found


def _chosen(walks: Sequence[Walk], wanted: Sequence[str], option: str) -> tuple[Walk, ...]:
    """All walks, or those whose relations, joined by hyphens, are named."""
    if not wanted:
        return tuple(walks)
    known = {"-".join(walk.relations) for walk in walks}
    for name in wanted:
        if name not in known:
            raise ConfigError(unknown("walk", name, sorted(known), where=f"baseline.{option}"))
    return tuple(walk for walk in walks if "-".join(walk.relations) in wanted)
