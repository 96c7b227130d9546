"""The entity table: rows by id, blocks in order, updates block by block."""

import pytest
import torch
from torch.testing import assert_close

from corollary.learners.entity_table import EntityTable
from corollary.training.optimizers import OptimizerConfig, Rule
from tests.learners.small_conve import Recorder


def table(bias=True, block_rows=4, rows=10, dim=3):
    made = EntityTable(rows, dim, bias=bias, block_rows=block_rows, device="cpu")
    made.initialise(0, std=1.0)
    return made


def give_gradient(made, **gradients):
    """Put a gradient where a loss would: into the blocks of a sweep."""
    for block in made.sweep(gradient=True):
        rows = slice(block.start, block.start + len(block.weight))
        for name, gradient in gradients.items():
            target = getattr(block, f"{name}_gradient")
            target.copy_(gradient[rows]) if block.fresh else target.add_(gradient[rows])


@pytest.mark.parametrize(
    ("block_rows", "starts"), [(4, [0, 4, 8]), (1, list(range(10))), (10, [0]), (99, [0])]
)
def test_blocks_cover_the_table_in_order(block_rows, starts):
    """Fixed blocks as views of the table, the last one shorter."""
    made = table(block_rows=block_rows)
    blocks = list(made.sweep(gradient=False))
    assert [block.start for block in blocks] == starts
    assert torch.equal(torch.cat([block.weight for block in blocks]), made.parts["weight"])
    assert blocks[0].weight.data_ptr() == made.parts["weight"].data_ptr()
    assert made.starts == starts
    assert made.block_slices()[-1].stop == 10


def test_first_rows_are_a_function_of_the_seed_and_bias_starts_at_zero():
    """A longer table begins with the same whole blocks."""
    made = table()
    assert torch.equal(made.parts["weight"], table().parts["weight"])
    assert torch.equal(made.parts["weight"][:8], table(rows=13).parts["weight"][:8])
    assert made.parts["bias"].count_nonzero() == 0
    large = EntityTable(2000, 10, bias=False, block_rows=300, device="cpu")
    large.initialise(1, std=0.1)
    assert large.parts["weight"].std().item() == pytest.approx(0.1, rel=0.02)
    assert list(large.parts) == ["weight"]
    assert large.block(slice(3, 5))[1] is None


def test_gradients_of_fetched_rows_land_in_the_table():
    """Added to what the sweep wrote, once for every time a row was fetched."""
    made, ids = table(), torch.tensor([3, 9, 3])
    made.prepare_training(Recorder())
    sweep, fetched = torch.randn(10, 3), torch.randn(3, 3)
    rows = made.rows(ids)
    assert torch.equal(rows.detach(), made.parts["weight"][ids])
    give_gradient(made, weight=sweep, bias=torch.zeros(10))
    (rows * fetched).sum().backward()
    recorder = Recorder()
    made.update(recorder, step=1, lr=0.0)
    expected = sweep.clone()
    for row, gradient in zip(ids, fetched, strict=True):
        expected[row] += gradient
    assert_close(torch.cat(recorder.seen[::2]), expected)


def test_rows_record_no_gradient_before_training():
    """Scoring costs no second table."""
    made = table()
    assert not made.rows(torch.tensor([1])).requires_grad
    made.prepare_training(Recorder())
    with torch.no_grad():
        assert not made.rows(torch.tensor([1])).requires_grad


def test_an_update_uses_the_gradient_up():
    """Two sweeps before an update add up; the first one after it starts afresh."""
    made, gradient = table(), {"weight": torch.ones(10, 3), "bias": torch.ones(10)}
    made.prepare_training(Recorder())
    norms = []
    for sweeps in (1, 2, 1):
        for _ in range(sweeps):
            give_gradient(made, **gradient)
        norms.append(made.squared_gradient_norm().item())
        made.update(Recorder(), step=1, lr=0.0)
    assert norms == [40.0, 160.0, 40.0]


def test_a_factor_scales_the_gradient_before_the_update():
    """As clipping does."""
    made = table()
    made.prepare_training(Recorder())
    give_gradient(made, weight=torch.ones(10, 3), bias=torch.ones(10))
    recorder = Recorder()
    made.update(recorder, step=1, lr=0.0, factor=torch.tensor(0.25))
    assert all((seen == 0.25).all() for seen in recorder.seen)


@pytest.mark.parametrize("name", ["adam", "adagrad", "sgd"])
def test_a_table_that_takes_moments_back_goes_on_with_the_same_bytes(name):
    """Moments are whole tensors; copied into another table, the next update is the same."""
    rule = Rule(OptimizerConfig(name=name))
    made, copy = table(), table()
    for each in (made, copy):
        each.prepare_training(rule)
    give_gradient(made, weight=torch.randn(10, 3), bias=torch.randn(10))
    made.update(rule, step=1, lr=0.1)
    assert len(made.moments) == 2 * rule.config.moments
    for part, values in copy.parts.items():
        values.copy_(made.parts[part])
    for moment, values in copy.moments.items():
        values.copy_(made.moments[moment])
    weight, bias = torch.randn(10, 3), torch.randn(10)
    for each in (made, copy):
        give_gradient(each, weight=weight.clone(), bias=bias.clone())
        each.update(rule, step=2, lr=0.1)
    assert all(torch.equal(made.parts[part], copy.parts[part]) for part in made.parts)
    assert all(torch.equal(made.moments[moment], copy.moments[moment]) for moment in made.moments)
