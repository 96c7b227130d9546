"""What train gives away: twins of held-out triples that stand in train.

Two relations mirror each other where, of the pairs that each links, at least THRESHOLD are linked by the other:
the other way round (inverse), the same way (duplicate), or a relation mirrors itself (symmetric).
Source: Akrami et al. 2020, who use 0.8 in both directions; a loop (h, r, h) says nothing and is left out.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Bool, Int
from pydantic import BaseModel, ConfigDict

THRESHOLD = 0.8


class Overlap(BaseModel):
    """How far the pairs of one relation are linked by another."""

    model_config = ConfigDict(frozen=True)
    relation: int
    other: int
    share: float
    """Of the relation's pairs (loops left out), those that the other links."""
    share_of_other: float
    """Of the other's pairs, those that the relation links."""

    @property
    def mirrors(self) -> bool:
        return min(self.share, self.share_of_other) >= THRESHOLD


class Leakage(BaseModel):
    """Triples of a held-out split with a twin in train. One triple can count in several lines."""

    model_config = ConfigDict(frozen=True)
    triples: int
    same: int
    """The triple itself is in train."""
    symmetric: int
    """(t, r, h) is in train and r is symmetric there."""
    inverse: int
    """(t, s, h) is in train under an inverse s of r."""
    duplicate: int
    """(h, s, t) is in train under a duplicate s of r."""
    any: int
    """At least one of the four."""
    linked: int
    """Any triple in train links the two entities, in any direction: of use to a model, no fault by itself."""


@dataclass(frozen=True)
class PairIndex:
    """Distinct triples by (head, tail): the relations of pair i are `relations[offsets[i]:offsets[i + 1]]`, sorted."""

    num_entities: int
    num_relations: int
    pairs: Int[np.ndarray, " pairs"]
    offsets: Int[np.ndarray, " bounds"]
    relations: Int[np.ndarray, " n"]

    @classmethod
    def build(cls, triples: Int[np.ndarray, "n 3"], num_entities: int, num_relations: int) -> Self:
        """Scratch: about 60 bytes a triple."""
        head, relation, tail = (triples[:, column].astype(np.int64) for column in range(3))
        pair = head * num_entities + tail
        order = np.lexsort((relation, pair))
        pair, relation = pair[order], relation[order]
        fresh = np.ones(len(pair), dtype=bool)
        fresh[1:] = (pair[1:] != pair[:-1]) | (relation[1:] != relation[:-1])
        pair, relation = pair[fresh], relation[fresh]
        starts = np.flatnonzero(np.diff(pair, prepend=-1))
        return cls(num_entities, num_relations, pair[starts], np.append(starts, len(pair)), relation)

    @property
    def of_triple(self) -> Int[np.ndarray, " n"]:
        """Row of the pair of each distinct triple."""
        return np.repeat(np.arange(len(self.pairs)), np.diff(self.offsets))

    def triples(self) -> Int[np.ndarray, "n 3"]:
        """The distinct triples, by head, tail, relation."""
        pair = self.pairs[self.of_triple]
        return np.stack([pair // self.num_entities, self.relations, pair % self.num_entities], axis=1)

    def find(self, head: Int[np.ndarray, " n"], tail: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Rows of pairs; -1 where nothing links head to tail."""
        wanted = head.astype(np.int64) * self.num_entities + tail
        order = np.argsort(wanted)  # a search in order walks through memory once: half the time (measured)
        rows = np.empty(len(wanted), dtype=np.int64)
        rows[order] = np.searchsorted(self.pairs, wanted[order])
        inside = np.minimum(rows, max(len(self.pairs) - 1, 0))
        found = self.pairs[inside] == wanted if len(self.pairs) else np.zeros(len(wanted), dtype=bool)
        return np.where(found, inside, -1)

    def links(
        self, rows: Int[np.ndarray, " n"]
    ) -> tuple[Int[np.ndarray, " links"], Int[np.ndarray, " links"]]:
        """All relations of some pairs: position in `rows` and relation; row -1 has none."""
        starts = np.where(rows < 0, 0, self.offsets[rows])
        counts = np.where(rows < 0, 0, self.offsets[rows + 1] - self.offsets[rows])
        position = np.repeat(np.arange(len(rows)), counts)
        within = np.arange(len(position)) - np.repeat(np.cumsum(counts) - counts, counts)
        return position, self.relations[starts[position] + within]


def overlaps(train: PairIndex, *, reverse: bool, rows_per_chunk: int = 1 << 18) -> list[Overlap]:
    """Every two relations that share a pair: in opposite directions if `reverse` (a relation with itself included).

    Time follows the relations per pair, squared. Scratch: about 40 bytes for each of `rows_per_chunk` triples and
    each relation between the same two.
    """
    triples = train.triples()
    triples = triples[triples[:, 0] != triples[:, 2]]
    sizes = np.bincount(triples[:, 1], minlength=train.num_relations)
    shared: dict[int, int] = {}
    for start in range(0, len(triples), rows_per_chunk):
        head, relation, tail = triples[start : start + rows_per_chunk].T
        position, other = train.links(train.find(tail, head) if reverse else train.find(head, tail))
        codes, counts = np.unique(relation[position] * train.num_relations + other, return_counts=True)
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
            shared[code] = shared.get(code, 0) + count
    result = []
    for code, common in sorted(shared.items()):
        a, b = divmod(code, train.num_relations)
        if reverse or a != b:
            shares = {"share": common / sizes[a], "share_of_other": common / sizes[b]}
            result.append(Overlap(relation=a, other=b, **shares))
    return result


def leakage(
    train: PairIndex, held: Int[np.ndarray, "n 3"], reversed_: list[Overlap], parallel: list[Overlap]
) -> Leakage:
    """Count the triples of `held` whose twin is in train. `reversed_` and `parallel` are the `overlaps` of train."""
    head, relation, tail = (held[:, column].astype(np.int64) for column in range(3))
    mirrors = {(o.relation, o.other) for o in reversed_ if o.mirrors}
    copies = {(o.relation, o.other) for o in parallel if o.mirrors}
    own = {(r, r) for r in range(train.num_relations)}
    forward, backward = train.find(head, tail), train.find(tail, head)
    proper = head != tail
    same = _linked_by(train, forward, relation, own)
    symmetric = _linked_by(train, backward, relation, mirrors & own) & proper
    inverse = _linked_by(train, backward, relation, mirrors - own) & proper
    duplicate = _linked_by(train, forward, relation, copies) & proper
    return Leakage(
        triples=len(held),
        same=int(same.sum()),
        symmetric=int(symmetric.sum()),
        inverse=int(inverse.sum()),
        duplicate=int(duplicate.sum()),
        any=int((same | symmetric | inverse | duplicate).sum()),
        linked=int(((forward >= 0) | (backward >= 0)).sum()),
    )


def _linked_by(
    train: PairIndex,
    rows: Int[np.ndarray, " n"],
    relation: Int[np.ndarray, " n"],
    allowed: set[tuple[int, int]],
) -> Bool[np.ndarray, " n"]:
    """Whether pair `rows[i]` is linked in train by some s with (relation[i], s) among `allowed`."""
    result = np.zeros(len(rows), dtype=bool)
    position, other = train.links(rows)
    codes = np.array([a * train.num_relations + b for a, b in sorted(allowed)], dtype=np.int64)
    result[position[np.isin(relation[position] * train.num_relations + other, codes)]] = True
    return result
