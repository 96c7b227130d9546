"""Probabilities against scikit-learn and against a world whose probabilities are known."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from corollary.errors import InputError
from corollary.repurpose.figures import truth as truth_module
from corollary.repurpose.figures.probabilities import calibration
from corollary.repurpose.figures.truth import Truth

NONE = np.zeros((0, 2), np.int64)


@pytest.fixture(scope="module")
def world() -> tuple[np.ndarray, Truth]:
    """300 x 400 pairs, each true with the probability that is said of it, 2 % in the mean."""
    draw = np.random.default_rng(0)
    said = 1 / (1 + np.exp(-draw.normal(-5, 1.5, size=(300, 400))))
    true = draw.random(said.shape) < said
    return said.astype(np.float32), Truth.of(said.shape, np.argwhere(true), NONE)


def labels(truth: Truth) -> np.ndarray:
    return ~truth.negatives(slice(0, truth.num_rows))


def test_true_probabilities_are_found_to_be_calibrated(world):
    """Slope and both ratios near 1, intercept near 0 within the noise of 2,400 true pairs, skill above 0."""
    found = calibration(*world)
    assert found.slope == pytest.approx(1, abs=0.05)
    assert found.intercept == pytest.approx(0, abs=0.15)
    assert found.expected_over_observed == pytest.approx(1, abs=0.05)
    assert found.top_expected_over_observed == pytest.approx(1, abs=0.1)
    assert found.brier_skill > 0.05
    assert found.expected_calibration_error < 0.002


def test_brier_and_line_agree_with_scikit_learn(world):
    """Brier to rounding; the regression without penalty to what its solver leaves (tol 1e-8)."""
    said, truth = world
    true = labels(truth).ravel()
    found = calibration(said, truth)
    assert found.brier == pytest.approx(brier_score_loss(true, said.ravel().astype(np.float64)), rel=1e-12)
    p = said.ravel().astype(np.float64)
    line = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(np.log(p / (1 - p))[:, None], true)
    assert found.slope == pytest.approx(line.coef_[0, 0], abs=1e-4)
    assert found.intercept == pytest.approx(line.intercept_[0], abs=1e-4)


def test_being_too_sure_shows_in_the_slope(world):
    """Log-odds doubled have half the slope."""
    said, truth = world
    odds = 2 * np.log(said / (1 - said))
    assert calibration(1 / (1 + np.exp(-odds)), truth).slope == pytest.approx(
        calibration(said, truth).slope / 2, rel=1e-3
    )


def test_bins_hold_every_candidate_once_and_make_the_error(world):
    said, truth = world
    found = calibration(said, truth)
    assert sum(one.count for one in found.bins) == truth.num_candidates
    assert sum(one.true for one in found.bins) == len(truth.asked)
    error = sum(abs(one.mean * one.count - one.true) for one in found.bins) / truth.num_candidates
    assert found.expected_calibration_error == pytest.approx(error, rel=1e-12)
    assert all(one.low <= one.mean <= one.high for one in found.bins)


def test_the_first_pairs_share_places_where_probabilities_are_equal():
    """Two of four equal pairs fit: half of the three true ones among them count."""
    said = np.array([[0.9, 0.5, 0.5, 0.5, 0.5, 0.1]])
    truth = Truth.of(said.shape, np.array([[0, 0], [0, 1], [0, 2], [0, 3]]), NONE)
    found = calibration(said, truth, top=3)
    assert found.top_expected == pytest.approx(0.9 + 2 * 0.5)
    assert found.top_observed == pytest.approx(1 + 2 * 3 / 4)


def test_the_constant_has_no_skill_and_no_slope():
    said = np.full((4, 5), 0.1)
    truth = Truth.of(said.shape, np.array([[0, 0], [2, 3]]), NONE)
    found = calibration(said, truth)
    assert found.brier_skill == pytest.approx(0, abs=1e-12)
    assert found.slope is None


def test_how_rows_are_cut_into_blocks_hardly_matters(world, monkeypatch):
    """Sums in another order: 1e-10."""
    said, truth = world
    whole = calibration(said, truth).model_dump(exclude={"bins", "top"})
    monkeypatch.setattr(truth_module, "BLOCK_BYTES", 8 * 400 * 37)
    assert calibration(said, truth).model_dump(exclude={"bins", "top"}) == pytest.approx(
        whole, rel=1e-10, abs=1e-10
    )


def test_what_is_no_probability_is_refused():
    with pytest.raises(
        InputError, match=r"probabilities: row 0, column 1 is 1.5: every pair needs a number from 0 to 1"
    ):
        calibration(np.array([[0.5, 1.5]]), Truth.of((1, 2), np.array([[0, 0]]), NONE))
