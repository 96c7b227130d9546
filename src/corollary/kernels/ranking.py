"""Ranks by counting: no candidate is ever sorted, and no mask of queries x entities exists.

A tile holds the scores of some queries (rows) for one block of entities (columns). Answers of a query are sorted by
entity, thresholds (the scores of its true answers) by value. All lists by query are CSR, or a start and a stop into
one long array, which may be memory-mapped. Sums are of whole numbers, or run in the order of the rankings, so
neither threads nor chunks change a result. Plain twin: tests/reference/ranking.py.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt
from numba import prange

from corollary.kernels import compiled
from corollary.kernels.splitmix import word

FEW = 1024  # thresholds a query up to which comparing one by one beats a binary search (measured: equal at 1,500)
_STRIP = 4096  # scores read again while in the nearest cache; also keeps counts exact in float32


@compiled(parallel=True)
def pick(
    tile: Float[np.ndarray, "queries rows"],
    start: int,
    offsets: Int[np.ndarray, " queries+1"],
    answers: Int[np.ndarray, " answers"],
    out: Float[np.ndarray, " answers"],
) -> None:
    """Copy the scores of those answers that lie in the block beginning at entity `start`."""
    stop = start + tile.shape[1]
    for query in prange(len(tile)):
        for place in range(offsets[query], offsets[query + 1]):
            if start <= answers[place] < stop:
                out[place] = tile[query, answers[place] - start]


@compiled(parallel=True)
def count(
    tile: Float[np.ndarray, "queries rows"],
    start: int,
    offsets: Int[np.ndarray, " queries+1"],
    thresholds: Float[np.ndarray, " answers"],
    known_starts: Int[np.ndarray, " queries"],
    known_stops: Int[np.ndarray, " queries"],
    known: Int[np.ndarray, " known"],
    types: Int[np.ndarray, " entities_or_none"],
    allowed: Bool[np.ndarray, "queries types_or_none"],
    above: Int[np.ndarray, " answers"],
    at_least: Int[np.ndarray, " answers"],
) -> Bool[np.ndarray, " queries"]:
    """Add, for each threshold, how many candidates of the block score above it and how many at least that much.

    A query's known answers are no candidates, nor are entities whose type is not allowed; `types` and `allowed`
    with no entries allow all. Type -1 reads the last column of `allowed`.

    Returns:
        Where a score was not a number; counts of such queries mean nothing.

    Cost: rows * thresholds comparisons a query (16 a cycle) up to FEW thresholds, rows * log(thresholds) beyond.
    """
    broken = np.zeros(len(tile), np.bool_)
    width = tile.shape[1]
    limited = allowed.shape[1] > 0
    for query in prange(len(tile)):
        row, first, last = tile[query], offsets[query], offsets[query + 1]
        marks, more, same = thresholds[first:last], above[first:last], at_least[first:last]
        broken[query] = _any_nan(row)
        kept = _of_allowed_type(row, types[start : start + width], allowed[query]) if limited else row
        few = len(marks) <= FEW
        tally = np.zeros((2, 0 if few else len(marks) + 1), np.int64)
        if few:
            _compare_all(kept, marks, more, same)
        else:
            for column in range(len(kept)):
                _note(kept[column], 1, marks, tally)
        excluded = known[known_starts[query] : known_stops[query]]
        for place in range(_number_below(excluded, start), _number_below(excluded, start + width)):
            if limited and not allowed[query, types[excluded[place]]]:
                continue
            score = row[excluded[place] - start]
            if few:
                _take_out(score, marks, more, same)
            else:
                _note(score, -1, marks, tally)
        if not few:
            _add_up(tally, more, same)
    return broken


@compiled()
def _any_nan(row: Float[np.ndarray, " rows"]) -> bool:
    total = 0
    for column in range(len(row)):
        total += row[column] != row[column]
    return total > 0


@compiled()
def _of_allowed_type(
    row: Float[np.ndarray, " rows"], types: Int[np.ndarray, " rows"], allowed: Bool[np.ndarray, " types"]
) -> Float[np.ndarray, " kept"]:
    kept = np.empty_like(row)
    size = 0
    for column in range(len(row)):
        kept[size] = row[column]
        size += allowed[types[column]]
    return kept[:size]


@compiled()
def _number_below(values: Shaped[np.ndarray, " values"], limit: float, or_equal: bool = False) -> int:
    """How many of the sorted values are below the limit (or equal to it)."""
    first, rest = 0, len(values)
    while (
        rest > 0
    ):  # no branch on the values: their order is random, and a wrong guess costs more than a step
        half = (rest + 1) // 2
        middle = values[first + half - 1]
        first += half * (middle < limit or (or_equal and middle == limit))
        rest -= half
    return first


@compiled(fastmath={"reassoc"})
def _compare_all(
    row: Float[np.ndarray, " rows"],
    marks: Float[np.ndarray, " thresholds"],
    above: Int[np.ndarray, " thresholds"],
    at_least: Int[np.ndarray, " thresholds"],
) -> None:
    """Strip by strip; counts in float32 fill a vector register as scores do, and a strip's count is exact."""
    one, none = np.float32(1), np.float32(0)
    for begin in range(0, len(row), _STRIP):
        strip = row[begin : begin + _STRIP]
        for mark in range(len(marks)):
            threshold, more, same = marks[mark], none, none
            for column in range(len(strip)):
                more += one if strip[column] > threshold else none
                same += one if strip[column] >= threshold else none
            above[mark] += np.int64(more)
            at_least[mark] += np.int64(same)


@compiled()
def _take_out(
    score: float,
    marks: Float[np.ndarray, " thresholds"],
    above: Int[np.ndarray, " thresholds"],
    at_least: Int[np.ndarray, " thresholds"],
) -> None:
    for mark in range(len(marks)):
        above[mark] -= score > marks[mark]
        at_least[mark] -= score >= marks[mark]


@compiled()
def _note(
    score: float, sign: int, marks: Float[np.ndarray, " thresholds"], tally: Int[np.ndarray, "2 places"]
) -> None:
    """Tally a score by how many thresholds are below it, and by how many are not above it."""
    below = reached = _number_below(marks, score)
    if below < len(marks) and marks[below] == score:
        reached = _number_below(marks, score, True)
    tally[0, below] += sign
    tally[1, reached] += sign


@compiled()
def _add_up(
    tally: Int[np.ndarray, "2 places"],
    above: Int[np.ndarray, " thresholds"],
    at_least: Int[np.ndarray, " thresholds"],
) -> None:
    more, same = 0, 0
    for mark in range(len(above) - 1, -1, -1):
        more += tally[0, mark + 1]
        same += tally[1, mark + 1]
        above[mark] += more
        at_least[mark] += same


@compiled(parallel=True)
def contained(
    offsets: Int[np.ndarray, " queries+1"],
    answers: Int[np.ndarray, " answers"],
    known_starts: Int[np.ndarray, " queries"],
    known_stops: Int[np.ndarray, " queries"],
    known: Int[np.ndarray, " known"],
) -> Bool[np.ndarray, " answers"]:
    """Which answers are among the known ones of their query."""
    found = np.zeros(len(answers), np.bool_)
    for query in prange(len(offsets) - 1):
        mine = known[known_starts[query] : known_stops[query]]
        for place in range(offsets[query], offsets[query + 1]):
            at = _number_below(mine, answers[place])
            found[place] = at < len(mine) and mine[at] == answers[place]
    return found


@compiled(parallel=True)
def count_allowed(
    known_starts: Int[np.ndarray, " queries"],
    known_stops: Int[np.ndarray, " queries"],
    known: Int[np.ndarray, " known"],
    types: Int[np.ndarray, " entities"],
    allowed: Bool[np.ndarray, "queries types"],
) -> Int[np.ndarray, " queries"]:
    """How many of each query's known answers are of an allowed type."""
    counts = np.zeros(len(known_starts), np.int64)
    for query in prange(len(known_starts)):
        total = 0
        for place in range(known_starts[query], known_stops[query]):
            total += allowed[query, types[known[place]]]
        counts[query] = total
    return counts


@compiled(parallel=True)
def offer(
    tile: Float[np.ndarray, "queries rows"],
    start: int,
    excluded_starts: Int[np.ndarray, " queries"],
    excluded_stops: Int[np.ndarray, " queries"],
    excluded: Int[np.ndarray, " excluded"],
    sizes: Int[np.ndarray, " queries"],
    scores: Float[np.ndarray, "queries k"],
    entities: Int[np.ndarray, "queries k"],
) -> Bool[np.ndarray, " queries"]:
    """Keep the k best candidates of each query seen so far, as a heap with the weakest first.

    Blocks come in the order of entities: a candidate that only equals the weakest has the higher id and stays out.

    Returns:
        Where a score was not a number.
    """
    broken = np.zeros(len(tile), np.bool_)
    for query in prange(len(tile)):
        row, best, ids = tile[query], scores[query], entities[query]
        broken[query] = _any_nan(row)
        barred = excluded[excluded_starts[query] : excluded_stops[query]]
        place, size = _number_below(barred, start), sizes[query]
        for column in range(len(row)):
            if size == len(best) and row[column] <= best[0]:
                continue
            while place < len(barred) and barred[place] < start + column:
                place += 1
            if place < len(barred) and barred[place] == start + column:
                continue
            if size < len(best):
                _rise(best, ids, size, row[column], start + column)
                size += 1
            else:
                _sink(best, ids, row[column], start + column)
        sizes[query] = size
    return broken


@compiled()
def _weaker(score: float, entity: int, other_score: float, other_entity: int) -> bool:
    return score < other_score or (score == other_score and entity > other_entity)


@compiled()
def _rise(
    best: Float[np.ndarray, " k"], ids: Int[np.ndarray, " k"], size: int, score: float, entity: int
) -> None:
    """Add one to a heap that is not full."""
    at = size
    while at > 0:
        parent = (at - 1) // 2
        if not _weaker(score, entity, best[parent], ids[parent]):
            break
        best[at], ids[at] = best[parent], ids[parent]
        at = parent
    best[at], ids[at] = score, entity


@compiled()
def _sink(best: Float[np.ndarray, " k"], ids: Int[np.ndarray, " k"], score: float, entity: int) -> None:
    """Put one in the place of the weakest of a full heap."""
    at = 0
    while 2 * at + 1 < len(best):
        child = 2 * at + 1
        if child + 1 < len(best) and _weaker(best[child + 1], ids[child + 1], best[child], ids[child]):
            child += 1
        if not _weaker(best[child], ids[child], score, entity):
            break
        best[at], ids[at] = best[child], ids[child]
        at = child
    best[at], ids[at] = score, entity


_POISSON = np.array(  # below entry k, a 64-bit number means at most k: 2^64 times the distribution function, mean 1
    [
        6786177901268885275, 13572355802537770549, 16965444753172213187, 18096474403383694066,
        18379231815936564286, 18435783298447138330, 18445208545532234004, 18446555009401533386,
        18446723317385195808, 18446742018272269411, 18446743888360976771, 18446744058369041077,
        18446744072536379769, 18446744073626175053, 18446744073704017573, 18446744073709207074,
        18446744073709531418, 18446744073709550497, 18446744073709551557, 18446744073709551613,
    ],
    dtype=np.uint64,
)  # fmt: skip


@compiled()
def _weight(stream: np.uint64, triple: int) -> int:
    number = word(stream, triple)
    times = 0
    while times < len(_POISSON) and number >= _POISSON[times]:
        times += 1
    return times


@compiled(parallel=True)
def resample(
    streams: UInt[np.ndarray, " resamples"],
    triples: Int[np.ndarray, " rankings"],
    values: Float[np.ndarray, "rankings columns"],
    sums: Float[np.ndarray, "resamples columns"],
) -> None:
    """Add each ranking's values to every resample, times how often its triple was drawn there.

    That number, Poisson with mean 1, is a function of the resample's stream and the triple alone: both sides of a
    triple count equally often, wherever they stand. It is number `triple` of SplitMix64 started at the stream.
    Sources: Steele, Lea & Flood 2014 (SplitMix64); Chamandy et al. 2012 (Poisson bootstrap).
    """
    for number in prange(len(streams)):
        stream, total = streams[number], sums[number]
        for ranking in range(len(triples)):
            times = _weight(stream, triples[ranking])
            if times:
                for column in range(values.shape[1]):
                    total[column] += times * values[ranking, column]
