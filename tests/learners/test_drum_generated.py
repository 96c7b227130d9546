"""Generated queries: what a relation is like, what a step of training does without, and relations that nobody trained."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from corollary.learners.drum.config import DrumConfig
from corollary.learners.drum.data import DrumData, drum_data
from corollary.learners.drum.learner import Drum
from corollary.learners.drum.relation_features import KNOWN, Describer, hashed_name
from corollary.learners.drum.unseen import AdaptingConfig, adapt, extended
from corollary.learners.protocol import Place, Queries
from corollary.rules.rule import links_of
from tests.reference import drum as slow
from tests.reference import relations as plain

SMALL = {
    "query_embed_size": 8,
    "lstm_size": 6,
    "components": 2,
    "batch_size": 16,
    "generated": True,
    "generated_width": 5,
}
NAMES = ["likes", "knows", "part of", "sees"]


@pytest.fixture(scope="module")
def triples():
    rng = np.random.default_rng(3)
    found = np.unique(rng.integers(0, (12, 4, 12), (70, 3)), axis=0)
    return found[found[:, 1] != 3]  # the last relation has no facts


def learner_on(graph, seed=0, **changes):
    config = DrumConfig.build(SMALL | changes)
    learner = Drum(config, num_entities=graph.num_entities, num_relations=graph.num_relations, seed=seed)
    return learner.walk_on(drum_data(graph, config, seed=seed))


def test_descriptions_equal_the_plain_ones(triples):
    """Of relations with and without facts, of a new one by some facts; to 1e-12, sums in another order."""
    links = links_of(triples, 12, 4)
    describer, every = Describer.of(links, triples, NAMES)
    rows = list(map(tuple, triples.tolist()))
    for relation in range(4):
        assert_close(every[relation], plain.described(rows, NAMES, 12, relation), rtol=0, atol=1e-12)
    for facts in ([], [(0, 3)], [(0, 3), (3, 0), (4, 4), (4, 5)]):
        pairs = np.array(facts, np.int64).reshape(-1, 2)
        for own in (None, 1):
            name = "new" if own is None else NAMES[own]
            expected = plain.described(rows, NAMES, 12, "new" if own is None else own, facts)
            assert_close(describer.described(pairs, name, own), expected, rtol=0, atol=1e-12)


def test_descriptions_do_not_know_numbers(triples):
    """Entities and relations in another order: the same descriptions; and backwards is the turned relation's forwards."""
    _, every = Describer.of(links_of(triples, 12, 4), triples, NAMES)
    entities, relations = np.random.default_rng(0).permutation(12), np.array([2, 0, 3, 1])
    other = np.stack([entities[triples[:, 0]], relations[triples[:, 1]], entities[triples[:, 2]]], 1)
    names = [""] * 4
    for old, new in enumerate(relations):
        names[new] = NAMES[old]
    describer, again = Describer.of(links_of(other, 12, 4), other, names)
    assert_close(again[relations], every, rtol=0, atol=1e-12)
    pairs = np.array([[0, 3], [2, 3], [4, 4]])
    one, two = (describer.described(facts, "new", None) for facts in (pairs, pairs[:, ::-1]))
    assert_close(one[0, :-1], two[1, :-1], rtol=0, atol=1e-12)


def test_names_that_share_pieces_are_alike():
    """Cosine of names with a common word, and of names without."""
    one = hashed_name("compound treats disease")
    assert one @ hashed_name("drug treats disease") > 0.5
    assert abs(one @ hashed_name("expresses")) < 0.4
    assert np.linalg.norm(one) == pytest.approx(1)


def test_what_facts_do_not_tell_is_the_mean(triples):
    """A relation without facts has zeros but for its name, its flag and the direction."""
    config = DrumConfig.build(SMALL)
    learner = Drum(config, num_entities=12, num_relations=4, seed=0)
    learner.walk_on(DrumData(4, links_of(triples, 12, 4), triples, triples, NAMES))
    assert learner.generator is not None
    described = learner.generator.described
    assert (described[[3, 7], :KNOWN] == 0).all()
    assert (described[[3, 7], -2] == 0).all()
    assert described[3, -1] == 1
    assert described[7, -1] == -1
    seen = described[[0, 1, 2, 4, 5, 6], :KNOWN]
    assert_close(seen.mean(0), torch.zeros(KNOWN), rtol=0, atol=1e-4)  # the scale is that of these relations
    assert (seen.abs() <= 5).all()


def test_the_step_equals_one_matrix_an_operator(tiny):
    """Losses to 1e-10 and gradients to 1e-9 in float64, with an episode's masks on."""
    learner = learner_on(tiny, hidden_share=0.5).double().train()
    batch = learner.batches(tiny, seed=0, epoch=0)[0]
    triples = list(map(tuple, np.asarray(tiny.triples("train")).tolist()))
    episode = learner.generator.episode(learner.data, batch.place)
    attention = learner.log_attention(batch.relations, episode).exp()
    rows = {int(relation): row for row, relation in enumerate(batch.relations)}
    queries = np.repeat(batch.relations.numpy(), np.diff(batch.bounds))
    examples = list(zip(batch.starts.tolist(), queries.tolist(), batch.answers.tolist(), strict=True))
    expected = torch.stack(
        [slow.loss(triples, attention[rows[e[1]]], e, tiny.num_entities, 3) for e in examples]
    )
    assert_close(learner.losses(batch), expected, rtol=0, atol=1e-10)
    parameters = [value for value in learner.parameters() if value.requires_grad]
    assert_close(
        torch.autograd.grad(learner.loss(batch), parameters),
        torch.autograd.grad(expected.mean(), parameters),
        rtol=0, atol=1e-9,
    )  # fmt: skip


def test_hidden_relations_are_asked_as_if_unseen(tiny):
    """Their rows get no gradient and their own edges no attention; which are hidden depends on seed, epoch and part alone."""
    learner = learner_on(tiny, hidden_share=0.7, lookup_dropout=0.0).train()
    assert learner.generator is not None
    assert learner.data is not None
    episode = learner.generator.episode(learner.data, Place(0, 1, 0))
    hidden = episode.hidden.nonzero()[:, 0]
    assert 0 < len(hidden) < 6
    relations = torch.arange(6)
    logs = learner.log_attention(relations, episode)
    for relation in hidden.tolist():
        assert torch.isneginf(logs[relation][:, [relation, (relation + 3) % 6]]).all()
    logs[logs.isfinite()].square().sum().backward()
    assert learner.queries.grad is not None
    assert (learner.queries.grad[hidden] == 0).all()
    assert (learner.queries.grad[~episode.hidden] != 0).any(1).all()
    again = learner_on(tiny, hidden_share=0.7, lookup_dropout=0.0).generator
    assert again is not None
    later = again.episode(learner.data, Place(0, 2, 0)), again.episode(learner.data, Place(0, 1, 5))
    assert (later[1].hidden == episode.hidden).all()
    assert_close(later[1].described, episode.described, rtol=0, atol=0)
    others = [again.episode(learner.data, Place(0, 1, step)).hidden.tolist() for step in (64, 128, 192)]
    assert any(hidden != episode.hidden.tolist() for hidden in others)


def test_rows_are_left_out_of_some_steps(tiny):
    """With lookup_dropout the rows of about so many relations take no part; in evaluation all do."""
    learner = learner_on(tiny, hidden_share=0.0, lookup_dropout=0.5)
    assert learner.generator is not None
    assert learner.data is not None
    drawn = [learner.generator.episode(learner.data, Place(0, 0, step)).looked_up for step in range(200)]
    shares = torch.stack(drawn).float()
    assert (shares[:, :3] == shares[:, 3:]).all()  # both directions of a relation together
    assert ((shares.mean(0) - 0.5).abs() < 0.15).all()
    with torch.no_grad():
        learner.queries.normal_()
    assert not torch.equal(
        learner.log_attention(torch.arange(6)), learner_on(tiny).log_attention(torch.arange(6))
    )


def test_weights_go_to_a_graph_with_more_relations(tiny):
    """Without facts of the new relation, and relations in another order: seen relations score as before, to 1e-6."""
    learner = learner_on(tiny).eval()
    with torch.no_grad():  # rows of every relation, as after training
        learner.queries.normal_(generator=torch.Generator().manual_seed(0))
        learner.output[:, :-1].normal_(generator=torch.Generator().manual_seed(1))
    train = np.asarray(tiny.triples("train")).copy()
    names, places = list(tiny.relations.labels), np.array([3, 0, 2])
    other = ["", "", "", ""]
    for old, new in enumerate(places):
        other[new] = names[old]
    other[1] = "entirely new"
    train[:, 1] = places[train[:, 1]]
    data = DrumData(4, links_of(train, tiny.num_entities, 4), train[:0], train, other)
    larger = extended(learner, places, data)
    asked = torch.arange(6)
    before = learner.prepare(Queries(asked, asked))
    directed = torch.from_numpy(np.concatenate([places, places + 4]))
    after = larger.prepare(Queries(asked, directed))
    shares = larger.attention(directed)[:, :, [1, 5]].sum()  # new steps have attention that leads nowhere
    assert shares > 0
    assert_close(after, before, rtol=0, atol=1e-5)  # what arrives is divided by its sum


def test_adapting_moves_only_the_new_queries(tiny):
    """The facts of the new relation come out better; no other weight changes, and no steps change nothing."""
    learner = learner_on(tiny).eval()
    train = np.asarray(tiny.triples("train"))
    new = train[train[:, 1] == 0][:4].copy()
    new[:, 1] = 3
    whole = np.concatenate([train, new])
    data = DrumData(
        4, links_of(whole, tiny.num_entities, 4), new, whole, [*tiny.relations.labels, "likes too"]
    )
    larger = extended(learner, np.arange(3), data)
    before = {name: value.detach().clone() for name, value in larger.named_parameters()}
    batch_loss = larger.losses(larger.batches(tiny, seed=0, epoch=0)[0]).mean().item()
    adapt(larger, AdaptingConfig(steps=0))
    assert all(torch.equal(value, before[name]) for name, value in larger.named_parameters())
    adapt(larger, AdaptingConfig(steps=30))
    changed = [name for name, value in larger.named_parameters() if not torch.equal(value, before[name])]
    assert changed == ["queries"]
    assert torch.equal(larger.queries[[0, 1, 2, 4, 5, 6]], before["queries"][[0, 1, 2, 4, 5, 6]])
    assert larger.losses(larger.batches(tiny, seed=0, epoch=0)[0]).mean().item() < batch_loss


def test_every_new_relation_is_adapted(tiny):
    """Facts of several, more than a batch: each one's queries move, and by batches of another size as much."""
    learner = learner_on(tiny).eval()
    train = np.asarray(tiny.triples("train"))
    new = np.concatenate([train[train[:, 1] == r] + [0, 3, 0] for r in range(3)])
    whole = np.concatenate([train, new])
    names = [*tiny.relations.labels, "one", "two", "three"]
    data = DrumData(6, links_of(whole, tiny.num_entities, 6), np.unique(new, axis=0), whole, names)
    assert len(new) > 2 * SMALL["batch_size"]
    found = []
    for size in (SMALL["batch_size"], 7, 1000):
        larger = extended(learner, np.arange(3), data).double()
        larger.config = larger.config.changed(batch_size=size)
        before = larger.queries.detach().clone()
        adapt(larger, AdaptingConfig(steps=3))
        moved = (larger.queries != before).any(1)
        assert moved[[3, 4, 5, 9, 10, 11]].all()
        assert not moved[[0, 1, 2, 6, 7, 8]].any()
        found.append(larger.queries.detach())
    for other in found[1:]:
        assert_close(other, found[0], rtol=0, atol=1e-9)  # sums of gradients in another order, in float64
