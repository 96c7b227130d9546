"""Rewired relations keep degrees and lose meaning; scores that know degrees alone lose nothing by it."""

import numpy as np
import pytest

from corollary.graph.folder import Graph
from corollary.repurpose.figures.truth import Truth
from corollary.repurpose.null import null_figures, rewired_known, rewired_truth, untrained_null
from corollary.repurpose.pairs import read_pairs
from corollary.repurpose.splitting import row_folds
from corollary.repurpose.untrained import Untrained

NONE = np.zeros((0, 2), np.int64)


@pytest.fixture(scope="module")
def world() -> tuple[np.ndarray, Truth]:
    """80 x 80 pairs, six of each row true, popular columns more often; a score that knows them all."""
    draw = np.random.default_rng(0)
    odds = 1 / np.arange(1, 81)
    true = np.stack([draw.choice(80, 6, replace=False, p=odds / odds.sum()) for _ in range(80)])
    pairs = np.stack([np.repeat(np.arange(80), 6), true.ravel()], axis=1)
    scores = draw.random((80, 80))
    scores[pairs[:, 0], pairs[:, 1]] += 0.9
    return scores, Truth.of((80, 80), pairs[::2], pairs[1::2])


def test_rows_and_columns_are_asked_about_as_often_as_before(world):
    _, truth = world
    null = rewired_truth(truth, 0)
    for axis in (0, 1):
        assert np.array_equal(np.sort(null.asked[:, axis]), np.sort(truth.asked[:, axis]))
    taken = {tuple(pair) for pair in truth.known.tolist()}
    assert not taken & {tuple(pair) for pair in null.asked.tolist()}


def test_what_a_score_knows_beyond_degrees_is_lost(world):
    """The score that knew falls to where chance and degree leave it; one made of degrees stays where it was."""
    scores, truth = world
    real = null_figures(scores, truth, times=3)
    assert real.moved > 0.5
    assert real.auroc < 0.75
    popular = np.tile(truth.degrees[0], (80, 1)) + np.random.default_rng(1).random((80, 80)) / 10
    by_degree = null_figures(popular, truth, times=3)
    own = np.mean([popular[r, c] for r, c in truth.asked.tolist()])
    assert own == pytest.approx(
        np.mean([popular[r, c] for r, c in rewired_truth(truth, 0).asked.tolist()]), abs=0.1
    )
    assert by_degree.auroc > 0.7


def test_known_pairs_of_a_fold_are_rewired_without_its_answers(countries: Graph):
    """Untrained scores from them are made for the rows that are asked about."""
    pairs = read_pairs(countries, "spoken_language", side="tail")
    fold = row_folds(pairs, 5, 0)[0]
    null = rewired_known(pairs, fold, 0)
    visible = fold.visible(pairs)
    assert np.array_equal(np.bincount(null[:, 1]), np.bincount(visible[:, 1]))
    assert (null != visible).any()
    assert not {tuple(p) for p in null.tolist()} & {tuple(p) for p in fold.positives.tolist()}
    scores = untrained_null(Untrained.of(countries, pairs), pairs, fold, 0)
    assert scores["popularity"].shape == (len(fold.asked), len(pairs.columns))
    assert np.array_equal(scores["popularity"][0], np.bincount(visible[:, 1], minlength=len(pairs.columns)))
