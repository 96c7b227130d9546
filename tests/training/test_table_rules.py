"""Optimisers of an entity table: one number a row, and rows that count their own steps."""

import pytest
import torch
from torch.testing import assert_close

from corollary.learners.entity_table import EntityTable
from corollary.records.run_folder import RunFolder
from corollary.training.averaging import tensors
from corollary.training.optimizers import OptimizerConfig, state_bytes, table_rule
from tests.learners.test_entity_table import give_gradient
from tests.reference.sampled import rowwise_adagrad
from tests.training.lives import small_loop

ROWS, DIM, STEPS, LR = 11, 5, 9, 0.1
EXACT = {"rtol": 0, "atol": 1e-10}


def problem():
    """A table in float64, and for each step the rows it names (0 to 7 of them) with their gradients."""
    rng = torch.Generator().manual_seed(0)
    weight, bias = (
        torch.randn(shape, generator=rng, dtype=torch.float64) for shape in ((ROWS, DIM), (ROWS,))
    )
    named = torch.rand(STEPS, ROWS, generator=rng) < 0.4
    gradients = torch.randn(STEPS, ROWS, DIM, generator=rng, dtype=torch.float64) * named[:, :, None]
    return weight, bias, named, gradients


def sampled_table(config: OptimizerConfig) -> EntityTable:
    """After all steps; the gradient of a bias is the first entry of that of the row."""
    weight, bias, named, gradients = problem()
    table = EntityTable(ROWS, DIM, bias=True, block_rows=3, sampled=True)
    table.parts = {"weight": weight.clone(), "bias": bias.clone()}
    rule = table_rule(config, sampled=True)
    table.prepare_training(rule)
    for name, state in table.moments.items():  # made in float32, as tables are
        part, moment = name.split(".")
        table._states[part][moment] = state.double()
    for step in range(STEPS):
        ids = named[step].nonzero().flatten()
        table.add_gradient(ids, gradients[step, ids], gradients[step, ids, 0])
        table.update(rule, step=step + 1, lr=LR)
    return table


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_rowwise_adagrad_equals_the_plain_one(decay):
    """Weights and biases, over several steps that name different rows."""
    weight, bias, _, gradients = problem()
    table = sampled_table(OptimizerConfig(table="rowwise_adagrad", eps=1e-3, weight_decay=decay))
    options = {"lr": LR, "eps": 1e-3, "decay": decay}
    assert_close(table.parts["weight"], rowwise_adagrad(weight, gradients, **options), **EXACT)
    expected = rowwise_adagrad(bias[:, None], gradients[:, :, :1], **options)
    assert_close(table.parts["bias"], expected[:, 0], **EXACT)


@pytest.mark.parametrize("block_rows", [1, 4, 99])
def test_rowwise_adagrad_of_every_row_equals_the_plain_one(block_rows):
    """Where nothing is sampled: block by block, and of the rows put aside in a sweep."""
    weight, bias, _, gradients = problem()
    table = EntityTable(ROWS, DIM, bias=True, block_rows=block_rows)
    table.parts = {"weight": weight.clone(), "bias": bias.clone()}
    rule = table_rule(OptimizerConfig(table="rowwise_adagrad", eps=1e-3), sampled=False)
    table.prepare_training(rule)
    for name, state in table.moments.items():
        part, moment = name.split(".")
        table._states[part][moment] = state.double()
    for step in range(STEPS):
        give_gradient(table, weight=gradients[step], bias=gradients[step, :, 0])
        table.update(rule, step=step + 1, lr=LR)
    assert_close(table.parts["weight"], rowwise_adagrad(weight, gradients, lr=LR, eps=1e-3), **EXACT)


@pytest.mark.parametrize(
    "case",
    [
        {"name": "adam"},
        {"name": "adam", "weight_decay": 0.1, "beta1": 0.5, "beta2": 0.9, "eps": 1e-3},
        {"name": "adam", "beta1": 0.0},
        {"name": "adamw", "weight_decay": 0.1},
        {"name": "adagrad", "weight_decay": 0.1},
        {"name": "sgd", "weight_decay": 0.1},
        {"name": "sgd", "momentum": True},
    ],
    ids=str,
)
def test_a_row_goes_where_torch_takes_it_in_the_steps_that_name_it(case):
    """Each row alone in torch's own optimiser, shown only those steps: moments, bias correction, momentum and decay
    count the steps of the row."""
    from tests.training.test_optimizers import torchs_own

    config = OptimizerConfig(**case)
    table = sampled_table(config)
    weight, _, named, gradients = problem()
    assert named.sum(0).min() < named.sum(0).max()
    for row in range(ROWS):
        alone = weight[row].clone().requires_grad_()
        optimizer = torchs_own(config, [alone])
        for step in named[:, row].nonzero().flatten():
            alone.grad = gradients[step, row].clone()
            optimizer.step()
        assert_close(table.parts["weight"][row], alone.detach(), **EXACT)


def test_state_beside_a_row_is_counted():
    """Four bytes for the weights of a row and four for its bias, in place of two vectors."""
    for config, sampled, size in (
        (OptimizerConfig(), False, 2 * 4 * 201),
        (OptimizerConfig(), True, 2 * 4 * 201 + 2 * 4),
        (OptimizerConfig(table="rowwise_adagrad"), True, 8),
        (OptimizerConfig(table="rowwise_adagrad"), False, 8),
        (OptimizerConfig(name="sgd"), True, 0),
    ):
        assert state_bytes(config, 200, bias=True, sampled=sampled) == size
    table = EntityTable(ROWS, DIM, bias=True, block_rows=3, sampled=True)
    table.prepare_training(table_rule(OptimizerConfig(table="rowwise_adagrad"), sampled=True))
    assert {name: state.shape for name, state in table.moments.items()} == {
        "weight.squares": (ROWS,),
        "bias.squares": (ROWS,),
    }


@pytest.mark.parametrize("values", [{}, {"clip_norm": 0.5}])
@pytest.mark.parametrize("optimizer", [{"name": "sgd"}, {"table": "rowwise_adagrad"}])
def test_the_table_may_have_a_rate_of_its_own(tiny, tmp_path, optimizer, values):
    """One step with twice the rate takes the table twice as far and the network as far as before, wherever the update
    is made."""
    moved = []
    for factor in (1, 2):
        run = RunFolder.create(tmp_path / str(factor), {})
        options = {"epochs": 1, "optimizer": {**optimizer, "table_lr_factor": factor}, **values}
        loop = small_loop(tiny, run, options, batch_size=10_000)
        before = {name: value.clone() for name, value in tensors(loop.learner).items()}
        loop.train()
        moved.append({name: value - before[name] for name, value in tensors(loop.learner).items()})
    assert_close(moved[1]["entities.weight"], 2 * moved[0]["entities.weight"], rtol=1e-4, atol=1e-6)
    assert torch.equal(moved[1]["projection"], moved[0]["projection"])
