"""On the same scores PyKEEN's evaluator gives the same figures. Needs PyKEEN: `pip install pykeen==1.11.1`."""

import warnings

import numpy as np
import pytest
import torch

from corollary.evaluation.ranking import rank_split, rank_triples
from tests.evaluation.conftest import NUM_ENTITIES, NUM_RELATIONS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its dependencies warn at import
    pytest.importorskip("pykeen", reason="PyKEEN is not installed (pip install pykeen==1.11.1)")
    from tests.reference import pykeen_ranking

KS = (1, 3, 5, 10)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ties", [True, False])
def test_agreement_with_pykeen(world, table, make_scorer, ties):
    """Every figure, side and way with ties to 1e-9, with many ties and with none."""
    scores = table if ties else np.random.default_rng(3).standard_normal(table.shape)
    model = pykeen_ranking.GivenScores(lambda e, r: scores[e, r], NUM_ENTITIES, NUM_RELATIONS)
    test = np.unique(world.splits["test"], axis=0)
    others = np.concatenate([world.splits["train"], world.splits["valid"]])
    theirs = pykeen_ranking.evaluate(model, test, others)
    for ours in (
        rank_split(make_scorer(scores, torch.float64), world.graph, "test", block_rows=7, resamples=0),
        rank_triples(make_scorer(scores, torch.float64), world.graph, test, resamples=0),
    ):
        found = pykeen_ranking.differences(theirs, ours.figures, KS)
        assert len(found) == 3 * (3 * 6 + 1)
        assert max(found.values()) < 1e-9, found
