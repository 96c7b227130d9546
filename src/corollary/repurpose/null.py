"""How much of a figure is degree alone: the same judged against, or counted from, a relation that was rewired.

Rewiring keeps how often every row and every column occurs and nothing else. What a score still finds of rewired held-out
pairs, it finds by degree; what a count from rewired known pairs still finds of the real ones, it would find in any
relation with these degrees. Source: Himmelstein et al. 2017, who permute Hetionet for the same reason.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict

from corollary.kernels.rewiring import TRADES, rewired
from corollary.randomness import generator
from corollary.repurpose.figures.curves import curve
from corollary.repurpose.figures.ranks import row_ranks
from corollary.repurpose.figures.resampling import row_weights
from corollary.repurpose.figures.truth import Truth
from corollary.repurpose.pairs import Fold, Pairs, Places
from corollary.repurpose.untrained import Untrained


class NullFigures(BaseModel):
    """Figures of real scores on rewired held-out pairs, in the mean over rewirings."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    times: int
    """Rewirings."""
    mrr: float
    auroc: float
    average_precision: float
    moved: float
    """Share of held-out pairs that a rewiring put elsewhere: near 0 where degrees leave nothing to trade."""


def null_figures(
    scores: Float[np.ndarray, "rows columns"], truth: Truth, *, times: int = 5, seed: int = 0
) -> NullFigures:
    """Judge scores by rewired held-out pairs that keep off the known ones.

    Time: that of ranks and curves, `times` times. Memory: that of them, and a bit a pair.
    """
    once, found = row_weights(truth, 0, seed), []
    for draw in range(times):
        null = rewired_truth(truth, seed, draw)
        counted = curve(scores, null, once)
        stays = (null.asked == truth.asked).all(1).mean() if len(truth.asked) else 1.0
        found.append(
            (
                float((1 / row_ranks(scores, null).ranks).mean()),
                float(counted.auroc()[0]),
                float(counted.average_precision()[0]),
                1 - float(stays),
            )
        )
    mrr, auroc, precision, moved = np.mean(found, axis=0).tolist()
    return NullFigures(times=times, mrr=mrr, auroc=auroc, average_precision=precision, moved=moved)


def rewired_truth(truth: Truth, seed: int, draw: int = 0) -> Truth:
    """The same known pairs with rewired held-out ones: each row and column is asked about as often as before."""
    asked = _rewired(truth.asked, truth.known, (truth.num_rows, truth.num_columns), seed, "asked", draw)
    return replace(truth, asked=asked[np.lexsort((asked[:, 1], asked[:, 0]))])


def rewired_known(pairs: Pairs, fold: Fold, seed: int, draw: int = 0) -> Places:
    """The fold's visible pairs, rewired; none of them becomes a pair that is asked for or hidden."""
    held = np.concatenate([fold.positives, pairs.known[fold.hidden]])
    return _rewired(fold.visible(pairs), held, pairs.shape, seed, fold.name, draw)


def untrained_null(
    untrained: Untrained, pairs: Pairs, fold: Fold, seed: int
) -> dict[str, Float[np.ndarray, "asked columns"]]:
    """Every untrained score of the rows that a fold asks about, counted from rewired known pairs. All other relations
    of the graph stay as they are. Memory: that of the scores."""
    return untrained.scores(rewired_known(pairs, fold, seed), fold.asked)


def _rewired(
    edges: Places, barred: Places, shape: tuple[int, int], seed: int, place: str, draw: int
) -> Places:
    key = generator(seed, "rewired", place, draw).integers(0, 2**64, dtype=np.uint64)
    found, _ = rewired(edges, barred, *shape, TRADES * len(edges), key)
    return found
