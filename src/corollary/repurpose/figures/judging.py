"""All figures of one matrix of scores, and how it compares with another that was judged on the same pairs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt

from corollary.config import Config
from corollary.repurpose.figures.curves import curve
from corollary.repurpose.figures.flyers import Flyers, frequent_flyers, rank_normalised
from corollary.repurpose.figures.probabilities import Calibration, calibration
from corollary.repurpose.figures.ranks import asked_kinds, kind_name, matched_ranks, row_ranks
from corollary.repurpose.figures.resampling import Draws, Estimate, estimate, mean_by_row, row_weights
from corollary.repurpose.figures.truth import Truth, check_scores

MAIN = "mrr"
"""The figure that decides which of two scores is better."""


class JudgingConfig(Config):
    """Which figures are made."""

    hits: tuple[PositiveInt, ...] = (1, 3, 10)
    """Places up to which an answer counts as found."""
    recall: tuple[PositiveInt, ...] = (100, 1000, 10000, 100000)
    """Pairs of the whole matrix, the highest first, among which held-out ones are counted."""
    resamples: NonNegativeInt = 1000
    """Draws of rows for the intervals; 0 for none."""
    seed: int = 0


class Stratum(BaseModel):
    """Held-out pairs whose column had a like number of known pairs in training."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    degrees: str
    pairs: int
    mrr: float
    hits: dict[int, float]
    """Share of ranks up to k, by k."""


class Judgement(BaseModel):
    """Figures with their conditions: every held-out pair against all candidates of its row, other held-out pairs left out,
    equal scores in the middle; intervals by drawing rows."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    pairs: int
    """Held out."""
    rows: int
    """Rows that have one; a row that stands in several folds is one."""
    candidates: int
    """Pairs of the whole matrix that compete."""
    figures: dict[str, Estimate]
    """mrr, hits@k, auroc, average_precision, recall@n; matched_mrr and matched_auroc among columns of like degree."""
    strata: tuple[Stratum, ...]
    """By degree of the column in training."""
    flyers: Flyers
    normalised_flyers: Flyers
    """The same after rank normalisation."""
    normalised_mrr: Estimate
    """Ranks by the normalised score: what evening out costs or gains."""
    calibration: Calibration | None = None
    """None for scores that are no probabilities."""


@dataclass(frozen=True)
class Judged:
    """A judgement with its draws, from which paired differences are made."""

    judgement: Judgement
    draws: Mapping[str, Draws]


def judge(
    scores: Float[np.ndarray, "rows columns"],
    truth: Truth,
    config: JudgingConfig = JudgingConfig(),
    *,
    probabilities: Float[np.ndarray, "rows columns"] | None = None,
) -> Judged:
    """All figures of some scores; higher is better.

    Args:
        probabilities: of every pair, where there are any; `scores` may be the same array.

    Raises `InputError` where a score is not finite, or no pair is held out.
    Memory: normalised scores in float32, blocks of `truth.BLOCK_BYTES`, and 24 bytes a draw and held-out pair.
    """
    check_scores(scores, truth)
    truth.check_asked()
    weights = row_weights(truth, config.resamples, config.seed)
    rows = truth.asked[:, 0]
    ranks = row_ranks(scores, truth).ranks
    draws = {"mrr": mean_by_row(1 / ranks, rows, weights)}
    draws |= {f"hits@{k}": mean_by_row((ranks <= k) * 1.0, rows, weights) for k in config.hits}
    counted = curve(scores, truth, weights)
    draws |= {"auroc": counted.auroc(), "average_precision": counted.average_precision()}
    draws |= {f"recall@{n}": counted.recall(n) for n in config.recall if n < truth.num_candidates}
    del counted
    draws |= _matched(scores, truth, weights)
    normal = rank_normalised(scores)
    normal_ranks = row_ranks(normal, truth).ranks
    return Judged(
        Judgement(
            pairs=len(truth.asked),
            rows=len(np.unique(truth.groups[rows])),
            candidates=truth.num_candidates,
            figures={name: estimate(values) for name, values in draws.items() if np.isfinite(values[0])},
            strata=_strata(ranks, truth, config),
            flyers=frequent_flyers(scores, truth),
            normalised_flyers=frequent_flyers(normal, truth),
            normalised_mrr=estimate(mean_by_row(1 / normal_ranks, rows, weights)),
            calibration=None if probabilities is None else calibration(probabilities, truth),
        ),
        draws,
    )


def difference(better: Judged, other: Judged, figure: str = MAIN) -> Estimate:
    """One figure less the other, with the interval of paired draws: both must have been judged on the same truth with the
    same seed and number of draws."""
    return estimate(better.draws[figure] - other.draws[figure])


def _matched(
    scores: Float[np.ndarray, "rows columns"],
    truth: Truth,
    weights: Float[np.ndarray, "draws rows"],
) -> dict[str, Draws]:
    """Ranks among columns of like degree; pairs that nothing competes with are left out."""
    found = matched_ranks(scores, truth)
    matched = found.candidates > 1
    rows = truth.asked[matched, 0]
    return {
        "matched_mrr": mean_by_row(1 / found.ranks[matched], rows, weights),
        "matched_auroc": mean_by_row(found.beaten[matched], rows, weights),
    }


def _strata(ranks: Float[np.ndarray, " asked"], truth: Truth, config: JudgingConfig) -> tuple[Stratum, ...]:
    kinds = asked_kinds(truth)
    parts = [(kind, ranks[kinds == kind]) for kind in np.unique(kinds).tolist()]
    return tuple(
        Stratum(
            degrees=kind_name(kind),
            pairs=len(mine),
            mrr=float((1 / mine).mean()),
            hits={k: float((mine <= k).mean()) for k in config.hits},
        )
        for kind, mine in parts
    )
