"""The optimiser that goes along with the sweep equals dense training, wherever the table lives."""

import pytest
import torch
from torch.testing import assert_close

from corollary.errors import StorageError
from corollary.learners import row_storage
from corollary.learners.conve import ConvE
from corollary.learners.entity_table import EntityTable
from corollary.learners.protocol import Batch, Place
from corollary.learners.row_storage import RowStorage
from corollary.training.optimizers import OptimizerConfig, Rule
from tests.learners.small_conve import ENTITIES, RELATIONS, batch, config, pair

OPTIMIZERS = {
    "adam": (torch.optim.Adam, {"weight_decay": 0.01, "eps": 1e-4}),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.1, "eps": 1e-4}),
    "adagrad": (torch.optim.Adagrad, {"eps": 1e-4}),
    "sgd": (torch.optim.SGD, {}),
}
STEPS, LR = 5, 0.05


class Staged(RowStorage):
    """Rows that are copied to the device and back, as from the host memory beside an accelerator."""

    def fetch(self, array, rows):
        return array[rows].clone()


def train(learner: ConvE, rule: Rule, *, in_sweep: bool) -> ConvE:
    """Some optimiser steps as the loop makes them, each with dropout of its own."""
    learner.entities.prepare_training(rule, in_sweep=in_sweep)
    states = {name: rule.state(value.detach()) for name, value in learner.named_parameters()}
    for step in range(1, STEPS + 1):
        one = batch()
        learner.entities.begin_step(step=step, lr=LR)
        learner.loss(Batch(one.queries, one.offsets, one.answers, Place(3, 1, step))).backward()
        learner.entities.update(rule, step=step, lr=LR)
        for name, value in learner.named_parameters():
            rule.update(value.detach(), value.grad, states[name], step=step, lr=LR)
            value.grad = None
    return learner


def learned(learner: ConvE) -> dict[str, torch.Tensor]:
    found = {name: value.detach() for name, value in learner.named_parameters()}
    found |= {f"entities.{name}": part for name, part in learner.entities.parts.items()}
    return found | dict(learner.named_buffers())


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_several_steps_equal_dense_training(name, bias, loss):
    """Against dense labels, autograd and torch's own optimiser in float64, batch norm and dropout included.

    eps is large enough that a first gradient of 1e-9 does not turn its rounding into a step of another size.
    """
    kind, options = OPTIMIZERS[name]
    learner, plain = pair(config(loss=loss, entity_bias=bias, label_smoothing=0.1))
    optimizer = kind(plain.parameters(), lr=LR, **options)
    for step in range(1, STEPS + 1):
        one = batch()
        optimizer.zero_grad()
        plain.loss(Batch(one.queries, one.offsets, one.answers, Place(3, 1, step))).backward()
        optimizer.step()
    train(learner, Rule(OptimizerConfig(name=name, **options)), in_sweep=True)
    for part, value in type(plain)(plain.config, ENTITIES, RELATIONS).copy(learner).state_dict().items():
        if part != "convolution.bias":  # batch norm takes it away: its gradient is rounding alone
            assert_close(value, plain.state_dict()[part], rtol=0, atol=1e-10)


@pytest.mark.parametrize("place", ["disk", "staged"])
def test_where_the_table_lives_changes_no_byte(place, tmp_path):
    """Weights, statistics and moments after several steps, in float32, to the last bit."""
    storages = [RowStorage(), Staged() if place == "staged" else RowStorage("cpu", "disk", tmp_path)]
    learners = [
        train(
            ConvE(config(), num_entities=ENTITIES, num_relations=RELATIONS, seed=1, storage=storage),
            Rule(OptimizerConfig()),
            in_sweep=True,
        )
        for storage in storages
    ]
    here, there = (learned(learner) | learner.entities.moments for learner in learners)
    assert here.keys() == there.keys()
    for name, value in here.items():
        assert torch.equal(value, there[name]), name


def test_a_whole_gradient_works_from_everywhere_too(tmp_path):
    """What clipping and accumulation need: the gradient lies beside the table."""
    found = []
    for storage in (RowStorage(), Staged(), RowStorage("cpu", "disk", tmp_path)):
        learner = ConvE(config(), num_entities=ENTITIES, num_relations=RELATIONS, seed=1, storage=storage)
        found.append(learned(train(learner, Rule(OptimizerConfig()), in_sweep=False)))
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name]), name
        assert torch.equal(value, found[2][name]), name


def test_dropped_pages_keep_what_was_written(tmp_path, monkeypatch):
    """Pages are let go of after every touch here; the rows are still right."""
    monkeypatch.setattr(row_storage, "WINDOW_BYTES", 1)
    storage = RowStorage("cpu", "disk", tmp_path)
    table = EntityTable(5000, 6, bias=True, block_rows=700, storage=storage)
    table.initialise(0, std=1.0)
    plain = EntityTable(5000, 6, bias=True, block_rows=700)
    plain.initialise(0, std=1.0)
    ids = torch.tensor([4999, 0, 17, 2500, 2501])
    assert torch.equal(table.rows(ids), plain.rows(ids))
    storage.scatter(table.parts["weight"], ids, torch.ones(5, 6))
    storage.drop()
    assert torch.equal(table.rows(ids), torch.ones(5, 6))
    assert torch.equal(table.block(slice(18, 2500))[0], plain.block(slice(18, 2500))[0])


def test_nothing_is_left_on_the_disk(tmp_path):
    """The files have no name, so no kill can leave them behind."""
    table = EntityTable(100, 6, bias=True, block_rows=7, storage=RowStorage("cpu", "disk", tmp_path))
    table.prepare_training(Rule(OptimizerConfig()), in_sweep=True)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_before_any_work(tmp_path, monkeypatch):
    """Space is reserved when an array is made."""

    def full(descriptor, start, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(row_storage.os, "posix_fallocate", full)
    with pytest.raises(StorageError, match=r"no room for 0\.0 MiB of the entity table; free some space"):
        EntityTable(10, 6, bias=False, block_rows=7, storage=RowStorage("cpu", "disk", tmp_path))
