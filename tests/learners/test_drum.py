"""DRUM as a learner: attention, its gradient through the walks, groups of targets, and models that answer together."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from corollary.errors import ConfigError
from corollary.learners.drum.config import DrumConfig
from corollary.learners.drum.data import drum_data, num_facts, reached_sides
from corollary.learners.drum.extracting import ExtractingConfig, grounded_rules
from corollary.learners.drum.groups import GroupsConfig, turns_of
from corollary.learners.drum.learner import Drum
from corollary.learners.drum.scoring import DrumEnsemble, Member
from corollary.learners.protocol import Queries
from corollary.rules.rule import Rule
from tests.reference import drum as slow

SMALL = {"query_embed_size": 8, "lstm_size": 6, "components": 2, "batch_size": 16}


def learner_on(graph, seed=0, **changes):
    config = DrumConfig.build(SMALL | changes)
    learner = Drum(config, num_entities=graph.num_entities, num_relations=graph.num_relations, seed=seed)
    return learner.walk_on(drum_data(graph, config, seed=seed))


def examples_of(batch):
    queries = np.repeat(batch.relations.numpy(), np.diff(batch.bounds))
    return list(zip(batch.starts.tolist(), queries.tolist(), batch.answers.tolist(), strict=True))


@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_step_equals_one_matrix_an_operator(tiny, length):
    """Losses to 1e-10 and the gradient of every weight to 1e-9, in float64; each example without its own edge."""
    learner = learner_on(tiny, rule_length=length).double()
    batch = learner.batches(tiny, seed=0, epoch=0)[0]
    triples = list(map(tuple, np.asarray(tiny.triples("train")).tolist()))
    attention = learner.log_attention(batch.relations).exp()
    rows = {int(relation): row for row, relation in enumerate(batch.relations)}
    expected = torch.stack(
        [slow.loss(triples, attention[rows[e[1]]], e, tiny.num_entities, 3) for e in examples_of(batch)]
    )
    losses = learner.losses(batch)
    assert_close(losses, expected, rtol=0, atol=1e-10)
    parameters = [value for _, value in learner.named_parameters()]
    assert_close(
        torch.autograd.grad(learner.loss(batch), parameters),
        torch.autograd.grad(expected.mean(), parameters),
        rtol=0, atol=1e-9,
    )  # fmt: skip
    weights = torch.linspace(0.1, 2.0, len(batch), dtype=torch.float64)  # as attribution asks
    assert_close(
        torch.autograd.grad(learner.losses(batch) @ weights, parameters),
        torch.autograd.grad(
            torch.stack(
                [
                    slow.loss(triples, learner.log_attention(batch.relations).exp()[rows[e[1]]], e, tiny.num_entities, 3)
                    for e in examples_of(batch)
                ]
            )
            @ weights,
            parameters,
        ),
        rtol=0, atol=1e-9,
    )  # fmt: skip


def test_scores_do_not_depend_on_what_is_asked_beside(tiny):
    """A query alone or among others, bit for bit."""
    learner = learner_on(tiny)
    asked = Queries(torch.arange(6), torch.tensor([0, 1, 2, 3, 4, 5]))
    together = learner.prepare(asked)
    for row in range(6):
        one = Queries(asked.entity_ids[row : row + 1], asked.relation_ids[row : row + 1])
        assert (learner.prepare(one)[0] == together[row]).all()


def test_operators_keep_their_relations_under_a_shortlist(tiny):
    """Columns of the output layer are tied to global steps: masked ones have no attention and others their own logits."""
    whole = learner_on(tiny, rule_length=2)
    short = learner_on(tiny, rule_length=2, shortlist=3)
    assert short.data is not None
    allowed = short.data.allowed
    assert allowed is not None
    assert (allowed.sum(1) == 4).all()  # three and staying
    relations = torch.arange(6)
    full, some = whole.log_attention(relations), short.log_attention(relations)
    mask = torch.from_numpy(allowed)[:, None, :, None].expand_as(full)
    assert torch.isneginf(some[~mask]).all()
    again = full.masked_fill(~mask, -torch.inf).log_softmax(2)
    assert_close(some[mask], again[mask], rtol=0, atol=1e-6)  # float32


def test_body_relations_limit_what_is_walked(tiny):
    """Bodies over `knows` alone; ids keep their meaning, and extracted bodies hold nothing else."""
    learner = learner_on(tiny, body_relations=("knows",))
    assert learner.data is not None
    assert set((learner.data.links.steps % 3).tolist()) == {1}
    rules = grounded_rules(learner, [0, 1, 2], ExtractingConfig(), seed=0)
    assert set((rules.bodies[rules.bodies >= 0] % 3).tolist()) == {1}


def test_grounded_rules_carry_the_score(tiny):
    """Shares of the bodies of a fact are their parts of its score, both directions, with the fact's own edge left out."""
    learner = learner_on(tiny, rule_length=2)
    rules = grounded_rules(learner, [0], ExtractingConfig(top=1000), seed=0)
    triples = list(map(tuple, np.asarray(tiny.triples("train")).tolist()))
    mine = [t for t in triples if t[1] == 0]
    attention = torch.from_numpy(learner.attention(torch.tensor([0, 3])).astype(np.float64))
    expected: dict[tuple[int, ...], float] = {}
    for fact in mine:
        for way, (start, answer) in enumerate([(fact[0], fact[2]), (fact[2], fact[0])]):
            shares = slow.body_shares(triples, attention[way], (start, way * 3, answer), tiny.num_entities, 3)
            for body, share in shares.items():
                turned = body if way == 0 else tuple((s + 3) % 6 for s in reversed(body))
                expected[turned] = expected.get(turned, 0.0) + share / (2 * len(mine))
    found = {rule.body: weight for rule, weight in zip(rules, rules.weights, strict=True)}
    expected = {body: share for body, share in expected.items() if body not in ((), (0,))}
    assert found.keys() == expected.keys()
    for body, share in expected.items():
        assert found[body] == pytest.approx(share, abs=1e-9)
    assert list(rules.weights) == sorted(rules.weights, reverse=True)


def test_reach_is_what_has_a_score(tiny):
    """A side is reached exactly where the slow score of uniform attention is above 0."""
    for length in (1, 2, 3):
        learner = learner_on(tiny, rule_length=length, body_relations=("likes", "knows"), shortlist=3)
        data = learner.data
        assert data is not None
        triples = list(map(tuple, np.asarray(tiny.triples("train")).tolist()))
        walked = [t for t in triples if t[1] != 2]
        found = reached_sides(data, length, data.triples)
        for row, (head, relation, tail) in list(enumerate(data.triples.tolist()))[::9]:
            for side, example in enumerate([(head, relation, tail), (tail, relation + 3, head)]):
                allowed = torch.from_numpy(data.allowed[example[1]]).double()
                attention = allowed[None, :, None].expand(length, -1, 1)
                loss = slow.loss(walked, attention, example, 30, 3, normalise=False, floor=1e-300)
                assert found[row, side] == (loss < 600)


def test_queries_are_given_or_drawn(tiny):
    """A quarter of train, drawn anew in every epoch where that is asked; each triple is still there."""
    data = learner_on(tiny, queries="split", resplit=True).data
    assert data is not None
    first, second = (data.asked(0, epoch, None) for epoch in (0, 1))
    assert len(first) == len(second) == 35  # of 140
    assert first.tolist() != second.tolist()
    assert data.asked(0, 1, None).tolist() == second.tolist()
    assert num_facts(tiny) == 0
    with pytest.raises(ConfigError, match="queries = given needs facts and queries apart"):
        learner_on(tiny, queries="given")
    with pytest.raises(ConfigError, match="facts_only needs facts apart"):
        learner_on(tiny, facts_only=True)
    with pytest.raises(ConfigError, match="relation 'knowz' is not known. Did you mean 'knows'"):
        learner_on(tiny, body_relations=("knowz",))


def some_targets(size=40, seed=0):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 60, size)
    relation = np.repeat(np.arange(size), sizes)
    ends = np.stack([relation // 8 * 30 + rng.integers(0, 30, len(relation)) for _ in range(2)], 1)
    return np.column_stack([ends[:, 0], relation, ends[:, 1]])


@pytest.mark.parametrize("grouping", ["random", "related"])
def test_every_target_has_its_turn_in_every_rotation(grouping):
    """Groups are of the asked size and balanced by facts; random ones are drawn anew, related ones stay."""
    triples = some_targets()
    turns = turns_of(GroupsConfig(target_batch_size=8, rotations=2, grouping=grouping), triples, seed=1)
    assert len(turns) == 10
    for rotation in (1, 2):
        mine = [turn.targets for turn in turns if turn.rotation == rotation]
        assert sorted(np.concatenate(mine).tolist()) == list(range(40))
        assert all(len(group) == 8 for group in mine)
    sizes = np.bincount(triples[:, 1])
    facts = [sizes[turn.targets].sum() for turn in turns[:5]]
    one, two = ([set(t.targets.tolist()) for t in turns if t.rotation == r] for r in (1, 2))
    if grouping == "random":
        assert max(facts) - min(facts) < sizes.max()
        assert one != two
    else:  # relations 0 to 7 share their entities, 8 to 15 theirs
        assert one == two
        assert all(len({target // 8 for target in group}) == 1 for group in one)


def test_a_group_larger_than_the_targets_is_named():
    with pytest.raises(
        ConfigError, match="target_batch_size = 41 is more than the 40 targets that have facts"
    ):
        turns_of(GroupsConfig(target_batch_size=41), some_targets(), seed=0)
    with pytest.raises(ConfigError, match="target_batch_size = 0: Input should be greater than 0"):
        GroupsConfig.build({"target_batch_size": 0})


def test_members_are_averaged_over_what_they_cover(tiny):
    """One for relations 0 and 1, one for 1; nobody for 2, where the fallback answers."""
    one, other = learner_on(tiny, seed=1), learner_on(tiny, seed=2)
    covers = [np.array([True, True, False]), np.array([False, True, False])]
    queries = Queries(torch.tensor([4, 4, 4, 4]), torch.tensor([0, 1, 4, 2]))

    class Half:
        device, num_entities = torch.device("cpu"), 30

        def prepare(self, queries):
            return torch.full((len(queries), 30), 0.5)

        def scores(self, prepared, rows, out=None):
            return prepared[:, rows]

    members = [Member(one, covers[0]), Member(other, covers[1])]
    found = DrumEnsemble(members, Half()).prepare(queries)
    first, second = one.prepare(queries), other.prepare(queries)
    assert_close(found[0], first[0], rtol=0, atol=0)
    assert_close(found[1:3], (first[1:3] + second[1:3]) / 2, rtol=0, atol=1e-7)
    assert (found[3] == 0.5).all()
    assert DrumEnsemble(members).uncovered == [2]
    assert (DrumEnsemble(members).prepare(queries)[3] == 0).all()


def test_directions_of_bodies(tmp_path):
    """r(X, Y) <- p(X, A), q(A, Y), asked from both sides, comes out as that body alone, and is counted as true."""
    from corollary.graph.folder import write_graph
    from corollary.rules.counting import count

    n = 40
    triples = [(i, 0, 100 + i) for i in range(n)] + [(100 + i, 1, 200 + i) for i in range(n)]
    triples += [(i, 2, 200 + i) for i in range(n)]
    graph = write_graph(
        tmp_path / "g", name="g", labels=[f"e{i}" for i in range(300)], relations=["p", "q", "r"],
        triples={"train": np.array(triples)},
    )  # fmt: skip
    learner = learner_on(graph, rule_length=2)
    rules = grounded_rules(learner, [2], ExtractingConfig(), seed=0)
    assert next(iter(rules)) == Rule(2, (0, 1))
    assert learner.data is not None
    counted = count(rules, learner.data.links)
    assert (counted.support[0], counted.pairs[0]) == (n, n)
