"""Distances and maps on free vectors against the ball's formulas and high precision."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corollary.geometry import hyperbolic
from tests.reference import hyperbolic as reference

RADII = st.floats(0.0, 30.0)


def points(radius: float, angle: float) -> np.ndarray:
    return radius * np.array([[np.cos(angle), np.sin(angle), 0.0]])


def exactly(a: np.ndarray, b: np.ndarray) -> float:
    """The law of cosines, in 80 bits, with the angle's half sine in place of its cosine."""
    r, s = np.longdouble(np.linalg.norm(a)), np.longdouble(np.linalg.norm(b))
    bend = np.longdouble(0)
    if r > 0 and s > 0:
        bend = (np.square(a.astype(np.longdouble) / r - b.astype(np.longdouble) / s).sum()) / 2
    beyond = 2 * np.sinh((r - s) / 2) ** 2 + np.sinh(r) * np.sinh(s) * bend
    return float(np.log1p(beyond + np.sqrt(beyond * (beyond + 2))))


@settings(deadline=None, max_examples=200)
@given(RADII, RADII, st.floats(0, np.pi), st.floats(-20, 0))
def test_distance_is_exact_to_the_last_digits_wherever_the_points_lie(r, s, angle, power):
    """Radii up to 30, angles down to 1e-20, points that coincide. What a direction in float64 cannot tell apart (4e-16)
    is exp of the radius as long out there."""
    first, second = points(r, 0.3), points(s, 0.3 + angle * 10.0**power)
    expected = exactly(first[0], second[0])
    assert hyperbolic.distance(first, second)[0] == pytest.approx(
        expected, rel=1e-12, abs=4e-16 * np.exp((r + s) / 2) + 1e-11
    )


@settings(deadline=None, max_examples=100)
@given(st.floats(0.01, 12), st.floats(0.01, 12), st.floats(0.01, np.pi))
def test_distance_is_that_of_the_ball(r, s, angle):
    """The published formula holds where its 1 - |x|^2 still has digits: to radius 12 to nine of them less what is lost."""
    first, second = points(r, 0.0), points(s, angle)
    theirs = reference.distance(torch.tensor(first), torch.tensor(second)).item()
    lost = 1e-15 * np.exp(max(r, s)) + 1e-9
    assert hyperbolic.distance(first, second)[0] == pytest.approx(theirs, rel=lost, abs=10 * lost)


@settings(deadline=None, max_examples=100)
@given(st.floats(1e-9, 17), st.floats(0, 6))
def test_ball_and_back(radius, angle):
    """What is lost grows as exp of the radius: 1 - |x| has that many digits less."""
    point = points(radius, angle)
    again = hyperbolic.from_ball(hyperbolic.to_ball(point))
    np.testing.assert_allclose(again, point, rtol=1e-15 * np.exp(radius) + 1e-12, atol=1e-15)


def test_the_centre_maps_to_the_centre():
    """Without dividing by nothing."""
    zero = np.zeros((1, 3))
    assert hyperbolic.to_ball(zero).tolist() == zero.tolist()
    assert hyperbolic.from_ball(zero).tolist() == zero.tolist()
    assert hyperbolic.distance(zero, points(5.0, 1.0))[0] == pytest.approx(5.0, rel=1e-14)


def test_the_gromov_product_is_the_radius_where_two_ways_part():
    """Of points on one ray the nearer one's radius; of opposite points nothing; of two far points about -ln sin(angle / 2)."""
    near, far = points(2.0, 0.5), points(9.0, 0.5)
    assert hyperbolic.gromov_product(near, far)[0] == pytest.approx(2.0, abs=1e-12)
    assert hyperbolic.gromov_product(near, points(9.0, 0.5 + np.pi))[0] == pytest.approx(0.0, abs=1e-9)
    apart = hyperbolic.gromov_product(points(25.0, 0.0), points(25.0, 0.1))[0]
    assert apart == pytest.approx(-np.log(np.sin(0.05)), abs=1e-9)


@pytest.mark.parametrize("radius", [5.0, 20.0, 30.0])
def test_a_small_step_is_as_long_as_it_says_out_to_the_boundary(radius):
    """A unit at right angles to the radius is radius / sinh(radius) of the vector, a unit along it is one: both move
    by the same distance, at radii where the ball's own coordinates have no digit left for it."""
    point, step = points(radius, 0.0), 1e-3
    along = point + np.array([[step, 0, 0]])
    across = point + np.array([[0, step * radius / np.sinh(radius), 0]])
    assert hyperbolic.distance(point, along)[0] == pytest.approx(step, rel=1e-9)
    assert hyperbolic.distance(point, across)[0] == pytest.approx(step, rel=1e-3)
