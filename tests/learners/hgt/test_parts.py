"""Sampled training: parts are what they are said to be, leak nothing, and are learnt from exactly."""

import numpy as np
import pytest
import torch

from corollary.learners.hgt.config import SamplingConfig
from corollary.learners.hgt.questions import leaked
from corollary.training.optimizers import OptimizerConfig
from corollary.training.prefetch import prefetch
from corollary.training.steps import GradientSteps
from tests.learners.hgt.small import WAYS, small_hgt
from tests.learners.hgt.test_model import doubled, plain_loss


def drawn(graph, way, *, asks=None, seed=0, **model):
    made = small_hgt(graph, asks=asks, **model)
    return made.asks(graph, made.asking.config, SamplingConfig.build(WAYS[way]))


def messages(batch, links):
    """(source, directed relation, target) of every message, as rows of the whole graph, and the triple behind it."""
    found, rows = [], batch.rows.numpy()
    for number, (_, block) in enumerate(batch.links.nodes.blocks(batch.links.block_rows)):
        for segment in batch.links.segments(number):
            kind = batch.links.edge_types[segment.kind]
            for place, row in enumerate(segment.rows.tolist()):
                for edge in range(int(segment.bounds[place]), int(segment.bounds[place + 1])):
                    ends = int(rows[batch.links.sources[edge]]), int(rows[block.start + row])
                    found.append((ends[0], kind.relation, ends[1], int(batch.links.edges[edge])))
    return found


@pytest.mark.parametrize("way", list(WAYS))
def test_messages_of_a_part_are_edges_of_the_graph(typed, way):
    """Each is a training triple or its reverse, under its own number; types are the whole graph's."""
    model = drawn(typed, way)
    links, count = model.asking, typed.num_relations
    for batch in model.batches(typed, seed=0, epoch=0):
        found = messages(batch, links)
        assert found
        for source, relation, target, number in found:
            ends = (source, target) if relation < count else (target, source)
            assert ends == (links.heads[number], links.tails[number])
            assert links.relations[number] == relation % count
        kinds = links.nodes.types_of(batch.rows.numpy())
        assert np.array_equal(kinds, batch.links.nodes.types_of(np.arange(len(batch.rows))))


@pytest.mark.parametrize("way", list(WAYS))
def test_no_part_leaks_what_it_asks_for(typed, way):
    """No message between the ends of an asked pair, in any direction, of any relation."""
    model = drawn(typed, way)
    for epoch in range(3):
        for batch in model.batches(typed, seed=0, epoch=epoch):
            assert leaked(batch, model.asking) == 0


def test_a_part_of_edges_has_so_many_of_each_relation(typed):
    """Those drawn and not hidden, both ways."""
    model = drawn(typed, "edges")
    links = model.asking
    batch = model.batches(typed, seed=0, epoch=0)[0]
    numbers = {number for *_, number in messages(batch, links)}
    hidden = set(np.flatnonzero(links.hidden(batch.triples)).tolist())
    drawn_edges = model.parts.edges.draw(25, 0, 0, 0)
    assert np.bincount(links.relations[drawn_edges], minlength=5).tolist() == [
        min(25, int((links.relations == r).sum())) for r in range(5)
    ]
    assert numbers == set(drawn_edges.tolist()) - hidden


def test_fan_outs_hold_for_every_node_and_edge_type(typed):
    """At most 3 into a node that is asked, and 2 into one that sends to it."""
    model = drawn(typed, "neighbors")
    batch = model.batches(typed, seed=0, epoch=1)[0]
    links = model.asking
    seeds = set(links.heads[batch.triples].tolist()) | set(links.tails[batch.triples].tolist())
    into: dict[tuple[int, int], int] = {}
    for _, relation, target, _ in messages(batch, links):
        into[target, relation] = into.get((target, relation), 0) + 1
    assert all(count <= (3 if target in seeds else 2) for (target, _), count in into.items())
    assert max(into.values()) == 3


def test_a_budget_draws_so_many_nodes_of_each_type_and_takes_all_their_edges(typed):
    """Beside the ends of what is asked at most two a type and round; every edge between nodes drawn that is not hidden."""
    model = drawn(typed, "budget")
    links = model.asking
    for batch in model.batches(typed, seed=0, epoch=0):
        rows = set(batch.rows.tolist())
        seeds = set(links.heads[batch.triples].tolist()) | set(links.tails[batch.triples].tolist())
        assert seeds <= rows
        beside = np.array(sorted(rows - seeds))
        assert np.bincount(links.nodes.types_of(beside), minlength=3).max() <= 4
        hidden = links.hidden(batch.triples)
        ends = zip(links.heads.tolist(), links.tails.tolist(), strict=True)
        inside = [i for i, (head, tail) in enumerate(ends) if {head, tail} <= rows and not hidden[i]]
        met = [number for *_, number in messages(batch, links)]
        assert sorted(met) == sorted(inside * 2)


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_do_not_depend_on_workers(typed, way, workers):
    """The same rows, messages, questions, in the same order."""
    model = drawn(typed, way)
    batches = model.batches(typed, seed=5, epoch=2)
    for number, batch in enumerate(prefetch(batches, 0, workers=workers)):
        alone = batches[number]
        assert torch.equal(batch.rows, alone.rows)
        assert np.array_equal(batch.links.sources, alone.links.sources)
        assert np.array_equal(batch.links.edges, alone.links.edges)
        for one, other in zip(batch.questions, alone.questions, strict=True):
            assert torch.equal(one.candidates, other.candidates)


@pytest.mark.parametrize("way", list(WAYS))
def test_loss_and_gradients_of_a_part_equal_the_plain_version(typed, way):
    """Rows of the input embeddings outside the part have none; float64, 1e-10."""
    model = doubled(drawn(typed, way)).train()
    steps = GradientSteps(model, OptimizerConfig(), device=model.device)
    model.entities.prepare_training(steps.table_rule)
    batch = model.batches(typed, seed=0, epoch=0)[0]
    ours = model.loss(batch).item()
    ((_, rows, table),) = model.entities._touched.merged()
    found = {name: value.grad for name, value in model.named_parameters()}
    for _, parameter in model.named_parameters():
        parameter.grad = None
    x = model.entities.parts["weight"][batch.rows].clone().requires_grad_()
    theirs = plain_loss(model, batch, x)
    theirs.backward()
    assert ours == pytest.approx(theirs.item(), abs=1e-10)
    assert torch.equal(rows, batch.rows)
    torch.testing.assert_close(table, x.grad, rtol=0, atol=1e-10)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize("way", list(WAYS))
def test_sampled_training_lowers_the_loss(typed, way):
    model = drawn(typed, way).train()
    steps = GradientSteps(model, OptimizerConfig(), device=model.device)
    batch = model.batches(typed, seed=0, epoch=0)[0]
    losses = [steps.update([batch], lr=0.01, update=number).loss for number in range(1, 31)]
    assert losses[-1] < 0.9 * losses[0]


def test_a_bank_competes_for_nodes_outside_the_part(typed):
    """Written when a node is met; goes with a checkpoint, so that a resumed training sees the same."""
    asks = {"contrast": {"relation": "resembles", "anchors": 8}}
    model = drawn(typed, "neighbors", asks=asks).train()
    steps = GradientSteps(model, OptimizerConfig(), device=model.device)
    for number, batch in enumerate(model.batches(typed, seed=0, epoch=0), start=1):
        steps.update([batch], lr=0.01, update=number)
    bank = dict(model.files())["bank.safetensors"]
    assert bank["bank"].dtype == torch.float16
    assert bank["written"].sum() > 0
    norms = bank["bank"][bank["written"].bool()].float().norm(dim=1)
    torch.testing.assert_close(norms, torch.ones_like(norms), rtol=0, atol=2e-3)  # half precision
