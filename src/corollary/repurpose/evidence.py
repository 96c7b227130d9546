"""Why a column stands in the list of a row: paths between the two, the nearest known answer, rules that derive it.

All of it is read from what the lists were made from: the visible known pairs, and every edge of the graph but those
straight between the two node types. So the pair itself is never its own evidence, under no relation and in no direction.
Paths run from column to row and weigh less where they pass through hubs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Self

import numpy as np
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict

from corollary.graph.folder import Graph
from corollary.kernels.pair_paths import dampings, heaviest
from corollary.kernels.paths import Links
from corollary.repurpose.learned import seen
from corollary.repurpose.pairs import Fold, Pairs, Places
from corollary.repurpose.untrained import Untrained, Walk, one
from corollary.rules.rule import links_of
from corollary.runs.explaining.asked import Triple
from corollary.runs.explaining.by_paths import pattern_of, triples_of


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Node(_Part):
    """A node of a path."""

    label: str
    name: str
    type: str


class PathShown(_Part):
    """One path, from column to row."""

    nodes: tuple[Node, ...]
    facts: tuple[tuple[str, str, str], ...]
    """Head, relation and tail of every step, by label, as the graph holds them."""
    pattern: str
    """Relations on the way; `<` behind one that is walked backwards."""
    weight: float

    @property
    def text(self) -> str:
        """Such as `Donepezil > binds > ACHE < associates < Alzheimer's disease`."""
        words = [self.nodes[0].name]
        for node, (head, relation, _), before in zip(self.nodes[1:], self.facts, self.nodes, strict=False):
            arrow = ">" if head == before.label else "<"
            words += [arrow, relation, arrow, node.name]
        return " ".join(words)


class Nearest(_Part):
    """The known answer that is most like this one."""

    row: str
    column: str
    """Names of the known pair."""
    row_label: str
    column_label: str
    by: str
    """The likeness that says most: a relation that links the two, or through which they share neighbours."""
    likeness: float
    """Damped weight of all likenesses together; comparable within one row."""


class RuleShown(_Part):
    """A rule that derives the pair."""

    sentence: str
    right: int
    """Known pairs that it derives."""
    of: int
    """All that it derives."""


class PairEvidence(_Part):
    """What speaks for one pair."""

    paths: tuple[PathShown, ...]
    """The heaviest first."""
    total_paths: int
    longest: int
    """Steps of the longest that were looked for."""
    similar_column: Nearest | None
    """Among the known answers of the row; None where it has none, or none is like this column."""
    similar_row: Nearest | None
    """Among the rows that this column is a known answer of."""
    rules: tuple[RuleShown, ...] = ()


@dataclass(frozen=True)
class Witness:
    """Finds the evidence of pairs. Memory: about 80 bytes for each edge of the graph, 100 a triple while it is made."""

    graph: Graph
    pairs: Pairs
    visible: Places
    untrained: Untrained
    links: Links
    longest: int = 3
    shown: int = 5

    @classmethod
    def of(
        cls, graph: Graph, pairs: Pairs, fold: Fold, untrained: Untrained, *, longest: int = 3, shown: int = 5
    ) -> Self:
        """Read the edges once.

        Args:
            fold: what the lists were made from: its hidden pairs are no evidence.
            longest: 2 or 3 steps; three cost the edges of the column's neighbours, for each pair.
        """
        links = links_of(seen(graph, pairs, fold.hidden), graph.num_entities, graph.num_relations)
        return cls(graph, pairs, fold.visible(pairs), untrained, links, longest, shown)

    def evidence(self, row: int, column: int, rules: Sequence[RuleShown] = ()) -> PairEvidence:
        """What speaks for one pair."""
        found = heaviest(
            self.links,
            self._weights,
            self.graph.num_relations,
            int(self.pairs.columns.entities[column]),
            int(self.pairs.rows.entities[row]),
            self.longest,
            self.shown,
        )
        paths = zip(found.weights.tolist(), found.steps.tolist(), found.between.tolist(), strict=True)
        return PairEvidence(
            paths=tuple(self._path(row, column, *path) for path in paths),
            total_paths=found.total,
            longest=self.longest,
            similar_column=self._similar_column(row, column),
            similar_row=self._similar_row(row, column),
            rules=tuple(rules),
        )

    @cached_property
    def _weights(self) -> Float[np.ndarray, " edges"]:
        return dampings(self.links, self.graph.num_relations, self.untrained.steps.damping)

    def _path(self, row: int, column: int, weight: float, steps: list[int], between: list[int]) -> PathShown:
        ends = int(self.pairs.columns.entities[column]), int(self.pairs.rows.entities[row])
        entities = [ends[0], *(entity for entity in between if entity >= 0), ends[1]]
        triples = triples_of(steps, entities, self.graph.num_relations)
        return PathShown(
            nodes=tuple(map(self._node, entities)),
            facts=tuple(map(self._labels, triples)),
            pattern=pattern_of(steps, self.graph),
            weight=weight,
        )

    def _node(self, entity: int) -> Node:
        kinds, entities = self.graph.types, self.graph.entities
        names = [*self.graph.info.node_types, ""]
        kind = "" if kinds is None else names[kinds[entity]]
        return Node(label=entities.label(entity), name=entities.name(entity), type=kind)

    def _labels(self, triple: Triple) -> tuple[str, str, str]:
        entities = self.graph.entities
        return entities.label(triple[0]), self.graph.relations.label(triple[1]), entities.label(triple[2])

    @cached_property
    def _known(self) -> tuple[list[Int[np.ndarray, "_"]], list[Int[np.ndarray, "_"]]]:
        """Visible known columns of each row, and rows of each column."""
        rows, columns = self.visible.T
        by_row = [columns[rows == row] for row in range(len(self.pairs.rows))]
        return by_row, [rows[columns == column] for column in range(len(self.pairs.columns))]

    def _similar_column(self, row: int, column: int) -> Nearest | None:
        known = self._known[0][row]
        found = self._column_likeness.nearest(column, known[known != column])
        return None if found is None else self._nearest_pair(row, *found)

    def _similar_row(self, row: int, column: int) -> Nearest | None:
        known = self._known[1][column]
        found = self._row_likeness.nearest(row, known[known != row])
        return None if found is None else self._nearest_pair(found[0], column, *found[1:])

    @cached_property
    def _column_likeness(self) -> "_Likeness":
        return _Likeness(self.untrained.columns, len(self.pairs.columns))

    @cached_property
    def _row_likeness(self) -> "_Likeness":
        return _Likeness(self.untrained.rows, len(self.pairs.rows))

    def _nearest_pair(self, row: int, column: int, by: str, likeness: float) -> Nearest:
        rows, columns = self.pairs.rows, self.pairs.columns
        return Nearest(
            row=rows.names[row],
            column=columns.names[column],
            row_label=rows.labels[row],
            column_label=columns.labels[column],
            by=by,
            likeness=likeness,
        )


class _Likeness:
    """How much nodes of one axis are alike, by every walk; the last KEPT nodes that were asked about are remembered."""

    KEPT = 256

    def __init__(self, walks: Sequence[Walk], count: int) -> None:
        self.walks, self.count = walks, count
        self._of = lru_cache(self.KEPT)(self._walked)

    def nearest(self, node: int, among: Int[np.ndarray, " known"]) -> tuple[int, str, float] | None:
        """The most similar of some nodes, the likeness that says most, and all together; None where all are 0."""
        if not len(among) or not self.walks:
            return None
        found = self._of(node)[:, among]
        best = int(np.argmax(found.sum(0)))
        likeness = float(found[:, best].sum())
        if likeness <= 0:
            return None
        return int(among[best]), self.walks[int(np.argmax(found[:, best]))].name, likeness

    def _walked(self, node: int) -> Float[np.ndarray, "walks nodes"]:
        start = one(self.count, node)
        return np.stack([walk.from_(start) for walk in self.walks])
