"""A classifier for one fold and one kind of rows: examples, trees, and curves from every pair of the calibrating folds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from corollary.errors import ConfigError
from corollary.repurpose.calibrating import Calibrator
from corollary.repurpose.classifier import Classifier, as_matrix, blend, margin, train_draws
from corollary.repurpose.config import ClassifierConfig
from corollary.repurpose.examples import ANSWER, Examples, Kind, gather, inner_folds, labelled_rows
from corollary.repurpose.features import Features
from corollary.repurpose.logistic import Logistic
from corollary.repurpose.pairs import Fold, Pairs


def learn(
    features: Features,
    pairs: Pairs,
    within: Fold,
    kind: Kind,
    config: ClassifierConfig,
    seed: int,
    scratch: Path,
    *,
    threads: int = 1,
) -> Classifier:
    """Train on what a fold may see.

    Args:
        scratch: a folder for the features of the examples: 4 bytes for each and feature, removed again.

    Memory: the examples of one draw, 18 bytes for each and feature, and the features of one row.
    Raises `ConfigError` where there are too few known pairs for the draws.
    """
    inner = inner_folds(pairs, within, kind, config.draws, seed)
    if any(not len(one.positives) for one in inner):
        raise ConfigError(
            f"too few known pairs to learn from: each of {config.draws} draws keeps a part of the {pairs.rows.type} nodes "
            "with known answers to itself; set classifier.draws lower"
        )
    path = scratch / "examples.npy"
    examples = gather(features, pairs, within, inner, config, seed, path)
    boosters = train_draws(examples, config, seed, threads=threads)
    regressions = [
        _regression(examples, examples.of_draw(draw) & (examples.inner != draw))
        for draw in range(config.draws)
    ]
    whole = _regression(examples, examples.of_draw(0))
    del examples
    path.unlink()
    held_out = [
        (labels == ANSWER, *_log_odds(booster, regression, values, config.regression))
        for booster, regression, one in zip(boosters, regressions, inner, strict=True)
        for labels, values in _every_pair(features, pairs, within, one)
    ]
    correct, blends, lines = (np.concatenate(parts) for parts in zip(*held_out, strict=True))
    return Classifier(
        tuple(boosters),
        Calibrator.fit(config.calibration, blends, correct),
        whole,
        Calibrator.fit("sigmoid", lines, correct),
        features.names,
        config.regression,
    )


def _every_pair(
    features: Features, pairs: Pairs, within: Fold, inner: Fold
) -> Iterator[tuple[Int[np.ndarray, " asked"], Float[np.ndarray, "asked features"]]]:
    """Labels and features of all that an inner fold asks, row by row."""
    for row, labels in labelled_rows(features, pairs, within, inner):
        asked = np.flatnonzero(labels >= 0)
        yield labels[asked], row.of(asked)


def _log_odds(
    booster: Any, regression: Logistic, values: Float[np.ndarray, "pairs features"], share: float
) -> tuple[Float[np.ndarray, " pairs"], Float[np.ndarray, " pairs"]]:
    """Of the blend, and of the regression alone."""
    line = regression.scores(values)
    return blend(margin(booster, as_matrix(values)), line, share).astype(np.float32), line.astype(np.float32)


def _regression(examples: Examples, some: Bool[np.ndarray, " examples"]) -> Logistic:
    return Logistic.fit(examples.taken(some), examples.labels[some] == ANSWER)
