"""Sums over paths equal a walk over all of them."""

import numpy as np
import pytest

from corollary.runs.tracing.paths import PathEdges


def every_path(triples, head, tail, length):
    """All sequences of distinct triples through distinct entities, either way along each triple."""
    found = []

    def walk(entity, seen, rows):
        if len(rows) == length:
            if entity == tail:
                found.append(rows)
            return
        for row, (one, _, other) in enumerate(triples.tolist()):
            for start, stop in {(one, other), (other, one)}:
                last = len(rows) == length - 1
                if start == entity and row not in rows and stop not in seen and (stop == tail) == last:
                    walk(stop, {*seen, stop}, [*rows, row])

    walk(head, {head}, [])
    return found


@pytest.mark.parametrize("seed", range(4))
def test_sums_equal_a_walk_over_all_paths(seed):
    """Number, influence, triples, and the strongest of each sign, with parallel triples and loops."""
    rng = np.random.default_rng(seed)
    triples = np.unique(rng.integers(0, (6, 2, 6), (30, 3)), axis=0)
    scores = rng.normal(size=len(triples)).astype(np.float32)
    asked = np.array([[0, 0, 5], [2, 1, 3], [4, 0, 4]])
    order = rng.permutation(len(triples))
    edges = PathEdges(triples, order, asked)
    for first in range(0, len(order), 7):
        edges.add(first, np.repeat(scores[order[first : first + 7], None], len(asked), axis=1))
    for number, (head, _, tail) in enumerate(asked.tolist()):
        for found in edges.sums(number):
            paths = every_path(triples, head, tail, found.length) if head != tail else []
            sums = [float(scores[path].sum()) for path in paths]
            on = scores[sorted({row for path in paths for row in path})]
            assert (found.num_paths, found.num_triples) == (len(paths), len(on))
            assert found.influence == pytest.approx(sum(sums), abs=1e-5)
            assert found.support == pytest.approx(on[on > 0].sum(), abs=1e-5)
            assert found.opposition == pytest.approx(on[on < 0].sum(), abs=1e-5)
            if sums and max(sums) > 0:
                assert found.best[0].influence == pytest.approx(max(sums), abs=1e-5)
            if sums and min(sums) < 0:
                assert found.worst[0].influence == pytest.approx(min(sums), abs=1e-5)
            for path in (*found.best, *found.worst):
                assert path.places in paths


def test_nothing_is_on_a_path_where_there_is_none():
    """Head and tail apart, and no candidates at all."""
    triples = np.array([[0, 0, 1], [2, 0, 3]])
    edges = PathEdges(triples, np.arange(2), np.array([[0, 0, 3]]))
    assert [found.num_paths for found in edges.sums(0)] == [0, 0]
    assert not len(edges.values)
