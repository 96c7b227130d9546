"""Fused rankings: against plain sums of ranks and shares, and what is refused."""

import numpy as np
import pytest
import torch

from corollary.errors import ConfigError
from corollary.evaluation.ranking import rank_split
from corollary.learners.fusion import OFFSET, whole_scores
from corollary.learners.protocol import Queries
from corollary.runs.ensembling import METHODS, fit_ensemble
from corollary.runs.run import Run


@pytest.mark.parametrize("method", METHODS)
def test_weights_are_tenths_that_do_no_worse_than_one_run_alone(runs: list[Run], method: str) -> None:
    """On the very validation queries that they were learned on: a single run is among the weights that are tried."""
    found = fit_ensemble(runs, method)
    assert sum(found.weights) == pytest.approx(1)
    assert found.valid_mrr > 0
    if method == "reciprocal-rank":
        alone = [
            rank_split(run.scorer, run.graph, "valid", filter="train+valid", resamples=0) for run in runs
        ]
        assert found.valid_mrr >= 0.9 * max(
            one.mrr for one in alone
        )  # a sample of 500 queries, tied ranks apart


def test_reciprocal_ranks_are_added(runs: list[Run]) -> None:
    """One query, every entity, in plain Python."""
    fusion = fit_ensemble(runs).scorer
    queries = Queries(torch.tensor([3]), torch.tensor([1]))
    fused = fusion.prepare(queries)[0].numpy()
    slow = np.zeros(len(fused))
    for run, weight in zip(runs, fusion.weights, strict=True):
        scores = whole_scores(run.scorer, queries, 4096)[0]
        for entity, mine in enumerate(scores):
            rank = 1 + (scores > mine).sum() + ((scores == mine).sum() - 1) / 2
            slow[entity] += weight / (OFFSET + rank)
    assert fused == pytest.approx(slow, rel=1e-12)


def test_it_is_ranked_like_any_scorer(runs: list[Run]) -> None:
    found = fit_ensemble(runs)
    assert 0 < found.evaluate("test").mrr <= 1
    assert set(found.named_weights()) == {"run", "rules"}


def test_what_is_refused(runs: list[Run]) -> None:
    with pytest.raises(ConfigError, match="two runs or more"):
        fit_ensemble(runs[:1])
    with pytest.raises(ConfigError, match="reciprocal-rank"):
        fit_ensemble(runs, "reciprocal")
