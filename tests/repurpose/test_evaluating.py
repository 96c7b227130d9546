"""Figures of a whole scheme: every score beside the others, the sentence, the nulls."""

import numpy as np
import pytest

from corollary.graph.folder import Graph
from corollary.repurpose.config import RepurposeConfig
from corollary.repurpose.evaluating import SchemeFigures, judge_scheme
from corollary.repurpose.pairs import Fold, read_pairs
from corollary.repurpose.splitting import row_folds
from corollary.repurpose.untrained import NAMES, Untrained


@pytest.fixture(scope="module")
def judged(countries: Graph) -> SchemeFigures:
    """Languages of countries by row; the classifier knows a hidden answer in two of three, and is sure of it."""
    pairs = read_pairs(countries, "spoken_language", side="tail")
    untrained = Untrained.of(countries, pairs)

    folds = row_folds(pairs, 3, 0)

    def answer(fold: Fold) -> dict[str, np.ndarray]:
        odds = np.full((len(fold.asked), len(pairs.columns)), -5.0, np.float32)
        hidden = pairs.mask(fold.positives, fold.asked)
        odds[hidden & (np.arange(len(pairs.columns)) % 3 > 0)] = 2.0
        counted = untrained.scores(fold.visible(pairs), fold.asked)
        return {"classifier": odds, "logistic": -odds, **counted}

    config = RepurposeConfig(relation="spoken_language", resamples=50)
    return judge_scheme("rows", pairs, folds, [answer(fold) for fold in folds], untrained, config)


def test_every_score_is_judged_and_only_probabilities_as_such(judged):
    assert list(judged.scores) == ["classifier", "logistic", *NAMES]
    assert [name for name, one in judged.scores.items() if one.calibration] == ["classifier", "logistic"]
    assert {one.pairs for one in judged.scores.values()} == {664}
    assert judged.folds == ("rows-0", "rows-1", "rows-2")


def test_the_sentence_names_the_baseline_that_is_best(judged):
    first = judged.comparison
    assert first.baseline_value == max(judged.scores[name].figures["mrr"].value for name in NAMES)
    assert first.verdict == "better"
    assert judged.precision.figure == "average_precision"


def test_the_null_is_worse_than_what_is_real(judged):
    """Rewired answers are found less; counts from rewired pairs find less."""
    assert judged.null["classifier"].mrr < judged.scores["classifier"].figures["mrr"].value / 2
    assert set(judged.null) == {"classifier", judged.comparison.baseline}
    assert judged.counted_null.figures["mrr"].value < judged.scores["all three"].figures["mrr"].value


def test_it_is_kept_as_json(judged):
    assert SchemeFigures.model_validate_json(judged.model_dump_json()) == judged
