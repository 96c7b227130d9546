"""Drawing parts of a graph: edges, neighbours, nodes by budget. Plain twins: tests/kernels/test_sampling.py.

What is drawn is a function of a key and the place that it is drawn for: the same for any number of threads. Source:
Hamilton et al. 2017 (fan-outs by layer), Hu et al. 2020 (HGSampling), Floyd's algorithm as in Bentley & Floyd 1987 for drawing without replacement.
"""

import numpy as np
from jaxtyping import Float, Int, UInt

from corollary.kernels import compiled
from corollary.kernels.splitmix import GOLDEN, mixed


@compiled()
def draw_neighbours(
    frontier: Int[np.ndarray, " nodes"],
    row_bounds: Int[np.ndarray, " row_bounds"],
    row_lists: Int[np.ndarray, " active"],
    bounds: Int[np.ndarray, " bounds"],
    fan_out: int,
    key: np.uint64,
) -> Int[np.ndarray, "2 drawn"]:
    """For every node of the frontier and each of its lists at most `fan_out` of the list's edges, each once.

    Args:
        row_bounds: the lists of row i are `row_lists[row_bounds[i]]` to `row_lists[row_bounds[i + 1]]`.
        bounds: the edges of list l are `bounds[l]` to `bounds[l + 1]`.

    Returns:
        List and number of every edge drawn, in the order of the frontier, of lists and of edges.
    """
    count = 0
    for row in frontier:
        for at in range(row_bounds[row], row_bounds[row + 1]):
            one = row_lists[at]
            count += min(fan_out, bounds[one + 1] - bounds[one])
    drawn = np.empty((2, count), np.int64)
    count = 0
    for row in frontier:
        for at in range(row_bounds[row], row_bounds[row + 1]):
            one = row_lists[at]
            first, size = bounds[one], bounds[one + 1] - bounds[one]
            start, wanted = count, min(fan_out, size)
            if wanted == size:
                for edge in range(size):
                    drawn[0, count], drawn[1, count] = one, first + edge
                    count += 1
                continue
            place = mixed(key + np.uint64(one + 1) * GOLDEN)
            for last in range(size - wanted, size):
                place = mixed(place + GOLDEN)
                chosen = first + np.int64(place % np.uint64(last + 1))
                for before in range(start, count):
                    if drawn[1, before] == chosen:
                        chosen = first + last
                        break
                drawn[0, count], drawn[1, count] = one, chosen
                count += 1
            drawn[1, start:count] = np.sort(drawn[1, start:count])
    return drawn


@compiled()
def join(
    rows: Int[np.ndarray, " rows"],
    local: Int[np.ndarray, " nodes"],
    into: Int[np.ndarray, " part"],
    count: int,
) -> int:
    """Give every row that has no place yet the next one in `into`; `local` holds places, -1 for none. New count."""
    for row in rows:
        if local[row] < 0:
            local[row] = count
            into[count] = row
            count += 1
    return count


@compiled()
def draw_edges(
    sizes: Int[np.ndarray, " relations"], wanted: int, key: np.uint64, chosen: UInt[np.ndarray, " edges"]
) -> None:
    """Mark `wanted` edges of every relation, or all it has; those of a relation lie together, in order."""
    first = 0
    for relation in range(len(sizes)):
        size = sizes[relation]
        if size <= wanted:
            chosen[first : first + size] = 1
        else:
            place = mixed(key + np.uint64(relation + 1) * GOLDEN)
            for last in range(size - wanted, size):
                place = mixed(place + GOLDEN)
                drawn = first + np.int64(place % np.uint64(last + 1))
                chosen[first + last if chosen[drawn] else drawn] = 1
        first += size


@compiled()
def spread(
    nodes: Int[np.ndarray, " nodes"],
    row_bounds: Int[np.ndarray, " row_bounds"],
    row_lists: Int[np.ndarray, " active"],
    bounds: Int[np.ndarray, " bounds"],
    sources: Int[np.ndarray, " edges"],
    edges: Int[np.ndarray, " edges"],
    removed: UInt[np.ndarray, " triples"],
    taken: UInt[np.ndarray, " rows"],
    budget: Float[np.ndarray, " rows"],
) -> None:
    """Each node gives every neighbour that is not taken one over the number of its edges of that type.

    Args:
        edges: number of the triple behind each edge; `removed` is 1 for one that is not there.
    """
    for row in nodes:
        for at in range(row_bounds[row], row_bounds[row + 1]):
            one, count = row_lists[at], 0
            for edge in range(bounds[one], bounds[one + 1]):
                count += 1 - removed[edges[edge]]
            for edge in range(bounds[one], bounds[one + 1]):
                if not removed[edges[edge]] and not taken[sources[edge]]:
                    budget[sources[edge]] += 1 / count


@compiled()
def draw_by_budget(
    first: int,
    last: int,
    budget: Float[np.ndarray, " rows"],
    taken: UInt[np.ndarray, " rows"],
    wanted: int,
    key: np.uint64,
) -> Int[np.ndarray, " drawn"]:
    """Up to `wanted` rows from `first` on that are not taken, ascending; the chance of each draw is that of its squared
    budget among those left. Source: Efraimidis & Spirakis 2006: the smallest of exponential waiting times."""
    rows = np.empty(last - first, np.int64)
    waits = np.empty(last - first, np.float64)
    count = 0
    for row in range(first, last):
        if budget[row] > 0 and not taken[row]:
            uniform = (np.float64(mixed(key + np.uint64(row + 1) * GOLDEN) >> np.uint64(11)) + 0.5) / 2.0**53
            rows[count], waits[count] = row, -np.log(uniform) / budget[row] ** 2
            count += 1
    if count <= wanted:
        return rows[:count].copy()
    return np.sort(rows[np.argsort(waits[:count])[:wanted]])


@compiled()
def edges_between(
    rows: Int[np.ndarray, " nodes"],
    row_bounds: Int[np.ndarray, " row_bounds"],
    row_lists: Int[np.ndarray, " active"],
    bounds: Int[np.ndarray, " bounds"],
    sources: Int[np.ndarray, " edges"],
    edges: Int[np.ndarray, " edges"],
    removed: UInt[np.ndarray, " triples"],
    taken: UInt[np.ndarray, " rows"],
) -> Int[np.ndarray, "2 found"]:
    """List and number of every edge into the rows that comes from a row that is taken, in the order of rows."""
    found = np.empty((2, 0), np.int64)
    for filling in (False, True):
        count = 0
        for row in rows:
            for at in range(row_bounds[row], row_bounds[row + 1]):
                one = row_lists[at]
                for edge in range(bounds[one], bounds[one + 1]):
                    if taken[sources[edge]] and not removed[edges[edge]]:
                        if filling:
                            found[0, count], found[1, count] = one, edge
                        count += 1
        if not filling:
            found = np.empty((2, count), np.int64)
    return found
