"""Whether probabilities mean what they say, over all candidates, at the prevalence that the matrix really has.

Sources: Brier 1950; Cox 1958 for slope and intercept; Naeini et al. 2015 for the expected calibration error, here over
bins of equal width on a logarithmic scale, since at a prevalence of a thousandth bins of equal width are all but one empty.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict

from corollary.repurpose.figures.truth import Truth, check_scores

TOP = 1000
"""Pairs of the highest probability whose expected and observed answers are compared."""
CLIP = 1e-7
"""Probabilities nearer to 0 or 1 count as this far away where a logarithm is taken of them."""
EDGES = (0.0, *(float(10.0 ** (-half / 2)) for half in range(12, -1, -1)))
"""Of the bins: 0, 1e-6, 3e-6, ..., 0.3, 1."""
_STEPS = 50
_CLOSE = 1e-10


class Bin(BaseModel):
    """Candidates with a like probability."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    low: float
    high: float
    count: int
    mean: float
    """Of their probabilities."""
    true: int
    """Held-out pairs among them."""


class Calibration(BaseModel):
    """How probabilities compare with what was held out."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    prevalence: float
    """Share of held-out pairs among the candidates."""
    brier: float
    """Mean squared difference between probability and truth."""
    brier_skill: float | None
    """1 - brier / that of the prevalence said of every pair; None where no candidate or every candidate is true."""
    expected_calibration_error: float
    """Mean distance of a bin's mean probability from its share of true pairs, bins weighed by their size."""
    slope: float | None
    """Of the truth's log-odds on those of the probability: 1 is right, below 1 is too sure; None where the two kinds of pairs
    can be told apart without error, or all probabilities are equal."""
    intercept: float | None
    expected: float
    """Sum of all probabilities."""
    observed: int
    """Held-out pairs."""
    top_expected: float
    """Sum of probabilities over the first `top` pairs."""
    top_observed: float
    """Held-out pairs among them, in the mean over orders of equal probabilities."""
    top: int
    bins: tuple[Bin, ...]
    """Those that hold candidates."""

    @property
    def expected_over_observed(self) -> float | None:
        """Over all candidates."""
        return self.expected / self.observed if self.observed else None

    @property
    def top_expected_over_observed(self) -> float | None:
        """Over the first `top` pairs."""
        return self.top_expected / self.top_observed if self.top_observed else None


class _Part(NamedTuple):
    """Candidates of some rows."""

    p: Float[np.ndarray, " part"]
    true: Bool[np.ndarray, " part"]


def calibration(
    probabilities: Float[np.ndarray, "rows columns"], truth: Truth, *, top: int = TOP
) -> Calibration:
    """Judge probabilities of all pairs.

    Raises `InputError` for one outside of 0 to 1. Time: up to 50 passes for the slope. Memory: four blocks of rows in
    float64 (`truth.BLOCK_BYTES`), and 16 bytes for each of the first pairs.
    """
    check_scores(probabilities, truth, "probabilities", low=0.0, high=1.0)
    count, observed = truth.num_candidates, len(truth.asked)
    squares = expected = 0.0
    sizes, sums, hits = (np.zeros(len(EDGES) - 1) for _ in range(3))
    for part in _parts(probabilities, truth):
        squares += float(((part.p - part.true) ** 2).sum())
        expected += float(part.p.sum())
        bins = np.clip(np.searchsorted(EDGES, part.p, side="right") - 1, 0, len(EDGES) - 2)
        for total, weights in ((sizes, None), (sums, part.p), (hits, part.true)):
            total += np.bincount(bins, weights, minlength=len(total))
    prevalence, brier = observed / count, squares / count
    constant = prevalence * (1 - prevalence)
    line = _line(probabilities, truth) if 0 < observed < count else None
    top_expected, top_observed = _first(probabilities, truth, min(top, count))
    filled = np.flatnonzero(sizes)
    return Calibration(
        prevalence=prevalence,
        brier=brier,
        brier_skill=1 - brier / constant if constant else None,
        expected_calibration_error=float(np.abs(sums - hits).sum() / count),
        slope=None if line is None else line[1],
        intercept=None if line is None else line[0],
        expected=expected,
        observed=observed,
        top_expected=top_expected,
        top_observed=top_observed,
        top=min(top, count),
        bins=tuple(
            Bin(
                low=EDGES[at],
                high=EDGES[at + 1],
                count=int(sizes[at]),
                mean=float(sums[at] / sizes[at]),
                true=int(hits[at]),
            )
            for at in filled.tolist()
        ),
    )


def _parts(probabilities: Float[np.ndarray, "rows columns"], truth: Truth) -> Iterator[_Part]:
    for rows in truth.blocks():
        open_ = truth.candidates(rows)
        true = open_ & ~truth.negatives(rows)
        yield _Part(np.asarray(probabilities[rows], np.float64)[open_], true[open_])


def _line(probabilities: Float[np.ndarray, "rows columns"], truth: Truth) -> tuple[float, float] | None:
    """Intercept and slope of the logistic regression of truth on log-odds, by Newton's method."""
    weights = np.array([0.0, 1.0])
    for _ in range(_STEPS):
        gradient, curvature = np.zeros(2), np.zeros((2, 2))
        for part in _parts(probabilities, truth):
            p = np.clip(part.p, CLIP, 1 - CLIP)
            odds = np.log(p) - np.log1p(-p)
            fitted = 1 / (1 + np.exp(-(weights[0] + weights[1] * odds)))
            wrong, spread = part.true - fitted, fitted * (1 - fitted)
            gradient += wrong.sum(), wrong @ odds
            cross = spread @ odds
            curvature += [[spread.sum(), cross], [cross, spread @ (odds * odds)]]
        if np.linalg.cond(curvature) > 1e12:
            return None
        step = np.linalg.solve(curvature, gradient)
        largest = np.abs(step).max()
        weights += step * min(1.0, 2.0 / largest) if largest else step
        if largest < _CLOSE:
            return float(weights[0]), float(weights[1])
    return None


def _first(probabilities: Float[np.ndarray, "rows columns"], truth: Truth, top: int) -> tuple[float, float]:
    """Sum of the `top` highest probabilities, and held-out pairs among them; at the last one equal pairs share places."""
    kept = _Part(np.zeros(0), np.zeros(0, bool))
    for part in _parts(probabilities, truth):
        p, true = np.concatenate([kept.p, part.p]), np.concatenate([kept.true, part.true])
        if len(p) > top:
            last = np.partition(p, len(p) - top)[len(p) - top]
            keep = p >= last
            p, true = p[keep], true[keep]
        kept = _Part(p, true)
    if not top:
        return 0.0, 0.0
    last = np.sort(kept.p)[-top]
    above, equal = kept.p > last, kept.p == last
    places = top - int(above.sum())
    beside, beside_true = int(equal.sum()), int(kept.true[equal].sum())
    return float(kept.p[above].sum() + places * last), float(
        kept.true[above].sum() + places * beside_true / beside
    )
