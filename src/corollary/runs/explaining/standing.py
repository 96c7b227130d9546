"""Where each run puts the answer, what such a rank has been worth, and how far the run can be trusted here."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from corollary.evaluation.calibration import ENOUGH, RankCalibration
from corollary.evaluation.held_out import HeldOut, held_out_ranks
from corollary.evaluation.popularity import popularity
from corollary.graph.answers import AnswerIndex
from corollary.learners.frequency import RelationFrequency
from corollary.learners.fusion import whole_scores
from corollary.randomness import generator
from corollary.records.explanation import Calibrated, Estimate, Rank, Trust, wilson
from corollary.runs.explaining.asked import AskedTriple
from corollary.runs.run import Run

FEW = 30
"""Test facts below which nothing is concluded."""
OFTEN = 0.2
"""Share of queries with an answer in their top ten from which it counts as popular."""
_RESAMPLES = 1000


@dataclass(frozen=True)
class Standing:
    """One run that ranks facts, with what it did on held-out ones."""

    run: Run

    @property
    def name(self) -> str:
        return self.run.folder.name

    def asks(self, side: str) -> bool:
        """Whether the run can be asked for this side."""
        return self.run.ranking.side in (None, side)

    @property
    def block_rows(self) -> int:
        return int(self.run.folder.config["plan"]["block_rows"])

    def held_out(self, split: str) -> HeldOut:
        """Ranks of a split, both sides, kept in the run folder: they are made once for a checkpoint."""
        run = self.run
        mark = f"1 {run.graph.fingerprint} {run.checkpoint} {_digest(run)}"
        path = run.path / f"ranks_{split}.npz"
        found = HeldOut.load(path, mark)
        if found is None:
            index = run.graph.answers(split)
            found = held_out_ranks(
                run.scorer, run.graph, index, side=run.ranking.side, block_rows=self.block_rows,
                chunk=int(run.folder.config["plan"]["evaluation_chunk"]),
            )  # fmt: skip
            found.save(path, mark)
        return found

    @cached_property
    def valid(self) -> HeldOut | None:
        return self.held_out("valid") if self.run.graph.info.num_triples.get("valid", 0) else None

    @cached_property
    def test(self) -> HeldOut | None:
        return self.held_out("test") if self.run.graph.info.num_triples.get("test", 0) else None

    def scores(self, asked: AskedTriple) -> Float[np.ndarray, " entities"]:
        """Scores of all entities as answers."""
        found: Float[np.ndarray, " entities"] = whole_scores(self.run.scorer, asked.queries, self.block_rows)[
            0
        ]
        return found

    def rank(self, asked: AskedTriple) -> Rank:
        """Where it puts the answer."""
        learner = self.run.kind.name
        if not self.asks(asked.side):
            reason = f"it was trained to be asked for the {self.run.ranking.side} alone"
            return Rank(
                run=self.name, learner=learner, rank=None, score=None, calibrated=None, missing=reason
            )
        scores = self.scores(asked)
        place = filtered_rank(scores, asked)
        return Rank(
            run=self.name, learner=learner, rank=place, score=float(scores[asked.answer]),
            calibrated=calibrated(self.valid, asked.directed, place),
        )  # fmt: skip

    def trust(self, asked: AskedTriple) -> Trust:
        """How it does on test triples of this relation and side."""
        mine = _of_relation(self.test, asked.directed)
        facts = 0 if mine is None else len(mine)
        mrr = _mean_reciprocal(mine.ranks, asked.directed) if mine is not None and facts else None
        baseline = baseline_mrr(asked)
        popular = popularity(
            self.run.scorer, self.run.graph, asked.directed, seed=0, block_rows=self.block_rows
        )
        share = wilson(int(popular.counts[asked.answer]), popular.num_queries)
        return Trust(
            run=self.name,
            test_facts=facts,
            mrr=mrr,
            hits_at_10=wilson(0 if mine is None else int((mine.ranks <= 10).sum()), facts),
            baseline_mrr=baseline,
            top_ten_share=share,
            warnings=list(_warnings(facts, mrr, baseline, share.k / max(share.n, 1))),
        )


def filtered_rank(scores: Float[np.ndarray, " entities"], asked: AskedTriple) -> float:
    """Realistic rank of the answer; other known answers take no place."""
    mine = scores[asked.answer]
    others = np.delete(scores, np.append(asked.known_answers, asked.answer))
    return 1.0 + float((others > mine).sum()) + float((others == mine).sum()) / 2


def calibrated(valid: HeldOut | None, directed: int, rank: float) -> Calibrated | None:
    """What ranks like this were worth on validation triples: of this relation and side, or of all where it has few."""
    if valid is None or not len(valid):
        return None
    mine = _of_relation(valid, directed)
    pooled = mine is None or len(mine) < ENOUGH
    chosen = valid if pooled or mine is None else mine
    curve = RankCalibration.of(chosen.ranks, chosen.candidates)
    found, share = curve.bin(rank), curve.share(rank)
    if found is None or share is None:
        return None
    return Calibrated(
        ranks=found.name, right=wilson(found.right, found.candidates), probability=share, pooled=pooled
    )


def baseline_mrr(asked: AskedTriple) -> float | None:
    """Mean reciprocal rank of this relation's test triples, ranked by counting training facts; None without any."""
    graph = asked.graph
    if not graph.info.num_triples.get("test", 0):
        return None
    triples = np.asarray(graph.triples("test"))
    triples = triples[triples[:, 1] == asked.relation]
    if not len(triples):
        return None
    index = AnswerIndex.build(triples, graph.num_relations)
    found = held_out_ranks(RelationFrequency.of(graph), graph, index, side=asked.side)
    return float((1 / found.ranks).mean())


def _of_relation(found: HeldOut | None, directed: int) -> HeldOut | None:
    return None if found is None else found.where(found.relations == directed)


def _mean_reciprocal(ranks: Float[np.ndarray, " n"], directed: int) -> Estimate:
    """With a 95 % interval by bootstrap over rankings."""
    values = 1 / ranks
    draws = generator(0, "trust", directed).integers(0, len(values), (_RESAMPLES, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return Estimate(value=float(values.mean()), low=float(low), high=float(high))


def _warnings(facts: int, mrr: Estimate | None, baseline: float | None, share: float) -> Sequence[str]:
    found = []
    if facts < FEW:
        found.append("too_few_to_judge")
    elif mrr is not None and baseline is not None and mrr.value <= baseline:
        found.append("no_better_than_counting")
    if share >= OFTEN:
        found.append("popular_answer")
    return found


def _digest(run: Run) -> str:
    """What the weights of a checkpoint are known by: its files' sizes and times, where there are weights."""
    folder = run.path / "checkpoints" / run.checkpoint
    files = sorted(folder.glob("*")) if folder.exists() else [run.path / "rules.npz"]
    return " ".join(
        f"{file.name}:{file.stat().st_size}:{file.stat().st_mtime_ns}" for file in files if file.exists()
    )


def degrees_of(asked: AskedTriple) -> Int[np.ndarray, " entities"]:
    """Training triples of every entity."""
    train = np.asarray(asked.graph.triples("train"))
    count = asked.graph.num_entities
    return np.bincount(train[:, 0], minlength=count) + np.bincount(train[:, 2], minlength=count)


def sharing_an_end(asked: AskedTriple) -> Bool[np.ndarray, " train"]:
    """Training triples that have the head or the tail of the asked one."""
    train, ends = np.asarray(asked.graph.triples("train")), np.array([asked.head, asked.tail])
    found: Bool[np.ndarray, " train"] = np.isin(train[:, 0], ends) | np.isin(train[:, 2], ends)
    return found
