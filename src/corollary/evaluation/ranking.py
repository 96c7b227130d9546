"""Exact filtered ranking: every true answer against every entity, both sides, ties counted.

Each distinct query is prepared and scored once, whatever the number of triples that ask it. The entity blocks are
walked twice: first the scores of the true answers are picked from the tiles, then the candidates above and level
with them are counted in the very same tiles. Known answers are taken out by their sorted list. Nothing is sorted,
and no more than two tiles exist, so memory does not depend on the number of triples.

Sources: Bordes et al. 2013 for the filtered setting; Berrendorf et al. 2020 for ties.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from corollary.errors import GraphError, InputError
from corollary.evaluation.metrics import Accumulator, Counts, RangeFigures, Ties
from corollary.evaluation.metrics import Evaluation as Evaluation
from corollary.evaluation.rank_file import RankFile
from corollary.evaluation.tiles import BLOCK_ROWS, CHUNK, Tiles, check_size, spans
from corollary.graph.answers import AnswerIndex, Side
from corollary.graph.folder import Graph
from corollary.graph.range_types import RangeTypes
from corollary.kernels import ranking as kernels
from corollary.learners.protocol import Scorer

HITS = (1, 3, 5, 10)

Progress = Callable[[int, int], None]
"""Called with the queries done and all queries, after each chunk."""


@dataclass(frozen=True)
class Rankings:
    """The rankings of one chunk of queries, in the order of the index they came from."""

    triples: Int[np.ndarray, " rankings"]
    """Row of the triple behind each ranking."""
    entities: Int[np.ndarray, " rankings"]
    relations: Int[np.ndarray, " rankings"]
    """Directed: r < R asked for the tail, r + R for the head."""
    answers: Int[np.ndarray, " rankings"]
    full: Counts
    limited: Counts | None
    """Among candidates of an allowed type; where the answer itself is of another type, among all."""
    outside: Bool[np.ndarray, " rankings"] | None
    """Where the answer is of another type."""


def rank_split(
    scorer: Scorer,
    graph: Graph,
    split: str,
    *,
    side: Side | None = None,
    relations: Int[np.ndarray, " some"] | None = None,
    filter: str | None = "known",
    ties: Ties = "realistic",
    hits: Sequence[int] = HITS,
    candidates: Literal["types"] | None = None,
    block_rows: int = BLOCK_ROWS,
    chunk: int = CHUNK,
    seed: int = 0,
    resamples: int = 1000,
    ranks_path: Path | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Rank both sides of every distinct triple of a split.

    Args:
        side: rank this side alone, for a scorer that cannot be asked for the other.
        relations: rank the triples of these alone, for a scorer that is not asked for the others.
        filter: facts left out of the competition: `known` (all), `train+valid` or a split; None leaves out nothing
            but the true answer itself, which never competes with itself under any filter.
        ties: which ranks the headline figures, the relations and the intervals use; all three are reported.
        candidates: `types` adds figures among entities whose type the relation's answers have in train.
        block_rows: entities scored at once, as in training.
        chunk: queries scored at once; fixed for a run, since a product of another shape may round differently.
        resamples: of the bootstrap; 0 for no intervals.
        ranks_path: Parquet file for the rank of every triple and side (see `rank_file`).

    Raises `GraphError` for an unknown or empty split, `GraphMismatch` for a scorer of another graph,
    `TrainingDiverged` for a score that is not a number.
    Memory: two tiles of 4 * chunk * block_rows bytes, what the scorer prepares, about 100 bytes for each true answer
    of the chunk's queries, 128 MiB with `ranks_path`.
    """
    graph.triples(split)  # refuses a name that is no split
    index = graph.answers(split)
    index = index if side is None else index.one_side(side)
    index = index if relations is None else index.of_relations(relations)
    return _evaluate(
        scorer, graph, index, _known(graph, filter), split=split, filter=filter, ties=ties, hits=hits,
        candidates=candidates, block_rows=block_rows, chunk=chunk, seed=seed, resamples=resamples,
        ranks_path=ranks_path, progress=progress,
    )  # fmt: skip


def rank_triples(
    scorer: Scorer,
    graph: Graph,
    triples: Int[np.ndarray, "n 3"],
    *,
    name: str = "given",
    filter: str | None = "known",
    ties: Ties = "realistic",
    hits: Sequence[int] = HITS,
    candidates: Literal["types"] | None = None,
    block_rows: int = BLOCK_ROWS,
    chunk: int = CHUNK,
    seed: int = 0,
    resamples: int = 1000,
    ranks_path: Path | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Rank a list of triples by id, such as a file of new facts; options as in `rank_split`.

    With a filter, the given triples are left out of each other's competition too.

    Args:
        name: stands as the split in the result.

    Raises `InputError` for an id that the graph does not hold. Memory: that of `rank_split`, and about 200 bytes
    for each triple and each known answer of its queries.
    """
    _check_ids(graph, triples)
    index = AnswerIndex.build(triples, graph.num_relations)
    known = _known(graph, filter)
    return _evaluate(
        scorer, graph, index, known if filter is None else _union(index, known), split=name, filter=filter,
        ties=ties, hits=hits, candidates=candidates, block_rows=block_rows, chunk=chunk, seed=seed,
        resamples=resamples, ranks_path=ranks_path, progress=progress,
    )  # fmt: skip


def rankings(
    scorer: Scorer,
    graph: Graph,
    index: AnswerIndex,
    known: AnswerIndex,
    *,
    ranges: RangeTypes | None = None,
    block_rows: int = BLOCK_ROWS,
    chunk: int = CHUNK,
) -> Iterator[Rankings]:
    """The rankings behind an evaluation, one chunk of queries at a time.

    Args:
        index: the queries with the answers to be ranked.
        known: answers left out of the competition.
    """
    check_size(scorer, graph)
    for first in range(0, index.num_queries, chunk):
        rows = slice(first, min(first + chunk, index.num_queries))
        yield _Chunk(scorer, graph, index, rows, known, block_rows).rank(ranges)
        known.release()


class _Chunk:
    """Some queries with their true answers, as CSR, and where their known answers lie."""

    def __init__(
        self,
        scorer: Scorer,
        graph: Graph,
        index: AnswerIndex,
        rows: slice,
        known: AnswerIndex,
        block_rows: int,
    ) -> None:
        self.graph = graph
        self.entities, self.relations = index.queries(rows)
        bounds = np.asarray(index.offsets[rows.start : rows.stop + 1])
        examples = slice(int(bounds[0]), int(bounds[-1]))
        self.offsets = bounds - bounds[0]
        self.answers = index.answers[examples].astype(np.int64)
        self.triples = index.triples[examples].astype(np.int64)
        self.queries = np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))
        self.known_starts, self.known_stops, self.known = spans(known, self.entities, self.relations)
        self.tiles = Tiles(scorer, self.entities, self.relations, block_rows)
        self.block_rows = block_rows

    def rank(self, ranges: RangeTypes | None) -> Rankings:
        """Two walks over the blocks; the last tile of the first is the first of the second."""
        touched = np.unique(self.answers // self.block_rows).tolist()
        scores = np.zeros(0)
        for block in touched:
            tile = self.tiles.tile(block)
            scores = scores if len(scores) else np.empty(len(self.answers), tile.dtype)
            kernels.pick(tile, self.tiles.start(block), self.offsets, self.answers, scores)
        order = np.lexsort((scores, self.queries))  # the few true answers of each query, by score
        full = _Tally(self, scores[order], None)
        limited = None if ranges is None else _Tally(self, scores[order], ranges)
        block = touched[-1]
        for number in [block, *(other for other in range(self.tiles.num_blocks) if other != block)]:
            if number != block:
                tile = self.tiles.tile(number)
            for tally in (full, limited):
                if tally is not None:
                    self.tiles.refuse(tally.add(tile, self.tiles.start(number)), self.graph)
        return self._result(order, full, limited, ranges)

    def _result(
        self,
        order: Int[np.ndarray, " answers"],
        full: "_Tally",
        limited: "_Tally | None",
        ranges: RangeTypes | None,
    ) -> Rankings:
        in_filter = kernels.contained(
            self.offsets, self.answers, self.known_starts, self.known_stops, self.known
        )
        relations = self.relations[self.queries]
        num_known = self.known_stops - self.known_starts
        available = np.full(len(num_known), self.graph.num_entities) - num_known
        result = Rankings(
            triples=self.triples,
            entities=self.entities[self.queries],
            relations=relations,
            answers=self.answers,
            full=full.counts(order, in_filter, available[self.queries]),
            limited=None,
            outside=None,
        )
        if limited is None or ranges is None:
            return result
        allowed_known = kernels.count_allowed(
            self.known_starts, self.known_stops, self.known, ranges.types, ranges.allowed[self.relations]
        )
        available = ranges.num_allowed[self.relations] - allowed_known
        counts = limited.counts(order, in_filter, available[self.queries])
        outside = ~ranges.contain(relations, self.answers)
        return replace(result, limited=_either(outside, result.full, counts), outside=outside)


class _Tally:
    """Counts against the sorted scores of the true answers, over all blocks."""

    def __init__(self, chunk: _Chunk, thresholds: Float[np.ndarray, " answers"], ranges: RangeTypes | None):
        self._chunk, self._thresholds = chunk, thresholds
        self._types = np.zeros(0, np.int32) if ranges is None else ranges.types
        self._allowed = (
            np.zeros((len(chunk.entities), 0), bool) if ranges is None else ranges.allowed[chunk.relations]
        )
        self._above, self._at_least = (np.zeros(len(thresholds), np.int64) for _ in range(2))

    def add(self, tile: Float[np.ndarray, "queries rows"], start: int) -> Bool[np.ndarray, " queries"]:
        """Count one tile; returns where a score was not a number."""
        chunk = self._chunk
        return kernels.count(
            tile, start, chunk.offsets, self._thresholds, chunk.known_starts, chunk.known_stops, chunk.known,
            self._types, self._allowed, self._above, self._at_least,
        )  # fmt: skip

    def counts(
        self,
        order: Int[np.ndarray, " answers"],
        in_filter: Bool[np.ndarray, " answers"],
        available: Int[np.ndarray, " answers"],
    ) -> Counts:
        """In the order of the answers. A true answer that the filter left in has been counted as level with itself.

        Args:
            available: entities that the filter leaves.
        """
        above, at_least = np.empty_like(self._above), np.empty_like(self._at_least)
        above[order], at_least[order] = self._above, self._at_least
        return Counts(above, at_least - above - ~in_filter, available + in_filter)


def _either(where: Bool[np.ndarray, " n"], yes: Counts, no: Counts) -> Counts:
    return Counts(
        np.where(where, yes.above, no.above),
        np.where(where, yes.equal, no.equal),
        np.where(where, yes.candidates, no.candidates),
    )


def _evaluate(
    scorer: Scorer,
    graph: Graph,
    index: AnswerIndex,
    known: AnswerIndex,
    *,
    split: str,
    filter: str | None,
    ties: Ties,
    hits: Sequence[int],
    candidates: Literal["types"] | None,
    block_rows: int,
    chunk: int,
    seed: int,
    resamples: int,
    ranks_path: Path | None,
    progress: Progress | None,
) -> Evaluation:
    if not index.num_queries:
        raise GraphError(f"split {split!r} of graph {graph.name} holds no triples: there is nothing to rank")
    started = time.perf_counter()
    ranges = RangeTypes.of(graph) if candidates == "types" else None
    full, limited = (
        Accumulator(graph.num_relations, hits=hits, ties=ties, resamples=resamples, seed=seed)
        for _ in range(2)
    )
    done = outside = 0
    with ExitStack() as stack:
        file = ranks_path and stack.enter_context(RankFile(ranks_path, graph, limited=ranges is not None))
        for part in rankings(scorer, graph, index, known, ranges=ranges, block_rows=block_rows, chunk=chunk):
            full.add(part.triples, part.relations, part.full)
            if part.limited is not None and part.outside is not None:
                limited.add(part.triples, part.relations, part.limited)
                outside += int(part.outside.sum())
            if file:
                file.append(
                    part.triples, part.entities, part.relations, part.answers, part.full, part.limited
                )
            done = min(done + chunk, index.num_queries)
            if progress:
                progress(done, index.num_queries)
    labels = graph.relations.labels
    in_range = ranges and RangeFigures(
        figures=limited.figures(labels), num_outside=outside, share_outside=outside / index.num_examples
    )
    return Evaluation(
        graph=graph.name,
        graph_fingerprint=graph.fingerprint,
        split=split,
        filter=filter,
        ties=ties,
        num_triples=full.num_triples,
        num_rankings=index.num_examples,
        num_queries_scored=index.num_queries,
        candidates=candidates or "all",
        block_rows=block_rows,
        seed=seed,
        resamples=resamples,
        seconds=time.perf_counter() - started,
        figures=full.figures(labels),
        in_range=in_range,
    )


def _known(graph: Graph, filter: str | None) -> AnswerIndex:
    if filter is None:
        return AnswerIndex.build(np.zeros((0, 3), np.int32), graph.num_relations)
    return graph.answers(filter)


def _union(index: AnswerIndex, known: AnswerIndex) -> AnswerIndex:
    """The queries of `index` with their answers there and in `known`."""
    offsets, answers = known.gather(known.find(*index.queries(slice(None))))
    rows = np.arange(index.num_queries)
    queries = np.concatenate([np.repeat(rows, np.diff(index.offsets)), np.repeat(rows, np.diff(offsets))])
    both = np.concatenate([index.answers, answers])
    order = np.lexsort((both, queries))
    queries, both = queries[order], both[order]
    fresh = np.ones(len(both), bool)
    fresh[1:] = (queries[1:] != queries[:-1]) | (both[1:] != both[:-1])
    bounds = np.searchsorted(queries[fresh], np.arange(index.num_queries + 1))
    return AnswerIndex(index.num_relations, index.keys, bounds, both[fresh], np.full(len(both[fresh]), -1))


def _check_ids(graph: Graph, triples: Int[np.ndarray, "n 3"]) -> None:
    limits = np.array([graph.num_entities, graph.num_relations, graph.num_entities])
    wrong = np.argwhere((triples < 0) | (triples >= limits))
    if len(wrong):
        row, column = wrong[0].tolist()
        what = ("head", "relation", "tail")[column]
        raise InputError(
            f"triple {row}: {what} id {triples[row, column]} is not in graph {graph.name}, whose ids go from 0 to "
            f"{limits[column] - 1}"
        )
