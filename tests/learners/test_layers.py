"""Layers whose randomness depends on the place alone."""

import numpy as np
import pytest
import torch

from corollary.learners.layers import Dropout, normal, uniform
from corollary.learners.protocol import Place
from corollary.randomness import keep_mask

PLACE = Place(seed=1, epoch=2, step=3)


def test_dropout_keeps_what_the_mask_keeps_and_scales_it():
    """By 1 / (1 - probability), the same whatever was drawn before."""
    x = torch.ones(5, 3, 4)
    first = Dropout("input", 0.25)(x, PLACE)
    torch.rand(9)
    kept = keep_mask(1, 2, 3, "input", rows=slice(0, 5), width=12, probability=0.75)
    assert torch.equal(first, torch.from_numpy(kept).reshape(5, 3, 4).float() / 0.75)
    assert torch.equal(Dropout("input", 0.25)(x, PLACE), first)
    assert torch.equal(Dropout("input", 0.25)(x[:2], PLACE), first[:2])


@pytest.mark.parametrize("other", [Place(9, 2, 3), Place(1, 9, 3), Place(1, 2, 9)])
def test_another_place_has_another_mask(other):
    """Seed, epoch and step; and the layer's name."""
    x = torch.ones(50, 8)
    mask = Dropout("input", 0.5)(x, PLACE)
    assert not torch.equal(mask, Dropout("input", 0.5)(x, other))
    assert not torch.equal(mask, Dropout("hidden", 0.5)(x, PLACE))


def test_without_a_place_or_a_probability_nothing_is_dropped():
    """The very tensor comes back."""
    x = torch.randn(5, 4)
    assert Dropout("input", 0.5)(x, None) is x
    assert Dropout("input", 0.0)(x, PLACE) is x
    assert Dropout("input", 0.5).scaled_mask(5, 4, None, like=x) is None


def test_the_mask_follows_the_type():
    """Double in, double out."""
    mask = Dropout("features", 0.2).scaled_mask(100, 8, PLACE, like=torch.empty(0, dtype=torch.float64))
    assert mask.dtype == torch.float64
    assert set(mask.unique().tolist()) == {0.0, 1 / 0.8}
    assert mask.mean().item() == pytest.approx(1, abs=0.1)


def test_first_weights_are_a_function_of_seed_and_name():
    """Uniform within its bound, normal with its deviation."""
    values = uniform(3, "filters", 40, 50, bound=0.2)
    assert values.dtype == torch.float32
    assert values.abs().max() <= 0.2
    assert values.std().item() == pytest.approx(0.2 / 3**0.5, rel=0.05)
    spread = normal(3, "relations", 40, 50, std=0.3)
    assert spread.std().item() == pytest.approx(0.3, rel=0.05)
    assert spread.mean().item() == pytest.approx(0, abs=0.03)
    assert torch.equal(values, uniform(3, "filters", 40, 50, bound=0.2))
    assert not torch.equal(values, uniform(3, "projection", 40, 50, bound=0.2))
    assert not torch.equal(values, uniform(4, "filters", 40, 50, bound=0.2))
    assert np.unique(values.numpy()).size == 2000
