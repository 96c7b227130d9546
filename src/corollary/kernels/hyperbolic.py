"""One pass of learning over taxonomy pairs, pair after pair, in hyperbolic space. Plain twin: tests/reference/hyperbolic.py.

A row is a free vector z of any length: the point of the Poincaré ball at x = tanh(|z| / 2) z / |z|, so |z| is its
distance from the centre (Mishne et al. 2023). Between two rows at radii r and s whose directions differ by the vector
e, cosh d = 1 + (cosh(r - s) - 1) + sinh r sinh s |e|^2 / 2: no term cancels. Beside z a row keeps 1 / |z|,
exp |z|, exp -|z| and one number of Adagrad, so that a distance costs no exponential.

Loss (softmax): -log of exp(-d) of the positive over the sum of exp(-d) of positive and negatives, anchored at the
descendant (Nickel & Kiela 2017). The gradient of a distance is a unit tangent vector at each end; a step moves along
it by the rate times the gradient's length, or by Adagrad's share of it: one sum of squares a row (Bécigneul & Ganea
2019, each row a factor). Steps are cut at length 1.

Several threads work on disjoint ranges of an epoch without locks (Niu et al. 2011): then a result may differ between
runs in its last digits. One thread gives the same bytes each time.
"""

import math

import numpy as np
from jaxtyping import Float, Int
from numba import prange

from corollary.kernels import compiled
from corollary.kernels.taxonomy_draws import (
    SPARE,
    Tree,
    Weights,
    negatives,
    pair_at,
    permuted,
    word,
)

INVERSE, GROWN, SHRUNK, SQUARES = range(4)  # 1 / |z|, exp |z|, exp -|z|, sum of squares: behind the vector
NUM_STATE = 4
LOSS, PAIRS, CUT_STEPS, CUT_RADII, NOT_FINITE, WITHOUT_NEGATIVES = range(6)
NUM_TALLIES = 6
_LONGEST_STEP = 1.0
_SMALLEST_SINH = 1e-12


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
def _bend(
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
def _beyond_one(grown: float, shrunk: float, other_grown: float, other_shrunk: float, bend: float) -> float:
    """cosh of a distance less one, from exp and exp - of both radii."""
    difference = grown - other_grown
    sines = 0.25 * (grown - shrunk) * (other_grown - other_shrunk)
    return 0.5 * difference * difference * shrunk * other_shrunk + sines * bend


@compiled()
def _radial(grown: float, shrunk: float, other_grown: float, other_shrunk: float, bend: float) -> float:
    """The gradient of a distance along the radius of one end, times sinh of the distance."""
    difference = 0.5 * (grown * other_shrunk - other_grown * shrunk)
    return difference + 0.25 * (grown + shrunk) * (other_grown - other_shrunk) * bend


@compiled()
def _step(
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
    if rate * length > _LONGEST_STEP:
        tally[CUT_STEPS] += 1
        return _LONGEST_STEP / length
    return rate


@compiled()
def _sideways(table: Float[np.ndarray, "nodes columns"], row: int, width: int) -> float:
    """How much of the vector a unit of length at right angles to the radius is: radius / sinh(radius)."""
    inverse = table[row, width + INVERSE]
    if inverse == 0.0 or inverse > 1e6:
        return 1.0
    return 2.0 / (inverse * (table[row, width + GROWN] - table[row, width + SHRUNK]))


@compiled()
def _settle(
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
def _move(
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
    step = _step(table, row, width, length, rate, adagrad, tally)
    along, sideways = 1.0 - step * radial * table[row, width + INVERSE], step * _sideways(table, row, width)
    for axis in range(width):
        table[row, axis] = along * table[row, axis] - sideways * across[axis]
    _settle(table, row, width, largest, tally)


@compiled()
def _softmax_pair(
    table: Float[np.ndarray, "nodes columns"],
    width: int,
    row: int,
    others: Int[np.ndarray, " others"],
    count: int,
    rate: float,
    adagrad: bool,
    smallest: float,
    largest: float,
    scratch: Float[np.ndarray, "4 others"],
    total: Float[np.ndarray, " width"],
    own: Float[np.ndarray, " width"],
    tally: Float[np.ndarray, " tallies"],
) -> None:
    """Move a row, its positive (others[0]) and its negatives: those in order, then the row itself."""
    grown, shrunk, inverse = (
        table[row, width + GROWN],
        table[row, width + SHRUNK],
        table[row, width + INVERSE],
    )
    for axis in range(width):
        own[axis] = table[row, axis] * inverse
        total[axis] = 0.0
    likely, bends, theirs, thinner = scratch[0], scratch[1], scratch[2], scratch[3]
    checked = 0.0
    for at in range(
        count
    ):  # loads that wait for nothing: 50 distant rows come in 1.1 us in place of 4.5 (measured)
        checked += table[others[at], 0] + table[others[at], width]
    if not abs(checked) < np.inf:
        tally[NOT_FINITE] += 1
        return
    for at in range(count):
        other = others[at]
        bends[at] = _bend(own, table, other, width)
        theirs[at], thinner[at] = table[other, width + GROWN], table[other, width + SHRUNK]
    for at in range(count):
        apart = _beyond_one(grown, shrunk, theirs[at], thinner[at], bends[at])
        likely[at] = 1.0 / (1.0 + apart + math.sqrt(apart * (apart + 2.0)))  # exp(-distance)
    mass = 0.0
    for at in range(count):
        mass += likely[at]
    tally[LOSS] -= math.log(likely[0] / mass)
    own_radial, kept = 0.0, 0.0
    for at in range(count):
        share = likely[at] / mass
        slope = 1.0 - share if at == 0 else -share
        if abs(slope) < smallest:
            continue
        other = others[at]
        bend, cosine = bends[at], 1.0 - bends[at]
        direction = table[other, width + INVERSE]
        thick, thin = table[other, width + GROWN], table[other, width + SHRUNK]
        scale = slope / max(0.5 * (1.0 / likely[at] - likely[at]), _SMALLEST_SINH)
        own_radial += scale * _radial(grown, shrunk, thick, thin, bend)
        factor = -0.5 * scale * (thick - thin)
        kept += factor * cosine
        factor *= direction
        for axis in range(width):
            total[axis] += factor * table[other, axis]
        radial = scale * _radial(thick, thin, grown, shrunk, bend)
        step = _step(table, other, width, abs(slope), rate, adagrad, tally)
        away = -0.5 * scale * (grown - shrunk) * step * _sideways(table, other, width)
        along = 1.0 - (step * radial - away * cosine) * direction
        for axis in range(width):
            table[other, axis] = along * table[other, axis] - away * own[axis]
        _settle(table, other, width, largest, tally)
    for axis in range(width):
        total[axis] -= kept * own[axis]
    _move(table, row, width, own_radial * (inverse > 0.0), total, rate, adagrad, largest, tally)


@compiled(parallel=True)
def softmax_pass(
    table: Float[np.ndarray, "nodes columns"],
    width: int,
    tree: Tree,
    weights: Weights,
    quotas: Int[np.ndarray, " tiers"],
    first: int,
    last: int,
    key: np.uint64,
    rate: float,
    adagrad: bool,
    smallest: float,
    largest: float,
    threads: int,
) -> Float[np.ndarray, "threads tallies"]:
    """Learn from the pairs at the places `first` to `last` of one epoch's order.

    Args:
        table: see `new_table`; changed in place.
        width: see `padded`.
        key: of the epoch; order and negatives follow from it and the place.
        rate: hyperbolic length of a step a unit of gradient (SGD), or of a first step (Adagrad).
        smallest: negatives whose share of the softmax is below are left where they are.
        largest: radius that no row may pass.
        threads: ranges at once; 1 gives the same bytes each time.

    Returns:
        Sum of losses in nats, pairs, steps cut, radii cut, gradients that were not finite, pairs without negatives.
    """
    tallies = np.zeros((threads, NUM_TALLIES))
    count = tree.pair_offsets[-1] + len(tree.extra_pairs)
    for thread in prange(threads):
        begin = first + (last - first) * thread // threads
        end = first + (last - first) * (thread + 1) // threads
        tally = np.zeros(NUM_TALLIES)
        room = quotas.sum() + 1
        others = np.empty(room, np.int64)
        floats = np.empty((4, room))
        total, own = np.empty(width), np.empty(width)
        scratch = np.empty((3, len(tree.level_offsets) + SPARE), np.int64)
        for place in range(begin, end):
            row, positive = pair_at(tree, permuted(place, count, key))
            needed = tree.pair_offsets[row + 1] - tree.pair_offsets[row] + SPARE
            if needed > scratch.shape[1]:
                scratch = np.empty((3, needed), np.int64)
            others[0] = positive
            drawn = negatives(
                tree, weights, quotas, row, word(key, place), others[1:], scratch[0], scratch[1], scratch[2]
            )
            tally[PAIRS] += 1
            if drawn == 0:
                tally[WITHOUT_NEGATIVES] += 1
                continue
            _softmax_pair(
                table, width, row, others, drawn + 1, rate, adagrad, smallest, largest, floats, total, own, tally,
            )  # fmt: skip
        tallies[thread] = tally
    return tallies
