"""What the samplers draw: never twice, never too many, all alike."""

import numpy as np
import pytest

from corollary.kernels.sampling import draw_by_budget, draw_edges, draw_neighbours, edges_between, spread

SIZES = np.array([0, 3, 12, 40])


def lists():
    bounds = np.concatenate([[0], np.cumsum(SIZES)])
    return np.array([0, 2, 4]), np.array([1, 0, 3, 2]), bounds  # row 0 has lists 1 and 0, row 1 has 3 and 2


@pytest.mark.parametrize("fan_out", [1, 3, 12, 50])
def test_every_list_gives_its_share_without_repeats(fan_out):
    """As many as asked for or all there are, from the right list, whatever the order of the frontier."""
    row_bounds, row_lists, bounds = lists()
    for frontier in ([0, 1], [1], [1, 0]):
        drawn = draw_neighbours(np.array(frontier), row_bounds, row_lists, bounds, fan_out, np.uint64(7))
        wanted = [one for row in frontier for one in row_lists[row_bounds[row] : row_bounds[row + 1]]]
        for one in wanted:
            edges = drawn[1, drawn[0] == one]
            assert len(edges) == len(set(edges.tolist())) == min(fan_out, SIZES[one])
            assert ((edges >= bounds[one]) & (edges < bounds[one + 1])).all()
        assert drawn.shape[1] == sum(min(fan_out, SIZES[one]) for one in wanted)


def test_neighbours_are_drawn_all_alike():
    """20,000 draws of 5 out of 40: no neighbour comes five deviations too often or too rarely; keys decide all."""
    row_bounds, row_lists, bounds = lists()
    counts = np.zeros(bounds[-1])
    for key in range(20_000):
        drawn = draw_neighbours(np.array([1]), row_bounds, row_lists, bounds, 5, np.uint64(key * 7919 + 1))
        counts[drawn[1]] += 1
    share = 5 / 40
    deviation = (20_000 * share * (1 - share)) ** 0.5
    assert (np.abs(counts[bounds[3] : bounds[4]] - 20_000 * share) < 5 * deviation).all()
    again = [draw_neighbours(np.array([1]), row_bounds, row_lists, bounds, 5, np.uint64(3)) for _ in range(2)]
    assert np.array_equal(*again)


def test_edges_are_drawn_by_relation():
    """So many of each relation, or all of a smaller one; over many draws each as often as any other."""
    counts = np.zeros(SIZES.sum())
    for key in range(20_000):
        chosen = np.zeros(SIZES.sum(), np.uint8)
        draw_edges(SIZES, 10, np.uint64(key * 104729 + 5), chosen)
        counts += chosen
        if key < 50:
            parts = np.split(chosen, np.cumsum(SIZES)[:-1])
            assert [int(part.sum()) for part in parts] == [0, 3, 10, 10]
    for first, last in ((3, 15), (15, 55)):
        share = 10 / (last - first)
        deviation = (20_000 * share * (1 - share)) ** 0.5
        assert (np.abs(counts[first:last] - 20_000 * share) < 5 * deviation).all()


def test_neighbours_are_given_one_over_the_number_of_edges():
    """By edge type; what is hidden is not there, and who is taken is given nothing. Told edge by edge."""
    row_bounds, row_lists, bounds = lists()
    rng = np.random.default_rng(0)
    sources, edges = rng.integers(0, 9, bounds[-1]), np.arange(bounds[-1])
    removed = (rng.random(bounds[-1]) < 0.3).astype(np.uint8)
    taken = np.array([1, 1, 0, 0, 1, 0, 0, 0, 0], np.uint8)
    budget, expected = np.zeros(9), np.zeros(9)
    spread(np.array([1, 0]), row_bounds, row_lists, bounds, sources, edges, removed, taken, budget)
    for one in range(4):
        there = [edge for edge in range(bounds[one], bounds[one + 1]) if not removed[edge]]
        for edge in there:
            expected[sources[edge]] += (1 - taken[sources[edge]]) / len(there)
    np.testing.assert_allclose(budget, expected, rtol=1e-12)
    found = edges_between(np.array([0, 1]), row_bounds, row_lists, bounds, sources, edges, removed, taken)
    inside = [edge for edge in range(bounds[-1]) if taken[sources[edge]] and not removed[edge]]
    assert sorted(found[1].tolist()) == inside
    assert (found[0] == np.searchsorted(bounds, found[1], side="right") - 1).all()


def test_rows_are_drawn_by_their_squared_budget():
    """20,000 draws of one, and of two without repeats, against their chances: within five deviations."""
    budget, taken = np.array([9.0, 1.0, 2.0, 0.0, 3.0, 5.0, 9.0]), np.array([0, 0, 0, 0, 0, 1, 0], np.uint8)
    weights = np.array([1, 4, 0, 9]) / 14  # rows 1 to 4; row 5 is taken, rows 0 and 6 are of another type
    first, both = np.zeros(4), np.zeros(4)
    for key in range(20_000):
        one = draw_by_budget(1, 6, budget, taken, 1, np.uint64(key * 7919 + 1))
        two = draw_by_budget(1, 6, budget, taken, 2, np.uint64(key * 7919 + 2))
        first[one - 1] += 1
        both[two - 1] += 1
        assert len(set(two.tolist())) == 2
    second = sum(weights[i] * np.where(np.arange(4) == i, 0, weights / (1 - weights[i])) for i in range(4))
    for counts, chance in ((first, weights), (both, weights + second)):
        deviation = np.sqrt(20_000 * chance * (1 - chance))
        assert (np.abs(counts - 20_000 * chance) <= 5 * deviation).all()
    assert draw_by_budget(1, 6, budget, taken, 9, np.uint64(0)).tolist() == [1, 2, 4]
