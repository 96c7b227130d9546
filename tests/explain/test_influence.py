"""Influence over checkpoints and directions equals autograd's, however the work is cut."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from corollary.explain.encoding import Frozen
from corollary.explain.ensemble import Ensemble
from corollary.explain.extremes import Extremes
from corollary.explain.influence import UNIT, Asked, Checkpoint, Hold, Influence, influences, shared_order
from corollary.explain.weights import Weights
from corollary.graph.answers import AnswerIndex
from corollary.learners.conve import ConvE
from corollary.learners.protocol import Batch, Place, Queries
from corollary.learners.row_storage import RowStorage
from tests.explain.test_factors import CANCELLED, frozen_pair, gradient
from tests.learners.small_conve import ENTITIES, RELATIONS, config

RATES = (0.1, 0.03)
PLAIN_NAMES = {
    "entity_bias": "entities.bias", "relations.weight": "relations", "convolution.weight": "filters",
    "projection.weight": "projection",
}  # fmt: skip


def triples_of(count: int, seed: int) -> np.ndarray:
    """Distinct random triples of the small model's entities."""
    rng = np.random.default_rng(seed)
    drawn = np.stack([rng.integers(0, high, 4 * count) for high in (ENTITIES, RELATIONS, ENTITIES)], 1)
    return np.unique(drawn, axis=0)[rng.permutation(len(np.unique(drawn, axis=0)))][:count]


TRAIN, TEST = triples_of(60, 0), triples_of(5, 1)
RIVALS = (TEST[:, 2] + 3) % ENTITIES


def models(**values):
    """Two checkpoints of one model, and their plain twins."""
    found = []
    for number in range(2):
        learner, plain = frozen_pair(**values)
        rng = torch.Generator().manual_seed(number)
        with torch.no_grad():
            learner.relations += torch.randn(learner.relations.shape, generator=rng, dtype=torch.float64) / 9
        found.append((learner, plain.copy(learner)))
    return found


def influence_of(found, **values) -> Influence:
    """Over these models, with an index of the training triples."""
    points = [
        Checkpoint(f"epoch-{i}", Frozen(learner), rate)
        for i, ((learner, _), rate) in enumerate(zip(found, RATES, strict=True))
    ]
    return Influence(points, AnswerIndex.build(TRAIN, RELATIONS), **values)


def row_loss(plain, entity, relation, answers):
    """The loss of one query with these answers, as it counts."""
    if not len(answers):
        return torch.zeros((), dtype=torch.float64)
    queries = Queries(torch.tensor([entity]), torch.tensor([relation]))
    row = Batch(queries, torch.tensor([0, len(answers)]), torch.tensor(answers), Place(0, 0, 0))
    return plain.losses(row).sum()


def triple_gradient(plain, triple, deletion):
    """Of both directions, by autograd."""
    head, relation, tail = (int(part) for part in triple)
    total = 0
    for entity, directed, answer, known in (
        (head, relation, tail, TRAIN[(TRAIN[:, 0] == head) & (TRAIN[:, 1] == relation)][:, 2]),
        (tail, relation + RELATIONS, head, TRAIN[(TRAIN[:, 2] == tail) & (TRAIN[:, 1] == relation)][:, 0]),
    ):
        if deletion == "example":
            total = total + row_loss(plain, entity, directed, [answer])
        else:
            others = [int(other) for other in known if other != answer]
            total = total + row_loss(plain, entity, directed, [answer, *others])
            total = total - row_loss(plain, entity, directed, others)
    return gradient(plain, total)


def expected(found, deletion, wanted=None):
    """Sum over checkpoints of rate times inner products of autograd's gradients."""
    total = 0
    for (_, plain), rate in zip(found, RATES, strict=True):
        ours = torch.stack([triple_gradient(plain, triple, deletion) for triple in TRAIN])
        wanted_here = wanted or (lambda twin, triple, _: triple_gradient(twin, triple, "example"))
        theirs = torch.stack([wanted_here(plain, triple, i) for i, triple in enumerate(TEST)])
        total = total + rate * ours @ theirs.T
    return total


def close(actual, wanted):
    """To 1e-12 of the largest entry."""
    scale = wanted.abs().max()
    assert_close(actual / scale, wanted / scale, rtol=0, atol=1e-12)


@pytest.mark.parametrize("deletion", ["example", "label"])
@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_sums_over_checkpoints_and_directions_equal_autograd(loss, deletion):
    """Every training triple on every test triple, each checkpoint with its own learning rate."""
    found = models(loss=loss, label_smoothing=0.1)
    influence = influence_of(found, deletion=deletion)
    scores = influence.scores(TRAIN, influence.ask(Asked(TEST)))
    close(scores, expected(found, deletion))


@pytest.mark.parametrize("rivals", [None, RIVALS], ids=["score", "contrast"])
def test_the_score_of_an_answer_can_be_asked_about(rivals):
    """One direction; what raises the score, or its lead over a rival, is positive."""
    found = models()

    def wanted(plain, triple, i):
        head, relation, tail = (int(part) for part in triple)
        scores = plain.scores(Queries(torch.tensor([head]), torch.tensor([relation])))[0]
        return -gradient(plain, scores[tail] - (0 if rivals is None else scores[int(rivals[i])]))

    influence = influence_of(found)
    target = "score" if rivals is None else "contrast"
    reference = influence.ask(Asked(TEST, target=target, sides=("tail",), rivals=rivals))
    close(influence.scores(TRAIN, reference), expected(found, "example", wanted))


def test_block_size_changes_time_not_numbers():
    """Agreement to 1e-12 in float64; the same block size gives the same bytes."""
    influence = influence_of(models(label_smoothing=0.1))
    reference = influence.ask(Asked(TEST))
    whole = influence.scores(TRAIN, reference)
    for block in (1, 7, 60, 100):
        again = [torch.empty_like(whole) for _ in range(2)]
        for out in again:
            for rows, scores in influences(influence, TRAIN, reference, block=block):
                out[torch.from_numpy(rows)] = scores
        assert torch.equal(*again)
        close(again[0], whole)


def test_the_parts_of_checkpoints_add_up():
    """A breakdown by checkpoint is of the same sum."""
    influence = influence_of(models())
    reference = influence.ask(Asked(TEST))
    parts = list(influence.scores_by_checkpoint(TRAIN, reference))
    assert len(parts) == 2
    close(sum(parts), influence.scores(TRAIN, reference))


@pytest.mark.parametrize("deletion", ["example", "label"])
def test_self_influence_is_the_influence_on_oneself(deletion):
    """The rate-weighted squared length of each training triple's gradient."""
    found = models()
    total = 0
    for (_, plain), rate in zip(found, RATES, strict=True):
        total = total + rate * torch.stack([triple_gradient(plain, t, deletion) for t in TRAIN]).square().sum(
            1
        )
    close(influence_of(found, deletion=deletion).self_influence(TRAIN), total)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("loss", ["binary_cross_entropy", "cross_entropy"])
def test_the_loss_of_a_triple_is_that_of_the_last_checkpoint(loss, reduction):
    """Both directions, as examples, dropout off; its neighbours change nothing."""
    values = {"loss": loss, "reduction": reduction, "label_smoothing": 0.1}
    found = models(**values)
    plain = found[-1][1]
    wanted = [
        row_loss(plain, int(h), int(r), [int(t)]) + row_loss(plain, int(t), int(r) + RELATIONS, [int(h)])
        for h, r, t in TRAIN
    ]
    close(influence_of(found).losses(TRAIN), torch.stack(wanted).detach())
    learner = ConvE(config(**values), num_entities=ENTITIES, num_relations=RELATIONS, seed=1).eval()
    alone = Influence([Checkpoint("final", Frozen(learner), 1.0)], AnswerIndex.build(TRAIN, RELATIONS))
    assert learner.drop_hidden.probability > 0
    torch.testing.assert_close(alone.losses(TRAIN[3:4]), alone.losses(TRAIN)[3:4], rtol=1e-5, atol=1e-6)


def test_cosines_are_of_the_gradients():
    """Lengths taken out, learning rates left in."""
    found = models()
    total = 0
    for (_, plain), rate in zip(found, RATES, strict=True):
        ours, theirs = (
            torch.nn.functional.normalize(
                torch.stack([triple_gradient(plain, t, "example") for t in triples]), dim=1
            )
            for triples in (TRAIN, TEST)
        )
        total = total + rate * ours @ theirs.T
    influence = influence_of(found, measure="cosine")
    close(influence.scores(TRAIN, influence.ask(Asked(TEST))), total)


@pytest.mark.parametrize("entity_bias", [True, False])
def test_the_output_scores_equal_their_definition(entity_bias):
    """Gradients by scores, times outputs of the encoder under the metric, example by example."""
    found = models(entity_bias=entity_bias)
    for measure in ("output", "output-kfac"):
        total = 0
        for (_, plain), rate in zip(found, RATES, strict=True):
            ours, theirs = (_output_parts(plain, triples, entity_bias) for triples in (TRAIN, TEST))
            metric = torch.eye(ours[1].shape[-1], dtype=torch.float64)
            if measure == "output-kfac":
                every = ours[1].flatten(0, 1)
                moment = every.T @ every / len(every)
                metric = torch.linalg.inv(moment + 0.1 * moment.trace() / 12 * metric)
            for side in range(2):
                for other in range(2):
                    near = ours[1][side] @ metric @ theirs[1][other].T
                    total = total + rate * near * (ours[0][side] @ theirs[0][other].T)
        influence = influence_of(found, measure=measure)
        close(influence.scores(TRAIN, influence.ask(Asked(TEST))), total)


def _output_parts(plain, triples, bias):
    """For each side: gradients of losses by scores, and encoder outputs with a one for the bias."""
    h, r, t = (torch.from_numpy(triples[:, i].astype(np.int64)) for i in range(3))
    deltas, outputs = [], []
    for entity, relation, answer in ((h, r, t), (t, r + RELATIONS, h)):
        q = plain.encode(Queries(entity, relation), None).detach()
        scores = plain.scores(Queries(entity, relation)).detach()
        delta = torch.softmax(scores, 1) - torch.nn.functional.one_hot(answer, ENTITIES)
        deltas.append(delta)
        outputs.append(torch.cat([q, torch.ones(len(q), 1, dtype=torch.float64)], 1) if bias else q)
    return torch.stack(deltas), torch.stack(outputs)


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
@pytest.mark.parametrize("variant", ["paper", "libkge"])
@pytest.mark.parametrize("deletion", ["example", "label"])
def test_adam_scales_every_entry_of_a_gradient(loss, variant, deletion):
    """Autograd's gradients, times a random metric, times autograd's gradients; one direction held or all."""
    found = models(loss=loss, variant=variant, weight="query", label_smoothing=0.1)
    metrics = [random_metric(learner, seed) for seed, (learner, _) in enumerate(found)]
    total = 0
    for (learner, plain), rate, metric in zip(found, RATES, metrics, strict=True):
        scale = written_out(learner, plain, metric)
        ours, theirs = (
            torch.stack([triple_gradient(plain, t, meaning) for t in triples])
            for triples, meaning in ((TRAIN, deletion), (TEST, "example"))
        )
        total = total + rate * (ours * scale) @ theirs.T
    for held in (True, False):
        influence = influence_of(
            found, measure="adam", deletion=deletion, hold=Hold(directions=held, maps=held)
        )
        influence.checkpoints = [
            replace(point, metric=metric)
            for point, metric in zip(influence.checkpoints, metrics, strict=True)
        ]
        close(influence.scores(TRAIN, influence.ask(Asked(TEST))), total)


def random_metric(learner, seed) -> Weights:
    """Positive numbers for every parameter."""
    rng = torch.Generator().manual_seed(seed)
    made = Weights.zeros(Frozen(learner))
    made.change(Frozen(learner), lambda part: torch.rand(part.shape, generator=rng, dtype=part.dtype) + 0.1)
    return made


def written_out(learner, plain, metric) -> torch.Tensor:
    """The metric in the order of the plain twin's gradient."""
    parts = dict(metric.named(Frozen(learner)))
    parts |= {f"entities.{name}": part for name, part in metric.entities.items()}
    found = []
    for name, parameter in plain.named_parameters():
        if name not in CANCELLED:
            ours = PLAIN_NAMES.get(name, name)
            found.append(parts[ours].reshape(parameter.shape).flatten())
    return torch.cat(found)


def test_what_is_held_changes_no_byte():
    """Maps kept or made again, deltas of the asked triples held or made for every unit."""
    found = models(label_smoothing=0.1)
    before = None
    for maps in (True, False):
        for deltas in (True, False):
            influence = influence_of(found, hold=Hold(maps=maps, deltas=deltas))
            scores = influence.scores(TRAIN, influence.ask(Asked(TEST)))
            assert before is None or torch.equal(before, scores)
            before = scores


def test_an_ensemble_is_the_mean_of_its_members():
    """Scores, their parts, self-influence, losses."""
    one, other = (influence_of(models(loss=loss)) for loss in ("cross_entropy", "binary_cross_entropy"))
    both = Ensemble([one, other])
    reference = both.ask(Asked(TEST))
    each = [member.scores(TRAIN, member.ask(Asked(TEST))) for member in (one, other)]
    close(both.scores(TRAIN, reference), sum(each) / 2)
    assert len(list(both.scores_by_checkpoint(TRAIN, reference))) == 4
    close(both.self_influence(TRAIN), (one.self_influence(TRAIN) + other.self_influence(TRAIN)) / 2)
    close(both.losses(TRAIN), (one.losses(TRAIN) + other.losses(TRAIN)) / 2)


def test_the_order_shares_queries_within_a_unit():
    """A permutation; a relation's triples stand together."""
    order = shared_order(TRAIN)
    assert sorted(order.tolist()) == list(range(len(TRAIN)))
    assert (np.diff(TRAIN[order, 1]) >= 0).all()
    assert UNIT == 512


def test_a_model_that_predicts_tails_alone():
    """One example a triple."""
    both = influence_of(models())
    assert both.sides == ("tail", "head")
    learner = ConvE(config(sides="tail"), num_entities=ENTITIES, num_relations=RELATIONS, seed=1).eval()
    alone = Influence([Checkpoint("final", Frozen(learner), 1.0)], AnswerIndex.build(TRAIN, RELATIONS))
    assert alone.sides == ("tail",)
    assert alone.scores(TRAIN, alone.ask(Asked(TEST))).shape == (60, 5)


def test_a_table_on_disk_gives_the_same_bytes(tmp_path):
    """Rows behind mapped files in place of memory."""
    influence = influence_of(models())
    before = influence.scores(TRAIN, influence.ask(Asked(TEST)))
    for point in influence.checkpoints:
        table = point.frozen.entities
        table.storage = RowStorage("cpu", "disk", tmp_path)
        parts = {}
        for name, part in table.parts.items():
            parts[name] = table.storage.allocate(*part.shape, dtype=part.dtype)
            parts[name].copy_(part)
        table.parts = parts
    assert torch.equal(before, influence.scores(TRAIN, influence.ask(Asked(TEST))))


@pytest.mark.parametrize("block", [1, 7, 64, 500])
def test_extremes_are_those_of_a_full_sort(block):
    """Ties go to the lower row; nothing at zero is kept; masked triples are not seen."""
    rng = np.random.default_rng(3)
    scores = torch.from_numpy(rng.integers(-6, 7, (200, 4)).astype(np.float64))
    allowed = torch.from_numpy(rng.random((200, 4)) < 0.8)
    rows = torch.from_numpy(rng.permutation(200))
    kept = Extremes.none(9, 4, torch.float64)
    for start in range(0, 200, block):
        some = rows[start : start + block]
        kept.add(scores[some], some, allowed[some])
        kept = Extremes.from_arrays(9, kept.arrays())
    for asked in range(4):
        seen = [(float(scores[i, asked]), i) for i in range(200) if allowed[i, asked]]
        for (values, where), sign in ((kept.proponents, 1), (kept.opponents, -1)):
            best = sorted((-sign * score, i) for score, i in seen if sign * score > 0)[:9]
            assert list(zip((-sign * values[asked]).tolist(), where[asked].tolist(), strict=True)) == best


def test_fewer_than_k_are_marked():
    """Row -1, score zero."""
    kept = Extremes.none(3, 1)
    kept.add(torch.tensor([[2.0], [-1.0], [0.0]]), torch.arange(3))
    assert kept.proponents[1].tolist() == [[0, -1, -1]]
    assert kept.opponents[1].tolist() == [[1, -1, -1]]


def test_the_same_question_of_fewer_checkpoints():
    """A checkpoint's rate scales its part and nothing else."""
    found = models()
    influence = influence_of(found)
    doubled = influence_of(found)
    doubled.checkpoints = [
        replace(point, learning_rate=2 * point.learning_rate) for point in doubled.checkpoints
    ]
    reference = influence.ask(Asked(TEST))
    close(doubled.scores(TRAIN, reference), 2 * influence.scores(TRAIN, reference))
