"""How good the lists are: every score of every scheme judged on the same pairs, beside each other."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict

from corollary.repurpose.answering import LOG_ODDS, Scores
from corollary.repurpose.calibrating import probability
from corollary.repurpose.config import RepurposeConfig, Scheme
from corollary.repurpose.figures.comparing import Comparison, compare
from corollary.repurpose.figures.judging import Judgement, JudgingConfig, judge
from corollary.repurpose.null import NullFigures, null_figures, untrained_null
from corollary.repurpose.pairs import Fold, Pairs
from corollary.repurpose.splitting import truth_of
from corollary.repurpose.untrained import NAMES, Untrained

REWIRINGS = 5
MODEL = "classifier"
"""The score that has to beat the others."""
COUNTED = "all three"
"""The untrained score that is counted again from rewired pairs."""


class SchemeFigures(BaseModel):
    """All figures of one way to hold out."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    scheme: Scheme
    folds: tuple[str, ...]
    scores: dict[str, Judgement]
    """By name: `classifier`, `logistic`, and the untrained scores."""
    comparison: Comparison
    """The classifier against the best single untrained score, by MRR."""
    precision: Comparison
    """The same by average precision over all pairs."""
    null: dict[str, NullFigures]
    """The classifier and the best untrained score on rewired held-out pairs: what they find by degree alone."""
    counted_null: Judgement
    """The untrained score COUNTED, counted from rewired known pairs and judged by the real held-out ones."""


def judge_scheme(
    scheme: Scheme,
    pairs: Pairs,
    folds: Sequence[Fold],
    answered: Sequence[Scores],
    untrained: Untrained,
    config: RepurposeConfig,
) -> SchemeFigures:
    """Folds of a scheme stacked and judged.

    Args:
        answered: by fold, every score of LOG_ODDS and of the untrained NAMES; higher is better.

    Memory: one score of all asked pairs, and what `judge` takes.
    """
    truth = truth_of(pairs, list(folds))
    how = JudgingConfig(resamples=config.resamples, seed=config.seed)
    judged = {}
    for name in (*LOG_ODDS, *NAMES):
        scores = _stacked(answered, name)
        chances = probability(scores) if name in LOG_ODDS else None
        judged[name] = judge(scores, truth, how, probabilities=chances)
    comparison, precision = (
        compare(judged, MODEL, list(NAMES), figure) for figure in ("mrr", "average_precision")
    )
    counted = [untrained_null(untrained, pairs, fold, config.seed)[COUNTED] for fold in folds]
    return SchemeFigures(
        scheme=scheme,
        folds=tuple(fold.name for fold in folds),
        scores={name: one.judgement for name, one in judged.items()},
        comparison=comparison,
        precision=precision,
        null={
            name: null_figures(_stacked(answered, name), truth, times=REWIRINGS, seed=config.seed)
            for name in (MODEL, comparison.baseline)
        },
        counted_null=judge(np.concatenate(counted), truth, how).judgement,
    )


def _stacked(answered: Sequence[Scores], name: str) -> Float[np.ndarray, "rows columns"]:
    return np.concatenate([scores[name] for scores in answered])
