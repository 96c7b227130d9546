"""Scores as probabilities: at the true share, rising, kept as a few numbers."""

import numpy as np
import pytest

from corollary.errors import InputError
from corollary.repurpose.calibrating import Calibrator, probability


def _rare(seed: int, size: int = 200_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-odds that are true, answers drawn by them (one in two hundred), and scores that exaggerate threefold."""
    draw = np.random.default_rng(seed)
    odds = draw.normal(-7, 2, size)
    return odds, draw.random(size) < 1 / (1 + np.exp(-odds)), 3 * (odds + 5)


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_probabilities_hold_at_the_true_share(method):
    """Fitted on one set of rare answers and held against another: expected and observed agree, over all and in the top
    thousand, within what chance allows there (1,000 answers: 3 %; 300: 6 %; twice that)."""
    _, right, scores = _rare(0)
    curve = Calibrator.fit(method, scores, right)
    _, others, again = _rare(1)
    chances = probability(curve.log_odds(again))
    assert chances.sum() / others.sum() == pytest.approx(1, abs=0.1)
    top = np.argsort(-chances)[:1000]
    assert chances[top].sum() / others[top].sum() == pytest.approx(1, abs=0.15)
    share = others.mean()
    brier = ((chances - others) ** 2).mean()
    assert brier < share * (1 - share), "better than the constant"


def test_platt_finds_slope_and_intercept():
    """log-odds = score / 3 - 5; of 1,000 answers the slope is known to about 3 %."""
    _, right, scores = _rare(2)
    curve = Calibrator.fit("sigmoid", scores, right)
    assert curve.slope == pytest.approx(1 / 3, rel=0.1)
    assert curve.intercept == pytest.approx(-5, abs=0.3)


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_a_curve_never_falls_and_is_kept_as_json(method):
    _, right, scores = _rare(3, 20_000)
    curve = Calibrator.fit(method, scores, right)
    values = curve.log_odds(np.linspace(-60, 60, 1001))
    assert (np.diff(values) >= 0).all()
    assert np.isfinite(values).all()
    assert Calibrator.model_validate_json(curve.model_dump_json()) == curve


def test_one_kind_alone_makes_no_curve():
    with pytest.raises(InputError, match="0 of 5 pairs kept for calibration are answers"):
        Calibrator.fit("sigmoid", np.arange(5.0), np.zeros(5, bool))
