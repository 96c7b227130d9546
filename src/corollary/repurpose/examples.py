"""What a classifier learns from: features of known pairs as if they were not known, and of pairs of unknown standing.

A fold is cut once more: each inner fold hides a part of what the fold may see, and features of its pairs are made from
the rest. So a known pair never stands among what its own features count.

Two kinds of rows are learned apart, since what can be said of them differs: `new` rows have no known answer (whole rows
are hidden), `known` rows have some (single pairs are hidden).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from corollary.budget import MIB
from corollary.graph.answers import advise
from corollary.graph.arrays import ArrayWriter
from corollary.randomness import generator
from corollary.repurpose.config import ClassifierConfig
from corollary.repurpose.cutting import cut_pairs, cut_rows
from corollary.repurpose.features import Features, RowFeatures
from corollary.repurpose.pairs import Fold, Pairs

Kind = Literal["new", "known"]
UNKNOWN, ANSWER, REFUTED = 0, 1, 2
EVERY_DRAW = -1
_PIECE = 16 * MIB
"""Of a file of features, touched at once."""


@dataclass(frozen=True)
class Examples:
    """Pairs to learn from. Memory: 24 bytes each."""

    features: Float[np.ndarray, "examples features"]
    """Mapped from a file, in which the pairs of all draws lie: see `taken`."""
    labels: Int[np.ndarray, " examples"]
    """UNKNOWN, ANSWER or REFUTED."""
    inner: Int[np.ndarray, " examples"]
    """Inner fold that each is of."""
    draws: Int[np.ndarray, " examples"]
    """The draw that a pair of unknown standing is for; EVERY_DRAW for the others."""

    def of_draw(self, draw: int) -> Bool[np.ndarray, " examples"]:
        """Which are for a draw: what is certain, and its own pairs of unknown standing."""
        return (self.draws == EVERY_DRAW) | (self.draws == draw)

    def taken(self, some: Bool[np.ndarray, " examples"]) -> Float[np.ndarray, "taken features"]:
        """Features of some examples, copied. What is touched of the file is let go of, since mapped pages count as memory.

        Memory: the copy, and `_PIECE` bytes of the file twice.
        """
        found = np.empty((np.count_nonzero(some), self.features.shape[1]), np.float32)
        at_once = max(1, _PIECE // max(1, 4 * self.features.shape[1]))
        done = 0
        for first in range(0, len(some), at_once):
            piece = slice(first, first + at_once)
            part = self.features[piece][some[piece]]
            found[done : done + len(part)] = part
            done += len(part)
            advise(self.features, "MADV_DONTNEED")
        return found

    @property
    def num_classes(self) -> int:
        """3 where refuted pairs are among them."""
        return 3 if (self.labels == REFUTED).any() else 2


def inner_folds(pairs: Pairs, fold: Fold, kind: Kind, draws: int, seed: int) -> list[Fold]:
    """As many as there are draws."""
    return (cut_rows if kind == "new" else cut_pairs)(pairs, fold, draws, seed)


def gather(
    features: Features,
    pairs: Pairs,
    fold: Fold,
    inner: Sequence[Fold],
    config: ClassifierConfig,
    seed: int,
    path: Path,
) -> Examples:
    """The examples of some inner folds of a fold.

    Known answers and refuted pairs that the fold may see are taken all; pairs of unknown standing are drawn alike from all
    others, `config.negatives` for each answer and draw.

    Args:
        path: of the file that the features are written to, row by row: 4 bytes for each example and feature.
    """
    answers = sum(len(one.positives) for one in inner)
    unknown = sum(_unknown(pairs, one) for one in inner)
    share = min(1.0, config.negatives * answers / max(unknown, 1))
    found: list[tuple[np.ndarray, np.ndarray, int]] = []
    with ArrayWriter(path, np.float32, len(features.names)) as writer:
        for number, one in enumerate(inner):
            for row, labels in labelled_rows(features, pairs, fold, one):
                draw = generator(seed, "negatives", one.name, row.row)
                columns, kinds, draws = _drawn(labels, share, config.draws, draw)
                writer.append(row.of(columns))
                found.append((kinds, draws, number))
    return Examples(
        np.load(path, mmap_mode="r"),
        np.concatenate([part[0] for part in found]),
        np.repeat([part[2] for part in found], [len(part[0]) for part in found]),
        np.concatenate([part[1] for part in found]),
    )


def _unknown(pairs: Pairs, inner: Fold) -> int:
    """Pairs that an inner fold asks for and that nothing is known of, refuted ones among them."""
    visible = np.isin(inner.visible(pairs)[:, 0], inner.asked).sum()
    return len(inner.asked) * len(pairs.columns) - int(visible) - len(inner.positives)


def labelled_rows(
    features: Features, pairs: Pairs, fold: Fold, inner: Fold
) -> Iterator[tuple[RowFeatures, Int[np.ndarray, " columns"]]]:
    """Every row that an inner fold asks, with the standing of its columns; -1 for pairs that it may see, or that the fold
    itself hides and asks for elsewhere."""
    visible = pairs.mask(inner.visible(pairs), inner.asked)
    answers = pairs.mask(inner.positives, inner.asked)
    mine = inner.hidden_negatives & ~fold.hidden_negatives
    refuted = pairs.mask(pairs.negatives[mine], inner.asked)
    others = pairs.mask(pairs.negatives[~mine], inner.asked)
    for at, row in enumerate(features.of_rows(inner.visible(pairs), inner.asked)):
        labels = np.full(len(pairs.columns), UNKNOWN)
        labels[refuted[at]], labels[answers[at]], labels[visible[at] | others[at]] = REFUTED, ANSWER, -1
        yield row, labels


def _drawn(
    labels: Int[np.ndarray, " columns"], share: float, draws: int, draw: np.random.Generator
) -> tuple[Int[np.ndarray, " taken"], Int[np.ndarray, " taken"], Int[np.ndarray, " taken"]]:
    """Columns, labels and draws of the examples of one row."""
    certain = np.flatnonzero(labels > UNKNOWN)
    unknown = np.flatnonzero(labels == UNKNOWN)
    taken = draw.random((draws, len(unknown))) < share
    which, places = np.nonzero(taken)
    columns = np.concatenate([certain, unknown[places]])
    return columns, labels[columns], np.concatenate([np.full(len(certain), EVERY_DRAW), which])
