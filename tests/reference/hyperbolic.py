"""Slow versions of the taxonomy learner's passes: distances by the published formula in the ball, gradients by autograd,
one pair at a time, float64."""

from collections.abc import Sequence

import numpy as np
import torch

Table = np.ndarray


def ball(z: torch.Tensor) -> torch.Tensor:
    """The point of the Poincaré ball at the end of a free vector."""
    radius = z.norm(dim=-1, keepdim=True)
    return torch.where(radius > 0, torch.tanh(radius / 2) * z / radius, z / 2)


def ball_distance(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """arcosh(1 + 2 |x - y|^2 / ((1 - |x|^2) (1 - |y|^2))) (Nickel & Kiela 2017)."""
    inner = (1 - x.square().sum(-1)) * (1 - y.square().sum(-1))
    return torch.arccosh(1 + 2 * (x - y).square().sum(-1) / inner)


def distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Hyperbolic distance of free vectors."""
    return ball_distance(ball(a), ball(b))


def frame(z: np.ndarray, gradient: np.ndarray) -> tuple[float, np.ndarray]:
    """A Euclidean gradient as lengths in the tangent space: along the radius, and at right angles to it.

    A unit step of z at right angles to the radius r is sinh(r) / r long.
    """
    radius = np.linalg.norm(z)
    direction = z / radius
    along = gradient @ direction
    return float(along), (gradient - along * direction) * radius / np.sinh(radius)


def moved(
    z: np.ndarray, gradient: np.ndarray, squares: float, length: float, rate: float, *, adagrad: bool
) -> tuple[np.ndarray, float]:
    """A step against the gradient, whose length decides Adagrad's share; at most 1 long."""
    along, across = frame(z, gradient)
    squares += length**2 if adagrad else 0.0
    step = rate / np.sqrt(squares) if adagrad else rate
    step = min(step, 1.0 / length)
    radius = np.linalg.norm(z)
    return z - step * (along * z / radius + across * radius / np.sinh(radius)), squares


def softmax_step(
    z: Table, squares: np.ndarray, row: int, others: Sequence[int], rate: float, *, adagrad: bool
) -> float:
    """Move a row, its positive (first of the others) and its negatives, which are distinct; the loss before."""
    own = torch.tensor(z[row], requires_grad=True)
    rest = torch.tensor(z[list(others)], requires_grad=True)
    away = distance(own, rest)
    loss = away[0] + torch.logsumexp(-away, 0)
    loss.backward()
    assert own.grad is not None
    assert rest.grad is not None
    slopes = torch.softmax(-away.detach(), 0).numpy()
    slopes[0] -= 1
    for at, other in enumerate(others):  # the gradient of a distance is a unit vector
        gradient = rest.grad[at].numpy()
        z[other], squares[other] = moved(
            z[other], gradient, squares[other], abs(slopes[at]), rate, adagrad=adagrad
        )
    along, across = frame(z[row], own.grad.numpy())
    length = float(np.hypot(along, np.linalg.norm(across)))
    z[row], squares[row] = moved(z[row], own.grad.numpy(), squares[row], length, rate, adagrad=adagrad)
    return loss.item()


def hinge_step(
    z: Table,
    squares: np.ndarray,
    rows: Sequence[int],
    anchor: int,
    rate: float,
    *,
    adagrad: bool,
    weight: float,
    margin: float,
    regular: float,
    targets: np.ndarray,
) -> float:
    """Rows are descendant, ancestor, negatives, all distinct; `anchor` is the place of the one compared with."""
    points = torch.tensor(z[list(rows)], requires_grad=True)
    near = distance(points[anchor], points[1 - anchor])
    far = distance(points[anchor], points[2:])
    radii = points.norm(dim=1)
    loss = weight * torch.relu(near - far + margin).mean()
    loss = loss + regular * (radii - torch.tensor(targets[list(rows)])).square().mean()
    loss.backward()
    assert points.grad is not None
    for at, row in enumerate(rows):
        gradient = points.grad[at].numpy()
        along, across = frame(z[row], gradient)
        length = float(np.hypot(along, np.linalg.norm(across)))
        if length > 0:
            z[row], squares[row] = moved(z[row], gradient, squares[row], length, rate, adagrad=adagrad)
    return loss.item()


def ball_step(x: Table, row: int, others: Sequence[int], rate: float) -> float:
    """Riemannian SGD with retraction in the ball: x - rate * ((1 - |x|^2) / 2)^2 * gradient; at most 1 long."""
    own = torch.tensor(x[row], requires_grad=True)
    rest = torch.tensor(x[list(others)], requires_grad=True)
    away = ball_distance(own, rest)
    loss = away[0] + torch.logsumexp(-away, 0)
    loss.backward()
    assert own.grad is not None
    assert rest.grad is not None
    for place, gradient in [*zip(others, rest.grad.numpy(), strict=True), (row, own.grad.numpy())]:
        half = (1 - x[place] @ x[place]) / 2
        step = min(rate, 1 / (half * np.linalg.norm(gradient)))
        x[place] = x[place] - step * half**2 * gradient
    return loss.item()


def euclidean_step(x: Table, squares: np.ndarray, row: int, others: Sequence[int], rate: float) -> float:
    """The softmax of straight distances with one number of Adagrad a row."""
    own = torch.tensor(x[row], requires_grad=True)
    rest = torch.tensor(x[list(others)], requires_grad=True)
    away = (own - rest).norm(dim=1)
    loss = away[0] + torch.logsumexp(-away, 0)
    loss.backward()
    assert own.grad is not None
    assert rest.grad is not None
    for place, gradient in [*zip(others, rest.grad.numpy(), strict=True), (row, own.grad.numpy())]:
        squares[place] += gradient @ gradient
        x[place] = x[place] - rate / np.sqrt(squares[place]) * gradient
    return loss.item()


def ranks(
    distances: np.ndarray, row: int, targets: Sequence[int], excluded: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Nodes nearer than each target, and as near; without the row itself and the excluded."""
    left = [node for node in range(len(distances)) if node != row and node not in set(excluded)]
    nearer = [sum(distances[node] < distances[target] for node in left) for target in targets]
    tied = [sum(distances[node] == distances[target] for node in left) for target in targets]
    return nearer, tied


def average_precision(distances: np.ndarray, row: int, targets: Sequence[int]) -> float:
    """By walking the sorted list of all nodes but the row (no ties)."""
    order = [node for node in np.argsort(distances, kind="stable") if node != row]
    hits, total = 0, 0.0
    for place, node in enumerate(order, start=1):
        if node in set(targets):
            hits += 1
            total += hits / place
    return total / len(targets)
