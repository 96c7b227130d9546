"""Influence along paths of two and three training triples from the head of an asked triple to its tail.

Directions of triples do not matter; entities of a path are distinct. A path's influence is the sum of its triples'.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

PATHS_LISTED = 10
"""Paths that are listed of each sign and length."""


@dataclass(frozen=True)
class Path:
    """One path: rows of its candidates from the head of the asked triple on, and their influences."""

    places: list[int]
    scores: list[float]

    @property
    def influence(self) -> float:
        return sum(self.scores)


@dataclass(frozen=True)
class PathSum:
    """All paths of one length."""

    length: int
    num_paths: int
    num_triples: int
    """Distinct ones on them."""
    influence: float
    """Sum over paths."""
    support: float
    """Sum of influences above zero of the triples on them, each once."""
    opposition: float
    best: list[Path]
    """Largest influence first. Of parallel triples the one with most influence."""
    worst: list[Path]
    """Smallest first, of parallel triples the one with least."""


class PathEdges:
    """The candidates that lie on paths of an asked triple, and their influences as they come in.

    Memory: 20 bytes for each of them and asked triple; found with a few passes over the candidates an asked triple.
    """

    def __init__(
        self,
        triples: Int[np.ndarray, "candidates 3"],
        order: Int[np.ndarray, " candidates"],
        asked: np.ndarray,
    ) -> None:
        """Find them.

        Args:
            order: in which candidates come by.
        """
        self._triples, self._asked = triples, asked
        places = [_on_paths(triples, int(head), int(tail)) for head, _, tail in asked]
        number = np.repeat(np.arange(len(asked), dtype=np.int32), [len(some) for some in places])
        turn = np.empty(len(order), dtype=np.int64)
        turn[order] = np.arange(len(order))
        every = np.concatenate([np.zeros(0, np.int64), *places])
        by_turn = np.argsort(turn[every], kind="stable")
        self._place, self._number = every[by_turn], number[by_turn]
        self._turn = turn[self._place]
        self.values = np.zeros(len(every), dtype=np.float32)

    def add(self, first: int, scores: Float[np.ndarray, "block asked"]) -> None:
        """Take in a block of candidates, the `first`th in order and those that follow."""
        start, stop = np.searchsorted(self._turn, [first, first + len(scores)])
        some = slice(start, stop)
        self.values[some] = scores[self._turn[some] - first, self._number[some]]

    def sums(self, number: int) -> list[PathSum]:
        """Paths of one asked triple, after the last block."""
        mine = self._number == number
        place = np.sort(self._place[mine])
        scores = np.zeros(len(place))
        scores[np.searchsorted(place, self._place[mine])] = self.values[mine]
        head, _, tail = (int(part) for part in self._asked[number])
        ends = _Ends(self._triples[place], scores, head, tail)
        return [_renumbered(found, place) for found in (_two(ends), _three(ends))]


def _on_paths(triples: np.ndarray, head: int, tail: int) -> Int[np.ndarray, " places"]:
    """Places of the candidates that lie on a path."""
    ends = _Ends(triples, np.zeros(len(triples)), head, tail)
    marked = np.zeros(len(triples), dtype=bool)
    for found in (_two_steps(ends), _three_steps(ends)):
        marked |= _marked(ends, found)
    return np.flatnonzero(marked)


class _Ends:
    """Candidates by what they touch: the head of the asked triple, its tail, or neither."""

    def __init__(self, triples: np.ndarray, scores: np.ndarray, head: int, tail: int) -> None:
        one, other = triples[:, 0].astype(np.int64), triples[:, 2].astype(np.int64)
        self.scores, self.same = scores, head == tail
        self.size = int(max(one.max(initial=0), other.max(initial=0), head, tail)) + 1
        inner = [(side != head) & (side != tail) for side in (one, other)]
        touching = [
            (np.where(one == end, other, one), ((one == end) & inner[1]) | ((other == end) & inner[0]))
            for end in (head, tail)
        ]
        (self.from_head, at_head), (self.to_tail, at_tail) = touching
        self.first, self.last = np.flatnonzero(at_head), np.flatnonzero(at_tail)
        middle = np.flatnonzero(inner[0] & inner[1] & (one != other))
        self.middle = np.concatenate([middle, middle])
        self.left = np.concatenate([one[middle], other[middle]])
        self.right = np.concatenate([other[middle], one[middle]])
        self.heads = np.bincount(self.from_head[self.first], minlength=self.size)
        self.tails = np.bincount(self.to_tail[self.last], minlength=self.size)
        if self.same:
            self.heads[:] = self.tails[:] = 0

    def summed(self, places: np.ndarray, entity: np.ndarray) -> Float[np.ndarray, " entities"]:
        """Sum of influences by entity."""
        found = np.bincount(entity[places], weights=self.scores[places], minlength=self.size)
        return found.astype(np.float64)  # of no places they would be whole numbers

    def strongest(self, places: np.ndarray, entity: np.ndarray, sign: int) -> Int[np.ndarray, " entities"]:
        """The candidate with most influence of that sign by entity, -1 where there is none."""
        found = np.full(self.size, -1, dtype=np.int64)
        order = places[np.lexsort((-places, sign * self.scores[places]))]
        found[entity[order]] = order  # the last one written counts
        return found


Steps = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Entity after the head, entity before the tail, and the candidate between them, -1 where both are one."""


def _two_steps(ends: _Ends) -> Steps:
    entity = np.flatnonzero((ends.heads > 0) & (ends.tails > 0))
    return entity, entity, np.full(len(entity), -1)


def _three_steps(ends: _Ends) -> Steps:
    on = (ends.heads[ends.left] > 0) & (ends.tails[ends.right] > 0)
    return ends.left[on], ends.right[on], ends.middle[on]


def _marked(ends: _Ends, steps: Steps) -> np.ndarray:
    """Which candidates are on these paths."""
    left, right, middle = steps
    after, before = np.zeros(ends.size, dtype=bool), np.zeros(ends.size, dtype=bool)
    after[left], before[right] = True, True
    marked = np.zeros(len(ends.scores), dtype=bool)
    marked[ends.first] = after[ends.from_head[ends.first]]
    marked[ends.last] |= before[ends.to_tail[ends.last]]
    marked[middle[middle >= 0]] = True
    return marked


def _two(ends: _Ends) -> PathSum:
    return _path_sum(ends, 2, _two_steps(ends))


def _three(ends: _Ends) -> PathSum:
    return _path_sum(ends, 3, _three_steps(ends))


def _path_sum(ends: _Ends, length: int, steps: Steps) -> PathSum:
    left, right, middle = steps
    heads, tails = ends.heads[left].astype(np.float64), ends.tails[right].astype(np.float64)
    between = np.where(middle >= 0, ends.scores[middle], 0.0) if len(middle) else np.zeros(0)
    before, after = (
        ends.summed(ends.first, ends.from_head)[left],
        ends.summed(ends.last, ends.to_tail)[right],
    )
    on = ends.scores[_marked(ends, steps)]
    return PathSum(
        length=length,
        num_paths=int((heads * tails).sum()),
        num_triples=len(on),
        influence=float((heads * tails * between + before * tails + heads * after).sum()),
        support=float(on[on > 0].sum()),
        opposition=float(on[on < 0].sum()),
        best=_listed(ends, steps, 1),
        worst=_listed(ends, steps, -1),
    )


def _listed(ends: _Ends, steps: Steps, sign: int) -> list[Path]:
    """The strongest paths of a sign, each through other entities."""
    left, right, middle = steps
    if not len(left):
        return []
    first = ends.strongest(ends.first, ends.from_head, sign)[left]
    last = ends.strongest(ends.last, ends.to_tail, sign)[right]
    total = ends.scores[first] + ends.scores[last] + np.where(middle >= 0, ends.scores[middle], 0.0)
    order = np.lexsort((middle, right, left, -sign * total))
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    for step in order:
        if len(found) == PATHS_LISTED or sign * total[step] <= 0:
            break
        entities = int(left[step]), int(right[step])
        if entities not in seen:
            seen.add(entities)
            places = [int(place) for place in (first[step], middle[step], last[step]) if place >= 0]
            found.append(Path(places, [float(ends.scores[place]) for place in places]))
    return found


def _renumbered(found: PathSum, place: np.ndarray) -> PathSum:
    """Places among all candidates in place of those among the candidates on paths."""

    def moved(paths: list[Path]) -> list[Path]:
        return [Path([int(place[i]) for i in path.places], path.scores) for path in paths]

    values = {**found.__dict__, "best": moved(found.best), "worst": moved(found.worst)}
    return PathSum(**values)
