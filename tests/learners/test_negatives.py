"""Sampled negatives: what is drawn stands for all entities on average, and training touches those rows alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from corollary.errors import ConfigError
from corollary.graph.folder import Graph
from corollary.learners.conve import ConvE
from corollary.learners.conve_config import ConvEConfig
from corollary.learners.negatives import Negatives, NegativesConfig, check_negatives
from corollary.learners.planning import Sampling
from corollary.learners.protocol import Batch, Place
from corollary.learners.row_storage import RowStorage
from corollary.losses import one_to_all, sampled
from corollary.losses.labels import Labels
from corollary.losses.workspace import Workspace
from corollary.records.run_folder import RunFolder
from corollary.training.optimizers import OptimizerConfig, Rule, table_rule
from tests.learners.small_conve import ENTITIES, RELATIONS, batch, config, pair
from tests.reference import sampled as plain
from tests.reference.graphs import numbered_graph
from tests.training.lives import record, small_loop

NAMES = ["uniform", "degree", "types"]
TYPES = ["drug", "gene", "disease"]


def type_of(entity: int) -> str:
    """Eight drugs, ten genes, three diseases, two entities without a type."""
    return "" if entity in (5, 17) else TYPES[0 if entity < 9 else 1 if entity < 20 else 2]


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> Graph:
    """The facts behind `small_conve.batch`, and a few more, among typed entities."""
    one, rows = batch(), []
    for query, (entity, relation) in enumerate(
        zip(one.queries.entity_ids.tolist(), one.queries.relation_ids.tolist(), strict=True)
    ):
        for answer in one.answers[one.offsets[query] : one.offsets[query + 1]].tolist():
            head, tail = (entity, answer) if relation < RELATIONS else (answer, entity)
            rows.append((head, relation % RELATIONS, tail))
    rows += [(0, 1, 20), (1, 1, 21), (2, 1, 20), (3, 1, 22)]
    return numbered_graph(
        tmp_path_factory.mktemp("graphs") / "typed",
        {"train": sorted(set(rows))},
        entities=ENTITIES,
        relations=RELATIONS,
        types=[type_of(entity) for entity in range(ENTITIES)],
    )


def with_candidates(graph: Graph, step: int = 4, **values) -> Batch:
    """`small_conve.batch` with candidates of one step."""
    one, place = batch(), Place(seed=3, epoch=1, step=step)
    drawn = Negatives(NegativesConfig(**values), graph)
    found = drawn.candidates(one.queries.relation_ids.numpy(), one.answers.numpy(), place)
    return replace(one, place=place, candidates=found)


def dense_counts(one: Batch) -> torch.Tensor:
    """Queries x entities: how many entities each stands for, 0 where it is no candidate."""
    found = one.candidates
    counts = torch.zeros(len(one), ENTITIES)
    counts[:, found.ids] = found.counts[found.group_of]
    return counts


def allowed_by(graph: Graph, one: Batch, name: str) -> torch.Tensor:
    """Queries x entities, read off the triples one by one."""
    allowed = torch.ones(len(one), ENTITIES, dtype=torch.bool)
    for query, relation in enumerate(one.queries.relation_ids.tolist() if name == "types" else []):
        facts = [row for row in graph.triples("train").tolist() if row[1] == relation % RELATIONS]
        kinds = {type_of(row[2] if relation < RELATIONS else row[0]) for row in facts}
        for entity in range(ENTITIES):
            allowed[query, entity] = type_of(entity) in kinds | {""}
    return allowed


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("num_drawn", [3, 40])
def test_candidates_stand_for_all_entities_on_average(graph, name, num_drawn):
    """Mean counts over 1,200 draws are one for every entity that may answer, within five standard errors, and none for
    the others; answers of the batch count once in every draw. That is the log-q correction in one sentence."""
    negatives = Negatives(NegativesConfig(name=name, num_drawn=num_drawn), graph)
    one = batch()
    relations, answers = one.queries.relation_ids.numpy(), one.answers.numpy()
    draws = torch.stack(
        [
            dense_counts(replace(one, candidates=negatives.candidates(relations, answers, Place(0, 0, step))))
            for step in range(1200)
        ]
    ).double()
    allowed = allowed_by(graph, one, name)
    error = 5 * draws.std(0) / len(draws) ** 0.5 + 1e-6
    assert ((draws.mean(0) - allowed.double()).abs() <= error).all()
    assert (draws[:, ~allowed] == 0).all()
    for entity in one.answers.unique():
        assert (draws[:, allowed[:, entity], entity] == 1).all()
    others = torch.ones(ENTITIES, dtype=torch.bool)
    others[one.answers] = False
    assert not others.any() or draws[:, :, others].std(0).max() > 0


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(
    queries=st.lists(st.integers(0, 10_000), min_size=1, max_size=20),
    step=st.integers(0, 99),
    drawn=st.integers(1, 60),
)
def test_no_answer_is_its_own_querys_negative(graph, name, queries, step, drawn):
    """Every answer of every query is a candidate that counts once, under its own place, whatever was drawn; candidates
    are of an allowed type and stand there once."""
    index = graph.answers("train")
    rows = np.array(queries) % index.num_queries
    offsets, answers = index.gather(rows)
    _, relations = index.queries(rows)
    negatives = Negatives(NegativesConfig(name=name, num_drawn=drawn), graph)
    found = negatives.candidates(relations, answers.astype(np.int64), Place(0, 0, step))
    assert found.ids.tolist() == sorted(set(found.ids.tolist()))
    assert set(answers.tolist()) <= set(found.ids.tolist()) <= set(range(ENTITIES))
    assert torch.equal(found.ids[found.answers], torch.from_numpy(answers).long())
    for query, relation in enumerate(relations):
        own = found.answers[offsets[query] : offsets[query + 1]]
        counts = found.counts[found.group_of[query]]
        assert (counts[own] == 1).all()
        if name == "types":
            facts = [row for row in graph.triples("train").tolist() if row[1] == relation % RELATIONS]
            kinds = {type_of(row[2] if relation < RELATIONS else row[0]) for row in facts} | {""}
            assert all(type_of(entity) in kinds for entity in found.ids[counts > 0].tolist())


def test_degree_draws_by_degree_to_three_quarters(graph):
    """Chances against degrees that are counted one by one; an entity without triples is drawn as one with a single
    triple. More entities than one row of the cumulated chances holds."""
    rows = [(i % 7, 0, 10 + i) for i in range(60)]
    large = numbered_graph(graph.path.parent / "degrees", {"train": rows}, entities=75)
    degree = [sum((row[0] == e) + (row[2] == e) for row in rows) for e in range(75)]
    chances = np.maximum(degree, 1) ** 0.75
    negatives = Negatives(NegativesConfig(name="degree", num_drawn=200_000), large)
    one = negatives.candidates(np.zeros(1, np.int64), np.array([74]), Place(0, 0, 0))
    assert one.ids.tolist() == list(range(75))
    expected = 200_000 * chances / chances.sum()
    drawn = one.counts[0].double().numpy() * expected  # the counts are draws over expected draws
    assert_close(drawn[:74], np.round(drawn[:74]), rtol=0, atol=0.01)
    assert (np.abs(drawn - expected)[:74] < 5 * expected[:74] ** 0.5).all()


@pytest.mark.parametrize("name", NAMES)
def test_draws_are_a_function_of_seed_epoch_and_step(graph, name):
    """And of nothing that was drawn before."""
    one, negatives = batch(), Negatives(NegativesConfig(name=name, num_drawn=5), graph)
    relations, answers = one.queries.relation_ids.numpy()[:1], one.answers.numpy()[:1]

    def draw(*place):
        return negatives.candidates(relations, answers, Place(*place)).ids.tolist()

    first = draw(0, 1, 2)
    others = [draw(1, 1, 2), draw(0, 2, 2), draw(0, 1, 3)]
    assert draw(0, 1, 2) == first
    assert all(other != first for other in others)


def test_without_correction_every_candidate_counts_once(graph):
    """And those of a type that is not allowed still do not count."""
    counts = with_candidates(graph, name="types", num_drawn=40, correction=False).candidates.counts
    assert set(counts.unique().tolist()) == {0.0, 1.0}


def test_more_groups_than_draws_give_each_group_one(graph):
    """So no query is without a negative that was drawn for it."""
    one = with_candidates(graph, name="types", num_drawn=1)
    groups = len(one.candidates.counts)
    assert groups > 1
    assert len(one.candidates.ids) <= groups + len(one.answers.unique())


def test_types_that_a_graph_does_not_have_are_missed_in_one_sentence(tiny):
    """Before any work."""
    with pytest.raises(ConfigError) as caught:
        check_negatives(NegativesConfig(name="types"), tiny)
    assert str(caught.value) == (
        "model.negatives.name = types: graph tiny has no node types; import it with types, or draw uniform or degree"
    )


# --- the losses, on average and in the limit


def exact_and_sampled(graph: Graph, kind: str):
    """The exact loss of fixed queries with its gradients, and a function that gives those of one draw."""
    rng = torch.Generator().manual_seed(0)
    one = batch()
    query, weight = (torch.randn(n, 4, generator=rng, dtype=torch.float64) for n in (len(one), ENTITIES))
    bias = torch.randn(ENTITIES, generator=rng, dtype=torch.float64)
    labels, scale = Labels(0.9, 0.1 / ENTITIES), torch.rand(len(one), generator=rng, dtype=torch.float64)
    table = one_to_all.Whole(weight, bias, 7, torch.empty_like(weight), torch.empty_like(bias))
    losses, gradient = one_to_all.fused(
        kind, query, table, one.offsets, one.answers, labels=labels, scale=scale, workspace=Workspace()
    )

    def draw(negatives: Negatives, step: int) -> torch.Tensor:
        place = Place(0, 0, step)
        found = negatives.candidates(one.queries.relation_ids.numpy(), one.answers.numpy(), place)
        losses, gradients = sampled.fused(
            kind,
            query,
            sampled.Sample(
                weight[found.ids], bias[found.ids], found.counts, found.group_of, one.offsets, found.answers
            ),
            labels=labels,
            scale=scale,
            workspace=Workspace(),
        )
        whole, offsets = torch.zeros_like(weight), torch.zeros_like(bias)
        whole[found.ids], offsets[found.ids] = gradients.weight, gradients.bias
        return torch.cat([losses, gradients.query.flatten(), whole.flatten(), offsets])

    exact = [losses, gradient.flatten(), table.weight_gradient.flatten(), table.bias_gradient]
    return torch.cat(exact), draw


@pytest.mark.parametrize("name", ["uniform", "degree"])
def test_binary_cross_entropy_is_unbiased(graph, name):
    """Loss and every gradient, over 800 draws of eight: the mean is the exact one within five standard errors."""
    exact, draw = exact_and_sampled(graph, "binary_cross_entropy")
    negatives = Negatives(NegativesConfig(name=name, num_drawn=8), graph)
    found = torch.stack([draw(negatives, step) for step in range(800)])
    error = 5 * found.std(0) / len(found) ** 0.5 + 1e-6
    assert ((found.mean(0) - exact).abs() <= error).all()
    assert found.std(0).max() > 0.05


@pytest.mark.parametrize("kind", ["cross_entropy", "binary_cross_entropy"])
@pytest.mark.parametrize("name", ["uniform", "degree"])
def test_estimates_tend_to_the_exact_loss_as_more_is_drawn(graph, name, kind):
    """Both ways of drawing have the same limit. Counts are off by sqrt(1 / expected draws), 1 % for rare entities here,
    and so is the estimate against the largest of the exact numbers."""
    exact, draw = exact_and_sampled(graph, kind)
    errors = []
    for num_drawn in (400, 400_000):
        negatives = Negatives(NegativesConfig(name=name, num_drawn=num_drawn), graph)
        furthest = max((draw(negatives, step) - exact).abs().max().item() for step in range(3))
        errors.append(furthest / exact.abs().max().item())
    assert errors[1] < 0.01
    assert errors[1] < errors[0] / 5


# --- the learner


def trained(learner: ConvE, graph: Graph, optimizer: OptimizerConfig, values: dict, steps: int = 5) -> ConvE:
    """Some optimiser steps as the loop makes them."""
    rule, own = Rule(optimizer), table_rule(optimizer, sampled=True)
    learner.entities.prepare_training(own)
    states = {name: rule.state(value.detach()) for name, value in learner.named_parameters()}
    for step in range(1, steps + 1):
        learner.loss(with_candidates(graph, step, **values)).backward()
        learner.entities.update(own, step=step, lr=0.05)
        for name, value in learner.named_parameters():
            rule.update(value.detach(), value.grad, states[name], step=step, lr=0.05)
            value.grad = None
    return learner


def plain_loss(twin, one: Batch) -> torch.Tensor:
    """The twin's scores of all entities, then the slow losses of those that are candidates."""
    found, settings = one.candidates, twin.config
    scores = twin.scores(one.queries, one.place)[:, found.ids]
    labels = Labels() if not settings.label_smoothing else Labels(0.9, 0.1 / ENTITIES)
    counts = found.counts.double()[found.group_of]
    losses = plain.losses(settings.loss, scores, counts, one.offsets, found.answers, labels)
    weights = twin.counts(one)
    return (losses * weights).sum() / weights.sum()


OPTIMIZERS = {"sgd": torch.optim.SGD, "adagrad": torch.optim.Adagrad}


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_several_steps_equal_dense_training_on_the_same_candidates(graph, optimizer, name, bias, loss):
    """In float64, dropout and batch norm included: under optimisers that leave rows without gradient where they are,
    updating the rows that were named is what dense training does."""
    values = {"name": name, "num_drawn": 6}
    options = {} if optimizer == "sgd" else {"eps": 1e-4}
    learner, twin = pair(config(negatives=values, loss=loss, entity_bias=bias, label_smoothing=0.1))
    dense = OPTIMIZERS[optimizer](twin.parameters(), lr=0.05, **options)
    for step in range(1, 6):
        dense.zero_grad()
        plain_loss(twin, with_candidates(graph, step, **values)).backward()
        dense.step()
    trained(learner, graph, OptimizerConfig(name=optimizer, **options), values)
    for part, value in type(twin)(twin.config, ENTITIES, RELATIONS).copy(learner).state_dict().items():
        if part != "convolution.bias":  # batch norm takes it away: its gradient is rounding alone
            assert_close(value, twin.state_dict()[part], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_losses_of_a_batch_sum_to_its_loss(graph, name):
    """With candidates; without them they are the exact ones, whatever the learner is trained on."""
    learner, twin = pair(
        config(negatives={"name": name}, input_dropout=0, feature_dropout=0, hidden_dropout=0)
    )
    one = with_candidates(graph, name=name, num_drawn=6)
    assert_close(learner.losses(one).sum() / one.offsets[-1], learner.loss(one), rtol=0, atol=1e-12)
    assert_close(learner.losses(batch()), twin.losses(batch()), rtol=0, atol=1e-12)


@pytest.mark.parametrize("table", ["same", "rowwise_adagrad"])
def test_rows_that_no_step_names_keep_their_bytes(graph, table):
    """Weights and state; of those that are named some change."""
    values = {"name": "uniform", "num_drawn": 2}
    settings = config(negatives=values)
    learner = ConvE(settings, num_entities=ENTITIES, num_relations=RELATIONS, seed=1)
    one = with_candidates(graph, 1, **values)
    named = torch.zeros(ENTITIES, dtype=torch.bool)
    named[one.candidates.ids] = named[one.queries.entity_ids] = True
    before = {name: part.clone() for name, part in learner.entities.parts.items()}
    trained(learner, graph, OptimizerConfig(weight_decay=0.1, table=table), values, steps=1)
    assert 0 < named.sum() < ENTITIES
    for name, part in learner.entities.parts.items():
        assert torch.equal(part[~named], before[name][~named])
        assert (part[one.candidates.ids] != before[name][one.candidates.ids]).any()
    for moment in learner.entities.moments.values():
        assert len(moment) == ENTITIES
        assert not moment[~named].any()


@pytest.mark.parametrize("table", ["same", "rowwise_adagrad"])
@pytest.mark.parametrize("name", NAMES)
def test_where_the_table_lives_changes_no_byte(graph, name, table, tmp_path):
    """On the disk and on the device: weights, statistics and moments after several steps, to the last bit."""
    values, found = {"name": name, "num_drawn": 6}, []
    for storage in (RowStorage(), RowStorage("cpu", "disk", tmp_path)):
        learner = ConvE(
            config(negatives=values), num_entities=ENTITIES, num_relations=RELATIONS, seed=1, storage=storage
        )
        trained(learner, graph, OptimizerConfig(table=table), values)
        found.append(dict(learner.named_parameters()) | dict(learner.named_buffers()))
        found[-1] |= {f"entities.{part}": rows for part, rows in learner.entities.parts.items()}
        found[-1] |= learner.entities.moments
    assert found[0].keys() == found[1].keys()
    for part, value in found[0].items():
        assert torch.equal(value, found[1][part]), part


def test_several_batches_a_step_and_clipping(graph):
    """The rows named by two batches have the mean gradient of both; norm and factor are those of the dense gradient."""
    values = {"name": "degree", "num_drawn": 4}
    learner, twin = pair(config(negatives=values))
    rule = Rule(OptimizerConfig(name="sgd"))
    learner.entities.prepare_training(rule)
    for step in (1, 2):
        learner.loss(with_candidates(graph, step, **values), share=0.5).backward()
        (plain_loss(twin, with_candidates(graph, step, **values)) / 2).backward()
    gradients = [twin.gradients()[f"entities.{part}"] for part in learner.entities.parts]
    norm = sum(gradient.square().sum() for gradient in gradients)
    assert_close(learner.entities.squared_gradient_norm(), norm, rtol=1e-12, atol=0)
    before = [part.clone() for part in learner.entities.parts.values()]
    learner.entities.update(rule, step=1, lr=1.0, factor=torch.tensor(0.25, dtype=torch.float64))
    for part, old, gradient in zip(learner.entities.parts.values(), before, gradients, strict=True):
        assert_close(part, old - 0.25 * gradient, rtol=0, atol=1e-12)
    assert learner.entities.squared_gradient_norm() == 0


def test_a_gradient_that_is_forgotten_changes_nothing(graph):
    """What a loss scaler does with one that overflowed."""
    values = {"name": "uniform", "num_drawn": 4}
    learner, _ = pair(config(negatives=values))
    learner.entities.prepare_training(Rule(OptimizerConfig(name="sgd")))
    before = learner.entities.parts["weight"].clone()
    learner.loss(with_candidates(graph, **values)).backward()
    learner.entities.forget_gradient()
    learner.entities.update(Rule(OptimizerConfig(name="sgd")), step=1, lr=1.0)
    assert torch.equal(learner.entities.parts["weight"], before)


def test_threads_do_not_change_the_sum_of_a_row(graph):
    """A row that is named a thousand times has the same bytes with one thread and with two."""
    ids = torch.arange(5000) % 5
    gradient = torch.randn(5000, 64, generator=torch.Generator().manual_seed(0))
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            learner = ConvE(
                config(embedding_dim=64, negatives={"name": "uniform"}),
                num_entities=ENTITIES, num_relations=RELATIONS, seed=1,
            )  # fmt: skip
            learner.entities.prepare_training(Rule(OptimizerConfig(name="sgd")))
            learner.entities.rows(ids).backward(gradient)
            learner.entities.update(Rule(OptimizerConfig(name="sgd")), step=1, lr=1.0)
            found.append(learner.entities.parts["weight"])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


# --- a whole training


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [("uniform", {}), ("degree", {"table": "rowwise_adagrad"}), ("types", {"name": "adamw", "weight_decay": 0.1})],
)  # fmt: skip
def test_resumed_it_ends_with_the_same_bytes(countries, tmp_path, name, optimizer):
    """Checkpoints hold the state of rows, whatever its shape; draws depend on the place alone."""
    options = {"epochs": 2, "validate_every": 1, "optimizer": optimizer, "num_workers": 2}
    model = {"negatives": {"name": name, "num_drawn": 16}, "batch_size": 1000, "block_rows": 100}
    unbroken = RunFolder.create(tmp_path / "unbroken", {})
    small_loop(countries, unbroken, options, **model).train()
    run = RunFolder.create(tmp_path / "run", {})

    def stop(state):
        if state.epoch == 1 and state.step == 1:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        small_loop(countries, run, options, told=stop, **model).train()
    again = small_loop(countries, run, options, **model)
    again.resume()
    again.train()
    assert record(run.path) == record(unbroken.path)
    assert all("sampled_loss" in line and "loss" not in line for line in run.metrics())


@pytest.mark.parametrize("examples", ["kvsall", "1vsall"])
@pytest.mark.parametrize("name", NAMES)
def test_no_batch_has_more_candidates_than_planned(countries, name, examples):
    """Over two epochs, at a size of batch for which the plan does not simply say all entities."""
    settings = ConvEConfig(
        embedding_dim=12, channels=4, batch_size=8, examples=examples, negatives={"name": name, "num_drawn": 20}
    )  # fmt: skip
    learner = ConvE(
        settings, num_entities=countries.num_entities, num_relations=countries.num_relations, seed=0
    )
    planned = settings.sampling(countries.size).candidates(8, countries.size)
    for epoch in (0, 1):
        for one in learner.batches(countries, seed=0, epoch=epoch)[:200]:
            assert len(one.candidates.ids) <= planned
            assert len(one.candidates.counts) <= settings.sampling(countries.size).groups
    if examples == "1vsall":
        assert planned < 60


def test_the_bound_on_answers_does_not_simply_say_everything(countries):
    """Two million entities with 40 answers at most: a batch of 512 has at most a few thousand candidates."""
    size = countries.size.model_copy(
        update={
            "num_entities": 2_000_000,
            "num_train": 10_000_000,
            "num_queries": 10_000_000,
            "max_answers": 40,
        }
    )
    sampling = Sampling(drawn=1024, one_answer=False, tiles=1, groups=1, tables=0)
    assert 1024 + 2 * 512 < sampling.candidates(512, size) < 4500


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"negatives": {"name": "uniform", "correction": False}, "label_smoothing": 0.1},
            "negatives.correction = false does not go with label_smoothing, which is made for all entities: candidates "
            "have to be counted for those that they stand for",
        ),
        (
            {
                "negatives": {"name": "uniform", "correction": False},
                "loss": "binary_cross_entropy",
                "reduction": "mean",
            },
            "negatives.correction = false does not go with reduction = mean, which is made for all entities: candidates "
            "have to be counted for those that they stand for",
        ),
    ],
)
def test_what_needs_counts_is_refused_without_them(values, message):
    """In one sentence; nothing is refused where nothing is sampled."""
    with pytest.raises(ConfigError) as caught:
        ConvEConfig.build(values)
    assert str(caught.value) == f"configuration: {message}"
    ConvEConfig.build({**values, "negatives": {"name": "all", "correction": False}})
