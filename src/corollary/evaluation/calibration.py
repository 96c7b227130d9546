"""Ranks as probabilities: how often the candidate at a rank was the held-out answer, smoothed so that it never rises.

Source: Ayer et al. 1955 for isotonic regression by pooling adjacent violators; Safavi et al. 2020 for why a completed
graph needs calibration, and how little it says about facts that nobody has looked for.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Float, Int

BINS = ((1, 1), (2, 3), (4, 10), (11, 30), (31, 100))
"""First and last rank; what is behind the last has no figure."""
ENOUGH = 200
"""Rankings of a relation and side from which it is calibrated by itself."""


class Bin(NamedTuple):
    """Ranks that are counted together, with the candidates that stood there and the held-out answers among them."""

    first: int
    last: int
    right: int
    candidates: int

    @property
    def name(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


def isotonic(
    values: Float[np.ndarray, " n"], weights: Float[np.ndarray, " n"], *, falling: bool = False
) -> Float[np.ndarray, " n"]:
    """The nearest rising (or falling) sequence by weighted squares: neighbours out of order are averaged.

    Time and memory: linear.
    """
    sign = -1.0 if falling else 1.0
    blocks: list[tuple[float, float, int]] = []  # mean, weight, length
    for value, weight in zip((sign * values).tolist(), weights.tolist(), strict=True):
        mean, size, length = value, weight, 1
        while blocks and blocks[-1][0] >= mean:
            before, its_size, its_length = blocks.pop()
            total = its_size + size
            mean = (before * its_size + mean * size) / total if total else mean
            size, length = total, length + its_length
        blocks.append((mean, size, length))
    means, lengths = [block[0] for block in blocks], [block[2] for block in blocks]
    return sign * np.repeat(np.array(means, np.float64), np.array(lengths, np.int64))


@dataclass(frozen=True)
class RankCalibration:
    """Shares of right answers by rank, from held-out rankings of one kind of query."""

    bins: tuple[Bin, ...]
    shares: Float[np.ndarray, " ranks"]
    """By rank - 1, up to the last rank that is counted: isotonic, falling."""

    @classmethod
    def of(cls, ranks: Float[np.ndarray, " n"], candidates: Int[np.ndarray, " n"]) -> Self:
        """From the realistic rank of every held-out answer, and how many competed for it.

        A rank between two, of tied scores, counts as the later one.
        """
        places = np.ceil(np.asarray(ranks, np.float64)).astype(np.int64)
        last = BINS[-1][1]
        hits = np.bincount(places[places <= last], minlength=last + 1)[1:]
        there = np.array([(candidates >= rank).sum() for rank in range(1, last + 1)], np.int64)
        rates = hits / np.maximum(there, 1)
        bins = tuple(
            Bin(first, to, int(hits[first - 1 : to].sum()), int(there[first - 1 : to].sum()))
            for first, to in BINS
        )
        return cls(bins, isotonic(rates, there.astype(np.float64), falling=True))

    def bin(self, rank: float) -> Bin | None:
        """The bin of a rank; None behind the last."""
        place = int(np.ceil(rank))
        return next((one for one in self.bins if one.first <= place <= one.last), None)

    def share(self, rank: float) -> float | None:
        """The isotonic share at a rank; None behind the last."""
        place = int(np.ceil(rank))
        return float(self.shares[place - 1]) if place <= len(self.shares) else None

    def expected(self, candidates: Int[np.ndarray, " n"]) -> float:
        """Right answers that these shares promise within the counted ranks of other queries, for a reliability check."""
        there = [(candidates >= rank).sum() for rank in range(1, len(self.shares) + 1)]
        return float(np.dot(self.shares, there))
