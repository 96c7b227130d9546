"""A part of a graph: the same triples under the same ids, or under new dense ones."""

import numpy as np
import pytest

from corollary.budget import Budget
from corollary.errors import InputError, PlanDoesNotFit, StorageError
from corollary.graph.filters import FilterConfig
from corollary.graph.folder import Graph, write_graph
from corollary.graph.subset import subset_graph

LABELS = ["a", "b", "c", "d", "e"]
RELATIONS = ["p", "q", "r"]
TRIPLES = {
    "train": [(0, 0, 1), (1, 1, 2), (2, 1, 3), (3, 2, 1)],
    "valid": [(1, 1, 3), (0, 0, 4)],
    "test": [(0, 2, 4)],
}
SOURCES = {"train": ["x", "y", "x|y", "x"], "valid": ["x", "y"], "test": ["y"]}


@pytest.fixture
def graph(tmp_path):
    return write_graph(
        tmp_path / "graph",
        name="small",
        labels=LABELS,
        relations=RELATIONS,
        triples={split: np.array(rows) for split, rows in TRIPLES.items()},
        names=["A", "B", "", "D", ""],
        types=["X", "Y", "Y", "", "X"],
        categories=[["X", "Z"], ["Y"], ["Y"], [], ["X"]],
        edge_sources=SOURCES,
        notes={"imported": True},
    )


def subset(graph, output, *, keep_vocabulary=True, limit=None, **values) -> Graph:
    return subset_graph(
        graph,
        output,
        FilterConfig.build(values),
        budget=Budget(limit=limit),
        keep_vocabulary=keep_vocabulary,
        say=lambda _: None,
    )


def labelled(graph, split):
    sources = graph.edge_sources(split)
    return [
        (
            graph.entities.label(h),
            graph.relations.label(r),
            graph.entities.label(t),
            graph.info.edge_sources[code],
        )
        for (h, r, t), code in zip(graph.triples(split).tolist(), sources, strict=True)
    ]


def test_by_default_the_vocabulary_is_shared(graph, tmp_path):
    """Ids, names and types stay, so runs on both can be compared; only triples go."""
    part = subset(graph, tmp_path / "part", keep_predicates=["q"])
    assert part.info.vocabulary_fingerprint == graph.info.vocabulary_fingerprint
    assert part.fingerprint != graph.fingerprint
    assert part.num_entities == 5
    assert part.triples("train").tolist() == [[1, 1, 2], [2, 1, 3]]
    assert part.triples("valid").tolist() == [[1, 1, 3]]
    assert part.splits == ("train", "valid")  # test has no such triple
    assert labelled(part, "train") == [("b", "q", "c", "y"), ("c", "q", "d", "x|y")]


def test_compact_gives_dense_ids_in_the_old_order(graph, tmp_path):
    """Only nodes and relations with triples are left, with their names, types and categories."""
    part = subset(graph, tmp_path / "part", keep_vocabulary=False, drop_predicates=["q"])
    assert list(part.entities.labels) == ["a", "b", "d", "e"]
    assert list(part.relations.labels) == ["p", "r"]
    assert part.triples("train").tolist() == [[0, 0, 1], [2, 1, 1]]
    assert [part.entities.name(i) for i in range(4)] == ["A", "B", "D", "e"]
    assert [part.info.node_types[code] if code >= 0 else "" for code in part.types] == ["X", "Y", "", "X"]
    for split in part.splits:
        kept = [row for row in labelled(graph, split) if row[1] != "q"]
        assert labelled(part, split) == kept


def test_isolated_nodes_can_be_kept(graph, tmp_path):
    part = subset(graph, tmp_path / "part", keep_vocabulary=False, keep_predicates=["q"], keep_isolated=True)
    assert list(part.entities.labels) == LABELS


def test_a_part_of_a_part(graph, tmp_path):
    """A subset is a graph like any other, and says where it comes from."""
    first = subset(graph, tmp_path / "1", around=["b"])
    second = subset(first, tmp_path / "2", keep_vocabulary=False, k_core=2)
    second.verify()
    assert [row[:3] for row in labelled(second, "train")] == [
        ("b", "q", "c"),
        ("c", "q", "d"),
        ("d", "r", "b"),
    ]
    assert second.info.notes["subset"]["of"] == first.fingerprint
    assert second.info.notes["subset"]["filters"]["k_core"] == 2
    assert second.info.notes["subset"]["counts"]["edges_left"] == 4


def test_categories_and_hops_work_on_a_folder(graph, tmp_path):
    part = subset(graph, tmp_path / "1", keep_categories=["Z", "Y"])
    assert part.triples("train").tolist() == [[0, 0, 1], [1, 1, 2]]
    part = subset(graph, tmp_path / "2", around=["D"], hops=1)  # by name
    assert part.triples("train").tolist() == [[1, 1, 2], [2, 1, 3], [3, 2, 1]]


def test_what_cannot_be_is_explained_and_leaves_nothing(graph, tmp_path):
    """No filter, a filter that leaves nothing, a place that is taken, a limit that is too small."""
    with pytest.raises(InputError, match="nothing to cut: set at least one filter"):
        subset(graph, tmp_path / "part")
    with pytest.raises(InputError, match=r"the filter k-core \(k_core = 4\) leaves no edge"):
        subset(graph, tmp_path / "part", k_core=4)
    with pytest.raises(StorageError, match="exists already"):
        subset(graph, graph.path, k_core=1)
    with pytest.raises(
        PlanDoesNotFit, match=r"cutting .*graph needs at least .* \(MiB\)\. Raise --memory-limit\.$"
    ):
        subset(graph, tmp_path / "part", k_core=1, limit=50 << 20)
    assert [path.name for path in tmp_path.iterdir()] == ["graph"]
