"""Five constructed cases are told apart, and each measure equals its definition."""

import numpy as np
import pytest

from corollary.evaluation.embedding_health import components, effective_rank, examine, mean_cosine

TYPES = ["drug"] * 150 + ["disease"] * 150 + ["gene"] * 300


def normal(seed=0, rows=600, dim=32):
    return np.random.default_rng(seed).standard_normal((rows, dim))


def healthy():
    return normal()


def offset():
    return normal() + 4.0


def tight_clusters():
    """Types far apart, nodes within them as different as before, on a smaller scale."""
    centre = {"drug": 0, "disease": 1, "gene": 2}
    centres = 20 * normal(1, 3)
    return normal() * 0.3 + centres[[centre[kind] for kind in TYPES]]


def collapsed():
    """Diseases lie along one direction, but for a little noise; all others are as they should be."""
    x = normal()
    x[150:300] = np.outer(normal(2, 150, 1), normal(3, 1)[0]) + 1e-3 * normal(4, 150)
    return x


def untrained():
    """Every tenth row has stayed near zero, where it began."""
    x = normal()
    x[::10] *= 0.01
    return x


def reasons(x, **more):
    return " ".join(examine(x, TYPES, **more).reasons)


def test_healthy_embeddings_are_called_healthy():
    found = examine(healthy(), TYPES)
    assert (found.verdict, found.reasons) == ("healthy", ())
    assert found.old_verdict.startswith("fine")


def test_a_common_offset_is_a_warning_and_no_collapse():
    """Older scripts call it collapsed by its mean cosine; centred, nothing is missing."""
    found = examine(offset(), TYPES)
    assert found.verdict == "warnings"
    assert "common offset" in found.reasons[0]
    assert found.mean_cosine > 0.9
    assert abs(found.mean_cosine_centred) < 0.01
    assert found.old_verdict.startswith("collapsed")


def test_tight_type_clusters_are_a_warning_and_no_collapse():
    """Two components hold 90 % of the variance; within types it takes more than twenty."""
    found = examine(tight_clusters(), TYPES)
    assert found.verdict == "warnings"
    assert "type clusters" in " ".join(found.reasons)
    assert found.components <= 2
    assert found.components_within > 20
    assert found.old_verdict.startswith("collapsed")


def test_collapse_within_a_type_fails_and_names_it():
    """Older scripts see nothing: the other types hide it."""
    found = examine(collapsed(), TYPES)
    assert found.verdict == "failed"
    assert [kind.name for kind in found.types if kind.collapsed] == ["disease"]
    assert "disease has collapsed" in found.reasons[0]
    assert found.old_verdict.startswith("fine")


def test_one_point_for_a_whole_type_is_a_collapse():
    x = healthy() + 1
    x[150:300] = 1 + 1e-5 * normal(5, 150)
    assert "disease has collapsed" in reasons(x)


def test_untrained_rows_fail_with_their_share():
    found = examine(untrained(), TYPES)
    assert found.verdict == "failed"
    assert found.share_untrained == pytest.approx(0.1, abs=0.01)
    assert "never trained" in found.reasons[0]
    assert not any(kind.collapsed for kind in found.types)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_constant_rows_count_as_untrained(value):
    x = healthy()
    x[:20] = value
    assert examine(x, TYPES).share_untrained == pytest.approx(20 / 600)


def test_nodes_without_edges_are_a_warning_with_a_share_of_their_own():
    """A whole type of them, and some of another: neither untrained nor measured, whatever their rows hold."""
    x, degrees = healthy(), np.ones(600, np.int64)
    degrees[:30] = degrees[150:300] = 0
    x[150:300] = 1e-3 * x[150]
    found = examine(x, TYPES, degrees)
    assert found.verdict == "warnings"
    assert (found.share_untrained, found.share_isolated) == (0, pytest.approx(180 / 600))
    assert [(kind.name, kind.rows) for kind in found.types] == [("drug", 120), ("gene", 300)]
    assert "30.0% of rows are nodes without an edge, among them all of type disease" in found.reasons[0]
    x[300:330] = 0
    found = examine(x, TYPES, degrees)
    assert found.verdict == "failed"
    assert found.share_untrained == pytest.approx(30 / 420)
    assert found.share_isolated == pytest.approx(180 / 600)


def test_where_no_node_has_an_edge_nothing_can_be_said():
    found = examine(healthy(), TYPES, np.zeros(600, np.int64))
    assert (found.verdict, found.share_isolated) == ("failed", 1)
    assert "nodes with an edge" in found.reasons[0]
    assert examine(healthy(), TYPES).share_isolated is None


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_number_that_is_not_finite_fails(broken):
    x = healthy()
    x[3, 4] = broken
    found = examine(x, TYPES)
    assert found.verdict == "failed"
    assert "not finite" in found.reasons[0]
    assert found.share_not_finite == pytest.approx(1 / 600)
    assert examine(np.full((5, 4), np.nan)).verdict == "failed"


def test_norms_that_follow_degree_are_a_warning():
    degrees = np.arange(1, 601)
    x = healthy() * np.sqrt(degrees)[:, None]
    found = examine(x, None, degrees)
    assert found.degree_correlation > 0.9
    assert "norms follow degree" in " ".join(found.reasons)


def test_measures_equal_their_definitions():
    """Pair by pair, and by the singular value decomposition."""
    x = normal(0, 40, 6)
    near = x / np.linalg.norm(x, axis=1, keepdims=True)
    pairs = [near[i] @ near[j] for i in range(40) for j in range(40) if i != j]
    assert mean_cosine(x) == pytest.approx(np.mean(pairs), abs=1e-12)
    centred = x - x.mean(0)
    values = np.linalg.svd(centred, compute_uv=False)
    share = values / values.sum()
    assert effective_rank(centred) == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-9)
    explained = np.cumsum(values**2) / (values**2).sum()
    assert components(centred) == int((explained < 0.9).sum()) + 1


def test_types_of_a_few_nodes_are_not_judged():
    x = healthy()
    x[:10] = x[0]
    found = examine(x, ["few"] * 10 + ["many"] * 590)
    assert not any(kind.collapsed for kind in found.types)
