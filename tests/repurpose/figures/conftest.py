"""A small matrix with ties, known pairs and held-out pairs, always the same."""

import numpy as np
import pytest

from corollary.repurpose.figures.truth import Truth


@pytest.fixture(scope="session")
def matrix() -> tuple[np.ndarray, Truth]:
    """12 rows, 17 columns, scores rounded so that many are equal; 25 known pairs, 18 held out; row 3 has none."""
    draw = np.random.default_rng(7)
    codes = draw.permutation(12 * 17)[:43]
    pairs = np.stack(np.divmod(codes, 17), axis=1)
    pairs = pairs[pairs[:, 0] != 3]
    scores = np.round(draw.normal(size=(12, 17)), 1).astype(np.float32)
    return scores, Truth.of((12, 17), pairs[:18], pairs[18:])


@pytest.fixture(scope="session")
def asked(matrix: tuple[np.ndarray, Truth]) -> set[tuple[int, int]]:
    return {(r, c) for r, c in matrix[1].asked.tolist()}


@pytest.fixture(scope="session")
def known(matrix: tuple[np.ndarray, Truth]) -> set[tuple[int, int]]:
    return {(r, c) for r, c in matrix[1].known.tolist()}
