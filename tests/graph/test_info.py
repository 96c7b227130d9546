"""What is said of a graph against counting by hand."""

import os
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corollary.graph.datasets.locating import locate
from corollary.graph.folder import write_graph
from corollary.graph.info import GraphReport, graph_info
from corollary.graph.leakage import THRESHOLD, PairIndex, leakage, overlaps
from tests.reference import twins
from tests.reference.graphs import numbered_graph, unflushed

ENTITIES, RELATIONS = 6, 3
TRIPLES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(0, 5)), max_size=40)


@pytest.fixture(autouse=True, scope="module")
def quick_writes():
    with unflushed():
        yield


def rows(triples):
    return np.array(triples, dtype=np.int32).reshape(-1, 3)


@settings(deadline=None)
@given(train=TRIPLES, held=TRIPLES, rows_per_chunk=st.sampled_from([1, 7, 999]))
def test_leakage_equals_the_plain_count(train, held, rows_per_chunk):
    """Every kind of twin, loops and repeated triples included, at every chunk size."""
    index = PairIndex.build(rows(train), ENTITIES, RELATIONS)
    found = {
        reverse: overlaps(index, reverse=reverse, rows_per_chunk=rows_per_chunk) for reverse in (True, False)
    }
    for reverse, some in found.items():
        shares = {(o.relation, o.other): o.share for o in some}
        for a in range(RELATIONS):
            for b in range(RELATIONS):
                if reverse or a != b:
                    assert shares.get((a, b), 0.0) == twins.share(set(train), a, b, reverse=reverse)
    report = leakage(index, rows(held), found[True], found[False])
    expected = twins.leakage(set(train), held, RELATIONS, THRESHOLD)
    assert report.model_dump() == {"triples": len(held), **expected}


@settings(deadline=None, max_examples=15)
@given(train=TRIPLES, test=TRIPLES)
def test_counts_equal_counting_by_hand(train, test):
    """Degrees, duplicates, unseen entities and relations, distinct heads and tails."""
    with tempfile.TemporaryDirectory() as folder:
        splits = {"train": train, "test": test}
        graph = numbered_graph(Path(folder) / "g", splits, entities=ENTITIES, relations=RELATIONS)
        report = graph_info(graph)
    degree = Counter(end for head, _, tail in train for end in (head, tail))
    degrees = [degree[entity] for entity in range(ENTITIES)]
    assert (report.degrees.min, report.degrees.max) == (min(degrees), max(degrees))
    assert report.degrees.median == np.median(degrees)
    assert report.degrees.mean == pytest.approx(2 * len(train) / ENTITIES)
    assert [top.degree for top in report.degrees.top] == sorted(degrees, reverse=True)
    assert report.duplicates == {split: len(some) - len(set(some)) for split, some in splits.items()}
    relations = {relation for _, relation, _ in train}
    assert report.unseen["test"].model_dump() == {
        "entities": len({end for head, _, tail in test for end in (head, tail)} - set(degree)),
        "triples_with_unseen_entity": sum(not degree[head] or not degree[tail] for head, _, tail in test),
        "triples_with_unseen_relation": sum(relation not in relations for _, relation, _ in test),
    }
    for number, row in enumerate(report.relations):
        own = {(head, tail) for head, relation, tail in train if relation == number}
        assert row.triples == {split: sum(r == number for _, r, _ in some) for split, some in splits.items()}
        assert (row.heads, row.tails) == (len({head for head, _ in own}), len({tail for _, tail in own}))
        assert row.tails_per_head == pytest.approx(len(own) / max(row.heads, 1))
        assert row.symmetric == twins.share(set(train), number, number, reverse=True)
    assert "valid" not in report.unseen


def test_relation_shapes_inverses_and_duplicates(tmp_path):
    """A tree of parents, its inverse, a copy of it, a marriage that is symmetric."""
    parent = [(0, 0, 2), (0, 0, 3), (1, 0, 4), (1, 0, 5)]
    child = [(tail, 1, head) for head, _, tail in parent[:-1]]
    copy = [(head, 2, tail) for head, _, tail in parent]
    married = [(6, 3, 7), (7, 3, 6), (8, 3, 9)]
    train = parent + child + copy + married
    test = [(5, 1, 1), (9, 3, 8), (0, 0, 0)]
    graph = write_graph(
        tmp_path / "g",
        name="family",
        labels=list("abcdefghij"),
        relations=["parent", "child", "parent_too", "married"],
        triples={"train": np.array(train), "test": np.array(test)},
        types=["old", "old", *["young"] * 7, ""],
    )
    report = graph_info(graph)
    table = report.to_pandas().set_index("relation")
    assert table["shape"].to_dict() == {
        "parent": "1-N",
        "child": "N-1",
        "parent_too": "1-N",
        "married": "1-1",
    }
    assert table.loc["parent", ["inverse", "inverse_share", "duplicate"]].tolist() == [
        "child",
        0.75,
        "parent_too",
    ]
    assert table.loc["child", "inverse_share"] == 1.0
    assert table.loc["married", ["inverse", "duplicate"]].tolist() == ["", ""]
    assert table.loc["married", "symmetric"] == pytest.approx(2 / 3)
    assert table[["train", "test"]].sum().tolist() == [len(train), len(test)]
    # 2 of 3 and 3 of 4 are below the threshold of 0.8; parent_too and parent are copies, child is no inverse of them
    assert report.leakage["test"].model_dump() == {
        "triples": 3, "same": 0, "symmetric": 0, "inverse": 0, "duplicate": 0, "any": 0, "linked": 2
    }  # fmt: skip
    assert report.node_types == {"young": 7, "old": 2, "": 1}
    assert report.components.model_dump() == {"count": 4, "largest_entities": 3, "largest_share": 0.3}
    assert GraphReport.model_validate(report.as_dict()) == report


def test_a_graph_without_triples_is_described(tmp_path):
    """Zeros, no shape, every entity alone."""
    report = graph_info(numbered_graph(tmp_path / "g", {"train": []}, entities=3, relations=1))
    assert report.degrees.max == 0
    assert report.components.count == 3
    assert report.relations[0].shape == ""
    assert report.leakage == {}
    assert list(report.to_pandas()["train"]) == [0]


@pytest.mark.skipif(not os.environ.get("COROLLARY_DATA"), reason="COROLLARY_DATA names no data folder")
@pytest.mark.parametrize(
    ("name", "unseen", "leaks", "linked"),
    [
        ("umls", 0, {"symmetric": 3, "any": 3}, 421),
        ("fb15k-237", 28, {}, 0),
        ("wn18rr", 210, {"symmetric": 1052, "any": 1052}, 1096),
    ],
)
def test_published_graphs_leak_what_is_known(tmp_path, name, unseen, leaks, linked):
    """FB15k-237 has no linked pair by design; a third of WN18RR's test triples have their symmetric twin in train."""
    located = locate(name)
    ids, relations, splits = {}, {}, {}
    for split in ("train", "valid", "test"):
        splits[split] = rows(
            [
                (
                    ids.setdefault(head, len(ids)),
                    relations.setdefault(relation, len(relations)),
                    ids.setdefault(tail, len(ids)),
                )
                for head, relation, tail in located.triples(split)
            ]
        )
    graph = write_graph(
        tmp_path / "g", name=name, labels=list(ids), relations=list(relations), triples=splits
    )
    report = graph_info(graph)
    assert report.unseen["test"].triples_with_unseen_entity == unseen
    expected = {**dict.fromkeys(("same", "symmetric", "inverse", "duplicate", "any"), 0), **leaks}
    assert report.leakage["test"].model_dump() == {
        "triples": len(splits["test"]),
        **expected,
        "linked": linked,
    }
