"""Several runs as one scorer, with weights and curves learned on validation triples."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from corollary.errors import ConfigError, GraphMismatch, unknown
from corollary.evaluation.calibration import isotonic
from corollary.evaluation.metrics import Evaluation
from corollary.evaluation.ranking import rank_split
from corollary.graph.answers import AnswerIndex
from corollary.graph.folder import Graph
from corollary.learners.fusion import Curve, Fusion, relative, whole_scores
from corollary.learners.protocol import Queries, Scorer
from corollary.messages import Say, silent
from corollary.randomness import generator
from corollary.runs.run import Run

METHODS = ("reciprocal-rank", "calibrated")
_QUERIES = 500
"""Validation queries that weights are learned on."""
_CHUNK = 64
_NEGATIVES = 200
"""Other entities of a query that a curve is fitted with: the best half of them, the rest drawn."""
_STEPS = 10
_LED = (1e-2, 1e-3, 1e-6)
"""Weights beside a leader's: of reciprocal ranks the last one settles nothing but ties."""


@dataclass(frozen=True)
class Ensemble:
    """Runs on one graph, fused."""

    runs: tuple[Run, ...]
    method: str
    weights: tuple[float, ...]
    valid_mrr: float
    """On the validation queries that the weights were learned on."""
    scorer: Fusion

    @property
    def graph(self) -> Graph:
        return self.runs[0].graph

    def named_weights(self) -> dict[str, float]:
        return {run.folder.name: weight for run, weight in zip(self.runs, self.weights, strict=True)}

    def evaluate(self, split: str = "test") -> Evaluation:
        """Exact filtered ranks of a split, both sides."""
        return rank_split(self.scorer, self.graph, split, chunk=_CHUNK)


def fit_ensemble(
    runs: Sequence[Run], method: str = "reciprocal-rank", *, seed: int = 0, say: Say = silent
) -> Ensemble:
    """Fuse runs that can be asked for both sides, by the weights of a grid (tenths, and each run as a leader whose ties the
    others settle) that give the best validation MRR.

    Raises `GraphMismatch` for runs on different graphs, `ConfigError` for fewer than two or without validation triples.
    Time: every validation query of a sample of 500 is scored once by each run. Memory: 24 bytes an entity for each of
    64 queries and each run.
    """
    if method not in METHODS:
        raise ConfigError(unknown("method", method, list(METHODS)))
    if len(runs) < 2:
        raise ConfigError("an ensemble needs two runs or more")
    graph = runs[0].graph
    for run in runs[1:]:
        if run.graph.fingerprint != graph.fingerprint:
            raise GraphMismatch(f"{run.path} was trained on another graph than {runs[0].path}")
    if not graph.info.num_triples.get("valid", 0):
        raise ConfigError(f"{graph.path} has no validation triples to learn weights from")
    if one_sided := [run.folder.name for run in runs if run.ranking.side is not None]:
        raise ConfigError(f"{', '.join(one_sided)} can be asked for one side alone")
    members = [run.scorer for run in runs]
    asked = _sample(graph, seed)
    say(f"learning weights on {asked.num_queries} validation queries")
    curves = None if method == "reciprocal-rank" else [_curve(member, graph, asked) for member in members]
    plain = Fusion(members, [1.0] * len(members), curves)
    grid = _grid(len(members))
    sums = np.zeros(len(grid))
    rankings = 0
    for part in _parts(asked):
        rows = np.stack([plain.part(n, whole_scores(m, part.queries, 4096)) for n, m in enumerate(members)])
        for number, weights in enumerate(grid):
            ranks = part.ranks(np.tensordot(weights, rows, 1), graph)
            sums[number] += (1 / ranks).sum()
        rankings += len(part.answers)
    best = int(np.argmax(np.round(sums, 9)))
    weights = tuple(float(weight) for weight in grid[best])
    return Ensemble(
        tuple(runs), method, weights, float(sums[best] / rankings), Fusion(members, weights, curves)
    )


@dataclass(frozen=True)
class _Part:
    """Some validation queries with their answers."""

    queries: Queries
    owners: Int[np.ndarray, " answers"]
    answers: Int[np.ndarray, " answers"]

    def ranks(
        self, scores: Float[np.ndarray, "queries entities"], graph: Graph
    ) -> Float[np.ndarray, " answers"]:
        """Realistic ranks, filtered by what train and valid hold."""
        index = graph.answers("train+valid")
        ids = (self.queries.entity_ids.numpy(), self.queries.relation_ids.numpy())
        offsets, known = index.gather(index.find(*ids))
        found = np.empty(len(self.answers))
        for number, (row, answer) in enumerate(zip(self.owners.tolist(), self.answers.tolist(), strict=True)):
            line, mine = scores[row], scores[row, answer]
            out = line[known[offsets[row] : offsets[row + 1]]]
            above = (line > mine).sum() - (out > mine).sum()
            level = (line == mine).sum() - (out == mine).sum()
            found[number] = 1 + above + level / 2
        return found


def _sample(graph: Graph, seed: int) -> AnswerIndex:
    """Validation triples of some queries, both sides."""
    index = graph.answers("valid")
    if index.num_queries <= _QUERIES:
        return index
    rows = np.sort(generator(seed, "ensemble").choice(index.num_queries, _QUERIES, replace=False))
    offsets, answers = index.gather(rows)
    places = np.concatenate([np.arange(index.offsets[row], index.offsets[row + 1]) for row in rows])
    return AnswerIndex(
        index.num_relations, np.asarray(index.keys)[rows], offsets, answers, np.asarray(index.triples)[places]
    )


def _parts(index: AnswerIndex) -> Iterator[_Part]:
    for first in range(0, index.num_queries, _CHUNK):
        rows = slice(first, min(first + _CHUNK, index.num_queries))
        entities, relations = (np.asarray(ids, np.int64) for ids in index.queries(rows))
        bounds = np.asarray(index.offsets[rows.start : rows.stop + 1])
        owners = np.repeat(np.arange(len(entities)), np.diff(bounds))
        answers = np.asarray(index.answers[bounds[0] : bounds[-1]], np.int64)
        yield _Part(Queries(torch.from_numpy(entities), torch.from_numpy(relations)), owners, answers)


def _grid(members: int) -> Float[np.ndarray, "points members"]:
    """Weights in tenths that add up to 1, from the fourth run on in fifths; and each run as a leader, of whose answers
    the others only order what it leaves level or nearly so."""
    steps = _STEPS if members <= 3 else _STEPS // 2
    points = [p for p in itertools.product(range(steps + 1), repeat=members) if sum(p) == steps]
    leaders = [
        np.where(np.arange(members) == leader, 1.0, share) for leader in range(members) for share in _LED
    ]
    return np.concatenate([np.array(points, np.float64) / steps, [one / one.sum() for one in leaders]])


def _curve(member: Scorer, graph: Graph, asked: AnswerIndex) -> Curve:
    """Scores to shares of right answers; of raw scores and of those relative to their query, what predicts better."""
    raw: list[np.ndarray] = []
    own: list[np.ndarray] = []
    right: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    known = graph.answers("train+valid")
    for number, part in enumerate(_parts(asked)):
        scores = whole_scores(member, part.queries, 4096).astype(np.float64)
        near = relative(scores)
        draw = generator(0, "curve", number)
        for row in range(len(scores)):
            answers = part.answers[part.owners == row]
            ids = (
                part.queries.entity_ids[row : row + 1].numpy(),
                part.queries.relation_ids[row : row + 1].numpy(),
            )
            _, taken = known.gather(known.find(*ids))
            others = np.setdiff1d(np.arange(scores.shape[1]), taken)
            best = others[np.argsort(-scores[row, others], kind="stable")[: _NEGATIVES // 2]]
            rest = np.setdiff1d(others, best)
            drawn = draw.choice(rest, min(_NEGATIVES // 2, len(rest)), replace=False)
            chosen = np.concatenate([answers, best, drawn])
            raw.append(scores[row, chosen])
            own.append(near[row, chosen])
            right.append(np.arange(len(chosen)) < len(answers))
            each = len(rest) / max(len(drawn), 1)
            weights.append(np.concatenate([np.ones(len(answers) + len(best)), np.full(len(drawn), each)]))
    labels, sizes = np.concatenate(right).astype(np.float64), np.concatenate(weights)
    fits = [_fit(np.concatenate(values), labels, sizes, kind) for values, kind in ((raw, False), (own, True))]
    return min(fits, key=lambda fit: fit[0])[1]


def _fit(
    values: Float[np.ndarray, " n"],
    labels: Float[np.ndarray, " n"],
    sizes: Float[np.ndarray, " n"],
    kind: bool,
) -> tuple[float, Curve]:
    """Log loss and curve of an isotonic regression."""
    corners, places = np.unique(values, return_inverse=True)
    weight = np.bincount(places, sizes)
    share = np.bincount(places, sizes * labels) / weight
    shares = isotonic(share, weight)
    fitted = np.clip(shares[places], 1e-7, 1 - 1e-7)
    loss = -(sizes * (labels * np.log(fitted) + (1 - labels) * np.log(1 - fitted))).sum() / sizes.sum()
    keep = np.append(True, np.diff(shares) != 0) | np.append(np.diff(shares) != 0, True)
    return float(loss), Curve(corners[keep], shares[keep], kind)
