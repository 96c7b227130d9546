"""The learner's gradients are those of its plain version, and its scores do not depend on how they are asked."""

import numpy as np
import pytest
import torch

from corollary.graph.typed_links import TypedLinks
from corollary.learners.hgt.config import SamplingConfig
from corollary.learners.protocol import Queries, Scorer
from corollary.learners.row_storage import RowStorage
from corollary.training import checkpoints
from corollary.training.optimizers import OptimizerConfig
from corollary.training.steps import GradientSteps
from tests.learners.hgt.small import WAYS, small_hgt
from tests.reference import hgt as plain

POSITION = {"epoch": 0, "step": 0, "updates": 0, "learning_rate": 0.0, "averaged": False, "loop": {}}


def doubled(model):
    """In float64, its table too."""
    model.double()
    model.entities.parts["weight"] = model.entities.parts["weight"].double()
    return model


def times_of(model, batch, relation):
    """How often each row of a batch answers a directed relation in triples that are not hidden, one by one."""
    links, rows = model.asking, range(40) if batch.rows is None else batch.rows.tolist()
    found, hidden = dict.fromkeys(range(40), 0), links.hidden(batch.triples)
    for number in np.flatnonzero(links.relations == relation % 5).tolist():
        if not hidden[number]:
            found[int((links.tails if relation < 5 else links.heads)[number])] += 1
    return torch.tensor([found[row] for row in rows], dtype=torch.float64)


def plain_loss(model, batch, x):
    """Every question's edges one by one, every candidate one by one."""
    hidden = x
    for layer in model.steps:
        hidden = plain.layer(layer, hidden, batch.links, batch.removed)
    kinds = torch.from_numpy(batch.links.nodes.types_of(np.arange(len(x))))
    z = plain.typed(model.output, hidden, kinds)
    decoder, total = model.decoder, 0.0
    for question in batch.questions:
        known = set(map(tuple, question.known.T.tolist()))
        losses = []
        for asked, answer in zip(question.asked_by.tolist(), question.answers.tolist(), strict=True):
            query = z[question.asking[asked]] * decoder.product[question.relation % decoder.relations]
            query = query + decoder.answering[question.relation]
            counted = (
                decoder.popularity[question.relation] * times_of(model, batch, question.relation).log1p()
            )
            true = query @ z[answer] + counted[answer]
            others = [
                query @ z[row] + counted[row] + question.log_weights[place].double()
                for place, row in enumerate(question.candidates.tolist())
                if (asked, place) not in known
            ]
            losses.append(torch.stack([true, *others]).logsumexp(0) - true if others else true * 0)
        total = total + question.weight * torch.stack(losses).mean()
    return total


@pytest.mark.parametrize("convolution", ["hgt", "gat", "rgcn"])
def test_loss_and_gradients_equal_the_plain_version(typed, convolution):
    """Input rows, layers, decoder; float64, 1e-10. Two batches at half a share add up as accumulation does."""
    model = doubled(small_hgt(typed, convolution=convolution, asks={"negatives": {"count": 7}})).train()
    model.decoder.answering.data.normal_(generator=torch.Generator().manual_seed(0))
    model.entities.prepare_training(GradientSteps(model, OptimizerConfig(), device=model.device).table_rule)
    batches = model.batches(typed, seed=0, epoch=0)[:2]
    ours = [model.loss(batch, share=0.5).item() for batch in batches]
    ((_, rows, table),) = model.entities._touched.merged()
    found = {name: value.grad for name, value in model.named_parameters()}
    for _, parameter in model.named_parameters():
        parameter.grad = None

    x = model.entities.parts["weight"].clone().requires_grad_()
    theirs = [plain_loss(model, batch, x) * 0.5 for batch in batches]
    sum(theirs).backward()
    close = {"rtol": 0, "atol": 1e-10}
    torch.testing.assert_close(torch.tensor(ours), torch.tensor([one.item() for one in theirs]), **close)
    assert rows.tolist() == list(range(40))
    torch.testing.assert_close(table, x.grad, **close)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            found[name], parameter.grad, **close, msg=lambda text, n=name: f"{n}: {text}"
        )


def test_inputs_that_a_step_leaves_out_have_no_gradient(typed):
    """Whole nodes, by a mask that the step decides; value and gradient as with the masked input, float64, 1e-10."""
    model = doubled(small_hgt(typed, input_dropout=0.5)).train()
    model.entities.prepare_training(GradientSteps(model, OptimizerConfig(), device=model.device).table_rule)
    batch = model.batches(typed, seed=0, epoch=0)[1]
    ours = model.loss(batch).item()
    ((_, _, table),) = model.entities._touched.merged()
    for _, parameter in model.named_parameters():
        parameter.grad = None
    x = model.entities.parts["weight"].clone().requires_grad_()
    known = model.nameless.scaled_rows(slice(0, 40), 1, batch.place, like=x)
    assert set(known.flatten().tolist()) == {0.0, 2.0}
    theirs = plain_loss(model, batch, x * known)
    theirs.backward()
    assert ours == pytest.approx(theirs.item(), abs=1e-10)
    torch.testing.assert_close(table, x.grad, rtol=0, atol=1e-10)
    assert (table[known[:, 0] == 0] == 0).all()


def test_a_seed_repeats(typed):
    """The same bits after three steps, whatever ran before; another seed gives others."""

    def weights(seed):
        model = small_hgt(typed, seed=seed, dropout=0.2).train()
        steps = GradientSteps(model, OptimizerConfig(), device=model.device, clip_norm=1.0)
        for number, batch in enumerate(model.batches(typed, seed=seed, epoch=0)[:3], start=1):
            steps.update([batch], lr=0.01, update=number)
        return torch.cat(
            [model.entities.parts["weight"].flatten(), *(p.flatten() for p in model.parameters())]
        )

    first = weights(0)
    torch.rand(5)
    assert torch.equal(weights(0), first)
    assert not torch.equal(weights(1), first)


@pytest.mark.parametrize("convolution", ["hgt", "gat", "rgcn"])
def test_training_lowers_the_loss(typed, convolution):
    """Shown the same batch thirty times it knows it better."""
    model = small_hgt(typed, convolution=convolution).train()
    steps = GradientSteps(model, OptimizerConfig(), device=model.device)
    batch = model.batches(typed, seed=0, epoch=0)[0]
    losses = [steps.update([batch], lr=0.01, update=number).loss for number in range(1, 31)]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("table", ["same", "rowwise_adagrad"])
@pytest.mark.parametrize("way", [None, "neighbors"])
def test_mapped_files_give_the_same_bytes(typed, tmp_path, way, table):
    """Input embeddings, moments, layer outputs and scores, after three steps; in memory and in mapped files."""

    def trained(storage):
        model = small_hgt(typed, storage=storage, dropout=0.2)
        if way is not None:
            model.asks(typed, model.asking.config, SamplingConfig.build(WAYS[way]))
        steps = GradientSteps(model.train(), OptimizerConfig(table=table), device=model.device, clip_norm=1.0)
        for number, batch in enumerate(model.batches(typed, seed=0, epoch=0)[:3], start=1):
            steps.update([batch], lr=0.01, update=number)
        moments = model.entities.moments.values()
        return [model.entities.parts["weight"], *moments, model.eval().embeddings(), scores(model)]

    memory, disk = trained(None), trained(RowStorage("cpu", "disk", tmp_path))
    assert len(memory) == {"same": 6, "rowwise_adagrad": 4}[table]
    for one, other in zip(memory, disk, strict=True):
        assert torch.equal(one, other)


def test_save_then_load_scores_the_same_bytes(typed, tmp_path):
    """Into a learner that started from another seed; embeddings are made again from the edges."""
    first, second = small_hgt(typed, seed=0).eval(), small_hgt(typed, seed=1).eval()
    assert isinstance(first, Scorer)
    expected = scores(first)
    assert not torch.equal(scores(second), expected)
    checkpoints.save(tmp_path / "c", first, position=POSITION)
    checkpoints.load(tmp_path / "c", second)
    second.release()
    assert torch.equal(scores(second), expected)


def scores(model, step=7):
    queries = Queries(torch.arange(20), torch.arange(20) % 10)
    prepared = model.prepare(queries)
    return torch.cat(
        [model.scores(prepared, slice(start, min(start + step, 40))) for start in range(0, 40, step)], 1
    )


def test_an_entity_of_a_type_that_never_answers_scores_below_all(typed):
    """`treats` is answered by diseases; with typed_scores off nothing is lowered."""
    model = small_hgt(typed).eval()
    found = scores(model)[0]  # asks for the tail of `treats`
    diseases = np.asarray(typed.types) == typed.info.node_types.index("disease")
    assert (found[~diseases] < -1e29).all()
    assert (found[diseases] > -1e3).all()
    assert (scores(small_hgt(typed, typed_scores=False).eval()) > -1e3).all()


def test_embeddings_are_those_of_a_plain_pass_over_all_edges(typed):
    """Every node, every neighbour, in the order of entity ids."""
    model = doubled(small_hgt(typed)).eval()
    hidden = model.entities.parts["weight"]
    links = TypedLinks.of(typed)
    for layer in model.steps:
        hidden = plain.layer(layer, hidden, links)
    kinds = torch.from_numpy(links.nodes.types_of(np.arange(40)))
    z = plain.typed(model.output, hidden, kinds)[torch.from_numpy(links.nodes.row_of.astype(np.int64))]
    torch.testing.assert_close(model.embeddings(), z.detach(), rtol=0, atol=1e-10)


def test_contrast_equals_its_plain_version(typed):
    """InfoNCE, anchor by anchor: the linked node against every other of the type; value and gradient to 1e-10."""
    asks = {"contrast": {"relation": "resembles", "weight": 0.3, "temperature": 0.5}}
    model = small_hgt(typed, asks=asks)
    batch, contrast = model.batches(typed, seed=0, epoch=0)[0], model.contrast
    z = torch.randn(40, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gradient = torch.zeros_like(z)
    ours = contrast.loss(batch, z, gradient, share=0.5)

    given = z.clone().requires_grad_()
    links = model.asking
    chosen = links.relations == 4
    pairs = {
        (int(h), int(t)) for h, t in zip(links.heads[chosen], links.tails[chosen], strict=True) if h != t
    }
    pairs |= {(t, h) for h, t in pairs}
    losses = []
    for anchor, positive in sorted(pairs):
        others = [row for row in range(contrast.first, contrast.last) if row != anchor]
        near = torch.cosine_similarity(given[anchor], given[others]) / 0.5
        losses.append(near.logsumexp(0) - near[others.index(positive)])
    theirs = torch.stack(losses).mean() * 0.3 * 0.5
    theirs.backward()
    torch.testing.assert_close(ours, theirs.detach(), rtol=0, atol=1e-10)
    torch.testing.assert_close(gradient, given.grad, rtol=0, atol=1e-10)


def test_popularity_adds_what_train_counts(typed):
    """Entities that answer often gain on those that do not, by the learnt number times the log; nothing where it is off."""
    model, without = small_hgt(typed).eval(), small_hgt(typed, popularity=False, typed_scores=False).eval()
    model.decoder.popularity.data[0] = 2.0
    train, answered = np.asarray(typed.triples("train")), np.zeros(40)
    np.add.at(answered, train[train[:, 1] == 0, 2], 1)
    diseases = np.asarray(typed.types) == typed.info.node_types.index("disease")
    gained = (scores(model)[0] - scores(without)[0]).numpy()[diseases]
    np.testing.assert_allclose(gained, 2 * np.log1p(answered[diseases]), rtol=1e-6, atol=1e-6)
