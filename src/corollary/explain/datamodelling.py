"""Does a score of training triples foretell what retraining without them does? The statistics, on plain arrays.

- Linear-datamodelling score (Park et al. 2023, "TRAK"): over many random halves of the training triples, the rank
  correlation between the sum of a target's scores over a half and what a model trained on that half makes of the target.
  Retraining is noisy, so that no score can reach 1; `ceiling` says how far a perfect one would get.
- Detection of planted errors: area under the curve, and recall among the first triples inspected.
- Rankings against known true triples: reciprocal rank and average precision.

Every figure is an `Estimate`: a value with its 95 % interval.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

LEVEL = 0.95
"""Of all intervals."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval; without bounds where one observation is all there is."""

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def mean_estimate(values: Sequence[float] | Float[np.ndarray, " n"]) -> Estimate:
    """The mean of independent observations with Student's interval: for seeds, of which there are few."""
    found = np.asarray(values, dtype=np.float64)
    centre = float(found.mean())
    if len(found) < 2:
        return Estimate(centre)
    half = student_quantile(len(found) - 1) * float(found.std(ddof=1)) / math.sqrt(len(found))
    return Estimate(centre, centre - half, centre + half)


def student_quantile(degrees: int, level: float = LEVEL) -> float:
    """Half the width of a central interval of Student's distribution, in standard errors: 4.303 for 2 degrees.

    Source: the finite series for whole degrees of freedom (Abramowitz & Stegun, 26.7.3 and 26.7.4), solved by bisection.
    """
    low, high = 0.0, 1e4
    for _ in range(100):
        middle = (low + high) / 2
        if _student_within(middle, degrees) < level:
            low = middle
        else:
            high = middle
    return high


def _student_within(t: float, degrees: int) -> float:
    """The probability of being within t of zero."""
    angle = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term = total = 0.0 if degrees == 1 else cosine if odd else 1.0
    for i in range(3 if odd else 2, degrees - 1, 2):
        term *= cosine**2 * (i - 1) / i
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def ranks(values: Float[np.ndarray, "rows n"]) -> Float[np.ndarray, "rows n"]:
    """Places from 1 within each row, the smallest first; equal values share the mean of their places."""
    found = np.empty(values.shape)
    for number, row in enumerate(values):
        _, which, counts = np.unique(row, return_inverse=True, return_counts=True)
        last = np.cumsum(counts)
        found[number] = (last - (counts - 1) / 2)[which]
    return found


def spearman(
    one: Float[np.ndarray, "rows n"], other: Float[np.ndarray, "rows n"]
) -> Float[np.ndarray, " rows"]:
    """Rank correlation row by row; 0 where a row does not vary, since it foretells nothing."""
    left, right = (part - part.mean(1, keepdims=True) for part in (ranks(one), ranks(other)))
    size = np.sqrt((left**2).sum(1) * (right**2).sum(1))
    return np.divide((left * right).sum(1), size, out=np.zeros(len(size)), where=size > 0)


@dataclass(frozen=True)
class Agreement:
    """A linear-datamodelling score."""

    score: Estimate
    by_target: Float[np.ndarray, " targets"]
    without: Float[np.ndarray, "subsets targets"]
    """The same with each subset left out in turn."""

    def less(self, other: "Agreement") -> Estimate:
        """How much higher this score is than another one on the same subsets and targets."""
        return _two_way(self.by_target - other.by_target, self.without - other.without)


def agreement(
    foretold: Float[np.ndarray, "targets subsets"], outcomes: Float[np.ndarray, "targets subsets"]
) -> Agreement:
    """The mean over targets of the rank correlation over subsets.

    Args:
        foretold: sums of scores over the triples of each subset.
        outcomes: of the model trained on it, higher where the target is better known.

    The interval takes targets and subsets both as drawn: the variance over targets, and the jackknife over subsets.
    Cost: as many rank correlations as targets times subsets.
    """
    by_target = spearman(foretold, outcomes)
    subsets = np.arange(foretold.shape[1])
    without = np.stack([spearman(foretold[:, subsets != i], outcomes[:, subsets != i]) for i in subsets])
    return Agreement(_two_way(by_target, without), by_target, without)


def _two_way(
    by_target: Float[np.ndarray, " targets"], without: Float[np.ndarray, "subsets targets"]
) -> Estimate:
    centre = float(by_target.mean())
    if len(by_target) < 2:
        return Estimate(centre)
    means = without.mean(1)
    over_subsets = float(((means - means.mean()) ** 2).sum()) * (len(means) - 1) / len(means)
    half = 1.96 * math.sqrt(float(by_target.var(ddof=1)) / len(by_target) + over_subsets)
    return Estimate(centre, centre - half, centre + half)


@dataclass(frozen=True)
class Ceiling:
    """How reproducible the outcomes of retraining are."""

    reliability: float
    """Rank correlation over subsets between single retrainings, mean over their pairs and over targets."""
    of_mean: float
    """The same expected of means over as many retrainings as there were (Spearman-Brown)."""
    score: float
    """The linear-datamodelling score of a score that foretells the noiseless outcome: the root of `of_mean`."""


def ceiling(outcomes: Float[np.ndarray, "retrainings targets subsets"]) -> Ceiling | None:
    """The noise ceiling of outcomes that are averaged over retrainings; None where there is one retraining alone.

    Source: Spearman 1910 and Brown 1910, the reliability of a test that is made longer.
    """
    count = len(outcomes)
    if count < 2:
        return None
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    single = float(np.mean([spearman(outcomes[i], outcomes[j]).mean() for i, j in pairs]))
    joint = count * single / (1 + (count - 1) * single) if single > 0 else 0.0
    return Ceiling(single, joint, math.sqrt(joint))


def area_under_curve(scores: Float[np.ndarray, " n"], wrong: Bool[np.ndarray, " n"]) -> float:
    """The probability that a wrong triple scores above a right one; a tie counts half."""
    bad = int(wrong.sum())
    places = ranks(scores[None])[0]
    return float((places[wrong].sum() - bad * (bad + 1) / 2) / (bad * (len(wrong) - bad)))


def recall_inspected(
    scores: Float[np.ndarray, " n"], wrong: Bool[np.ndarray, " n"], shares: Sequence[float]
) -> list[float]:
    """The share of wrong triples among the highest-scored `shares` of all; of equal scores the first row first."""
    order = np.argsort(-scores, kind="stable")
    found = np.cumsum(wrong[order])
    return [float(found[max(round(share * len(scores)), 1) - 1] / found[-1]) for share in shares]


def reciprocal_rank(places: Float[np.ndarray, " true"]) -> float:
    """1 over the rank of the first true triple."""
    return float(1 / places.min())


def average_precision(places: Float[np.ndarray, " true"]) -> float:
    """The mean, over the true triples in order of rank, of their number so far over their rank."""
    return float(
        np.mean(np.arange(1, len(places) + 1) / np.maximum(np.sort(places), np.arange(1, len(places) + 1)))
    )


def expected_by_chance(num_true: int, num_all: int) -> tuple[float, float]:
    """Reciprocal rank and average precision that a random order of all triples has in the mean.

    Cost: one pass over the ranks that the first true triple can have.
    """
    places = np.arange(1, num_all - num_true + 2)
    # the first true triple is at place p: p - 1 others came before it
    later = np.log(
        (num_all - num_true - np.arange(num_all - num_true)) / (num_all - np.arange(num_all - num_true))
    )
    before = np.concatenate([[0.0], np.cumsum(later)])
    chance = np.exp(before) * num_true / (num_all - places + 1)
    # E[AP]: at place p the triple is true with chance K/N, and of the p - 1 before it (K - 1)/(N - 1) are
    every = np.arange(1, num_all + 1)
    beside = (num_true - 1) / max(num_all - 1, 1)
    precision = float(np.mean((1 + (every - 1) * beside) / every))
    return float((chance / places).sum()), precision
