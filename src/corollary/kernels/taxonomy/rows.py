"""A row of a table in hyperbolic space: its distance to another, the gradient, a step. Plain twin:
tests/reference/hyperbolic.py.

A row is a free vector z of any length: the point of the Poincaré ball at x = tanh(|z| / 2) z / |z|, so |z| is its
distance from the centre (Mishne et al. 2023). Between two rows at radii r and s whose directions differ by the vector
e, cosh d = 1 + (cosh(r - s) - 1) + sinh r sinh s |e|^2 / 2: no term cancels. Beside z a row keeps 1 / |z|,
exp |z|, exp -|z| and one number of Adagrad, so that a distance costs no exponential.

The gradient of a distance is a unit tangent vector at each end; a step moves along it by the rate times the gradient's
length, or by Adagrad's share of it: one sum of squares a row (Bécigneul & Ganea 2019, each row a factor). Steps are
cut at length 1.
"""

import math

import numpy as np
from jaxtyping import Float

from corollary.kernels import compiled

INVERSE, GROWN, SHRUNK, SQUARES = range(4)  # 1 / |z|, exp |z|, exp -|z|, sum of squares: behind the vector
NUM_STATE = 4
LOSS, PAIRS, CUT_STEPS, CUT_RADII, NOT_FINITE, WITHOUT_NEGATIVES = range(6)
NUM_TALLIES = 6
LONGEST_STEP = 1.0
SMALLEST_SINH = 1e-12


def new_table(nodes: int, dim: int) -> Float[np.ndarray, "nodes columns"]:
    """Zeros for rows of vector, zeros up to a multiple of four, and state; each row begins a cache line.

    Memory: 8 * nodes * (dim + 4 rounded up to a multiple of 8) bytes.
    """
    columns = -(-(padded(dim) + NUM_STATE) // 8) * 8
    raw = np.zeros(nodes * columns + 8)
    shift = -(raw.ctypes.data // 8) % 8
    return raw[shift : shift + nodes * columns].reshape(nodes, columns)


def padded(dim: int) -> int:
    """Columns of a vector: sums go over four at a time."""
    return -(-dim // 4) * 4


@compiled()
def refresh(table: Float[np.ndarray, "nodes columns"], width: int) -> None:
    """The state of every row but for its sum of squares, after its vector was set from outside."""
    for row in range(len(table)):
        _note_radius(table, row, width)


@compiled()
def _note_radius(table: Float[np.ndarray, "nodes columns"], row: int, width: int) -> float:
    """Sums in four lanes, in a fixed order: the state is the same bytes wherever it is made."""
    a = b = c = d = 0.0
    for axis in range(0, width, 4):
        a += table[row, axis] * table[row, axis]
        b += table[row, axis + 1] * table[row, axis + 1]
        c += table[row, axis + 2] * table[row, axis + 2]
        d += table[row, axis + 3] * table[row, axis + 3]
    radius = math.sqrt((a + b) + (c + d))
    grown = math.exp(radius)
    table[row, width + INVERSE] = 1.0 / radius if radius > 0.0 else 0.0
    table[row, width + GROWN] = grown
    table[row, width + SHRUNK] = 1.0 / grown
    return radius


@compiled()
def bend_of(
    direction: Float[np.ndarray, " width"], table: Float[np.ndarray, "nodes columns"], row: int, width: int
) -> float:
    """Half the square of the difference of two directions, which is 1 - cos of their angle."""
    a = b = c = d = 0.0
    inverse = table[row, width + INVERSE]
    for axis in range(0, width, 4):
        p = direction[axis] - table[row, axis] * inverse
        q = direction[axis + 1] - table[row, axis + 1] * inverse
        r = direction[axis + 2] - table[row, axis + 2] * inverse
        s = direction[axis + 3] - table[row, axis + 3] * inverse
        a += p * p
        b += q * q
        c += r * r
        d += s * s
    return 0.5 * ((a + b) + (c + d))


@compiled()
def beyond_one(grown: float, shrunk: float, other_grown: float, other_shrunk: float, bend: float) -> float:
    """cosh of a distance less one, from exp and exp - of both radii."""
    difference = grown - other_grown
    sines = 0.25 * (grown - shrunk) * (other_grown - other_shrunk)
    return 0.5 * difference * difference * shrunk * other_shrunk + sines * bend


@compiled()
def radial_of(grown: float, shrunk: float, other_grown: float, other_shrunk: float, bend: float) -> float:
    """The gradient of a distance along the radius of one end, times sinh of the distance."""
    difference = 0.5 * (grown * other_shrunk - other_grown * shrunk)
    return difference + 0.25 * (grown + shrunk) * (other_grown - other_shrunk) * bend


@compiled()
def step_of(
    table: Float[np.ndarray, "nodes columns"],
    row: int,
    width: int,
    length: float,
    rate: float,
    adagrad: bool,
    tally: Float[np.ndarray, " tallies"],
) -> float:
    """What a gradient of this length is to be multiplied with; adds it to the row's sum of squares."""
    if adagrad:
        table[row, width + SQUARES] += length * length
        rate /= math.sqrt(table[row, width + SQUARES])
    if rate * length > LONGEST_STEP:
        tally[CUT_STEPS] += 1
        return LONGEST_STEP / length
    return rate


@compiled()
def sideways_of(table: Float[np.ndarray, "nodes columns"], row: int, width: int) -> float:
    """How much of the vector a unit of length at right angles to the radius is: radius / sinh(radius)."""
    inverse = table[row, width + INVERSE]
    if inverse == 0.0 or inverse > 1e6:
        return 1.0
    return 2.0 / (inverse * (table[row, width + GROWN] - table[row, width + SHRUNK]))


@compiled()
def settle(
    table: Float[np.ndarray, "nodes columns"],
    row: int,
    width: int,
    largest: float,
    tally: Float[np.ndarray, " tallies"],
) -> None:
    """Bring the state up to a vector that moved, and the vector back within the largest radius."""
    reached = _note_radius(table, row, width)
    if reached > largest:
        for axis in range(width):
            table[row, axis] *= largest / reached
        _note_radius(table, row, width)
        tally[CUT_RADII] += 1


@compiled()
def move(
    table: Float[np.ndarray, "nodes columns"],
    row: int,
    width: int,
    radial: float,
    across: Float[np.ndarray, " width"],
    rate: float,
    adagrad: bool,
    largest: float,
    tally: Float[np.ndarray, " tallies"],
) -> None:
    """One step against a gradient: `radial` along the row's direction, `across` at right angles to it, both in lengths."""
    a = b = c = d = 0.0
    for axis in range(0, width, 4):
        a += across[axis] * across[axis]
        b += across[axis + 1] * across[axis + 1]
        c += across[axis + 2] * across[axis + 2]
        d += across[axis + 3] * across[axis + 3]
    length = math.sqrt(radial * radial + ((a + b) + (c + d)))
    if not length < np.inf:
        tally[NOT_FINITE] += 1
        return
    if length == 0.0:
        return
    step = step_of(table, row, width, length, rate, adagrad, tally)
    along, sideways = 1.0 - step * radial * table[row, width + INVERSE], step * sideways_of(table, row, width)
    for axis in range(width):
        table[row, axis] = along * table[row, axis] - sideways * across[axis]
    settle(table, row, width, largest, tally)
