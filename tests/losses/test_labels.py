"""Each variant of label smoothing gives the labels that its name stands for."""

import pytest

from corollary.losses.labels import Labels, smoothed

N = 50


@pytest.mark.parametrize(
    ("variant", "at_answer", "elsewhere"),
    [
        ("uniform", 0.9 + 0.1 / N, 0.1 / N),
        ("conve", 0.9 + 1 / N, 1 / N),
        ("pykeen", 0.9, 0.1 / (N - 1)),
    ],
)
def test_labels_by_value(variant, at_answer, elsewhere):
    """As in the papers, in the authors' code (and LibKGE), in PyKEEN."""
    labels = smoothed(variant, 0.1, N)
    assert labels.positive + labels.every == pytest.approx(at_answer, abs=1e-15)
    assert labels.every == pytest.approx(elsewhere, abs=1e-15)


@pytest.mark.parametrize("variant", ["uniform", "conve", "pykeen"])
def test_without_an_amount_nothing_is_smoothed(variant):
    """Not even ConvE's 1 / N."""
    assert smoothed(variant, 0.0, N) == Labels(1.0, 0.0)


@pytest.mark.parametrize(("variant", "mass"), [("uniform", 1.0), ("conve", 1.9), ("pykeen", 1.0)])
def test_the_mass_of_one_answers_labels(variant, mass):
    """Kept, but for ConvE's: 1 - amount + N / N."""
    labels = smoothed(variant, 0.1, N)
    assert labels.positive + N * labels.every == pytest.approx(mass)


def test_a_single_entity_divides_by_nothing():
    """Everything there is, is the answer."""
    assert smoothed("pykeen", 0.1, 1).every == 0.1
