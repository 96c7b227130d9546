"""Figures from counts."""

import numpy as np
import pytest

from corollary.errors import ConfigError
from corollary.evaluation.metrics import Accumulator, Counts


def figures(above, equal, candidates, relations=None, **options):
    """Figures of some rankings of two relations; triple i is ranking i."""
    options = {"hits": (1, 3), "ties": "realistic", "resamples": 0, "seed": 0} | options
    counts = Counts(*(np.array(values) for values in (above, equal, candidates)))
    accumulator = Accumulator(2, **options)
    relations = np.array(relations if relations is not None else [0] * len(above))
    accumulator.add(np.arange(len(above)), relations, counts)
    return accumulator.figures(["likes", "knows"])


def test_figures_by_hand():
    """Ranks 1, 2.5 and 4 among 4, 5 and 6 candidates; directed relations 0 and 2 are the sides of the first."""
    found = figures([0, 1, 3], [0, 1, 0], [4, 5, 6], relations=[0, 2, 3])
    both = found.sides["both"]
    assert both["realistic"].mrr == pytest.approx((1 + 1 / 2.5 + 1 / 4) / 3)
    assert both["realistic"].hits == {1: pytest.approx(1 / 3), 3: pytest.approx(2 / 3)}
    assert both["realistic"].mean_rank == pytest.approx(2.5)
    assert both["realistic"].adjusted_mean_rank_index == pytest.approx(1 - 1.5 / 2)
    assert both["optimistic"].mean_rank == pytest.approx(7 / 3)
    assert both["pessimistic"].mean_rank == pytest.approx(8 / 3)
    assert found.sides["tail"]["realistic"].mean_rank == 1
    assert found.sides["head"]["realistic"].mean_rank == pytest.approx(3.25)


def test_a_ranking_without_competition_has_no_adjusted_index():
    """None, not a division by zero, in figures and in means over relations."""
    found = figures([0, 0], [0, 0], [1, 1], relations=[0, 2], resamples=20)
    assert found.sides["both"]["realistic"].adjusted_mean_rank_index is None
    assert found.macro["both"].adjusted_mean_rank_index is None
    assert "adjusted_mean_rank_index" not in found.intervals


def test_an_unknown_figure_is_named():
    """With the nearest that there is."""
    metrics = figures([0, 0], [0, 0], [3, 3], relations=[0, 2]).sides["both"]["realistic"]
    assert metrics.value("hits@3") == 1
    with pytest.raises(ConfigError, match=r"metric 'hit@3' is not known\. Did you mean 'hits@3'"):
        metrics.value("hit@3")


def test_intervals_cover_as_often_as_they_say():
    """Over 100 samples of 100 rankings the true mean lies within about 95 % of the intervals."""
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(100):
        above = rng.integers(0, 10, 100)
        found = figures(
            above, 0 * above, 10 + 0 * above, relations=np.arange(100) % 2 * 2, resamples=300, seed=seed
        )
        covered += found.intervals["mean_rank"].low <= 5.5 <= found.intervals["mean_rank"].high
    assert 88 <= covered <= 99
