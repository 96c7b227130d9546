"""What measures a DRUM: ranks of held-out triples of its targets, or the log score of training answers."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Int

from corollary.budget import Plan
from corollary.evaluation.metrics import Evaluation
from corollary.evaluation.ranking import rank_triples
from corollary.graph.folder import Graph
from corollary.learners.drum.learner import Drum
from corollary.learners.protocol import Scorer
from corollary.runs.drum.options import DrumOptions
from corollary.runs.rules.options import WithRules
from corollary.runs.training import has_valid


def validated(
    learner: Drum, graph: Graph, options: DrumOptions, plan: Plan, targets: Int[np.ndarray, " targets"] | None
) -> tuple[Callable[[], Mapping[str, float]], str]:
    """What measures the weights, and its figure: ranks of the validation triples of the targets whose turn it is. Where
    there are none, the mean log score of the training answers, each without its own edge."""
    if not has_valid(graph, targets):
        return lambda: {"log_score": _log_score(learner, graph, options)}, "log_score"
    valid = np.asarray(graph.triples("valid"))
    metric = options.evaluation.metric

    def validate() -> Mapping[str, float]:
        asked = targets if learner.turn is None else learner.turn.targets
        some = valid if asked is None else valid[np.isin(valid[:, 1], asked)]
        if not len(some):
            return {metric: 0.0, "num_triples": 0}
        ranks = ranked_model(learner, graph, some, options, plan, split="valid")
        return {name: value for name, value in ranks.metrics.values().items() if value is not None}

    return validate, metric


def _log_score(learner: Drum, graph: Graph, options: DrumOptions) -> float:
    total, count = 0.0, 0
    with torch.no_grad():
        for batch in learner.batches(graph, seed=options.seed, epoch=learner.epoch):
            total += float(learner.losses(batch).sum())
            count += len(batch)
    return -total / max(count, 1) if math.isfinite(total) else -math.inf


def ranked_model(
    scorer: Scorer,
    graph: Graph,
    triples: Int[np.ndarray, "n 3"],
    options: WithRules,
    plan: Plan,
    *,
    split: str,
) -> Evaluation:
    evaluation = options.evaluation
    return rank_triples(
        scorer, graph, triples, name=split,
        filter=evaluation.filter if split == "test" else "train+valid",
        ties=evaluation.ties, hits=evaluation.hits, block_rows=plan.block_rows, chunk=plan.evaluation_chunk,
        seed=options.seed, resamples=evaluation.resamples if split == "test" else 0,
    )  # fmt: skip
