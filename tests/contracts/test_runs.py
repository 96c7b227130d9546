"""Every kind of run that is trained on facts keeps the same promises, from its options to its answers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from corollary.graph.folder import Graph
from corollary.learners.fusion import whole_scores
from corollary.learners.protocol import Queries
from corollary.runs.evaluating import evaluate
from corollary.runs.kinds import KINDS, RankingKind, kind_of
from corollary.runs.predicting import Question, predict
from corollary.runs.rules.kind import mine_rules
from corollary.runs.run import Run
from corollary.runs.training import train

SMALL = {
    "conve": {"model": {"embedding_dim": 12, "channels": 4, "batch_size": 20}, "training": {"epochs": 2}},
    "drum": {"training": {"epochs": 2}},
    "hgt": {"model": {"hidden_dim": 8, "embedding_dim": 8, "attn": 2}, "training": {"epochs": 2}},
    "rules": {"mining": {"longest": 2}},
}
ELSEWHERE = {"poincare", "drum-ensemble"}  # trained on a taxonomy; made of finished runs: tests of their own
QUERIES = Queries(torch.arange(20), torch.arange(20) % 6)


def made(name: str, graph: Graph, folder: Path, seed: int = 0) -> Run:
    """A run of two epochs."""
    options = kind_of(name).options.build({**SMALL[name], "seed": seed})
    return (
        mine_rules(graph, folder, options)
        if name == "rules"
        else train(kind_of(name), graph, folder, options)
    )


@pytest.fixture(scope="module", params=sorted(SMALL))
def run(request, tiny: Graph, tmp_path_factory) -> Run:
    return made(request.param, tiny, tmp_path_factory.mktemp(request.param) / "run")


def scores(run: Run) -> np.ndarray:
    return whole_scores(run.scorer, QUERIES, 4096)


def test_every_kind_is_here():
    """A new kind of run has to be given small options, or tests elsewhere."""
    assert set(KINDS) == set(SMALL) | ELSEWHERE


def test_a_seed_repeats(run: Run, tiny: Graph, tmp_path: Path):
    """The same options make the same scores, to the bit."""
    again = made(run.kind.name, tiny, tmp_path / "again")
    np.testing.assert_array_equal(scores(again), scores(run))


def test_another_seed_is_another_run(run: Run, tiny: Graph, tmp_path: Path):
    """All but counted rules, whose counts are exact and draw nothing, depend on the seed."""
    other = scores(made(run.kind.name, tiny, tmp_path / "other", seed=1))
    assert np.array_equal(other, scores(run)) == (run.kind.name == "rules")


def test_a_folder_that_is_opened_scores_the_same(run: Run):
    """What training left, read again."""
    np.testing.assert_array_equal(scores(Run.open(run.path)), scores(run))


def test_the_figures_of_a_run_are_those_of_its_weights(run: Run):
    """`evaluate` on the opened folder gives what training wrote."""
    written = Run.open(run.path).evaluation
    assert written is not None
    assert evaluate(Run.open(run.path)).mrr == pytest.approx(written.mrr, rel=1e-9)


def test_answers_are_ordered_and_marked(run: Run, tiny: Graph):
    """Best first, known ones marked, and left out where only new ones are wanted."""
    question = Question("e00", "likes", None)
    found = predict(run, [question], k=30).predictions[0].answers
    assert [one.place for one in found] == list(range(1, len(found) + 1))
    assert all(first.score >= second.score for first, second in zip(found, found[1:], strict=False))
    known = {one.label for one in found if one.known}
    new = predict(run, [question], k=30, new_only=True).predictions[0].answers
    assert not known & {one.label for one in new}


def test_what_was_recorded_can_be_given_again(run: Run):
    """Every option stands in the record and is accepted as it stands; planned bytes and the graph stand beside it."""
    kind = run.kind.options
    assert kind.build(run.options.model_dump(mode="json")) == run.options
    recorded = run.folder.config
    assert recorded["graph"]["fingerprint"] == run.graph.fingerprint
    assert all(size >= 0 for size in recorded["plan"]["parts"].values())


def test_a_kind_says_whether_facts_can_be_taken_away(run: Run, tiny: Graph):
    """Scores change without the facts where it says that they do, and only there."""
    assert isinstance(run.kind, RankingKind)
    gone = np.asarray(tiny.triples("train"))[::2]
    same = np.array_equal(scores(run.without(gone)), scores(run))
    assert same == (run.kind.rescores == "never")
