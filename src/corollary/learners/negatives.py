"""Which entities stand for all the others in one step of sampled training.

The candidates of a batch are its own answers, each standing for itself, and `num_drawn` entities drawn with
replacement. An entity that is drawn though it is an answer of the batch counts once, as an answer. Any other stands for
so many entities as it was drawn more often than it had to be expected: draws / expected draws. So the sum of f over the
candidates, each times its count, is the sum of f over all entities, on average over the draws and whatever f: the
log-q correction of Bengio & Senecal 2008 and Jean et al. 2015, which adds the logarithm of the count to a score. A
query's own answers are never among its negatives, and the answers of the other queries of a batch are no popularity
bias, for they stand for themselves alone.

- `uniform`: every entity with the same chance.
- `degree`: in proportion to max(degree in train, 1) ** 0.75 (the power is that of Mikolov et al. 2013): entities with
  many triples, which are the hard negatives, are drawn more often.
- `types`: among the entities whose node type the answers of the query's relation have in train. The relations of a batch
  that allow the same types share their draws, and the draws are dealt evenly to these groups; a candidate counts for
  every query that allows its type. The loss is then that among these entities, not among all.

The draws of a step are a function of seed, epoch and step.
"""

from typing import Literal, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.random import Generator
from pydantic import PositiveInt

from corollary.config import Config
from corollary.errors import ConfigError
from corollary.graph.arrays import PIECE, pieces
from corollary.graph.folder import Graph
from corollary.graph.range_types import RangeTypes
from corollary.learners.protocol import Candidates, Place
from corollary.randomness import generator

POWER = 0.75
_GROUP = 32  # entities whose chances are added up on the fly, so that only one sum of so many is kept


class NegativesConfig(Config):
    """Against which entities a query is trained."""

    name: Literal["all", "uniform", "degree", "types"] = "all"
    """all: every entity, exactly; the others train on a sample, drawn in this way."""
    num_drawn: PositiveInt = 1024
    """Entities drawn for each batch, shared by its queries."""
    correction: bool = True
    """Count each candidate for the entities that it stands for (log-q); without it every one counts once."""

    @property
    def sampled(self) -> bool:
        return self.name != "all"


def drawing_bytes(name: str, num_entities: int) -> int:
    """Memory of what is drawn from, while training."""
    if name == "degree":  # degrees, and the sums of their groups
        return 4 * num_entities + 8 * -(-num_entities // _GROUP)
    return 8 * num_entities if name == "types" else 0  # entities by type, and mapped pages of their types


def check_negatives(config: NegativesConfig, graph: Graph) -> None:
    """Raises `ConfigError` where negatives are to be drawn by types that the graph does not have."""
    if config.name == "types" and graph.types is None:
        raise ConfigError(
            f"model.negatives.name = types: graph {graph.name} has no node types; import it with types, or draw "
            f"uniform or degree"
        )


class Negatives:
    """Candidates for the batches of one graph.

    Memory: `drawing_bytes`; for a batch 16 bytes an answer and, for types, 4 bytes a candidate and group.
    """

    def __init__(self, config: NegativesConfig, graph: Graph) -> None:
        check_negatives(config, graph)
        self.config, self.graph = config, graph
        ways: dict[str, type[_Proposal]] = {"uniform": _Uniform, "degree": _ByDegree, "types": _ByType}
        self._proposal = ways[config.name](graph)

    def candidates(
        self, relations: Int[np.ndarray, " queries"], answers: Int[np.ndarray, " answers"], place: Place
    ) -> Candidates:
        """The candidates of one batch.

        Args:
            relations: directed relation of each query.
            answers: the true answers of all queries, one after another.
        """
        groups, group_of = self._proposal.groups(relations)
        rng = generator(place.seed, "negatives", place.epoch, place.step)
        drawn = self._proposal.draw(rng, self.config.num_drawn, groups)
        ids, places = np.unique(np.concatenate([answers, drawn]), return_inverse=True)
        own, others = places[: len(answers)], places[len(answers) :]
        counts = np.ones(len(ids))
        if self.config.correction:
            seen, draws = np.unique(others, return_counts=True)
            counts[seen] = draws / self._proposal.expected(ids[seen], self.config.num_drawn, groups)
            counts[own] = 1
        counts = self._proposal.allowed(groups, ids) * counts
        return Candidates(
            torch.from_numpy(ids),
            torch.from_numpy(counts.astype(np.float32)),
            torch.from_numpy(group_of),
            torch.from_numpy(own),
        )


class _Proposal(Protocol):
    """A way to draw. Queries of one group may have the same answers."""

    def __init__(self, graph: Graph) -> None: ...

    def groups(
        self, relations: Int[np.ndarray, " queries"]
    ) -> tuple[Int[np.ndarray, " groups"], Int[np.ndarray, " queries"]]:
        """The groups that some directed relations belong to, ascending, and the place among them for each relation."""
        ...

    def draw(
        self, rng: Generator, count: int, groups: Int[np.ndarray, " groups"]
    ) -> Int[np.ndarray, " drawn"]:
        """At least `count` entities for these groups together, with replacement."""
        ...

    def expected(
        self, ids: Int[np.ndarray, " n"], count: int, groups: Int[np.ndarray, " groups"]
    ) -> Float[np.ndarray, " n"]:
        """How often `draw` brings each of some entities, on average; positive for those it can bring."""
        ...

    def allowed(
        self, groups: Int[np.ndarray, " groups"], ids: Int[np.ndarray, " n"]
    ) -> Bool[np.ndarray, "groups n"]:
        """Which entities are candidates for which group."""
        ...


class _OneGroup:
    """All relations may have all entities as answers."""

    def groups(
        self, relations: Int[np.ndarray, " queries"]
    ) -> tuple[Int[np.ndarray, " groups"], Int[np.ndarray, " queries"]]:
        return np.zeros(1, np.int64), np.zeros(len(relations), np.int64)

    def allowed(
        self, groups: Int[np.ndarray, " groups"], ids: Int[np.ndarray, " n"]
    ) -> Bool[np.ndarray, "groups n"]:
        return np.ones((1, len(ids)), bool)


class _Uniform(_OneGroup):
    def __init__(self, graph: Graph) -> None:
        self._num_entities = graph.num_entities

    def draw(
        self, rng: Generator, count: int, groups: Int[np.ndarray, " groups"]
    ) -> Int[np.ndarray, " drawn"]:
        return rng.integers(self._num_entities, size=count)

    def expected(
        self, ids: Int[np.ndarray, " n"], count: int, groups: Int[np.ndarray, " groups"]
    ) -> Float[np.ndarray, " n"]:
        return np.full(len(ids), count / self._num_entities)


class _ByDegree(_OneGroup):
    """Degrees in rows of `_GROUP`, and the sum of the chances up to the end of each row."""

    def __init__(self, graph: Graph) -> None:
        self._num_entities = graph.num_entities
        rows = -(-graph.num_entities // _GROUP)
        degrees = np.zeros(rows * _GROUP, np.int32)
        for triples in pieces(graph.path / "edges" / "train.npy"):
            for side in (0, 2):
                np.add.at(degrees, triples[:, side], 1)
        np.maximum(degrees[: graph.num_entities], 1, out=degrees[: graph.num_entities])
        self._degrees = degrees.reshape(rows, _GROUP)
        self._ends = np.empty(rows)
        for start in range(0, rows, PIECE // _GROUP):
            part = slice(start, start + PIECE // _GROUP)
            self._ends[part] = (self._degrees[part] ** POWER).sum(1)
        np.cumsum(self._ends, out=self._ends)

    def draw(
        self, rng: Generator, count: int, groups: Int[np.ndarray, " groups"]
    ) -> Int[np.ndarray, " drawn"]:
        at = rng.random(count) * self._ends[-1]
        row = np.minimum(np.searchsorted(self._ends, at, side="right"), len(self._ends) - 1)
        ends = (self._degrees[row] ** POWER).cumsum(1)
        before = np.where(row > 0, self._ends[row - 1], 0.0)
        column = np.minimum((ends <= (at - before)[:, None]).sum(1), _GROUP - 1)
        return np.minimum(row * _GROUP + column, self._num_entities - 1)

    def expected(
        self, ids: Int[np.ndarray, " n"], count: int, groups: Int[np.ndarray, " groups"]
    ) -> Float[np.ndarray, " n"]:
        chances: np.ndarray = self._degrees.reshape(-1)[ids] ** POWER * (count / self._ends[-1])
        return chances


class _ByType:
    """Entities sorted by type (those without one last), so that one of some types is drawn by its number."""

    def __init__(self, graph: Graph) -> None:
        ranges = RangeTypes.of(graph)
        self._types = ranges.types
        self._sizes = ranges.members
        self._allowed, self._group_of = np.unique(ranges.allowed, axis=0, return_inverse=True)
        self._group_of = self._group_of.reshape(-1)
        self._num_allowed = self._allowed @ self._sizes
        self._firsts = np.cumsum(self._sizes) - self._sizes
        self._by_type = np.empty(graph.num_entities, np.int32 if graph.num_entities < 2**31 else np.int64)
        following = self._firsts.copy()
        for start in range(0, graph.num_entities, PIECE):
            kinds = self._types[start : start + PIECE] % len(self._sizes)
            order = np.argsort(kinds, kind="stable")
            counts = np.bincount(kinds, minlength=len(self._sizes))
            within = np.arange(len(kinds)) - np.repeat(np.cumsum(counts) - counts, counts)
            self._by_type[following[kinds[order]] + within] = start + order
            following += counts

    def groups(
        self, relations: Int[np.ndarray, " queries"]
    ) -> tuple[Int[np.ndarray, " groups"], Int[np.ndarray, " queries"]]:
        groups, group_of = np.unique(self._group_of[relations], return_inverse=True)
        return groups, group_of.astype(np.int64)

    def draw(
        self, rng: Generator, count: int, groups: Int[np.ndarray, " groups"]
    ) -> Int[np.ndarray, " drawn"]:
        drawn = []
        for group, share in zip(groups, self._shares(count, groups), strict=True):
            ends = np.cumsum(self._sizes * self._allowed[group])
            number = rng.integers(ends[-1], size=share)
            kind = np.searchsorted(ends, number, side="right")
            drawn.append(self._by_type[self._firsts[kind] + number - (ends[kind] - self._sizes[kind])])
        return np.concatenate(drawn).astype(np.int64)

    def expected(
        self, ids: Int[np.ndarray, " n"], count: int, groups: Int[np.ndarray, " groups"]
    ) -> Float[np.ndarray, " n"]:
        rates = self._shares(count, groups) / self._num_allowed[groups]
        by_type: np.ndarray = rates @ self._allowed[groups]
        return by_type[self._types[ids]]

    def allowed(
        self, groups: Int[np.ndarray, " groups"], ids: Int[np.ndarray, " n"]
    ) -> Bool[np.ndarray, "groups n"]:
        return self._allowed[groups][:, self._types[ids]]

    def _shares(self, count: int, groups: Int[np.ndarray, " groups"]) -> Int[np.ndarray, " groups"]:
        """Draws of each group, as even as can be, at least one."""
        share, left = divmod(count, len(groups))
        return np.maximum(share + (np.arange(len(groups)) < left), 1)
