"""Nested caps: a place for every node of a taxonomy by its spanning tree alone. Plain twin: tests/reference/caps.py.

A node at radius r is nearer to a point far out than the centre is, exactly when the point's direction lies within an
angle a of the node's, with sin(a / 2) = exp(-r / 2). So ancestors come first in the order of distances when every
node's directions lie in a cap inside its parent's: cap angles become radii, r = -2 ln sin(a / 2).
"""

import math

import numpy as np
from jaxtyping import Float, Int

from corollary.kernels import compiled
from corollary.kernels.splitmix import word
from corollary.kernels.taxonomy.tree import Tree

_LATEST = 400  # siblings that a new one is kept away from; all of them for most parents
_NEAR_BEST = 0.9
_UNIT = 1.1102230246251565e-16


@compiled()
def _normal(key: np.uint64, counter: int) -> float:
    """A standard normal number (Box & Muller 1958)."""
    a = (np.float64(word(key, 2 * counter) >> np.uint64(11)) + 0.5) * _UNIT
    b = np.float64(word(key, 2 * counter + 1) >> np.uint64(11)) * _UNIT
    return math.sqrt(-2.0 * math.log(a)) * math.cos(2.0 * math.pi * b)


@compiled()
def _within(
    centre: Float[np.ndarray, " dim"],
    angle: float,
    key: np.uint64,
    counter: int,
    out: Float[np.ndarray, " dim"],
) -> None:
    """A direction at most `angle` from a centre, about evenly by area; `angle` >= pi gives any direction."""
    dim = len(centre)
    base = counter * (dim + 1)
    along, length = 0.0, 0.0
    for axis in range(dim):
        out[axis] = _normal(key, base + axis)
        along += out[axis] * centre[axis]
    whole = angle >= math.pi
    for axis in range(dim):
        if not whole:
            out[axis] -= along * centre[axis]
        length += out[axis] * out[axis]
    length = math.sqrt(length)
    if whole or length == 0.0:
        for axis in range(dim):
            out[axis] = out[axis] / length if length > 0.0 else centre[axis]
        return
    share = (np.float64(word(key, 2 * (base + dim)) >> np.uint64(11)) + 0.5) * _UNIT
    turn = angle * share ** (1.0 / (dim - 1))
    sine, cosine = math.sin(turn) / length, math.cos(turn)
    norm = 0.0
    for axis in range(dim):
        out[axis] = cosine * centre[axis] + sine * out[axis]
        norm += out[axis] * out[axis]
    norm = 1.0 / math.sqrt(norm)
    for axis in range(dim):
        out[axis] *= norm


@compiled()
def _angle(a: Float[np.ndarray, " dim"], b: Float[np.ndarray, " dim"]) -> float:
    square = 0.0
    for axis in range(len(a)):
        square += (a[axis] - b[axis]) * (a[axis] - b[axis])
    return 2.0 * math.asin(min(1.0, 0.5 * math.sqrt(square)))


@compiled()
def _gaps(
    trial: Float[np.ndarray, "tried dim"],
    angle: float,
    earlier: Int[np.ndarray, " siblings"],
    angles: Float[np.ndarray, " nodes"],
    directions: Float[np.ndarray, "nodes dim"],
    out: Float[np.ndarray, " tries"],
) -> float:
    """The smallest gap of every trial to earlier siblings, in units of the two angles; returns the largest of them.

    What is below 0.9 of the best so far is not looked at further.
    """
    gap = -1.0
    for attempt in range(len(trial)):
        smallest = math.inf
        for sibling in earlier:
            away = _angle(trial[attempt], directions[sibling]) / (angle + angles[sibling])
            if away < smallest:
                smallest = away
                if smallest < _NEAR_BEST * gap:
                    break
        out[attempt] = smallest
        gap = max(gap, smallest)
    return gap


@compiled()
def place(
    tree: Tree,
    links: Int[np.ndarray, "links 2"],
    dim: int,
    spread: float,
    largest: float,
    tries: int,
    key: np.uint64,
    points: Float[np.ndarray, "nodes dim"],
) -> Int[np.ndarray, ""]:
    """Fill `points` with free vectors (see `hyperbolic`): directions in nested caps, radii by the caps' angles.

    The root's cap is the sphere. Of several roots each has pi / 2 * its share of the nodes ** (1 / (dim - 1)), and one
    with more than half of them pi * its share, at most 0.9 pi. A child's cap is its parent's times (spread * share of
    the parent's subtree) ** (1 / (dim - 1)), at most 0.9; an only child's 0.8 in the same direction. Children are
    placed with the largest subtree first, each at the best of `tries` random places: the one with the largest smallest
    gap to the siblings before it, in units of the two angles. Among places with at least 0.9 of the best gap the one
    nearest to the places of its relatives in other branches is taken.

    Args:
        links: pairs of rows that the spanning tree does not hold, in both directions, sorted by the first.

    Returns:
        How many radii were cut at `largest`.

    Cost: nodes * tries * min(siblings, 400) * dim.
    """
    count = len(tree.parent)
    angles, directions = np.empty(count + 1), np.empty((count + 1, dim))  # the last: above all roots
    placed = np.zeros(count, np.bool_)
    starts = (
        np.searchsorted(links[:, 0], np.arange(count + 1)) if len(links) else np.zeros(count + 1, np.int64)
    )
    angles[count] = math.pi
    _within(np.zeros(dim), math.pi, key, 0, directions[count])
    trial, best = np.empty((tries, dim)), np.empty(tries)
    wanted = np.empty(dim)
    roots = tree.level_rows[: tree.level_offsets[1]]
    for at in range(-1, count):
        parent = int(np.int64(tree.level_rows[at])) if at >= 0 else count
        children = (
            tree.child_rows[tree.child_offsets[parent] : tree.child_offsets[parent + 1]] if at >= 0 else roots
        )
        below = tree.size[parent] - 1.0 if at >= 0 else float(count)
        number = len(children)
        if number == 0:
            continue
        sizes = np.empty(number)
        for child in range(number):
            sizes[child] = -tree.size[children[child]]
        order = np.argsort(sizes, kind="mergesort")
        for turn in range(number):
            child = children[order[turn]]
            placed[child] = True
            if number == 1:
                angles[child] = (0.8 if at >= 0 else 1.0) * angles[parent]
                directions[child] = directions[parent]
                continue
            share = tree.size[child] / below
            if at >= 0:
                angles[child] = angles[parent] * min(0.9, (spread * share) ** (1.0 / (dim - 1)))
            elif share > 0.5:
                angles[child] = math.pi * min(0.9, share)
            else:
                angles[child] = 0.5 * math.pi * share ** (1.0 / (dim - 1))
            reach = math.pi if angles[parent] >= math.pi else max(angles[parent] - angles[child], 0.0)
            attracted = len(links) > 0 and _relatives_place(
                tree, links, starts, parent, child, placed, directions, wanted
            )
            earlier = children[order[max(0, turn - _LATEST) : turn]]
            tried = tries if turn > 0 or attracted else 1
            for attempt in range(tried):
                _within(directions[parent], reach, word(key, child), attempt, trial[attempt])
            gap = _gaps(trial[:tried], angles[child], earlier, angles, directions, best)
            chosen, nearest = -1, -math.inf
            for attempt in range(tried):
                if best[attempt] < _NEAR_BEST * gap and gap < math.inf:
                    continue
                worth = best[attempt]
                if attracted:
                    worth = 0.0
                    for axis in range(dim):
                        worth += trial[attempt, axis] * wanted[axis]
                if chosen < 0 or worth > nearest:
                    chosen, nearest = attempt, worth
            directions[child] = trial[chosen]
    cut = 0
    for row in range(count):
        radius = -2.0 * math.log(math.sin(0.5 * min(math.pi, angles[row]))) if angles[row] > 0.0 else math.inf
        if radius > largest:
            radius = largest
            cut += 1
        for axis in range(dim):
            points[row, axis] = max(radius, 0.0) * directions[row, axis]
    return np.array(cut)


@compiled()
def _relatives_place(
    tree: Tree,
    links: Int[np.ndarray, "links 2"],
    starts: Int[np.ndarray, " nodes+1"],
    parent: int,
    child: int,
    placed: np.ndarray,
    directions: Float[np.ndarray, "nodes dim"],
    out: Float[np.ndarray, " dim"],
) -> bool:
    """The sum of directions of the nearest placed node above each link's other end, outside the chain of `child`."""
    found = False
    out[:] = 0.0
    for at in range(starts[child], starts[child + tree.size[child]]):
        other = links[at, 1]
        if child <= other < child + tree.size[child]:
            continue
        while other >= 0 and not placed[other]:
            other = tree.parent[other]
        if other < 0 or other == child or (other <= parent < other + tree.size[other]):
            continue  # above the parent, or the parent: says nothing of where to go
        for axis in range(len(out)):
            out[axis] += directions[other, axis]
        found = True
    return found
