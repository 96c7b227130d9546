"""Points of hyperbolic space as free vectors: |z| is the distance from the centre, z / |z| the direction.

The Poincaré ball's x = tanh(|z| / 2) z / |z|. In float64 the ball ends at radius 37.4, where 1 - |x|^2 is the last bit of
one; a free vector has no edge, and its directions stay exact (Mishne et al. 2023).
"""

import numpy as np
from jaxtyping import Float

CENTRE_LIMIT = 36.0
"""Radius up to which ball coordinates in float64 tell points apart."""


def to_ball(points: Float[np.ndarray, "nodes dim"]) -> Float[np.ndarray, "nodes dim"]:
    """Coordinates in the Poincaré ball."""
    radius = np.linalg.norm(points, axis=1, keepdims=True)
    return points * np.divide(np.tanh(radius / 2), radius, out=np.full_like(radius, 0.5), where=radius > 0)


def from_ball(ball: Float[np.ndarray, "nodes dim"]) -> Float[np.ndarray, "nodes dim"]:
    """Free vectors of coordinates inside the ball."""
    norm = np.linalg.norm(ball, axis=1, keepdims=True)
    return ball * np.divide(2 * np.arctanh(norm), norm, out=np.full_like(norm, 2.0), where=norm > 0)


def beyond_one(
    first: Float[np.ndarray, "*pairs dim"], second: Float[np.ndarray, "*pairs dim"]
) -> Float[np.ndarray, "*pairs"]:
    """cosh of the distances less one, without cancellation."""
    a, b = np.linalg.norm(first, axis=-1), np.linalg.norm(second, axis=-1)
    away = first / np.where(a > 0, a, 1)[..., None] - second / np.where(b > 0, b, 1)[..., None]
    bend = 0.5 * np.square(away).sum(-1)
    return 2 * np.sinh((a - b) / 2) ** 2 + np.sinh(a) * np.sinh(b) * bend


def distance(
    first: Float[np.ndarray, "*pairs dim"], second: Float[np.ndarray, "*pairs dim"]
) -> Float[np.ndarray, "*pairs"]:
    """Hyperbolic distance of each pair."""
    beyond = beyond_one(first, second)
    return np.log1p(beyond + np.sqrt(beyond * (beyond + 2)))


def gromov_product(
    first: Float[np.ndarray, "*pairs dim"], second: Float[np.ndarray, "*pairs dim"]
) -> Float[np.ndarray, "*pairs"]:
    """(r + s - d) / 2: about the radius up to which two points share the way from the centre."""
    a, b = np.linalg.norm(first, axis=-1), np.linalg.norm(second, axis=-1)
    return 0.5 * (a + b - distance(first, second))
