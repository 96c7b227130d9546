"""Untrained scores and features against dense products in float64."""

import numpy as np
import pytest

from corollary.errors import ConfigError
from corollary.repurpose.config import BaselineConfig
from corollary.repurpose.features import Features, PairScores, Vectors
from corollary.repurpose.pairs import read_pairs
from corollary.repurpose.untrained import NAMES, Untrained, untrained_scores
from tests.reference import walks
from tests.repurpose.small import drug_graph


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return drug_graph(tmp_path_factory.mktemp("untrained") / "graph")


@pytest.fixture(scope="module")
def pairs(graph):
    return read_pairs(graph, "treats")


@pytest.mark.parametrize("damping", [0.0, 0.4, 1.0])
def test_walks_are_products_of_damped_matrices(graph, pairs, damping):
    """Of every relation in both directions. float32 sums of up to a hundred terms: six digits."""
    visible = pairs.known[::2]
    expected = walks.similar(graph, pairs, visible, damping)
    expected["paths"] = walks.paths(graph, pairs, damping)
    found = untrained_scores(graph, pairs, visible, BaselineConfig(damping=damping))
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=2e-6, atol=1e-6)


def test_the_real_graph_too(countries):
    """Languages of countries: several relations to the same types, pairs of nodes linked twice."""
    pairs = read_pairs(countries, "spoken_language", side="tail")
    found = untrained_scores(countries, pairs, pairs.known[::3])
    for name, values in walks.similar(countries, pairs, pairs.known[::3], 0.4).items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-6)


def test_all_three_is_their_sum(graph, pairs):
    """log(similar columns + .01) + log(similar rows + .01) + paths + half log(1 + popularity), in float32."""
    found = untrained_scores(graph, pairs, pairs.known)
    expected = (
        np.log(found["similar columns"].astype(float) + 0.01)
        + np.log(found["similar rows"].astype(float) + 0.01)
        + found["paths"]
        + np.log1p(found["popularity"]) / 2
    )
    np.testing.assert_allclose(found["all three"], expected, rtol=0, atol=4e-6)
    assert list(found) == list(NAMES)


def test_relations_can_be_chosen(graph, pairs):
    """By name, a path by those of its steps; what is not there is named with what is near."""
    config = BaselineConfig(
        similar_columns=("in_class",), similar_rows=("resembles",), paths=("binds-associates",)
    )
    found = Untrained.of(graph, pairs, config)
    assert [walk.name for walk in (*found.columns, *found.rows, *found.paths)] == [
        "in_class",
        "resembles",
        "binds-associates",
    ]
    with pytest.raises(
        ConfigError, match=r"baseline.similar_rows: walk 'resemble'.*Did you mean 'resembles'"
    ):
        Untrained.of(graph, pairs, BaselineConfig(similar_rows=("resemble",)))


def test_straight_edges_are_never_walked(graph, pairs):
    """Neither the relation nor another between the two types is among the steps."""
    names = {
        walk for part in (Untrained.of(graph, pairs),) for walk in map(part.steps.name, part.steps.steps)
    }
    assert names == {"binds", "associates", "resembles", "drug_like", "in_class", "interacts"}


def test_features_have_names_and_do_not_depend_on_company(graph, pairs):
    """One a name; of one row or of all; of some columns or of all. Given ones stand last."""
    untrained, rng = Untrained.of(graph, pairs), np.random.default_rng(0)
    rows, columns = (
        rng.normal(size=(len(axis), 3)).astype(np.float32) for axis in (pairs.rows, pairs.columns)
    )
    scores = rng.normal(size=pairs.shape).astype(np.float32)
    features = Features(untrained, untrained, (Vectors("hgt", rows, columns), PairScores("drum", scores)))
    every = [row.every() for row in features.of_rows(pairs.known, np.arange(24))]
    assert every[0].shape == (30, len(features.names))
    assert len(set(features.names)) == len(features.names)
    (one,) = features.of_rows(pairs.known, np.array([7]))
    np.testing.assert_array_equal(one.of(np.array([4, 2])), every[7][[4, 2]])
    given = dict(zip(features.names, every[7][4], strict=True))
    cosine = rows[7] @ columns[4] / np.linalg.norm(rows[7]) / np.linalg.norm(columns[4])
    assert given["hgt cosine"] == pytest.approx(cosine, rel=1e-5)
    assert given["hgt difference 1"] == pytest.approx(abs(rows[7, 1] - columns[4, 1]), rel=1e-6)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    share = 24 / 72  # known pairs weigh one a row in the mean
    near = share * sum(max(unit[r] @ unit[7], 0) ** 3 for r, c in pairs.known.tolist() if c == 4 and r != 7)
    assert given["hgt near rows"] == pytest.approx(near, rel=1e-5)
    turned = columns / np.linalg.norm(columns, axis=1, keepdims=True)
    like = share * sum(max(turned[c] @ turned[4], 0) ** 3 for r, c in pairs.known.tolist() if r == 7)
    assert given["hgt near columns"] == pytest.approx(like, rel=1e-5)
    assert given["place of drum score"] == pytest.approx((scores[7] < scores[7, 4]).mean())


def test_long_paths_are_products_too(graph, pairs):
    """A path of three steps by hand: drug binds gene, interacts with gene, associated with disease."""
    untrained = Untrained.of(graph, pairs, BaselineConfig(damping=0.0))
    features = Features(untrained, untrained)
    (row,) = features.of_rows(pairs.known, np.array([0]))
    at = features.names.index("path binds-interacts-associates")
    triples = {tuple(triple) for triple in graph.triples("train").tolist()}
    genes = range(54, 74)
    expected = [
        sum(
            (drug, 2, one) in triples and (one, 7, other) in triples and (30, 3, other) in triples
            for one in genes
            for other in genes
        )
        for drug in range(30)
    ]
    np.testing.assert_array_equal(row.every()[:, at], expected)
