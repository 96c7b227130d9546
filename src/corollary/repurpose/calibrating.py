"""Scores as probabilities: a curve fitted on pairs that the classifier has not seen, at their true share.

A curve is a few numbers, kept as JSON. Sources: Platt 1999 (sigmoid); Zadrozny & Elkan 2002 (isotonic).
"""

from typing import Literal, Self

import numpy as np
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict

from corollary.errors import InputError
from corollary.evaluation.calibration import isotonic

Method = Literal["sigmoid", "isotonic"]
_LEAST = 1e-6
"""No probability is below it or above 1 less it: nobody has looked at so many pairs."""


class Calibrator(BaseModel):
    """A rising curve from scores (log-odds of the classifier) to log-odds of being an answer."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    method: Method
    slope: float = 1.0
    """sigmoid: log-odds = slope * score + intercept."""
    intercept: float = 0.0
    scores: tuple[float, ...] = ()
    """isotonic: corners of the curve, straight between them."""
    shares: tuple[float, ...] = ()
    """Of answers, at the corners."""

    @classmethod
    def fit(cls, method: Method, scores: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"]) -> Self:
        """From scores of pairs and whether each is an answer. Raises `InputError` where none or all are."""
        if right.all() or not right.any():
            raise InputError(
                f"{right.sum():,} of {len(right):,} pairs kept for calibration are answers: probabilities need both kinds"
            )
        return cls._sigmoid(scores, right) if method == "sigmoid" else cls._isotonic(scores, right)

    @classmethod
    def _sigmoid(cls, scores: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"]) -> Self:
        """Platt's two numbers by scikit-learn, with next to no shrinking."""
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=1e6, max_iter=1000).fit(scores[:, None].astype(np.float64), right)
        return cls(
            method="sigmoid", slope=max(float(model.coef_[0, 0]), 0.0), intercept=float(model.intercept_[0])
        )

    @classmethod
    def _isotonic(cls, scores: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"]) -> Self:
        """The nearest rising steps, each kept by the middle of its scores."""
        order = np.argsort(scores, kind="stable")
        level = isotonic(right[order].astype(np.float64), np.ones(len(order)))
        starts = np.flatnonzero(np.diff(level, prepend=-1.0))
        sizes = np.diff(np.append(starts, len(order)))
        middles = np.add.reduceat(scores[order].astype(np.float64), starts) / sizes
        return cls(method="isotonic", scores=tuple(middles.tolist()), shares=tuple(level[starts].tolist()))

    def log_odds(self, scores: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Calibrated log-odds; equal or rising where scores rise."""
        if self.method == "sigmoid":
            found = self.slope * np.asarray(scores, np.float64) + self.intercept
        else:
            share = np.clip(np.interp(scores, self.scores, self.shares), _LEAST, 1 - _LEAST)
            found = np.log(share / (1 - share))
        bound = np.log((1 - _LEAST) / _LEAST)
        return np.clip(found, -bound, bound)


def probability(log_odds: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """1 / (1 + exp(-x)); log-odds of a calibrator are never so far out that it would overflow."""
    return (1 / (1 + np.exp(-log_odds))).astype(np.float32)
