"""Scores of some queries for one fixed block of entities at a time, in full precision, as plain arrays."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from corollary.errors import GraphMismatch, TrainingDiverged
from corollary.graph.answers import AnswerIndex
from corollary.graph.folder import Graph
from corollary.learners.protocol import Queries, Scorer

BLOCK_ROWS = 4096
CHUNK = (
    512  # queries at once: the encoder and the products gain nothing from more (bench/results/ranking.jsonl)
)


class Tiles:
    """The score tiles of one chunk of queries.

    Blocks are fixed, so a true answer's score can be read from the very product that it will be compared with.
    Memory: one tile, 4 * queries * block_rows bytes in float32, and what the scorer prepares.
    """

    def __init__(
        self,
        scorer: Scorer,
        entity_ids: Int[np.ndarray, " queries"],
        relation_ids: Int[np.ndarray, " queries"],
        block_rows: int,
    ) -> None:
        self._scorer, self._block_rows = scorer, block_rows
        self._entity_ids, self._relation_ids = entity_ids, relation_ids
        self.num_blocks = -(-scorer.num_entities // block_rows)
        self._last: torch.Tensor | None = None
        with _full_precision(scorer):
            ids = (torch.from_numpy(np.array(ids, np.int64)) for ids in (entity_ids, relation_ids))
            self._prepared: Any = scorer.prepare(Queries(*ids).to(scorer.device))

    def start(self, block: int) -> int:
        """First entity of a block."""
        return block * self._block_rows

    def tile(self, block: int) -> Float[np.ndarray, "queries rows"]:
        """Scores of one block, in the scorer's own float32 or float64. They last until the next tile is asked for."""
        start = self.start(block)
        rows = slice(start, min(start + self._block_rows, self._scorer.num_entities))
        with _full_precision(self._scorer):
            scores = self._scorer.scores(self._prepared, rows, out=self._buffer(rows)).detach()
        self._last = scores
        assert scores.shape == (len(self._entity_ids), rows.stop - rows.start)
        if scores.dtype not in (torch.float32, torch.float64):
            scores = scores.float()
        return scores.contiguous().cpu().numpy()

    def _buffer(self, rows: slice) -> torch.Tensor | None:
        """The last tile's memory, where it is large enough: fresh pages cost half as much as the product."""
        shape = (len(self._entity_ids), rows.stop - rows.start)
        if self._last is None or not self._last.is_contiguous() or self._last.numel() < shape[0] * shape[1]:
            return None
        return self._last.view(-1)[: shape[0] * shape[1]].view(shape)

    def refuse(self, broken: Bool[np.ndarray, " queries"], graph: Graph) -> None:
        """Raise `TrainingDiverged` where a query has a score that is not a number."""
        if not broken.any():
            return
        row = int(np.flatnonzero(broken)[0])
        raise TrainingDiverged(
            f"the scores of {describe(graph, int(self._entity_ids[row]), int(self._relation_ids[row]))} are not "
            "all numbers: the weights are damaged or training diverged; use an earlier checkpoint"
        )


@contextmanager
def _full_precision(scorer: Scorer) -> Iterator[None]:
    """No gradients and no autocast: half precision would make ties that are none."""
    with torch.no_grad(), torch.autocast(scorer.device.type, enabled=False):
        yield


def check_size(scorer: Scorer, graph: Graph) -> None:
    """Raise `GraphMismatch` where the scorer was made for another number of entities."""
    if scorer.num_entities != graph.num_entities:
        raise GraphMismatch(
            f"the scorer knows {scorer.num_entities} entities and graph {graph.name} has {graph.num_entities}: "
            "use the graph that it was trained with"
        )


def describe(graph: Graph, entity: int, relation: int) -> str:
    """A query as people write it: `(Berlin, capital of, ?)` or `(?, capital of, Germany)`."""
    count = graph.num_relations
    name, what = graph.entities.name(entity), graph.relations.name(relation % count)
    return f"({name}, {what}, ?)" if relation < count else f"(?, {what}, {name})"


def spans(
    index: AnswerIndex, entity_ids: Int[np.ndarray, " queries"], relation_ids: Int[np.ndarray, " queries"]
) -> tuple[Int[np.ndarray, " queries"], Int[np.ndarray, " queries"], Int[np.ndarray, " answers"]]:
    """Where the answers of each query start and stop, and the whole array that holds them, not copied."""
    rows = index.find(entity_ids, relation_ids)
    present = rows >= 0
    starts, stops = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    starts[present], stops[present] = index.offsets[rows[present]], index.offsets[rows[present] + 1]
    answers = np.asarray(index.answers).view()
    answers.flags.writeable = False  # as if mapped: one compiled version serves both
    return starts, stops, answers
