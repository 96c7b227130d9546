"""Paths between two entities: all of them, their weights, the heaviest, and the sums by pattern."""

import numpy as np
import pytest

from corollary.kernels.pair_paths import NO_STEP, dampings, heaviest, pattern_weights
from corollary.rules.rule import links_of
from tests.reference.pair_paths import all_paths

ENTITIES, RELATIONS, POWER = 12, 3, 0.4


@pytest.fixture(scope="module")
def triples() -> np.ndarray:
    """A dense small graph with loops, double edges and both directions."""
    draw = np.random.default_rng(5)
    found = np.column_stack([draw.integers(0, n, 60) for n in (ENTITIES, RELATIONS, ENTITIES)])
    return np.unique(np.concatenate([found, [[3, 0, 3], [1, 1, 2], [2, 1, 1]]]), axis=0)


@pytest.mark.parametrize("longest", [2, 3])
def test_every_path_is_found_with_its_weight(triples: np.ndarray, longest: int) -> None:
    """Against a list of all simple paths, for every pair; float64, one product in another order at most."""
    links = links_of(triples, ENTITIES, RELATIONS)
    weights = dampings(links, RELATIONS, POWER)
    for start in range(ENTITIES):
        for end in range(ENTITIES):
            if start == end:
                continue
            slow = all_paths([tuple(t) for t in triples.tolist()], RELATIONS, start, end, longest, POWER)
            found = heaviest(links, weights, RELATIONS, start, end, longest, max(1, len(slow)))
            assert found.total == len(slow)
            fast = {
                (tuple(s for s in steps if s != NO_STEP), tuple(e for e in between if e >= 0)): weight
                for steps, between, weight in zip(
                    found.steps.tolist(), found.between.tolist(), found.weights, strict=True
                )
            }
            assert fast == pytest.approx(slow, rel=1e-14)


def test_the_heaviest_come_first_and_no_more_than_asked(triples: np.ndarray) -> None:
    links = links_of(triples, ENTITIES, RELATIONS)
    weights = dampings(links, RELATIONS, POWER)
    everything = heaviest(links, weights, RELATIONS, 0, 1, 3, 10_000)
    some = heaviest(links, weights, RELATIONS, 0, 1, 3, 4)
    assert some.total == everything.total > 4
    assert (np.diff(everything.weights) <= 0).all()
    assert some.weights.tolist() == everything.weights[:4].tolist()


def test_patterns_add_up_the_paths_that_follow_them(triples: np.ndarray) -> None:
    links = links_of(triples, ENTITIES, RELATIONS)
    weights = dampings(links, RELATIONS, POWER)
    pairs = np.array([(a, b) for a in range(ENTITIES) for b in range(ENTITIES) if a != b])
    steps = [(a, b, c) for a in range(6) for b in range(6) for c in (NO_STEP, 0, 4)]
    sums = pattern_weights(links, weights, RELATIONS, pairs[:, 0], pairs[:, 1], np.array(steps))
    for pair, row in zip(pairs.tolist(), sums, strict=True):
        slow = all_paths([tuple(t) for t in triples.tolist()], RELATIONS, pair[0], pair[1], 3, POWER)
        for pattern, value in zip(steps, row, strict=True):
            wanted = tuple(step for step in pattern if step != NO_STEP)
            assert value == pytest.approx(
                sum(weight for (walked, _), weight in slow.items() if walked == wanted), rel=1e-12, abs=1e-15
            )


def test_no_path_no_rows() -> None:
    links = links_of(np.array([[0, 0, 1], [2, 0, 3]]), 4, 1)
    found = heaviest(links, dampings(links, 1, POWER), 1, 0, 3, 3, 5)
    assert found.total == 0
    assert len(found.weights) == 0
