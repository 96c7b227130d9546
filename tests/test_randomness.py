"""Random numbers depend on where they are used, and on nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corollary.randomness import generator, keep_mask

PLACES = st.lists(st.one_of(st.integers(0, 9), st.sampled_from(["input", "hidden", "1"])), max_size=3)


def draw(seed, *place):
    return generator(seed, *place).integers(0, 2**63, 4).tolist()


@given(st.integers(0, 2**40), PLACES)
def test_a_place_always_gives_the_same_stream(seed, place):
    """Whatever was drawn before, there or elsewhere."""
    first = draw(seed, *place)
    generator(seed + 1, *place).random(7)
    assert draw(seed, *place) == first


@given(st.integers(0, 9), PLACES, st.integers(0, 9), PLACES)
def test_different_places_give_different_streams(seed, place, other_seed, other):
    """Also where two places read alike when joined: (1, 23) and (12, 3)."""
    same = [str(part) for part in (seed, *place)] == [str(part) for part in (other_seed, *other)]
    assert (draw(seed, *place) == draw(other_seed, *other)) == same


def test_places_do_not_run_together():
    """Neither numbers nor texts."""
    assert draw(0, 1, 23) != draw(0, 12, 3)
    assert draw(0, "ab", "c") != draw(0, "a", "bc")


@given(
    seed=st.integers(0, 99),
    width=st.integers(1, 41),
    cuts=st.lists(st.integers(0, 17), max_size=4),
    probability=st.floats(0, 1),
)
def test_a_mask_is_the_same_however_its_rows_are_cut(seed, width, cuts, probability):
    """Rows 0 to 17 at once equal the same rows in any pieces, empty ones too."""
    bounds = sorted([0, *cuts, 17])

    def mask(start, stop):
        return keep_mask(seed, 3, "input", rows=slice(start, stop), width=width, probability=probability)

    pieces = [mask(start, stop) for start, stop in zip(bounds, bounds[1:], strict=False)]
    assert np.array_equal(mask(0, 17), np.concatenate(pieces))


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 0.8, 0.999, 1.0])
@pytest.mark.parametrize("width", [1, 8, 13])
def test_entries_are_kept_with_the_probability(probability, width):
    """Within five standard deviations over 100,000 entries, and evenly over the columns."""
    rows = 100_000 // width
    mask = keep_mask(7, 1, 2, rows=slice(0, rows), width=width, probability=probability)
    sigma = (probability * (1 - probability)) ** 0.5
    assert abs(mask.mean() - probability) <= 5 * sigma / (rows * width) ** 0.5
    assert (np.abs(mask.mean(0) - probability) <= 5 * sigma / rows**0.5).all()


@pytest.mark.parametrize("other", [(8, 1, 2), (7, 2, 2), (7, 1, 3)])
def test_masks_of_different_places_are_unrelated(other):
    """Two halves agree on half of the entries, within five standard deviations."""
    mask, another = (
        keep_mask(*place, rows=slice(0, 1000), width=40, probability=0.5) for place in ((7, 1, 2), other)
    )
    assert abs((mask == another).mean() - 0.5) <= 5 * 0.5 / 40_000**0.5


def test_a_larger_probability_keeps_what_a_smaller_one_kept():
    """The same words are compared with a higher bound."""
    small, large = (
        keep_mask(0, "x", rows=slice(0, 50), width=9, probability=probability) for probability in (0.3, 0.6)
    )
    assert (large | ~small).all()
