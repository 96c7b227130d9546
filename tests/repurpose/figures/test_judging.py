"""All figures together: normalising, frequent columns, paired differences, the sentence."""

from dataclasses import replace

import numpy as np
import pytest

from corollary.errors import InputError
from corollary.repurpose.figures.comparing import compare
from corollary.repurpose.figures.flyers import frequent_flyers, rank_normalised
from corollary.repurpose.figures.judging import Judged, JudgingConfig, difference, judge
from corollary.repurpose.figures.truth import Truth

NONE = np.zeros((0, 2), np.int64)
FEW = JudgingConfig(resamples=200, recall=(10, 100, 100_000))


@pytest.fixture(scope="module")
def world() -> tuple[np.ndarray, np.ndarray, Truth]:
    """A signal, the same drowned in popularity, and what is true: 60 rows, 80 columns."""
    draw = np.random.default_rng(1)
    signal, popular = draw.normal(size=(60, 80)), 3 * draw.normal(size=80)
    true = np.argsort(-signal - draw.normal(size=(60, 80)) / 4, axis=1)[:, :3]
    pairs = np.stack([np.repeat(np.arange(60), 3), true.ravel()], axis=1)
    truth = Truth.of((60, 80), pairs, NONE, degrees=draw.integers(0, 20, (1, 80)))
    return signal, signal + popular, truth


@pytest.fixture(scope="module")
def judged(world) -> dict[str, Judged]:
    signal, popular, truth = world
    return {"signal": judge(signal, truth, FEW), "popular": judge(popular, truth, FEW)}


def test_every_figure_is_there_with_its_interval(judged):
    """A size that is no smaller than the matrix has no recall."""
    found = judged["popular"].judgement
    names = "mrr hits@1 hits@3 hits@10 auroc average_precision recall@10 recall@100 matched_mrr matched_auroc"
    assert list(found.figures) == names.split()
    assert all(one.low <= one.value <= one.high for one in found.figures.values())
    assert (found.pairs, found.rows, found.candidates) == (180, 60, 4800)
    assert sum(one.pairs for one in found.strata) == 180


def test_a_row_that_stands_in_several_folds_is_counted_once(world):
    """Both halves of the stacked rows are the same 30 rows, as every row is asked in each fold of random pairs."""
    signal, _, truth = world
    folds = replace(truth, groups=np.arange(60) % 30)
    assert judge(signal, folds, FEW).judgement.rows == 30


def test_normalising_takes_the_frequent_columns_down(judged):
    """Ten of 80 columns hold most places when popularity rules; evened out they do not, and ranks get better."""
    found = judged["popular"].judgement
    assert found.flyers.share > 0.7 > 0.5 > found.normalised_flyers.share
    assert found.normalised_mrr.value > found.figures["mrr"].value + 0.2


def test_normalised_scores_are_mean_log_shares_of_ranks():
    """By hand, ties in the middle; float32."""
    scores = np.array([[3.0, 1.0, 1.0], [2.0, 5.0, 0.0]])
    within_rows = np.array([[1, 2.5, 2.5], [2, 1, 3]]) / 3
    within_columns = np.array([[1, 2, 1], [2, 1, 2]]) / 2
    expected = -(np.log(within_rows) + np.log(within_columns)) / 2
    assert rank_normalised(scores) == pytest.approx(expected, abs=1e-6)


def test_known_pairs_take_no_place_in_the_lists():
    """Of 12 columns the two best are known in the only row."""
    truth = Truth.of((1, 12), np.array([[0, 5]]), np.array([[0, 0], [0, 1]]))
    found = frequent_flyers(-np.arange(12.0)[None], truth)
    assert found.columns == tuple(range(2, 12))
    assert (found.share, found.distinct) == (1.0, 10)


def test_differences_are_of_the_same_rows(judged):
    """The value is the difference of the values; a score has none from itself, in no draw."""
    gap = difference(judged["signal"], judged["popular"])
    assert gap.value == pytest.approx(
        judged["signal"].judgement.figures["mrr"].value - judged["popular"].judgement.figures["mrr"].value
    )
    none = difference(judged["signal"], judged["signal"])
    assert (none.low, none.value, none.high) == (0, 0, 0)


def test_the_sentence_says_what_the_interval_says(judged):
    """Better, undecided and worse, with the best baseline named."""
    better = compare(judged, "signal", ["popular"])
    assert better.verdict == "better"
    assert better.sentence.startswith("The signal beats the best single baseline, popular, in MRR: ")
    assert "95 % interval +" in better.sentence
    worse = compare(judged, "popular", ["signal"])
    assert worse.verdict == "worse"
    assert worse.sentence.startswith("The popular is behind the best single baseline, signal, in MRR")
    same = compare({**judged, "twin": judged["signal"]}, "signal", ["popular", "twin"])
    assert (same.baseline, same.verdict) == ("twin", "undecided")
    assert "is not shown to beat the best single baseline, twin" in same.sentence


def test_nothing_held_out_is_an_error(world):
    with pytest.raises(InputError, match="no pair is held out: there is nothing to judge scores by"):
        judge(world[0], Truth.of((60, 80), NONE, NONE), FEW)


def test_without_draws_there_are_values_and_no_bounds(world):
    found = judge(world[0], world[2], JudgingConfig(resamples=0)).judgement
    assert found.figures["mrr"].low is None
