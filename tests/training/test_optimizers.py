"""Every optimiser equals torch's own, on whole tensors and on the table block by block."""

import pytest
import torch
from torch.testing import assert_close

from corollary.errors import ConfigError
from corollary.learners.entity_table import EntityTable
from corollary.training.optimizers import OptimizerConfig, Rule
from tests.learners.test_entity_table import give_gradient

EXACT = {"rtol": 0, "atol": 1e-12}
STEPS = 6
RATES = [0.1, 0.1, 0.05, 0.2, 0.0, 0.1]
CASES = [
    {"name": "adam"},
    {"name": "adam", "weight_decay": 0.1, "beta1": 0.5, "beta2": 0.9, "eps": 1e-3},
    {"name": "adamw", "weight_decay": 0.1},
    {"name": "adagrad"},
    {"name": "adagrad", "weight_decay": 0.1, "eps": 1e-10},
    {"name": "sgd"},
    {"name": "sgd", "weight_decay": 0.1},
    {"name": "sgd", "momentum": True},
    {"name": "sgd", "momentum": True, "weight_decay": 0.1, "beta1": 0.7},
]


def torchs_own(config: OptimizerConfig, weights: list[torch.Tensor]) -> torch.optim.Optimizer:
    adam = {"betas": (config.beta1, config.beta2), "eps": config.eps}
    decay = config.weight_decay
    if config.name == "adagrad":
        return torch.optim.Adagrad(weights, lr=0.1, eps=config.eps, weight_decay=decay, foreach=False)
    if config.name == "sgd":
        momentum = config.beta1 if config.momentum else 0
        return torch.optim.SGD(weights, lr=0.1, momentum=momentum, weight_decay=decay, foreach=False)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(weights, lr=0.1, weight_decay=decay, foreach=False, **adam)


def expected(config, start, gradients):
    """Where torch's optimiser takes `start`, one gradient and rate a step."""
    weight = start.clone().requires_grad_()
    optimizer = torchs_own(config, [weight])
    for gradient, lr in zip(gradients, RATES, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        weight.grad = gradient.clone()
        optimizer.step()
    return weight.detach()


def problem(*shape):
    rng = torch.Generator().manual_seed(0)
    return tuple(torch.randn(n, *shape, generator=rng, dtype=torch.float64) for n in (1, STEPS))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_rule_equals_torchs_optimiser(case):
    """Over several steps with changing rates, in float64; the state has as many tensors as are planned for."""
    config, (start, gradients) = OptimizerConfig(**case), problem(5, 3)
    weight, rule = start[0].clone(), Rule(config)
    state = rule.state(weight)
    assert len(state) == config.moments
    for step, (gradient, lr) in enumerate(zip(gradients, RATES, strict=True), 1):
        rule.update(weight, gradient, state, step=step, lr=lr)
    assert_close(weight, expected(config, start[0], gradients), **EXACT)


@pytest.mark.parametrize("block_rows", [1, 4, 99])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_table_block_by_block_equals_torchs_optimiser(case, block_rows):
    """Weights and biases, at every block size."""
    config = OptimizerConfig(**case)
    (weights, gradients), (biases, bias_gradients) = problem(10, 3), problem(10)
    table = EntityTable(10, 3, bias=True, block_rows=block_rows, device="cpu")
    table.parts = {"weight": weights[0].clone(), "bias": biases[0].clone()}
    rule = Rule(config)
    table.prepare_training(rule)
    for step, lr in enumerate(RATES, 1):
        give_gradient(table, weight=gradients[step - 1], bias=bias_gradients[step - 1])
        table.update(rule, step=step, lr=lr)
    assert_close(table.parts["weight"], expected(config, weights[0], gradients), **EXACT)
    assert_close(table.parts["bias"], expected(config, biases[0], bias_gradients), **EXACT)


def trained(case, block_rows):
    """The parts of a float32 table after a few steps."""
    rule, (weights, gradients), (biases, bias_gradients) = (
        Rule(OptimizerConfig(**case)),
        problem(33, 5),
        problem(33),
    )
    table = EntityTable(33, 5, bias=True, block_rows=block_rows, device="cpu")
    table.parts = {"weight": weights[0].float(), "bias": biases[0].float()}
    table.prepare_training(rule)
    for step, lr in enumerate(RATES, 1):
        give_gradient(table, weight=gradients[step - 1].float(), bias=bias_gradients[step - 1].float())
        table.update(rule, step=step, lr=lr)
    return table.parts


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_same_blocks_give_the_same_bytes(case):
    """And other blocks too, but for Adam: the ends of its vectors are rounded differently by torch's fused kernel."""
    whole = trained(case, block_rows=33)
    for block_rows in (1, 7, 33):
        close = 5e-7 if case["name"].startswith("adam") and block_rows < 33 else 0
        assert_close(trained(case, block_rows), whole, rtol=close, atol=close)


@pytest.mark.parametrize("values", [{"name": "adm"}, {"beta1": 1.0}, {"eps": 0.0}, {"weight_decay": -0.1}])
def test_what_no_optimiser_can_use_is_refused(values):
    """By name and value."""
    name, value = next(iter(values.items()))
    with pytest.raises(ConfigError, match=f"{name} = {value!r}: Input should be"):
        OptimizerConfig.build(values)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_update_is_seen_by_what_keeps_scores(case):
    """The version of a weight rises, through an alias too: torch's fused kernels leave it."""
    weight = torch.nn.Parameter(torch.ones(3, 2))
    rule = Rule(OptimizerConfig.build(case))
    before = weight._version
    rule.update(weight.detach(), torch.ones(3, 2), rule.state(weight.detach()), step=1, lr=0.1)
    assert weight._version > before
