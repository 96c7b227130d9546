"""The matrix of pairs that one relation could link: a list is wanted for every row, and every column competes for it.

For `treats` from drugs to diseases, rows are diseases and columns are drugs, unless the other side is asked for. A pair
is a place in this matrix (row, column); sets of pairs are arrays of such places, sorted and distinct. Nothing here knows
what drugs and diseases are: names come from the node types of the graph.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
from jaxtyping import Bool, Int

from corollary.errors import ConfigError, unknown
from corollary.graph.answers import Side
from corollary.graph.folder import Graph

Places = Int[np.ndarray, "_ 2"]
"""Row and column of some pairs."""


@dataclass(frozen=True)
class Nodes:
    """One axis of the matrix: all nodes of a type."""

    type: str
    entities: Int[np.ndarray, " nodes"]
    """Their ids in the graph, ascending."""
    labels: tuple[str, ...]
    names: tuple[str, ...]
    """What people read; the label where a node has no name."""

    @classmethod
    def of(cls, graph: Graph, kind: str) -> Self:
        """All nodes of a type of the graph."""
        entities = np.flatnonzero(np.asarray(graph.types) == graph.info.node_types.index(kind)).astype(
            np.int64
        )
        vocabulary = graph.entities
        return cls(
            kind,
            entities,
            tuple(vocabulary.label(int(entity)) for entity in entities),
            tuple(vocabulary.name(int(entity)) for entity in entities),
        )

    def __len__(self) -> int:
        return len(self.entities)

    def places(self, entities: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Place of each entity on this axis, -1 for one of another type."""
        found = np.searchsorted(self.entities, entities)
        inside = np.take(self.entities, found, mode="clip") == entities
        return np.where(inside, found, -1)


@dataclass(frozen=True)
class Pairs:
    """What is known of every pair of two node types. Memory: 16 bytes a pair that something is known of."""

    relation: str
    relation_id: int
    side: Side
    """What is listed, the columns: `head` where the relation goes from column to row."""
    rows: Nodes
    columns: Nodes
    known: Places
    """Pairs that the relation links in the graph, in any of its splits."""
    negatives: Places
    """Pairs that are known not to be linked: contraindicated, or curated."""
    marks: dict[str, Places] = field(default_factory=dict)
    """Pairs that other relations or files speak of, by name, such as `in trials`: shown beside an answer, never learned
    from."""
    parallel: tuple[int, ...] = ()
    """Other relations of the graph that link the two types directly. Neither features nor embeddings see them."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.rows), len(self.columns)

    @property
    def prevalence(self) -> float:
        """Share of all pairs that are known."""
        return len(self.known) / (len(self.rows) * len(self.columns))

    @cached_property
    def row_counts(self) -> Int[np.ndarray, " rows"]:
        """Known pairs of each row."""
        return np.bincount(self.known[:, 0], minlength=len(self.rows))

    @cached_property
    def column_counts(self) -> Int[np.ndarray, " columns"]:
        """Known pairs of each column."""
        return np.bincount(self.known[:, 1], minlength=len(self.columns))

    def mask(self, places: Places, rows: Int[np.ndarray, " asked"]) -> Bool[np.ndarray, "asked columns"]:
        """Which columns of some rows are among the places. Memory: a byte a pair of the block."""
        found = np.zeros((len(rows), len(self.columns)), bool)
        at = np.full(len(self.rows), -1, np.int64)
        at[rows] = np.arange(len(rows))
        inside = at[places[:, 0]] >= 0
        found[at[places[inside, 0]], places[inside, 1]] = True
        return found


@dataclass(frozen=True)
class Fold:
    """One question put to the pipeline: learn without some pairs, then rank all columns for some rows."""

    name: str
    """Also the name of its folder."""
    hidden: Bool[np.ndarray, " known"]
    """Pairs of `Pairs.known` that nothing behind this fold's scores may see."""
    hidden_negatives: Bool[np.ndarray, " negatives"]
    """The same of `Pairs.negatives`."""
    asked: Int[np.ndarray, " asked"]
    """Rows that are ranked, ascending."""
    positives: Places
    """Pairs of these rows that ought to come first; what is known and not hidden takes no place in the ranking."""
    whole_rows: bool = False
    """The rows asked are held out as a whole: none of their pairs is learned from, not as one of unknown standing either."""

    def learned_rows(self, pairs: Pairs) -> Int[np.ndarray, " learned"]:
        """Rows whose pairs may be learned from."""
        every = np.arange(len(pairs.rows))
        return np.setdiff1d(every, self.asked) if self.whole_rows else every

    def visible(self, pairs: Pairs) -> Places:
        """Known pairs that may be learned from."""
        return pairs.known[~self.hidden]

    def visible_negatives(self, pairs: Pairs) -> Places:
        """Known negatives that may be learned from."""
        return pairs.negatives[~self.hidden_negatives]


def sorted_places(places: Places) -> Places:
    """By row, then column, each once."""
    return np.unique(np.asarray(places, np.int64).reshape(-1, 2), axis=0)


def read_pairs(
    graph: Graph,
    relation: str,
    *,
    side: Side = "head",
    head_type: str | None = None,
    tail_type: str | None = None,
    negatives: Sequence[str] = (),
    marks: Sequence[str] = (),
) -> Pairs:
    """The pairs of a relation of a typed graph, of all its splits: folds hold out their own.

    Args:
        side: what is listed for each node at the other end.
        head_type, tail_type: which of the types at this end, where the relation has several.
        negatives: relations whose pairs are known not to be linked.
        marks: relations that are shown beside an answer.

    Raises `UnknownName` for a relation or type that the graph does not hold, `ConfigError` where the relation's ends are
    not two different types.
    """
    if graph.types is None:
        raise ConfigError(
            f"{graph.path} has no node types, and pairs are made of two of them: import it with a table of nodes"
        )
    number = graph.relations.find(relation, where=str(graph.path))
    triples = np.concatenate([np.asarray(graph.triples(split)) for split in graph.splits]).astype(np.int64)
    mine = triples[triples[:, 1] == number]
    if not len(mine):
        raise ConfigError(f"{graph.path}: relation {relation!r} links nothing")
    kinds = np.asarray(graph.types)
    head = _end(graph, relation, "head", kinds[mine[:, 0]], head_type)
    tail = _end(graph, relation, "tail", kinds[mine[:, 2]], tail_type)
    if head == tail:
        raise ConfigError(
            f"{graph.path}: relation {relation!r} links {head} to {tail}; lists are made for relations between two "
            "different node types"
        )
    rows, columns = (Nodes.of(graph, kind) for kind in ((tail, head) if side == "head" else (head, tail)))
    between = _between(triples, side, rows, columns)
    found = Pairs(
        relation, number, side, rows, columns, _of(between, [number]), np.zeros((0, 2), np.int64),
        parallel=tuple(int(other) for other in np.unique(between[:, 2]) if other != number),
    )  # fmt: skip
    return _with(found, graph, between, negatives, marks)


def _end(graph: Graph, relation: str, side: Side, kinds: Int[np.ndarray, " n"], wanted: str | None) -> str:
    """The type at one end of a relation."""
    names = [*graph.info.node_types, ""]
    counts = np.bincount(kinds % len(names), minlength=len(names))
    found = {names[kind]: int(counts[kind]) for kind in np.flatnonzero(counts)}
    if wanted is not None:
        if wanted not in found:
            raise ConfigError(
                unknown(f"{side} type", wanted, list(found), where=f"{graph.path}: relation {relation!r}")
            )
        return wanted
    if len(found) > 1 or "" in found:
        listed = ", ".join(f"{name or 'no type'} {count:,}" for name, count in found.items())
        raise ConfigError(
            f"{graph.path}: relation {relation!r} has {side}s of several types ({listed}): name one with --{side}-type"
        )
    return next(iter(found))


def _between(
    triples: Int[np.ndarray, "n 3"], side: Side, rows: Nodes, columns: Nodes
) -> Int[np.ndarray, "found 3"]:
    """Row, column and relation of every triple that links the two types, in either direction."""
    heads, tails = triples[:, 0], triples[:, 2]
    parts = []
    for row_end, column_end in ((tails, heads), (heads, tails)):
        row, column = rows.places(row_end), columns.places(column_end)
        inside = (row >= 0) & (column >= 0)
        parts.append(np.stack([row[inside], column[inside], triples[inside, 1]], axis=1))
    return np.concatenate(parts)


def _of(between: Int[np.ndarray, "n 3"], relations: Sequence[int]) -> Places:
    return sorted_places(between[np.isin(between[:, 2], relations)][:, :2])


def _with(
    pairs: Pairs,
    graph: Graph,
    between: Int[np.ndarray, "n 3"],
    negatives: Sequence[str],
    marks: Sequence[str],
) -> Pairs:
    """With what other relations say. Raises `ConfigError` where one links no such pair."""
    numbers = {name: graph.relations.find(name, where=str(graph.path)) for name in (*negatives, *marks)}
    for name, number in numbers.items():
        if number not in pairs.parallel:
            raise ConfigError(
                f"{graph.path}: relation {name!r} links no {pairs.columns.type} to a {pairs.rows.type}"
            )
    refuted = _of(between, [numbers[name] for name in negatives])
    return with_negatives(
        pairs, refuted, marks={name: _of(between, [numbers[name]]) for name in (*negatives, *marks)}
    )


def with_negatives(pairs: Pairs, negatives: Places, marks: dict[str, Places]) -> Pairs:
    """More negatives and marks beside those that are there. A pair that is known to be linked is no negative."""
    every = sorted_places(np.concatenate([pairs.negatives, negatives]))
    code, known = (places[:, 0] * len(pairs.columns) + places[:, 1] for places in (every, pairs.known))
    return Pairs(
        pairs.relation, pairs.relation_id, pairs.side, pairs.rows, pairs.columns, pairs.known,
        every[~np.isin(code, known)], pairs.marks | marks, pairs.parallel,
    )  # fmt: skip
