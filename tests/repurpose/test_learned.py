"""Learners that have not seen what they are to find: embeddings and learned scores, trained when they are needed."""

import signal
from pathlib import Path

import numpy as np
import pytest

from corollary.budget import Plan
from corollary.errors import ConfigError, GraphMismatch, TrainingInterrupted
from corollary.graph.folder import Graph
from corollary.repurpose.answering import Answering, parts_of
from corollary.repurpose.config import RepurposeConfig
from corollary.repurpose.cutting import cut_rows, everything
from corollary.repurpose.features import PairScores, Vectors
from corollary.repurpose.learned import Learned
from corollary.repurpose.pairs import Pairs, read_pairs
from corollary.repurpose.planning import plan_repurposing
from corollary.repurpose.stages import open_stages
from corollary.repurpose.untrained import Untrained
from corollary.rules.mining import Mining
from corollary.runs.rules.kind import mine_rules
from corollary.runs.rules.options import RulesOptions
from corollary.training.loop import LoopState
from tests.repurpose.small import drug_graph

HGT = {
    "model": {"hidden_dim": 8, "embedding_dim": 6, "attn": 2, "layers": 1},
    "training": {"epochs": 2},
    "links": {"folds": 3},
}


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> Graph:
    return drug_graph(tmp_path_factory.mktemp("learned") / "graph")


@pytest.fixture(scope="module")
def pairs(graph) -> Pairs:
    return read_pairs(graph, "treats")


def _config(**values: object) -> RepurposeConfig:
    table = {"relation": "treats", "classifier": {"draws": 3, "rounds": 5, "negatives": 5}}
    return RepurposeConfig.build(table | values)


def test_halves_learn_from_the_rows_that_their_learner_has_not_seen(pairs):
    """Each row that may be learned from belongs to one half, and that half's learner sees none of its pairs."""
    fold = cut_rows(pairs, everything(pairs), 4, seed=0)[1]
    halves = parts_of(pairs, fold, "half", seed=0)
    rows = [half.within.learned_rows(pairs) for half in halves]
    assert sorted(np.concatenate(rows)) == sorted(fold.learned_rows(pairs))
    for half, mine in zip(halves, rows, strict=True):
        shown = pairs.known[~half.hidden]
        assert not np.isin(shown[:, 0], mine).any()
        assert not np.isin(shown[:, 0], fold.asked).any()
        assert len(shown)
    (whole,) = parts_of(pairs, fold, "all", seed=0)
    assert whole.hidden.all()


def test_one_training_serves_all_folds_where_no_answer_is_seen(graph, pairs, tmp_path):
    """And is taken from the folder the next time; with some answers seen the decoder scores pairs too."""
    config = _config(embeddings={"options": HGT})
    said: list[str] = []
    learned = Learned(graph, pairs, config, tmp_path, say=said.append)
    (first,) = learned.given(np.ones(len(pairs.known), bool))
    assert isinstance(first, Vectors)
    assert (first.rows.shape, first.columns.shape) == ((24, 6), (30, 6))
    (again,) = Learned(graph, pairs, config, tmp_path, say=said.append).given(np.ones(len(pairs.known), bool))
    np.testing.assert_array_equal(first.rows, again.rows)
    assert sum("training hgt" in line for line in said) == 1
    vectors, scores = learned.given(pairs.known[:, 0] < 12)
    assert isinstance(scores, PairScores)
    assert scores.scores.shape == (24, 30)
    assert not np.array_equal(vectors.rows, first.rows)


def test_a_training_that_was_stopped_goes_on_to_the_same_vectors(graph, pairs, tmp_path):
    """In the middle of an epoch."""

    class Stopping:
        def started(self, **_: object) -> None: ...
        def finished_epoch(self, line: object) -> None: ...
        def stepped(self, *, state: LoopState, **_: object) -> None:
            if state.epoch == 1:
                signal.raise_signal(signal.SIGINT)

    config, hidden = _config(embeddings={"options": HGT}), np.ones(len(pairs.known), bool)
    with pytest.raises(TrainingInterrupted):
        Learned(graph, pairs, config, tmp_path / "one", observer=Stopping()).given(hidden)
    (after,) = Learned(graph, pairs, config, tmp_path / "one").given(hidden)
    (whole,) = Learned(graph, pairs, config, tmp_path / "two").given(hidden)
    assert isinstance(after, Vectors)
    assert isinstance(whole, Vectors)
    np.testing.assert_array_equal(after.columns, whole.columns)


def test_rules_score_pairs_that_they_have_not_seen(graph, pairs, tmp_path):
    """A run of rules gives its options: rules are mined again for each half, and what they say becomes a feature."""
    options = RulesOptions(targets=("treats",), mining=Mining(longest=2, min_support=2, chains_per_head=50))
    mine_rules(graph, tmp_path / "rules", options)
    config = _config(rules=str(tmp_path / "rules"), embeddings={"learner": "none", "withhold": "half"})
    learned = Learned(graph, pairs, config, tmp_path / "out")
    fold = cut_rows(pairs, everything(pairs), 4, seed=0)[0]
    untrained = Untrained.of(graph, pairs)
    answering = Answering(pairs, untrained, learned, config, tmp_path / "out")
    assert "rules score" in answering.features(parts_of(pairs, fold, "half", 0)[0]).names
    found = answering.answer(fold)
    assert np.isfinite(found["classifier"]).all()
    assert found["classifier"].shape == (len(fold.asked), 30)


def test_vectors_of_a_file_stand_in_the_plan(graph, pairs, tmp_path):
    """Product and difference by dimension, for every example and every pair of a row; reading the file."""

    def plan(file: Path) -> Plan:
        config = _config(embeddings={"file": str(file)})
        return plan_repurposing(graph, pairs, config, Learned(graph, pairs, config, tmp_path), loaded=0)

    for dim in (8, 40):
        header = ",".join(["id", *(f"d{at}" for at in range(dim))])
        lines = [f"n{row}" + ",1.5" * dim for row in range(54)]
        (tmp_path / f"{dim}.csv").write_text("\n".join([header, *lines]) + "\n")
    narrow, wide = (plan(tmp_path / f"{dim}.csv").parts for dim in (8, 40))
    examples, more = len(pairs.known) * 6, 2 * (40 - 8)
    grown = {name: wide[name] - narrow[name] for name in wide if wide[name] != narrow[name]}
    assert grown == {
        "features of a draw's examples": 18 * more * examples,
        "features of a row": 32 * more * len(pairs.columns),
    }


def test_a_run_of_another_kind_is_refused(graph, pairs, tmp_path):
    """Vectors come from runs that have them."""
    mine_rules(graph, tmp_path / "rules", RulesOptions(targets=("treats",), mining=Mining(longest=1)))
    with pytest.raises(ConfigError, match="is a run of rules; runs of hgt or conve are wanted here"):
        Learned(graph, pairs, _config(embeddings={"run": str(tmp_path / "rules")}), tmp_path)


def test_rules_of_another_graph_are_refused_before_anything_is_learned(graph, tmp_path):
    """Of a split of the graph, say: they would be shown as evidence with counts of another graph."""
    other = drug_graph(tmp_path / "other", seed=1)
    mine_rules(other, tmp_path / "rules", RulesOptions(targets=("treats",), mining=Mining(longest=1)))
    config = _config(rules=str(tmp_path / "rules"), embeddings={"learner": "none", "withhold": "half"})
    with pytest.raises(GraphMismatch, match=r"were made from another graph than .*corollary rules mine"):
        open_stages(graph, tmp_path / "out", config)
    assert not (tmp_path / "out").exists()
