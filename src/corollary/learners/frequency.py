"""The baseline that any model must beat: an answer is as plausible as the relation's training facts that have it."""

from typing import Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from corollary.graph.arrays import pieces
from corollary.graph.folder import Graph
from corollary.learners.protocol import Queries


class RelationFrequency:
    """Counts of every answer by directed relation, as sparse rows. Memory: 16 bytes a distinct pair of the two."""

    def __init__(
        self,
        num_entities: int,
        bounds: Int[np.ndarray, " relations_bounds"],
        answers: Int[np.ndarray, " pairs"],
        counts: Int[np.ndarray, " pairs"],
    ) -> None:
        self.num_entities = num_entities
        self._bounds, self._answers, self._counts = bounds, answers, counts

    @classmethod
    def of(cls, graph: Graph) -> Self:
        """Count the training triples, piece by piece."""
        directed, keys = 2 * graph.num_relations, []
        for triples in pieces(graph.path / "edges" / "train.npy"):
            head, relation, tail = triples.astype(np.int64).T
            keys.append(relation * graph.num_entities + tail)
            keys.append((relation + graph.num_relations) * graph.num_entities + head)
        found, counts = np.unique(np.concatenate(keys or [np.zeros(0, np.int64)]), return_counts=True)
        relations, answers = np.divmod(found, graph.num_entities)
        bounds = np.searchsorted(relations, np.arange(directed + 1))
        return cls(graph.num_entities, bounds, answers, counts.astype(np.int64))

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def prepare(self, queries: Queries) -> Int[np.ndarray, " queries"]:
        """The relations: entities do not matter."""
        return queries.relation_ids.numpy()

    def scores(
        self, prepared: Int[np.ndarray, " queries"], rows: slice, out: Tensor | None = None
    ) -> Float[Tensor, "queries rows"]:
        """Counts, 0 for an entity that the relation never had as an answer."""
        shape = (len(prepared), rows.stop - rows.start)
        found = np.zeros(shape, np.float32)
        for relation in np.unique(prepared).tolist():
            mine = slice(self._bounds[relation], self._bounds[relation + 1])
            answers, counts = self._answers[mine], self._counts[mine]
            inside = (answers >= rows.start) & (answers < rows.stop)
            line = np.zeros(shape[1], np.float32)
            line[answers[inside] - rows.start] = counts[inside]
            found[prepared == relation] = line
        result = torch.from_numpy(found)
        return result if out is None else out.copy_(result)
