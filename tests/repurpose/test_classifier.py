"""Trees and regression: learned from features, kept without pickling, refused where changed or missing."""

import json
import sys

import numpy as np
import pytest

from corollary.budget import MIB, peak_bytes, resident_bytes, restart_peak
from corollary.errors import ConfigError, InputError, MissingExtra, RunDamaged
from corollary.repurpose import classifier as module
from corollary.repurpose.classifier import Classifier, need_extra
from corollary.repurpose.config import ClassifierConfig, RepurposeConfig
from corollary.repurpose.cutting import everything
from corollary.repurpose.examples import (
    ANSWER,
    REFUTED,
    UNKNOWN,
    Examples,
    gather,
    inner_folds,
    labelled_rows,
)
from corollary.repurpose.features import Features
from corollary.repurpose.learned import Learned
from corollary.repurpose.learning import learn
from corollary.repurpose.logistic import Logistic
from corollary.repurpose.pairs import read_pairs
from corollary.repurpose.untrained import Untrained
from tests.repurpose.small import drug_graph

CONFIG = ClassifierConfig(draws=3, rounds=20, negatives=5, lr=0.3)


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return drug_graph(tmp_path_factory.mktemp("classifier") / "graph")


@pytest.fixture(scope="module")
def pairs(graph):
    return read_pairs(graph, "treats", negatives=["contraindicated"])


@pytest.fixture(scope="module")
def features(graph, pairs):
    untrained = Untrained.of(graph, pairs)
    return Features(untrained, untrained)


@pytest.fixture(scope="module")
def trained(features, pairs, tmp_path_factory):
    scratch = tmp_path_factory.mktemp("scratch")
    return learn(features, pairs, everything(pairs), "new", CONFIG, 0, scratch)


@pytest.mark.parametrize("kind", ["new", "known"])
def test_examples_are_every_answer_once_and_draws_of_the_rest(features, pairs, kind, tmp_path):
    """Each known answer and each refuted pair stands once, for every draw; others are drawn for each draw anew, at the
    share that was asked for."""
    fold = everything(pairs)
    inner = inner_folds(pairs, fold, kind, 3, seed=0)
    found = gather(features, pairs, fold, inner, CONFIG, 0, tmp_path / "examples.npy")
    assert (found.labels == ANSWER).sum() == sum(len(one.positives) for one in inner)
    assert (found.draws[found.labels != UNKNOWN] == -1).all()
    refuted = sum(
        pairs.mask(pairs.negatives[one.hidden_negatives], one.asked).sum() for one in inner
    )  # but for those of a row that keeps no answer and is not asked
    assert (found.labels == REFUTED).sum() == refuted
    assert kind == "known" or refuted == len(pairs.negatives)
    assert found.num_classes == 3
    drawn = np.bincount(found.draws[found.labels == UNKNOWN], minlength=3)
    expected = 5 * (found.labels == ANSWER).sum()
    np.testing.assert_allclose(
        drawn, expected, rtol=0.25
    )  # a few hundred by chance; refuted pairs are left out


def test_examples_are_taken_from_their_file_without_keeping_it_in_memory(tmp_path):
    """A mapped page counts as memory; one row of each of 20,000 pages is asked for, 80 MiB in all."""
    values = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(20_000, 1024))
    values[:, 0] = np.arange(20_000)
    values.flush()
    del values
    nothing = np.zeros(20_000, np.int64)
    examples = Examples(np.load(tmp_path / "x.npy", mmap_mode="r"), nothing, nothing, nothing)
    some = np.arange(20_000) % 10 == 3
    before = resident_bytes()
    restart_peak()
    found = examples.taken(some)
    grown = peak_bytes() - before
    np.testing.assert_array_equal(found, examples.features[some])
    assert grown < found.nbytes + 40 * MIB


def test_deviations_are_those_of_the_whole():
    """They are made a few columns at a time; 70 columns are three times that."""
    draw = np.random.default_rng(0)
    features = draw.random((50, 70), np.float32)
    features[:, 69] = 2  # one that never differs
    right = draw.random(50) < 0.3
    scale = np.abs(features[right]).mean(0, dtype=np.float64)
    expected = np.arcsinh(features / scale.astype(np.float32)).std(0, dtype=np.float64)
    expected[69] = 1
    np.testing.assert_allclose(Logistic.fit(features, right).deviation, expected, rtol=1e-6)


def test_known_answers_never_stand_in_their_own_features(features, pairs):
    """In an inner fold of new rows no asked row has a visible answer; in one of known rows its answer is not counted."""
    fold = everything(pairs)
    for one in inner_folds(pairs, fold, "new", 3, seed=0):
        assert all(row.counted[0, 0] == 0 for row, _ in labelled_rows(features, pairs, fold, one))
    for one in inner_folds(pairs, fold, "known", 3, seed=0):
        visible = pairs.mask(one.visible(pairs), one.asked)
        for at, (row, labels) in enumerate(labelled_rows(features, pairs, fold, one)):
            share = 24 / visible.sum()  # known pairs weigh one a row in the mean
            assert row.counted[0, 0] == pytest.approx(visible[at].sum() * share, rel=1e-6)
            assert not (labels[visible[at]] >= 0).any()


def test_a_signal_that_is_there_is_learned(trained, features, pairs):
    """Drugs of the right class stand first although every answer of the row is hidden."""
    (row,) = features.of_rows(pairs.known[pairs.known[:, 0] != 2], np.array([2]))
    score = trained.estimates(row.every()).score
    kind = (30 + 2) % 4
    right = np.arange(30) % 4 == kind
    assert score[right].mean() > score[~right].mean() + 1
    line = trained.logistic_scores(row.every())
    assert line[right].mean() > line[~right].mean() + 1
    assert (trained.estimates(row.every()).spread >= 0).all()


def test_the_same_seed_gives_the_same_bytes(trained, features, pairs, tmp_path):
    """And another seed does not."""
    trained.save(tmp_path / "one")
    learn(features, pairs, everything(pairs), "new", CONFIG, 0, tmp_path).save(tmp_path / "two")
    for file in sorted((tmp_path / "one").iterdir()):
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name
    other = learn(features, pairs, everything(pairs), "new", CONFIG, 1, tmp_path)
    assert bytes(other.boosters[0].save_raw()) != bytes(trained.boosters[0].save_raw())


def test_a_folder_gives_back_the_same_scores(trained, features, pairs, tmp_path):
    """XGBoost's own JSON, and numbers: nothing is unpickled."""
    trained.save(tmp_path / "kept")
    assert {file.suffix for file in (tmp_path / "kept").iterdir()} == {".json"}
    again = Classifier.load(tmp_path / "kept")
    (row,) = features.of_rows(pairs.known, np.array([0]))
    np.testing.assert_array_equal(again.estimates(row.every()).score, trained.estimates(row.every()).score)
    np.testing.assert_array_equal(again.logistic_scores(row.every()), trained.logistic_scores(row.every()))
    assert again.names == features.names
    assert sum(again.gains().values()) == pytest.approx(1)


def test_a_changed_file_is_named(trained, tmp_path):
    """A missing one too."""
    trained.save(tmp_path / "kept")
    draw = tmp_path / "kept" / "draw-1.json"
    draw.write_text(json.dumps(json.loads(draw.read_text())) + " ")
    with pytest.raises(RunDamaged, match=r"draw-1.json has changed"):
        Classifier.load(tmp_path / "kept")
    draw.unlink()
    with pytest.raises(RunDamaged, match="is damaged: remove it"):
        Classifier.load(tmp_path / "kept")


def test_too_few_pairs_are_said(features, pairs, tmp_path):
    with pytest.raises(ConfigError, match="too few known pairs to learn from: each of 30 draws"):
        learn(features, pairs, everything(pairs), "new", CONFIG.changed(draws=30), 0, tmp_path)


def test_a_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "xgboost" else sys)
    with pytest.raises(MissingExtra, match=r"xgboost is not installed: pip install 'corollary\[repurpose\]'"):
        need_extra()


def test_vectors_of_a_file_are_matched_by_name(graph, pairs, tmp_path):
    """By label or by what people read, in any order; a node without one is named, and a file that is not to be trusted."""
    nodes = [*pairs.rows.names, *pairs.columns.labels]
    lines = [f"{name},{number},{number % 3}" for number, name in enumerate(nodes)]
    path = tmp_path / "vectors.csv"
    path.write_text("id,a,b\n" + "\n".join(lines[::-1]) + "\n")
    config = RepurposeConfig.build({"relation": "treats", "embeddings": {"file": str(path)}})
    (found,) = Learned(graph, pairs, config, tmp_path).given(np.ones(len(pairs.known), bool))
    np.testing.assert_array_equal(found.columns[:, 0], len(pairs.rows) + np.arange(30))
    for text, message in (
        ("id,a,b\n" + "\n".join(lines[:-2]), "has no embedding for 2 of 30 Drug nodes, such as 'n28'"),
        ("id,a,b\n" + "\n".join([*lines, lines[0]]), "has the id .* in rows 1 and"),
        ("id,a,b\n" + "\n".join([*lines[:-1], f"{nodes[-1]},nan,1"]), "holds numbers that are not finite"),
        ("a,b\n" + "\n".join(line.split(",", 1)[1] for line in lines), "has no column of ids"),
    ):
        path.write_text(text + "\n")
        with pytest.raises(InputError, match=message):
            Learned(graph, pairs, config, tmp_path).given(np.ones(len(pairs.known), bool))
