"""Ranks, curves and draws against loops over all pairs, and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from corollary.errors import InputError
from corollary.repurpose.figures import truth as truth_module
from corollary.repurpose.figures.curves import curve
from corollary.repurpose.figures.ranks import degree_kinds, kind_name, matched_ranks, row_ranks
from corollary.repurpose.figures.resampling import estimate, mean_by_row, row_weights
from corollary.repurpose.figures.truth import Truth, check_scores
from tests.reference import pair_figures as reference


def flat(scores, truth):
    """Scores of all candidates, and which of them are asked for."""
    pairs = truth.candidates(slice(0, truth.num_rows))
    return scores[pairs], ~truth.negatives(slice(0, truth.num_rows))[pairs]


def test_ranks_are_those_of_a_loop_over_all_columns(matrix, asked, known):
    """Equal scores in the middle, known pairs and other held-out pairs left out; whole numbers, so exactly."""
    scores, truth = matrix
    found = row_ranks(scores, truth)
    slow = reference.ranks(scores, asked, known)
    for pair, rank, candidates in zip(truth.asked.tolist(), found.ranks, found.candidates, strict=True):
        assert (rank, candidates) == slow[tuple(pair)]


def test_matched_ranks_compete_with_columns_of_like_degree_alone(matrix, asked, known):
    """As each fold has the degrees: here the rows up to 5 stand in one, the others in another."""
    scores, one = matrix
    degrees = np.stack([np.arange(17) % 9, np.arange(17) // 2])
    truth = Truth.of((12, 17), one.asked, one.known, parts=(np.arange(12) > 5) * 1, degrees=degrees)
    found = matched_ranks(scores, truth)
    slow = [reference.ranks(scores, asked, known, degree_kinds(one)) for one in degrees]
    for pair, rank, candidates in zip(truth.asked.tolist(), found.ranks, found.candidates, strict=True):
        assert (rank, candidates) == slow[pair[0] > 5][tuple(pair)]


def test_degrees_share_a_kind_with_those_within_a_factor_of_two():
    kinds = degree_kinds(np.array([0, 1, 2, 3, 4, 7, 8, 100]))
    assert [kind_name(kind) for kind in kinds.tolist()] == [
        "0",
        "1",
        "2-3",
        "2-3",
        "4-7",
        "4-7",
        "8-15",
        "64-127",
    ]


def test_curves_agree_with_scikit_learn(matrix):
    """AUROC and average precision over all candidates; both sum in another order: 1e-12."""
    scores, truth = matrix
    found = curve(scores, truth, row_weights(truth, 0, 0))
    values, true = flat(scores, truth)
    assert found.auroc()[0] == pytest.approx(roc_auc_score(true, values), abs=1e-12)
    assert found.average_precision()[0] == pytest.approx(average_precision_score(true, values), abs=1e-12)


def test_every_draw_is_the_figure_of_the_rows_that_were_drawn(matrix, asked, known):
    """AUROC and average precision of a draw equal those of a loop in which each row counts as often as it was drawn."""
    scores, truth = matrix
    weights = row_weights(truth, 6, 1)
    found = curve(scores, truth, weights)
    for draw in range(7):
        slow = [
            f(scores, asked, known, weights[draw]) for f in (reference.auroc, reference.average_precision)
        ]
        assert [found.auroc()[draw], found.average_precision()[draw]] == pytest.approx(slow, abs=1e-12)


@pytest.mark.parametrize("first", [1, 5, 40])
def test_recall_is_the_mean_over_orders_of_equal_scores(matrix, asked, known, first):
    """4,000 random orders have a standard error below 0.002."""
    scores, truth = matrix
    found = curve(scores, truth, row_weights(truth, 0, 0)).recall(first)[0]
    slow = reference.recall(scores, asked, known, first, np.random.default_rng(0))
    assert found == pytest.approx(slow, abs=0.01)


def test_how_rows_are_cut_into_blocks_changes_nothing(matrix, monkeypatch):
    scores, truth = matrix
    weights = row_weights(truth, 3, 0)
    whole = curve(scores, truth, weights), row_ranks(scores, truth)
    monkeypatch.setattr(truth_module, "BLOCK_BYTES", 8 * 17 * 5)
    assert [block.stop for block in truth.blocks()] == [5, 10, 12]
    parts = curve(scores, truth, weights), row_ranks(scores, truth)
    assert np.array_equal(whole[1].ranks, parts[1].ranks)
    assert np.array_equal(whole[0].above, parts[0].above)
    assert np.array_equal(whole[0].negatives, parts[0].negatives)


def test_pairs_of_a_row_are_drawn_together_and_the_interval_holds_the_value(matrix):
    """The mean of a draw is that of its rows' pairs; rows of one group always count the same."""
    scores, truth = matrix
    reciprocal = 1 / row_ranks(scores, truth).ranks
    weights = row_weights(truth, 200, 0)
    draws = mean_by_row(reciprocal, truth.asked[:, 0], weights)
    times = weights[:, truth.asked[:, 0]]
    assert draws == pytest.approx((times * reciprocal).sum(1) / times.sum(1), abs=1e-14)
    found = estimate(draws)
    assert found.low <= found.value == pytest.approx(reciprocal.mean(), abs=1e-14)
    assert found.value <= found.high
    grouped = Truth.of((12, 17), truth.asked, truth.known, groups=np.arange(12) // 2)
    assert np.array_equal(row_weights(grouped, 9, 0)[:, ::2], row_weights(grouped, 9, 0)[:, 1::2])


def test_a_draw_without_a_held_out_pair_says_nothing():
    """One row of two has all pairs: draws of the other alone are left out of the interval."""
    truth = Truth.of((2, 3), np.array([[0, 1]]), np.zeros((0, 2), np.int64))
    draws = mean_by_row(np.array([0.5]), truth.asked[:, 0], row_weights(truth, 50, 0))
    assert np.isnan(draws).any()
    found = estimate(draws)
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_the_same_seed_draws_the_same_rows(matrix):
    truth = matrix[1]
    assert np.array_equal(row_weights(truth, 5, 3), row_weights(truth, 5, 3))
    assert not np.array_equal(row_weights(truth, 5, 3), row_weights(truth, 5, 4))


def test_what_is_wrong_is_named(matrix):
    """Pairs outside or in both lists, scores that are no numbers, another shape."""
    scores, truth = matrix
    with pytest.raises(InputError, match=r"asked pair \(2, 9\) is outside of 3 rows and 9 columns"):
        Truth.of((3, 9), np.array([[2, 9]]), np.zeros((0, 2), np.int64))
    with pytest.raises(InputError, match=r"1 pairs are held out and known at once, such as row 1, column 2"):
        Truth.of((3, 9), np.array([[1, 2]]), np.array([[1, 2]]))
    broken = scores.copy()
    broken[4, 5] = np.nan
    with pytest.raises(InputError, match=r"scores: row 4, column 5 is nan: every pair needs a finite number"):
        check_scores(broken, truth)
    with pytest.raises(InputError, match=r"scores are 11 by 17, and the pairs 12 by 17"):
        check_scores(scores[1:], truth)
