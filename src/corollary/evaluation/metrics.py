"""Figures from ranks: mean reciprocal rank, hits, mean rank, adjusted mean rank index, with bootstrap intervals.

Ranks come in chunks and leave nothing but sums, added one ranking after the other: memory does not depend on the
number of triples, and how the rankings were cut into chunks does not change a bit of the figures.

Sources: Berrendorf et al. 2020 for the adjusted mean rank index and the three ways with ties; Chamandy et al. 2012
for the Poisson bootstrap.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict

from corollary.errors import ConfigError, unknown
from corollary.kernels import ranking as kernels
from corollary.randomness import generator

if TYPE_CHECKING:
    import pandas

Ties = Literal["optimistic", "realistic", "pessimistic"]
"""Rank of a true answer among equal scores: before them, in the middle, behind them."""
Scope = Literal["both", "head", "tail"]
"""Which rankings: of all sides, of those that ask for the head, of those that ask for the tail."""

TIES: tuple[Ties, ...] = get_args(Ties)
SCOPES: tuple[Scope, ...] = get_args(Scope)
LEVEL = 0.95


@dataclass(frozen=True)
class Counts:
    """What rankings are known by. `candidates` counts the true answer too."""

    above: Int[np.ndarray, " rankings"]
    equal: Int[np.ndarray, " rankings"]
    """Other candidates with the very score of the true answer."""
    candidates: Int[np.ndarray, " rankings"]

    def ranks(self, ties: Ties) -> Float[np.ndarray, " rankings"]:
        """Places from 1; the realistic one may be half-way."""
        return 1.0 + self.above + self.equal * (TIES.index(ties) / 2)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Metrics(_Record):
    """Figures of one group of rankings."""

    num_rankings: int
    mrr: float
    """Mean of 1 / rank."""
    hits: dict[int, float]
    """Share of ranks up to k, by k."""
    mean_rank: float
    adjusted_mean_rank_index: float | None
    """1 for perfect, 0 for guessing: 1 - (mean rank - 1) / (its expectation - 1); None where nothing competes."""
    mean_candidates: float
    """Candidates a ranking, the true answer among them."""

    def value(self, name: str) -> float | None:
        """A figure by name: mrr, hits@10, mean_rank, adjusted_mean_rank_index."""
        values = self.values()
        if name not in values:
            raise ConfigError(unknown("metric", name, list(values)))
        return values[name]

    def values(self) -> dict[str, float | None]:
        """All figures by name."""
        hits = {f"hits@{k}": share for k, share in self.hits.items()}
        rest = {"mean_rank": self.mean_rank, "adjusted_mean_rank_index": self.adjusted_mean_rank_index}
        return {"mrr": self.mrr, **hits, **rest}


class Interval(_Record):
    """Where a figure would lie in 95 of 100 test sets drawn like this one."""

    low: float
    high: float


class RelationMetrics(_Record):
    """Figures of one relation."""

    relation_id: int
    relation: str
    side: Scope
    metrics: Metrics


class Figures(_Record):
    """All that is reported of one set of rankings."""

    sides: dict[Scope, dict[Ties, Metrics]]
    """Every ranking counts the same. A side that was not asked for is absent, and `both` holds the other."""
    macro: dict[Scope, Metrics]
    """Every relation counts the same: means of the figures in `relations`."""
    intervals: dict[str, Interval]
    """By name of the figure, both sides; the sides of a triple are drawn together. Empty without resamples."""
    relations: tuple[RelationMetrics, ...]
    """Each relation that occurs, as a whole and by side."""


class RangeFigures(_Record):
    """Figures with candidates limited to types that the relation's answers have in train."""

    figures: Figures
    num_outside: int
    """True answers of another type; they are ranked among all entities."""
    share_outside: float


class Evaluation(_Record):
    """Figures with their conditions. What names no way with ties uses `ties`; all three stand in `figures.sides`."""

    graph: str
    graph_fingerprint: str
    split: str
    filter: str | None
    """Facts left out of the competition: of a split, of train+valid, known (all); None for raw ranks."""
    ties: Ties
    num_triples: int
    """Distinct triples."""
    num_rankings: int
    """Two a triple; one where a side alone was asked for."""
    num_queries_scored: int
    """Distinct queries; each was scored once."""
    candidates: Literal["all", "types"]
    """types: `in_range` stands beside the figures among all entities."""
    block_rows: int
    seed: int
    resamples: int
    seconds: float
    figures: Figures
    in_range: RangeFigures | None = None

    @property
    def metrics(self) -> Metrics:
        """Both sides, ties as chosen."""
        return self.figures.sides["both"][self.ties]

    @property
    def mrr(self) -> float:
        return self.metrics.mrr

    @property
    def hits(self) -> Mapping[int, float]:
        return self.metrics.hits

    def value(self, name: str) -> float:
        """One figure by name, such as mrr or hits@10. Raises `ConfigError` for another name."""
        found = self.metrics.value(name)
        if found is None:
            raise ConfigError(f"{name} is not defined here: no ranking has a second candidate")
        return found

    def to_pandas(self, by: Literal["side", "relation"] = "side") -> "pandas.DataFrame":
        """A table with one row a group of rankings.

        Args:
            by: `side` gives both, head and tail with every way with ties, and the means over relations;
                `relation` gives each relation as a whole and by side.
        """
        import pandas

        rows = []
        for candidates, figures in self._sets():
            start: dict[str, float | str | None] = {"candidates": candidates}
            if by == "relation":
                rows += [start | _row(item) for item in figures.relations]
                continue
            for side, metrics in figures.sides.items():
                rows += [
                    start | {"side": side, "mean_over": "rankings", "ties": t} | _flat(m)
                    for t, m in metrics.items()
                ]
            macro = {"mean_over": "relations", "ties": self.ties}
            rows += [start | {"side": side} | macro | _flat(m) for side, m in figures.macro.items()]
        return pandas.DataFrame(rows)

    def _sets(self) -> Iterator[tuple[str, Figures]]:
        yield "all", self.figures
        if self.in_range is not None:
            yield "types", self.in_range.figures


def _flat(metrics: Metrics) -> dict[str, float | str | None]:
    return {"num_rankings": metrics.num_rankings, **metrics.values()}


def _row(item: RelationMetrics) -> dict[str, float | str | None]:
    return {
        "relation_id": item.relation_id,
        "relation": item.relation,
        "side": item.side,
        **_flat(item.metrics),
    }


class Accumulator:
    """Sums by directed relation and by way with ties, and those of the bootstrap.

    Memory: 8 * num_relations * (14 + 6 * hits) bytes, and 8 * resamples * (4 + hits).
    """

    def __init__(
        self, num_relations: int, *, hits: Sequence[int], ties: Ties, resamples: int, seed: int
    ) -> None:
        self.num_relations, self.hits, self.ties = num_relations, tuple(hits), ties
        groups, ways = 2 * num_relations, len(TIES)
        self._count = np.zeros(groups, np.int64)
        self._candidates = np.zeros(groups, np.int64)
        self._reciprocal = np.zeros((groups, ways))
        self._rank = np.zeros((groups, ways))
        self._hit = np.zeros((groups, ways, len(self.hits)), np.int64)
        rng = generator(seed, "bootstrap")
        self._streams = rng.integers(0, 2**64, resamples, dtype=np.uint64)
        self._resampled = np.zeros((resamples, 4 + len(self.hits)))

    def add(
        self,
        triples: Int[np.ndarray, " rankings"],
        relations: Int[np.ndarray, " rankings"],
        counts: Counts,
    ) -> None:
        """Count some rankings: rows of their triples and their directed relations. The order is part of the result."""
        ks = np.array(self.hits)
        np.add.at(self._count, relations, 1)
        np.add.at(self._candidates, relations, counts.candidates)
        for way, ties in enumerate(TIES):
            ranks = counts.ranks(ties)
            hit = ranks[:, None] <= ks
            np.add.at(self._reciprocal[:, way], relations, 1 / ranks)
            np.add.at(self._rank[:, way], relations, ranks)
            np.add.at(self._hit[:, way], relations, hit)
            if ties == self.ties and len(self._streams):
                columns = [np.ones(len(ranks)), 1 / ranks, ranks, counts.candidates.astype(float)]
                values = np.concatenate([np.stack(columns, 1), hit], axis=1)
                kernels.resample(self._streams, triples, values, self._resampled)

    @property
    def num_triples(self) -> int:
        """Triples ranked so far, each counted once."""
        return max(int(self._count[self._groups(scope)].sum()) for scope in ("head", "tail"))

    def _scopes(self, relation: int | None = None) -> tuple[Scope, ...]:
        """Those that were asked for: all three, or `both` and the only side."""
        return tuple(scope for scope in SCOPES if self._count[self._groups(scope, relation)].any())

    def figures(self, labels: Sequence[str]) -> Figures:
        """Everything, with the label of each relation."""
        relations = tuple(self._relations(labels))
        return Figures(
            sides={
                scope: {ties: self._metrics(self._groups(scope), ties) for ties in TIES}
                for scope in self._scopes()
            },
            macro={
                scope: _mean([item.metrics for item in relations if item.side == scope])
                for scope in self._scopes()
            },
            intervals=self._intervals(),
            relations=relations,
        )

    def _relations(self, labels: Sequence[str]) -> Iterator[RelationMetrics]:
        count = self._count[: self.num_relations] + self._count[self.num_relations :]
        for relation in np.flatnonzero(count).tolist():
            for scope in self._scopes(relation):
                metrics = self._metrics(self._groups(scope, relation), self.ties)
                yield RelationMetrics(
                    relation_id=relation, relation=labels[relation], side=scope, metrics=metrics
                )

    def _groups(self, scope: Scope, relation: int | None = None) -> slice:
        """The directed relations of a scope: tail queries first, then head queries."""
        count = self.num_relations
        if relation is None:
            return {"both": slice(0, 2 * count), "tail": slice(0, count), "head": slice(count, 2 * count)}[
                scope
            ]
        first = relation + (count if scope == "head" else 0)
        return slice(first, 2 * count if scope == "both" else first + 1, count)

    def _metrics(self, groups: slice, ties: Ties) -> Metrics:
        way, count = TIES.index(ties), int(self._count[groups].sum())
        mean_rank = float(self._rank[groups, way].sum() / count)
        mean_candidates = float(self._candidates[groups].sum() / count)
        return Metrics(
            num_rankings=count,
            mrr=float(self._reciprocal[groups, way].sum() / count),
            hits={k: float(self._hit[groups, way, at].sum() / count) for at, k in enumerate(self.hits)},
            mean_rank=mean_rank,
            adjusted_mean_rank_index=_adjusted(mean_rank, mean_candidates),
            mean_candidates=mean_candidates,
        )

    def _intervals(self) -> dict[str, Interval]:
        """Percentiles over the resamples; one in which no triple was drawn says nothing and is left out."""
        drawn = self._resampled[self._resampled[:, 0] > 0]
        if not len(drawn):
            return {}
        means = drawn[:, 1:] / drawn[:, :1]
        names = ["mrr", "mean_rank", "mean_candidates", *(f"hits@{k}" for k in self.hits)]
        figures = dict(zip(names, means.T, strict=True))
        expected = (figures.pop("mean_candidates") + 1) / 2
        if expected.min() > 1:
            figures["adjusted_mean_rank_index"] = 1 - (figures["mean_rank"] - 1) / (expected - 1)
        ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
        bounds = {name: np.quantile(values, ends).tolist() for name, values in figures.items()}
        return {name: Interval(low=low, high=high) for name, (low, high) in bounds.items()}


def _adjusted(mean_rank: float, mean_candidates: float) -> float | None:
    """A blind guess among n candidates has rank (n + 1) / 2 in the mean."""
    expected = (mean_candidates + 1) / 2
    return 1 - (mean_rank - 1) / (expected - 1) if expected > 1 else None


def _mean(metrics: Sequence[Metrics]) -> Metrics:
    """Each group counts the same; a figure that a group lacks is the mean over the others."""
    indexes = [m.adjusted_mean_rank_index for m in metrics if m.adjusted_mean_rank_index is not None]
    return Metrics(
        num_rankings=sum(m.num_rankings for m in metrics),
        mrr=float(np.mean([m.mrr for m in metrics])),
        hits={k: float(np.mean([m.hits[k] for m in metrics])) for k in metrics[0].hits},
        mean_rank=float(np.mean([m.mean_rank for m in metrics])),
        adjusted_mean_rank_index=float(np.mean(indexes)) if indexes else None,
        mean_candidates=float(np.mean([m.mean_candidates for m in metrics])),
    )
