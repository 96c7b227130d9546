"""The most plausible answers of each query, kept while the entity blocks go by."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from corollary.errors import InputError
from corollary.evaluation.tiles import BLOCK_ROWS, CHUNK, Tiles, check_size, spans
from corollary.graph.folder import Graph
from corollary.kernels import ranking as kernels
from corollary.learners.protocol import Queries, Scorer


@dataclass(frozen=True)
class TopAnswers:
    """Best first; equal scores in the order of ids. Where fewer than k entities are left: id -1, score -inf."""

    entity_ids: Int[np.ndarray, "queries k"]
    scores: Float[np.ndarray, "queries k"]
    known: Bool[np.ndarray, "queries k"]
    """Whether the answer is a fact of the graph, in any split."""


def top_answers(
    scorer: Scorer,
    queries: Queries,
    *,
    k: int,
    graph: Graph,
    exclude: str | None = None,
    block_rows: int = BLOCK_ROWS,
    chunk: int = CHUNK,
    progress: Callable[[int, int], None] | None = None,
) -> TopAnswers:
    """The k best entities for each query, exactly.

    Args:
        exclude: leave out answers of a split, of `train+valid` or of all splits (`known`).
        block_rows: entities scored at once, as in training.
        chunk: queries scored at once; fixed for a run, since a product of another shape may round differently.
        progress: called with the queries done and all queries, after each chunk.

    Raises `InputError` for ids that the graph does not hold, `GraphMismatch` for a scorer of another graph,
    `TrainingDiverged` for a score that is not a number.
    Memory: chunk * (8 * block_rows + 16 * k) bytes and the result, 17 bytes an answer in float32 at most.
    """
    check_size(scorer, graph)
    entities, relations = (
        ids.cpu().numpy().astype(np.int64) for ids in (queries.entity_ids, queries.relation_ids)
    )
    _check_ids(graph, entities, relations)
    k = min(k, graph.num_entities)
    found = []
    for first in range(0, len(entities), chunk):
        rows = slice(first, first + chunk)
        found.append(_top(scorer, graph, entities[rows], relations[rows], k, exclude, block_rows))
        if progress:
            progress(min(first + chunk, len(entities)), len(entities))
    if not found:
        return TopAnswers(np.zeros((0, k), np.int64), np.zeros((0, k), np.float32), np.zeros((0, k), bool))
    return TopAnswers(
        *(
            np.concatenate([getattr(part, name) for part in found])
            for name in ("entity_ids", "scores", "known")
        )
    )


def _top(
    scorer: Scorer,
    graph: Graph,
    entities: Int[np.ndarray, " queries"],
    relations: Int[np.ndarray, " queries"],
    k: int,
    exclude: str | None,
    block_rows: int,
) -> TopAnswers:
    known = spans(graph.answers("known"), entities, relations)
    if exclude is None:
        starts, stops, excluded = np.zeros_like(known[0]), np.zeros_like(known[1]), known[2]
    else:
        starts, stops, excluded = spans(graph.answers(exclude), entities, relations)
    tiles = Tiles(scorer, entities, relations, block_rows)
    sizes, ids = np.zeros(len(entities), np.int64), np.full((len(entities), k), -1, np.int64)
    scores = np.zeros((0, k), np.float32)
    for block in range(tiles.num_blocks):
        tile = tiles.tile(block)
        scores = scores if len(scores) else np.full((len(entities), k), -np.inf, tile.dtype)
        broken = kernels.offer(tile, tiles.start(block), starts, stops, excluded, sizes, scores, ids)
        tiles.refuse(broken, graph)
    order = np.lexsort((ids, -scores, ids < 0))
    ids, scores = np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1)
    offsets = np.arange(len(entities) + 1) * k
    is_known = kernels.contained(offsets, ids.ravel(), *known).reshape(ids.shape)
    return TopAnswers(ids, scores, is_known)


def _check_ids(
    graph: Graph, entities: Int[np.ndarray, " queries"], relations: Int[np.ndarray, " queries"]
) -> None:
    for name, ids, limit in (
        ("entity", entities, graph.num_entities),
        ("directed relation", relations, 2 * graph.num_relations),
    ):
        wrong = np.flatnonzero((ids < 0) | (ids >= limit))
        if len(wrong):
            row = int(wrong[0])
            raise InputError(
                f"query {row}: {name} id {ids[row]} is not in graph {graph.name}, whose ids go from 0 to {limit - 1}"
            )
