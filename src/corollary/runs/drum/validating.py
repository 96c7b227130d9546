"""What measures a DRUM: ranks of held-out triples of its targets, or the log score of training answers."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Int

from corollary.budget import Plan
from corollary.evaluation.metrics import Evaluation
from corollary.evaluation.ranking import rank_split
from corollary.graph.folder import Graph
from corollary.learners.drum.learner import Drum
from corollary.learners.protocol import Scorer
from corollary.runs.drum.options import DrumOptions
from corollary.runs.rules.options import WithRules
from corollary.runs.training import has_valid

LOG_SCORE = "log_score"
"""Name of the figure that stands in for ranks where there are no validation triples."""


def validated(
    learner: Drum, graph: Graph, options: DrumOptions, plan: Plan, targets: Int[np.ndarray, " targets"] | None
) -> tuple[Callable[[], Mapping[str, float]], str]:
    """What measures the weights, and the figure that epochs are compared by: ranks of the validation triples of the
    targets whose turn it is. Where those have none, the mean log score of their training answers, each without its own
    edge."""

    def validate() -> Mapping[str, float]:
        asked = targets if learner.turn is None else learner.turn.targets
        if not has_valid(graph, asked):
            return {LOG_SCORE: _log_score(learner, graph, options)}
        ranks = ranked_model(learner, graph, "valid", asked, options, plan)
        return {name: value for name, value in ranks.metrics.values().items() if value is not None}

    return validate, options.evaluation.metric if has_valid(graph, targets) else LOG_SCORE


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
    split: str,
    relations: Int[np.ndarray, " some"] | None,
    options: WithRules,
    plan: Plan,
) -> Evaluation:
    """Filtered ranks of the triples of some relations, or of all. Validation knows nothing of the test triples."""
    evaluation = options.evaluation
    return rank_split(
        scorer, graph, split, relations=relations,
        filter=evaluation.filter if split == "test" else "train+valid",
        ties=evaluation.ties, hits=evaluation.hits, block_rows=plan.block_rows, chunk=plan.evaluation_chunk,
        seed=options.seed, resamples=evaluation.resamples if split == "test" else 0,
    )  # fmt: skip
