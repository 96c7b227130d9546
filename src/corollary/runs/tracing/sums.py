"""What is kept of an influence run while blocks of training triples go by."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from corollary.explain.extremes import Extremes
from corollary.graph.folder import Graph
from corollary.runs.tracing.paths import PathEdges

BINS_A_DECADE, DECADES = 8, 24
"""Of the distribution, by size: from 1e-12 to 1e12."""


class Everything:
    """Influence of every candidate on every asked triple: what `top_k` = all asks for. Memory: 4 bytes a pair."""

    def __init__(
        self, rows: Int[np.ndarray, " candidates"], values: Float[np.ndarray, "asked candidates"]
    ) -> None:
        self.rows, self.values = rows, values

    def add(self, scores: Float[Tensor, "block asked"], rows: Int[Tensor, " block"]) -> None:
        """Take in a block."""
        self.values[:, np.searchsorted(self.rows, rows.numpy())] = scores.T.numpy()

    def listed(self, number: int, sign: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores of one sign, the strongest first, and rows; of equal ones the lower row first."""
        found = np.flatnonzero(sign * self.values[number] > 0)
        found = found[np.argsort(-sign * self.values[number, found], kind="stable")]
        return self.values[number, found], self.rows[found]


class Best:
    """The `k` largest and smallest."""

    def __init__(self, extremes: Extremes) -> None:
        self.extremes = extremes

    def add(self, scores: Float[Tensor, "block asked"], rows: Int[Tensor, " block"]) -> None:
        """Take in a block."""
        self.extremes.add(scores, rows)

    def listed(self, number: int, sign: int) -> tuple[np.ndarray, np.ndarray]:
        """As `Everything.listed`."""
        kept = self.extremes.proponents if sign > 0 else self.extremes.opponents
        scores, rows = kept[0][number].numpy(), kept[1][number].numpy()
        return scores[rows >= 0], rows[rows >= 0]


@dataclass
class Sums:
    """Everything that is kept."""

    lists: Best | Everything
    relations: Float[Tensor, "2 relations asked"]
    """Support and opposition."""
    entities: Float[Tensor, "2 entities asked"]
    """The same by head and by tail; without rows where it is not asked for."""
    candidates: Int[np.ndarray, " asked"]
    sizes: Int[np.ndarray, "2 bins"]
    """How many influences above and below zero are of what size, over all asked triples."""
    paths: PathEdges | None

    @classmethod
    def none(
        cls,
        graph: Graph,
        rows: Int[np.ndarray, " candidates"],
        num_asked: int,
        *,
        top_k: int | None,
        by_entity: bool,
        paths: PathEdges | None,
    ) -> Self:
        """Before the first block."""
        lists: Best | Everything
        if top_k is None or top_k >= len(rows):
            lists = Everything(rows, np.zeros((num_asked, len(rows)), dtype=np.float32))
        else:
            lists = Best(Extremes.none(top_k, num_asked))
        return cls(
            lists,
            torch.zeros(2, graph.num_relations, num_asked, dtype=torch.float64),
            torch.zeros(2, graph.num_entities if by_entity else 0, num_asked, dtype=torch.float64),
            np.zeros(num_asked, dtype=np.int64),
            np.zeros((2, BINS_A_DECADE * DECADES), dtype=np.int64),
            paths,
        )

    @staticmethod
    def bytes(graph: Graph, candidates: int, num_asked: int, *, top_k: int | None, by_entity: bool) -> int:
        """What `none` and what is made of it take."""
        lists = 4 * candidates if top_k is None or top_k >= candidates else 100 * top_k
        sums = 24 * graph.num_relations + (24 * graph.num_entities if by_entity else 0)
        return num_asked * (lists + sums)

    def arrays(self) -> dict[str, np.ndarray]:
        """For a note of how far the work has come."""
        found = {
            "relations": self.relations.numpy(), "entities": self.entities.numpy(),
            "candidates": self.candidates, "sizes": self.sizes,
        }  # fmt: skip
        if self.paths is not None:
            found["paths"] = self.paths.values
        if isinstance(self.lists, Everything):
            return {**found, "values": self.lists.values}
        return {**found, **self.lists.extremes.arrays()}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """As they were when `arrays` was called."""
        self.relations, self.entities = (torch.from_numpy(arrays[name]) for name in ("relations", "entities"))
        self.candidates, self.sizes = arrays["candidates"], arrays["sizes"]
        if self.paths is not None:
            self.paths.values[:] = arrays["paths"]
        if isinstance(self.lists, Everything):
            self.lists.values[:] = arrays["values"]
        else:
            self.lists.extremes = Extremes.from_arrays(self.lists.extremes.k, arrays)

    def add(
        self,
        first: int,
        triples: Int[np.ndarray, "block 3"],
        rows: Int[np.ndarray, " block"],
        scores: Float[Tensor, "block asked"],
        allowed: Bool[np.ndarray, "block asked"] | None,
    ) -> None:
        """Take in a block, the `first`th candidate in order and those that follow."""
        if allowed is not None:
            scores = torch.where(torch.from_numpy(allowed), scores, 0.0)
        self.lists.add(scores, torch.from_numpy(rows))
        self.candidates += len(rows) if allowed is None else allowed.sum(0)
        values = scores.double()
        head, relation, tail = (torch.from_numpy(triples[:, column].copy()) for column in range(3))
        for place, part in enumerate((values.clamp(min=0), values.clamp(max=0))):
            self.relations[place].index_add_(0, relation, part)
            if len(self.entities[place]):
                self.entities[place].index_add_(0, head, part)
                other = tail != head
                self.entities[place].index_add_(0, tail[other], part[other])
        self._count(scores.numpy())
        if self.paths is not None:
            self.paths.add(first, scores.numpy())

    def _count(self, scores: Float[np.ndarray, "block asked"]) -> None:
        """By size."""
        most = BINS_A_DECADE * DECADES
        for place, sign in enumerate((1, -1)):
            size = sign * scores[sign * scores > 0]
            bins = np.floor((np.log10(size) + DECADES / 2) * BINS_A_DECADE).astype(np.int64).clip(0, most - 1)
            self.sizes[place] += np.bincount(bins, minlength=most)
