"""How often the same answers come up: an answer that is among the ten best of every query says little of this one."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int

from corollary.evaluation.tiles import BLOCK_ROWS, CHUNK
from corollary.evaluation.topk import top_answers
from corollary.graph.folder import Graph
from corollary.learners.protocol import Queries, Scorer
from corollary.randomness import generator

TOP = 10
MOST_QUERIES = 1000


@dataclass(frozen=True)
class Popularity:
    """Counts over the queries of one directed relation."""

    num_queries: int
    counts: Int[np.ndarray, " entities"]
    """Queries that have the entity among their ten best new answers."""

    @property
    def held_by_ten(self) -> float:
        """Share of all those places that the ten most frequent answers hold; 10 / entities where all come up alike."""
        total = int(self.counts.sum())
        return float(np.sort(self.counts)[-TOP:].sum() / total) if total else 0.0


def popularity(
    scorer: Scorer,
    graph: Graph,
    relation: int,
    *,
    most: int = MOST_QUERIES,
    seed: int = 0,
    block_rows: int = BLOCK_ROWS,
    chunk: int = CHUNK,
) -> Popularity:
    """Ask a directed relation of every entity that has a known answer under it, or of a sample of `most` of them.

    Answers that the graph knows already take no place. Memory: that of `top_answers`.
    """
    index = graph.answers("known")
    entities, relations = index.queries(slice(0, index.num_queries))
    mine = np.asarray(entities[relations == relation], np.int64)
    if len(mine) > most:
        mine = np.sort(generator(seed, "popularity", relation).choice(mine, most, replace=False))
    queries = Queries(torch.from_numpy(mine), torch.full((len(mine),), relation, dtype=torch.int64))
    found = top_answers(
        scorer, queries, k=TOP, graph=graph, exclude="known", block_rows=block_rows, chunk=chunk
    )
    ids = found.entity_ids[found.entity_ids >= 0]
    return Popularity(len(mine), np.bincount(ids, minlength=graph.num_entities))
