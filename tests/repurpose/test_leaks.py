"""Nothing that answers a fold has seen what the fold hides: change the hidden pairs, and no score changes by a bit."""

from pathlib import Path

import numpy as np
import pytest

from corollary.graph.folder import Graph
from corollary.repurpose.answering import Answering
from corollary.repurpose.config import RepurposeConfig
from corollary.repurpose.learned import Learned, seen
from corollary.repurpose.pairs import Fold, Pairs, read_pairs
from corollary.repurpose.untrained import Untrained
from tests.repurpose.small import drug_graph

ROW = 5
CONVE = {
    "model": {"embedding_dim": 8, "image_height": 2, "image_width": 4, "channels": 2, "batch_size": 16},
    "training": {"epochs": 1},
}


def _config(withhold: str, learner: str = "conve") -> RepurposeConfig:
    return RepurposeConfig.build(
        {
            "relation": "treats",
            "pairs": {"negatives": ["contraindicated"]},
            "embeddings": {
                "learner": learner,
                "withhold": withhold,
                "options": CONVE if learner == "conve" else {},
            },
            "classifier": {"draws": 3, "rounds": 10, "negatives": 5, "lr": 0.3},
        }
    )


def _fold(pairs: Pairs) -> Fold:
    """Two diseases held out, one of them the one that is changed."""
    rows = np.array([ROW, 11])
    hidden, negatives = (np.isin(places[:, 0], rows) for places in (pairs.known, pairs.negatives))
    return Fold("held", hidden, negatives, rows, pairs.known[hidden], whole_rows=True)


def _scores(graph: Graph, config: RepurposeConfig, output: Path) -> dict[str, np.ndarray]:
    pairs = read_pairs(graph, "treats", negatives=config.pairs.negatives)
    untrained, learned = Untrained.of(graph, pairs), Learned(graph, pairs, config, output)
    found = Answering(pairs, untrained, learned, config, output).answer(_fold(pairs))
    return {name: np.array(values) for name, values in found.items()}


@pytest.mark.parametrize(("withhold", "learner"), [("all", "none"), ("all", "conve"), ("half", "conve")])
def test_scores_of_a_fold_do_not_change_with_its_hidden_pairs(tmp_path, withhold, learner):
    """A held-out disease gets other treatments and contraindications, more of the one and other ones of the other:
    classifier, interval, regression and every untrained score stay the same, byte for byte."""
    config = _config(withhold, learner)
    plain, changed = drug_graph(tmp_path / "plain"), drug_graph(tmp_path / "changed", swap=ROW)
    assert plain.fingerprint != changed.fingerprint
    before = _scores(plain, config, tmp_path / "one")
    after = _scores(changed, config, tmp_path / "other")
    assert set(before) >= {"classifier", "logistic", "spread", "all three"}
    for name, values in before.items():
        np.testing.assert_array_equal(values, after[name], err_msg=name)


def test_they_do_change_with_what_may_be_seen(tmp_path):
    """The test above would see a leak: the pairs of a disease that is not held out move the scores."""
    config = _config("all", "none")
    before = _scores(drug_graph(tmp_path / "plain"), config, tmp_path / "one")
    after = _scores(drug_graph(tmp_path / "changed", swap=ROW + 1), config, tmp_path / "other")
    assert not np.array_equal(before["classifier"], after["classifier"])
    assert not np.array_equal(before["all three"], after["all three"])


def test_learners_see_no_hidden_pair_and_no_parallel_edge(tmp_path):
    """Not in either direction, and of the relations straight between the two types none but the one asked for."""
    graph = drug_graph(tmp_path / "graph")
    pairs = read_pairs(graph, "treats")
    hidden = pairs.known[:, 0] < 12
    triples = seen(graph, pairs, hidden)
    straight = triples[(triples[:, 0] < 30) & (triples[:, 2] >= 30) & (triples[:, 2] < 54)]
    assert set(straight[:, 1]) == {0}
    assert len(straight) == (~hidden).sum()
    assert straight[:, 2].min() >= 30 + 12
    others = np.asarray(graph.triples("train"))
    assert len(triples) == len(others[others[:, 1] > 1]) + (~hidden).sum()
    nothing = seen(graph, pairs, np.ones(len(pairs.known), bool))
    assert not np.isin(nothing[:, 1], [0, 1]).any()
