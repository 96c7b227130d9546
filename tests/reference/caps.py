"""What nested caps promise, said plainly: the angle of every node's cap, and the radius that goes with it."""

import numpy as np


def cap_angles(parent: list[int], size: list[int], dim: int, spread: float) -> list[float]:
    """Rows come after their parents. The only root has the sphere; several share it."""
    children = [[row for row, up in enumerate(parent) if up == node] for node in range(len(parent))]
    roots = [row for row, up in enumerate(parent) if up < 0]
    angles = [np.pi] * len(parent)
    for row, up in enumerate(parent):
        if up < 0 and len(roots) > 1:
            share = size[row] / len(parent)
            angles[row] = np.pi * min(0.9, share) if share > 0.5 else np.pi / 2 * share ** (1 / (dim - 1))
        elif up >= 0 and len(children[up]) == 1:
            angles[row] = 0.8 * angles[up]
        elif up >= 0:
            angles[row] = angles[up] * min(0.9, (spread * size[row] / (size[up] - 1)) ** (1 / (dim - 1)))
    return angles


def radius(angle: float) -> float:
    """A node at this radius is nearer to a point far out than the centre is, within this angle of its direction."""
    return max(0.0, -2 * np.log(np.sin(angle / 2)))
