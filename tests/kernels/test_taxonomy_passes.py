"""The compiled passes against autograd: one pair at a time, in every place of an epoch."""

import numpy as np
import pytest

from corollary.geometry import hyperbolic as geometry
from corollary.graph.taxonomy import Taxonomy
from corollary.kernels import splitmix
from corollary.kernels.prefetching import prefetch_row
from corollary.kernels.taxonomy import ball, euclidean, hinge, levels, negatives, rows, softmax
from corollary.kernels.taxonomy.tree import pair_in_order
from tests.reference import hyperbolic as reference

DIM, NEGATIVES, KEY = 3, 4, np.uint64(12345)
LINKS = [(node, (node - 1) // 3) for node in range(1, 60)]
CLOSE = {"rtol": 0, "atol": 1e-9}  # sums in another order at radii up to 4, where arccosh loses 1e-11 near 1


def taxonomy() -> Taxonomy:
    child, parent = np.array(LINKS).T
    return Taxonomy.build(child, parent)


def start(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((count, DIM))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions * rng.uniform(0.5, 4.0, (count, 1))


def pair_and_negatives(tree: Taxonomy, place: int) -> tuple[int, list[int]] | None:
    """What a pass meets at a place; None where a negative comes twice, which the reference does not do."""
    row, positive = pair_in_order(tree.tree, place, KEY)
    quotas = np.zeros(negatives.NUM_TIERS, np.int64)
    quotas[negatives.UNIFORM] = NEGATIVES
    weights, key = tree.degree_weights(0.75), splitmix.word(KEY, place)
    found = negatives.draw_all(tree.tree, weights, quotas, np.array([row]), np.array([key], np.uint64))[
        0
    ].tolist()
    return (row, [positive, *found]) if len(set(found)) == NEGATIVES else None


def quotas() -> np.ndarray:
    found = np.zeros(negatives.NUM_TIERS, np.int64)
    found[negatives.UNIFORM] = NEGATIVES
    return found


def table_of(points: np.ndarray) -> tuple[np.ndarray, int]:
    table, width = rows.new_table(len(points), DIM), rows.padded(DIM)
    table[:, :DIM] = points
    rows.refresh(table, width)
    return table, width


@pytest.mark.parametrize("adagrad", [True, False])
def test_softmax_moves_rows_as_autograd_says(adagrad):
    """Thirty pairs one after the other: loss, vectors and sums of squares, for Adagrad and SGD."""
    tree = taxonomy()
    points, squares = start(len(tree)), np.zeros(len(tree))
    table, width = table_of(points)
    rate, compared = 0.3, 0
    for place in range(40):
        met = pair_and_negatives(tree, place)
        if met is None:
            continue
        table[:, :DIM], table[:, width + rows.SQUARES] = points, squares
        rows.refresh(table, width)
        tally = softmax.softmax_pass(
            table, width, tree.tree, tree.degree_weights(0.75), quotas(), place, place + 1, KEY, rate, adagrad, 0.0,
            50.0, 1,
        )  # fmt: skip
        loss = reference.softmax_step(points, squares, *met, rate, adagrad=adagrad)
        assert tally[0, rows.LOSS] == pytest.approx(loss, abs=1e-9)
        np.testing.assert_allclose(table[:, :DIM], points, **CLOSE)
        np.testing.assert_allclose(table[:, width + rows.SQUARES], squares, **CLOSE)
        compared += 1
    assert compared > 15


def test_ball_coordinates_move_as_the_paper_says():
    """Riemannian SGD with retraction."""
    tree = taxonomy()
    points, compared = geometry.to_ball(start(len(tree))), 0
    for place in range(40):
        met = pair_and_negatives(tree, place)
        if met is None:
            continue
        table = points.copy()
        tally = ball.ball_pass(
            table, tree.tree, tree.degree_weights(0.75), quotas(), place, place + 1, KEY, 0.3, 20.0, 1
        )
        loss = reference.ball_step(points, *met, 0.3)
        assert tally[0, rows.LOSS] == pytest.approx(loss, abs=1e-9)
        np.testing.assert_allclose(table, points, **CLOSE)
        compared += 1
    assert compared > 15


def test_the_euclidean_control_moves_as_autograd_says():
    """The same pairs and negatives, straight distances."""
    tree = taxonomy()
    points, squares, compared = start(len(tree)), np.zeros(len(tree)), 0
    for place in range(40):
        met = pair_and_negatives(tree, place)
        if met is None:
            continue
        table, sums = points.copy(), squares.copy()
        loss = euclidean.euclidean_pass(
            table, sums, tree.tree, tree.degree_weights(0.75), quotas(), place, place + 1, KEY, 0.3, 0.0, 1
        )
        assert loss == pytest.approx(reference.euclidean_step(points, squares, *met, 0.3), abs=1e-9)
        np.testing.assert_allclose(table, points, **CLOSE)
        np.testing.assert_allclose(sums, squares, **CLOSE)
        compared += 1
    assert compared > 15


@pytest.mark.parametrize("adagrad", [True, False])
@pytest.mark.parametrize("regular", [0.0, 0.05])
def test_the_hinge_loss_is_the_older_scripts(adagrad, regular):
    """Margin, weight by the root of the gap, radial term over the rows of the pair alone; other rows stay as they are."""
    tree = taxonomy()
    points, squares = start(len(tree)), np.zeros(len(tree))
    targets = np.linspace(0.5, 3.0, len(tree))
    table, width = table_of(points)
    none, no_rows, compared = np.empty(0, np.int64), np.empty(0, np.int32), 0
    for place in range(120):
        row, ancestor = pair_in_order(tree.tree, place, KEY)
        out = np.full((1, NEGATIVES), -1)
        keys = np.array([splitmix.word(KEY, place)], np.uint64)
        kind = levels.draw_levels(tree.tree, none, no_rows, np.array([[row, ancestor]]), keys, out)[0]
        touched = [row, ancestor, *out[0].tolist()]
        if kind == 0 or len(set(touched)) < len(touched):
            continue
        table[:, :DIM], table[:, width + rows.SQUARES] = points, squares
        rows.refresh(table, width)
        tally = hinge.hinge_pass(
            table, width, tree.tree, none, no_rows, NEGATIVES, place, place + 1, KEY, 0.3, adagrad, 0.2, 1.5, regular,
            targets, 50.0, 1,
        )  # fmt: skip
        gap = tree.tree.depth[row] - tree.tree.depth[ancestor]
        loss = reference.hinge_step(
            points, squares, touched, 0 if kind == 2 else 1, 0.3, adagrad=adagrad, weight=np.sqrt(gap + 1) / 1.5,
            margin=0.2, regular=regular, targets=targets,
        )  # fmt: skip
        assert tally[0, rows.LOSS] == pytest.approx(loss, abs=1e-9)
        np.testing.assert_allclose(table[:, :DIM], points, **CLOSE)
        compared += 1
    assert compared > 15


def test_the_mean_weight_is_that_of_the_pairs():
    """sqrt(gap + 1) over all pairs of a small tree."""
    tree = taxonomy()
    pairs = tree.pairs(np.arange(tree.num_pairs))
    depth = tree.tree.depth
    expected = np.sqrt(depth[pairs[:, 0]] - depth[pairs[:, 1]] + 1).mean()
    assert hinge.mean_gap_weight(tree.tree, np.arange(tree.num_pairs)) == pytest.approx(expected, rel=1e-14)


def test_what_is_cut_is_counted():
    """Radii beyond the largest, long steps, pairs without negatives, vectors that are no numbers."""
    tree = taxonomy()
    table, width = table_of(start(len(tree)))
    common = (tree.tree, tree.degree_weights(0.75), quotas(), 0, tree.num_pairs, KEY)
    tally = softmax.softmax_pass(table, width, *common, 50.0, False, 0.0, 4.0, 1)[0]
    assert tally[rows.CUT_STEPS] > 0
    assert tally[rows.CUT_RADII] > 0
    assert np.linalg.norm(table[:, :DIM], axis=1).max() <= 4.0 * (1 + 1e-12)
    assert tally[rows.PAIRS] == tree.num_pairs
    table[7, 0] = np.nan
    table[7, width] = np.nan
    assert softmax.softmax_pass(table, width, *common, 0.1, True, 0.0, 4.0, 1)[0, rows.NOT_FINITE] > 0
    chain = Taxonomy.build(np.array([1, 2]), np.array([0, 1]))
    table, width = table_of(start(3))
    tally = softmax.softmax_pass(
        table, width, chain.tree, chain.degree_weights(0.75), quotas(), 0, 3, KEY, 0.1, True, 0.0, 4.0, 1
    )[0]
    assert tally[rows.WITHOUT_NEGATIVES] == 2  # both pairs of the last node, which is related to all


def test_one_thread_gives_the_same_bytes_and_cutting_an_epoch_changes_nothing():
    """A pass over a range is the passes over its parts."""
    tree = taxonomy()
    whole, width = table_of(start(len(tree)))
    parts = whole.copy()
    common = (tree.tree, tree.degree_weights(0.75), quotas())
    rest = (KEY, 0.2, True, 1e-6, 36.0, 1)
    softmax.softmax_pass(whole, width, *common, 0, tree.num_pairs, *rest)
    for first in range(0, tree.num_pairs, 7):
        softmax.softmax_pass(parts, width, *common, first, min(first + 7, tree.num_pairs), *rest)
    assert whole.tobytes() == parts.tobytes()


def test_two_threads_learn_too():
    """Without locks the last digits may differ; the loss falls all the same."""
    tree = taxonomy()
    table, width = table_of(0.01 * start(len(tree)))
    losses = []
    for epoch in range(30):
        tallies = softmax.softmax_pass(
            table, width, tree.tree, tree.degree_weights(0.75), quotas(), 0, tree.num_pairs, np.uint64(epoch), 0.3, True,
            1e-6, 36.0, 2,
        )  # fmt: skip
        losses.append(tallies[:, rows.LOSS].sum() / tallies[:, rows.PAIRS].sum())
    assert losses[-1] < losses[0] / 2


def test_asking_for_a_row_changes_nothing():
    """The first and the last row of a table, as wide as one cache line and as several."""
    for dim in (2, 10, 30):
        table = rows.new_table(3, dim)
        table[:] = np.arange(table.size).reshape(table.shape)
        before = table.copy()
        prefetch_row(table, 0)
        prefetch_row(table, len(table) - 1)
        np.testing.assert_array_equal(table, before)
