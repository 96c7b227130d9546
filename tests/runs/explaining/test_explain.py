"""One prediction with all its reasons: each part against a plain look at the graph and the runs, and every way to fail."""

import json
from pathlib import Path

import numpy as np
import pytest

from corollary.errors import ConfigError, GraphMismatch, UnknownName
from corollary.evaluation.ranking import rank_triples
from corollary.graph.folder import write_graph
from corollary.records.explanation import Explanation, Missing
from corollary.reports.explanation_text import as_text
from corollary.runs.explaining.asked import FactList
from corollary.runs.explaining.explain import Cancelled, ExplainConfig, Explainer, explain_prediction
from corollary.runs.run import Run
from corollary.runs.tracing.config import TracInConfig
from corollary.runs.tracing.tracin import tracin
from tests.conftest import tiny_graph
from tests.reference.pair_paths import all_paths

ASKED = ("France", "borders", "Belgium")


@pytest.fixture(scope="module")
def found(runs: list[Run]) -> Explanation:
    return explain_prediction(runs, *ASKED)


def test_the_rank_is_that_of_the_evaluation(runs: list[Run], found: Explanation) -> None:
    """The same filtered, realistic rank that `evaluate` gives this triple on this side."""
    triple = np.array([[found.head.id, found.relation.id, found.tail.id]])
    for run, rank in zip(runs, found.ranks, strict=True):
        there = rank_triples(run.scorer, run.graph, triple, resamples=0).figures.sides["tail"]["realistic"]
        assert rank.rank is not None
        assert 1 / rank.rank == pytest.approx(there.mrr)
        assert rank.learner == run.kind.name


def test_facts_are_triples_of_the_graph_and_cited_once(found: Explanation, runs: list[Run]) -> None:
    train = {tuple(row) for row in np.asarray(runs[0].graph.triples("train")).tolist()}
    triples = [(fact.head, fact.relation, fact.tail) for fact in found.facts]
    assert len(set(triples)) == len(triples) > 10
    assert set(triples) <= train
    assert [fact.id for fact in found.facts] == list(range(1, len(triples) + 1))
    assert {one for triple in triples for one in (triple[0], triple[2])} <= set(found.entities)


def test_rules_derive_the_prediction_without_its_own_edge(found: Explanation) -> None:
    """Every grounding is a chain of cited facts that leads from one end to the other; none is the asked triple."""
    assert not isinstance(found.rules, Missing)
    assert found.rules.shown
    for rule in found.rules.shown:
        assert rule.train.k <= rule.train.n
        assert rule.groundings
        for binding in rule.groundings:
            facts = [found.facts[number - 1] for number in binding.facts]
            assert (found.head.id, found.relation.id, found.tail.id) not in [
                (fact.head, fact.relation, fact.tail) for fact in facts
            ]
            ends = {fact.head for fact in facts} | {fact.tail for fact in facts}
            assert ends & {found.head.id, found.tail.id}


def test_influence_is_that_of_tracin(found: Explanation, runs: list[Run]) -> None:
    triple = np.array([[found.head.id, found.relation.id, found.tail.id]])
    there = tracin(runs[0], triple, TracInConfig(side="tail", within_hops=1, top_k=200)).triples[0]
    assert not isinstance(found.influence, Missing)
    assert [one.value for one in found.influence.proponents] == [one.score for one in there.proponents[:10]]
    assert found.influence.candidates == there.num_candidates
    assert found.influence.share_for + found.influence.share_against == pytest.approx(1)


def test_paths_are_the_heaviest(found: Explanation, runs: list[Run]) -> None:
    """Of two facts, against a plain walk over the training triples."""
    graph = runs[0].graph
    asked = (found.head.id, found.relation.id, found.tail.id)
    train = [t for t in map(tuple, np.asarray(graph.triples("train")).tolist()) if t != asked]
    short = explain_prediction(runs, *ASKED, ExplainConfig(longest=2)).paths
    slow = all_paths(train, graph.num_relations, found.head.id, found.tail.id, 2, 0.4)
    assert not isinstance(short, Missing)
    assert short.total == len(slow)
    heaviest = sorted(slow.values(), reverse=True)[: len(short.shown)]
    assert [one.weight for one in short.shown] == pytest.approx(heaviest)


def test_two_explanations_are_the_same_but_for_the_time(found: Explanation, runs: list[Run]) -> None:
    again = explain_prediction(runs, *ASKED)
    assert json.dumps(again.comparable()) == json.dumps(found.comparable())
    assert Explanation.model_validate_json(found.model_dump_json()) == found


def test_what_is_said_of_the_triple(found: Explanation, runs: list[Run]) -> None:
    new = explain_prediction(runs, "France", "borders", "Japan")
    assert found.status.split in ("train", "valid", "test")
    assert new.status.split is None
    assert "Not in the graph" in as_text(new)
    assert "France -- borders --> Belgium" in as_text(found)


def test_what_if_takes_the_facts_away(found: Explanation) -> None:
    """Without every fact that its rules cite, the rules rank it no better."""
    assert not isinstance(found.what_if, Missing)
    last = found.what_if[-1]
    assert last.rank >= last.rank_before


def test_the_other_side(runs: list[Run]) -> None:
    found = explain_prediction(runs, *ASKED, ExplainConfig(side="head"))
    assert found.answer == found.head
    assert found.side == "head"


def test_one_run_alone_says_what_it_lacks(runs: list[Run]) -> None:
    by_model, by_rules = (explain_prediction([run], *ASKED) for run in runs)
    assert isinstance(by_model.rules, Missing)
    assert "no run with rules was given" in by_model.rules.missing
    assert isinstance(by_rules.influence, Missing)
    assert isinstance(by_rules.ensemble, Missing)
    for found in (by_model, by_rules):
        assert "no run" in as_text(found)


def test_an_unknown_name_is_named_with_the_nearest(runs: list[Run]) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'France'"):
        explain_prediction(runs, "Frnace", "borders", "Belgium")


def test_runs_on_different_graphs_are_refused(runs: list[Run], tmp_path: Path) -> None:
    from corollary.runs.rules.kind import mine_rules

    other = mine_rules(tiny_graph(tmp_path / "tiny"), tmp_path / "rules")
    with pytest.raises(GraphMismatch, match="another graph"):
        Explainer([runs[0], other])
    with pytest.raises(ConfigError, match="at least one run"):
        Explainer([])
    with pytest.raises(ConfigError, match="two runs are called run"):
        Explainer([runs[0], runs[0]])


def test_an_explanation_can_be_cancelled_between_its_parts(runs: list[Run]) -> None:
    told: list[str] = []
    with pytest.raises(Cancelled, match="rules"):
        Explainer(runs).explain(*ASKED, say=told.append, cancelled=lambda: "trust" in told)
    assert told[-1] == "trust"


def test_held_out_ranks_are_kept_and_damage_is_named(explained: Path, runs: list[Run]) -> None:
    from corollary.errors import RunDamaged
    from corollary.runs.explaining.standing import Standing

    explain_prediction(runs, *ASKED)
    kept = explained / "run" / "ranks_valid.npz"
    before = kept.read_bytes()
    assert len(Standing(runs[0]).held_out("valid")) == 600
    kept.write_bytes(before[:100])
    with pytest.raises(RunDamaged, match="remove it"):
        Standing(runs[0]).held_out("valid")
    kept.write_bytes(before)


def test_facts_of_choice_are_taken_away(runs: list[Run], found: Explanation) -> None:
    """`without` scores again as a graph would that never held them; ConvE, whose weights say all, is left out."""
    assert not isinstance(found.rules, Missing)
    cited = tuple(dict.fromkeys(number for way in found.rules.shown[0].groundings for number in way.facts))
    again = explain_prediction(runs, *ASKED, ExplainConfig(without=cited)).what_if
    assert not isinstance(again, Missing)
    assert (again[-1].run, tuple(again[-1].removed)) == ("rules", cited)
    triples = [(found.facts[n - 1].head, found.facts[n - 1].relation, found.facts[n - 1].tail) for n in cited]
    asked = (found.head.id, found.relation.id, found.tail.id)
    train = np.asarray(runs[1].graph.triples("train"))
    left = np.asarray(runs[1].graph.without(np.array([asked, *triples])).triples("train"))
    assert len(train) - len(left) == len({asked, *triples} & set(map(tuple, train.tolist())))
    with pytest.raises(ConfigError, match="there is no fact 999"):
        explain_prediction(runs, *ASKED, ExplainConfig(without=(999,)))
    with pytest.raises(ConfigError, match="score again without training again"):
        explain_prediction(runs[:1], *ASKED, ExplainConfig(without=(1,)))


def test_facts_say_where_they_were_read(tmp_path: Path) -> None:
    """The source of each edge, in the split that holds it; nothing for a fact that no split holds."""
    triples = {"train": np.array([[0, 0, 1], [1, 0, 2]]), "valid": np.array([[2, 0, 0]])}
    sources = {"train": ["a.tsv", "b.tsv"], "valid": ["c.tsv"]}
    graph = write_graph(
        tmp_path / "g",
        name="g",
        labels=["x", "y", "z"],
        relations=["r"],
        triples=triples,
        edge_sources=sources,
    )
    facts = FactList(graph)
    for triple in ((1, 0, 2), (2, 0, 0), (0, 0, 2)):
        facts.cite(triple, "rules")
    assert [fact.source for fact in facts.facts()] == ["b.tsv", "c.tsv", None]
