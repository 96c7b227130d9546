"""ConvE equals the plain layers in value and every gradient, however its table is cut."""

from itertools import product

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from corollary.errors import ConfigError
from corollary.learners.conve import ConvE
from corollary.learners.conve_config import ConvEConfig
from corollary.learners.protocol import Batch, Place
from tests.learners.small_conve import ENTITIES, Recorder, batch, config, gradients, pair

EXACT = {"rtol": 0, "atol": 1e-12}
ONE_ANSWER = (1, 1, 1, 1, 1, 1)
MANY_ANSWERS = (1, 2, 5, 0, 1, 20)


def check(settings: ConvEConfig, counts: tuple[int, ...] = MANY_ANSWERS) -> None:
    """Two steps: loss, gradients and running statistics against the plain twin, then scores in evaluation mode."""
    learner, plain = pair(settings)
    learner.entities.prepare_training(Recorder())
    for _ in range(2):
        learner.zero_grad()
        plain.zero_grad()
        loss, expected = learner.loss(batch(counts)), plain.loss(batch(counts))
        loss.backward()
        expected.backward()
        assert_close(loss, expected, **EXACT)
        assert_close(gradients(learner), plain.gradients(), **EXACT)
        assert_close(dict(learner.named_buffers()), dict(plain.named_buffers()), **EXACT)
    queries = batch(counts).queries
    prepared = learner.eval().prepare(queries)
    cut = [
        learner.scores(prepared, slice(start, min(start + 5, ENTITIES))) for start in range(0, ENTITIES, 5)
    ]
    assert_close(torch.cat(cut, 1), plain.eval().scores(queries).detach(), **EXACT)


OBJECTIVES = [
    {
        "loss": loss,
        "weight": weight,
        "reduction": reduction,
        "smoothing": smoothing,
        "label_smoothing": amount,
    }
    for loss, reduction in (
        ("cross_entropy", "sum"),
        ("binary_cross_entropy", "sum"),
        ("binary_cross_entropy", "mean"),
    )
    for weight in ("triple", "query")
    for smoothing, amount in (("uniform", 0.0), ("uniform", 0.1), ("conve", 0.1), ("pykeen", 0.1))
]


@pytest.mark.parametrize("block_rows", [1, 7, 999])
@pytest.mark.parametrize("examples", ["kvsall", "1vsall"])
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: "-".join(str(value) for value in o.values()))
def test_every_objective_equals_dense_autograd(objective, examples, block_rows):
    """Value and every gradient: parameters, entity rows (head look-up included), biases."""
    settings = config(**objective, examples=examples, block_rows=block_rows)
    check(settings, MANY_ANSWERS if examples == "kvsall" else ONE_ANSWER)


@pytest.mark.parametrize("variant", ["paper", "libkge"])
@pytest.mark.parametrize("stacking", ["height", "width"])
@pytest.mark.parametrize(("entity_bias", "conv_bias"), list(product([True, False], repeat=2)))
@pytest.mark.parametrize("dropout", [True, False])
def test_every_architecture_equals_plain_layers(variant, stacking, entity_bias, conv_bias, dropout):
    """With dropout from the same counter-based source, and without any."""
    off = {} if dropout else {"input_dropout": 0.0, "feature_dropout": 0.0, "hidden_dropout": 0.0}
    check(config(variant=variant, stacking=stacking, entity_bias=entity_bias, conv_bias=conv_bias, **off))


@pytest.mark.parametrize("kernel", [1, 2, 4])
def test_every_kernel_size_equals_plain_layers(kernel):
    """Sizes behind the convolution are derived."""
    check(config(kernel=kernel, embedding_dim=20))


@pytest.mark.parametrize("objective", OBJECTIVES[::5])
def test_losses_add_up_to_the_loss(objective):
    """One number a query, whose sum over what counts is what training uses; its gradients are the same."""
    learner, plain = pair(config(**objective))
    single = learner.losses(batch())
    assert_close(single, plain.losses(batch()), **EXACT)
    total = plain.counts(batch()).sum()
    (single.sum() / total).backward()
    by_autograd = {name: parameter.grad.clone() for name, parameter in learner.named_parameters()}

    learner.zero_grad()
    learner.entities.prepare_training(Recorder())
    loss = learner.loss(batch())
    loss.backward()
    assert_close(loss, single.sum() / total, **EXACT)
    assert_close(
        {name: parameter.grad for name, parameter in learner.named_parameters()}, by_autograd, **EXACT
    )


@pytest.mark.parametrize("block_rows", [7, 999])
def test_shares_of_several_batches_add_up(block_rows):
    """Two halves of the same batch's loss give the gradients of one whole."""
    learner, plain = pair(config(block_rows=block_rows))
    learner.entities.prepare_training(Recorder())
    plain.loss(batch()).backward()
    for _ in range(2):
        learner.loss(batch(), share=0.5).backward()
    assert_close(gradients(learner), plain.gradients(), **EXACT)


def test_counting_by_triples_is_one_answer_at_a_time():
    """Over an epoch, kvsall weighted by answers has the loss and the gradient of 1vsall, summed.

    Without dropout and with fixed batch-norm statistics, since those see a query once in place of many times.
    """
    still = {"input_dropout": 0.0, "feature_dropout": 0.0, "hidden_dropout": 0.0}
    found = []
    for each in (False, True):
        learner, _ = pair(config(weight="triple", label_smoothing=0.1, **still))
        learner.eval().entities.prepare_training(Recorder())
        for part in one_by_one(batch()) if each else [batch()]:
            learner.loss(part, share=float(len(part.answers))).backward()
        found.append(gradients(learner))
    assert_close(found[1], found[0], **EXACT)


def one_by_one(whole: Batch) -> list[Batch]:
    """Batches of up to four examples with one answer each."""
    rows = torch.repeat_interleave(torch.arange(len(whole)), whole.offsets.diff())
    parts = zip(rows.split(4), whole.answers.split(4), strict=True)
    return [
        Batch(
            type(whole.queries)(whole.queries.entity_ids[row], whole.queries.relation_ids[row]),
            torch.arange(len(row) + 1),
            answers,
            whole.place,
        )
        for row, answers in parts
    ]


@pytest.mark.parametrize("stacking", ["height", "width"])
@pytest.mark.parametrize("dim", [6, 8, 12, 15, 64, 100, 128, 200, 256, 300, 500, 512])
def test_the_image_follows_from_the_embedding(dim, stacking):
    """All of the embedding is used, and of all factorings this one is nearest to a square when stacked."""
    settings = ConvEConfig(embedding_dim=dim, stacking=stacking)
    height, width = settings.stacked()
    assert height * width == 2 * dim
    assert settings.features() == 32 * (height - 2) * (width - 2)
    ratios = [max(2 * s / (dim / s), dim / s / (2 * s)) for s in range(1, dim + 1) if dim % s == 0]
    assert max(height / width, width / height) == pytest.approx(min(ratios))


def test_the_image_of_200_is_the_papers():
    """10 x 20, stacked to 20 x 20, as in the authors' code."""
    assert ConvEConfig().image() == (10, 20)
    assert ConvEConfig().features() == 10368


@pytest.mark.parametrize(
    ("sides", "image"),
    [
        ({}, (3, 8)),
        ({"image_height": 4}, (4, 6)),
        ({"image_width": 4}, (6, 4)),
        ({"image_height": 2, "image_width": 12}, (2, 12)),
        ({"image_height": 12, "image_width": 2, "stacking": "width"}, (12, 2)),
    ],
)
def test_given_sides_are_kept_and_the_other_follows(sides, image):
    """Every combination of given height and width, and the model runs with it."""
    settings = config(embedding_dim=24, **sides)
    assert settings.image() == image
    check(settings)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"embedding_dim": 199},
            "as an image of 1 x 199 is too narrow for kernel = 3; nearest usable: 198 as 11 x 18",
        ),
        (
            {"embedding_dim": 7},
            "as an image of 1 x 7 is too narrow for kernel = 3; nearest usable: 6 as 2 x 3",
        ),
        (
            {"embedding_dim": 1},
            "as an image of 1 x 1 is too narrow for kernel = 3; nearest usable: 6 as 2 x 3",
        ),
        (
            {"embedding_dim": 200, "image_height": 200},
            "as an image of 200 x 1 is too narrow for kernel = 3; nearest usable: 200 as 10 x 20",
        ),
        (
            {"embedding_dim": 6, "kernel": 5},
            "as an image of 2 x 3 is too narrow for kernel = 5; nearest usable: 15 as 3 x 5",
        ),
        ({"embedding_dim": 200, "image_height": 30}, "is not image_height x image_width = 30 x 6"),
        (
            {"embedding_dim": 200, "image_height": 10, "image_width": 21},
            "is not image_height x image_width = 10 x 21",
        ),
        ({"embedding_dim": 20, "image_width": 30}, "is not image_height x image_width = 0 x 30"),
    ],
)
def test_an_unusable_image_names_the_nearest_usable(values, message):
    """The size that was given, why it cannot be, and what can."""
    with pytest.raises(ConfigError) as caught:
        ConvEConfig.build(values)
    assert message in str(caught.value)
    assert f"embedding_dim = {values['embedding_dim']} " in str(caught.value)


def test_a_batch_of_one_is_refused():
    """Batch norm has no statistics of a single row."""
    with pytest.raises(ConfigError, match="batch_size = 1: Input should be greater than or equal to 2"):
        ConvEConfig.build({"batch_size": 1})


@pytest.mark.parametrize("examples", ["kvsall", "1vsall"])
def test_an_epoch_asks_every_query_once(tiny, examples):
    """Each with its answers: all of them, or one at a time."""
    index = tiny.answers("train")
    learner = ConvE(config(examples=examples, batch_size=13), num_entities=30, num_relations=3, seed=0)
    expected = set()
    for row in range(index.num_queries):
        entity, relation = (int(part[0]) for part in index.queries(np.array([row])))
        answers = index.answers[index.offsets[row] : index.offsets[row + 1]].tolist()
        expected |= (
            {(entity, relation, *answers)}
            if examples == "kvsall"
            else {(entity, relation, a) for a in answers}
        )
    found = []
    for part in learner.batches(tiny, seed=5, epoch=2):
        for row, (entity, relation) in enumerate(
            zip(part.queries.entity_ids, part.queries.relation_ids, strict=True)
        ):
            answers = part.answers[part.offsets[row] : part.offsets[row + 1]].tolist()
            found.append((int(entity), int(relation), *answers))
    assert len(found) == len(expected)
    assert set(found) == expected


def order(learner: ConvE, graph, seed: int, epoch: int) -> list[int]:
    return torch.cat([b.queries.entity_ids for b in learner.batches(graph, seed=seed, epoch=epoch)]).tolist()


def test_the_order_depends_on_seed_and_epoch_alone(tiny):
    """Another learner gives the same; another epoch or seed does not; any batch can be asked for first."""
    learner, other = (ConvE(config(batch_size=13), num_entities=30, num_relations=3, seed=s) for s in (0, 9))
    assert order(learner, tiny, 1, 0) == order(other, tiny, 1, 0)
    assert order(learner, tiny, 1, 0) != order(learner, tiny, 1, 1)
    assert order(learner, tiny, 1, 0) != order(learner, tiny, 2, 0)
    batches = learner.batches(tiny, seed=1, epoch=3)
    last, first = batches[len(batches) - 1], batches[0]
    assert [b.place for b in batches[:2]] == [Place(1, 3, 0), Place(1, 3, 1)]
    assert last.place == Place(1, 3, len(batches) - 1)
    assert torch.equal(first.answers, batches[0].answers)


@pytest.mark.parametrize("examples", ["kvsall", "1vsall"])
@pytest.mark.parametrize("left_over", [0, 1, 2])
def test_a_last_batch_of_one_joins_the_one_before(tiny, examples, left_over):
    """Batch norm has no statistics of a single row; two are enough."""
    index = tiny.answers("train")
    count = index.num_queries if examples == "kvsall" else index.num_examples
    size = next(size for size in range(5, count) if count % size == left_over)
    learner = ConvE(config(examples=examples, batch_size=size), num_entities=30, num_relations=3, seed=0)
    lengths = [len(part) for part in learner.batches(tiny, seed=0, epoch=0)]
    full = count // size
    assert (
        lengths == {0: [size] * full, 1: [size] * (full - 1) + [size + 1], 2: [size] * full + [2]}[left_over]
    )


def test_weights_are_a_function_of_the_seed():
    """And of nothing that ran before."""

    def parts(seed):
        learner = ConvE(config(), num_entities=30, num_relations=3, seed=seed)
        return [*learner.parameters(), *learner.entities.parts.values()]

    first = parts(0)
    torch.rand(3)
    assert all(torch.equal(a, b) for a, b in zip(first, parts(0), strict=True))
    assert not torch.equal(first[0], parts(1)[0])
