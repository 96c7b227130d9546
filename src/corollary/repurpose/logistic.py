"""Logistic regression over the same features: what trees have to be better than."""

from typing import Self

import numpy as np
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict

_STRENGTH = 0.01
"""C of scikit-learn: features are many and answers few. Of .001, .01 and .1 the best on Hetionet's held-out diseases."""

_AT_ONCE = 32
"""Columns of which numbers in float64 are made at once."""


class Logistic(BaseModel):
    """Weights over features made alike: asinh(x / mean among answers), then mean 0 and deviation 1.

    Source: Himmelstein et al. 2017, who put degree-weighted path counts through the same function.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    scale: tuple[float, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float

    @classmethod
    def fit(cls, features: Float[np.ndarray, "n features"], right: Bool[np.ndarray, " n"]) -> Self:
        """Answers against all other examples. Memory: the features once more."""
        from sklearn.linear_model import LogisticRegression

        scale = np.abs(features[right]).mean(0, dtype=np.float64)
        scale[scale == 0] = 1
        values = features / scale.astype(np.float32)
        np.arcsinh(values, out=values)
        mean = values.mean(0, dtype=np.float64)
        deviation = np.concatenate([part.std(0, dtype=np.float64) for part in _columns(values)])
        deviation[deviation == 0] = 1
        values -= mean.astype(np.float32)
        values /= deviation.astype(np.float32)
        model = LogisticRegression(C=_STRENGTH, max_iter=1000).fit(values, right)
        return cls(
            scale=tuple(scale.tolist()),
            mean=tuple(mean.tolist()),
            deviation=tuple(deviation.tolist()),
            weights=tuple(model.coef_[0].tolist()),
            intercept=float(model.intercept_[0]),
        )

    def scores(self, features: Float[np.ndarray, "n features"]) -> Float[np.ndarray, " n"]:
        """Log-odds."""
        values = (np.arcsinh(features / np.array(self.scale)) - np.array(self.mean)) / np.array(
            self.deviation
        )
        return values @ np.array(self.weights) + self.intercept


def _columns(values: Float[np.ndarray, "n features"]) -> list[Float[np.ndarray, "n _"]]:
    """Views of a few columns each: what is made of one in float64 is small beside the whole."""
    return np.array_split(values, range(_AT_ONCE, values.shape[1], _AT_ONCE), axis=1)
