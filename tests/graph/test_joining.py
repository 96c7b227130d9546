"""Joining: prefixes, equivalences, and what becomes one by them."""

import gzip
import os
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corollary.errors import ConfigError, InputError
from corollary.graph.joining import (
    JoinConfig,
    canonical_labels,
    join,
    merge_duplicate_edges,
    merge_duplicate_nodes,
)
from corollary.graph.reading.kgx import stage_kgx
from corollary.graph.reading.staging import TABLES, Staging


@pytest.fixture
def connection():
    """Two sources that name genes differently: `Gene::1` and `NCBIGene:1` are one."""
    with duckdb.connect() as connection:
        connection.execute(TABLES)
        connection.execute(
            """INSERT INTO nodes VALUES ('Gene::1', 'one', '', ['Gene']), ('NCBIGene:1', 'first', 'gene', ['G', 'Gene']),
            ('Gene::2', 'two', 'Gene', ['Gene']), ('D:1', 'disease', 'Disease', [])"""
        )
        connection.execute(
            """INSERT INTO edges VALUES (0, 'train', 'Gene::1', 'causes', 'D:1', 'x'),
            (2, 'train', 'NCBIGene:1', 'causes', 'D:1', 'y'), (3, 'valid', 'NCBIGene:1', 'causes', 'D:1', 'y'),
            (5, 'train', 'Gene::2', 'binds', 'Gene::1', '')"""
        )
        yield connection


def edges(connection):
    return connection.execute("FROM edges ORDER BY ordinal").fetchall()


def nodes(connection):
    return connection.execute("FROM nodes").fetchall()


def config(**values):
    return JoinConfig.build(values)


def test_prefixes_join_two_sources(connection):
    """Nodes keep the first name and type given and all categories; equal edges of a split become one."""
    said: list[str] = []
    counts = join(connection, config(rewrite=["Gene::=NCBIGene:"]), say=said.append)
    assert nodes(connection) == [
        ("NCBIGene:1", "one", "gene", ["Gene", "G"]),
        ("NCBIGene:2", "two", "Gene", ["Gene"]),
        ("D:1", "disease", "Disease", []),
    ]
    assert edges(connection) == [
        (0, "train", "NCBIGene:1", "causes", "D:1", "x|y"),
        (3, "valid", "NCBIGene:1", "causes", "D:1", "y"),
        (5, "train", "NCBIGene:2", "binds", "NCBIGene:1", ""),
    ]
    assert counts == {
        "labels": 4,
        "labels_rewritten": 2,
        "labels_matched": 1,
        "nodes_merged": 1,
        "edges_merged": 1,
    }
    assert (
        "rewrote the prefix of 2 of 4 labels; 1 of them (50.0 %) met a label that was there already" in said
    )


def test_the_longest_prefix_is_used_once(connection):
    """A rule does not see what another rule made."""
    join(
        connection, config(rewrite={"Gene::": "D:", "Gene::2": "deux", "D:": "Disease="}), say=lambda _: None
    )
    assert [label for label, *_ in nodes(connection)] == ["D:1", "NCBIGene:1", "deux", "Disease=1"]


@pytest.mark.parametrize("packed", [False, True])
def test_equivalences_replace_labels(connection, tmp_path, packed):
    """The second column is the label to use; prefixes are rewritten in the file too."""
    text = b"Gene::1\tHGNC:1\nNCBIGene:1\tHGNC:1\n\nother\tthing\n".replace(b"\n\n", b"\n")
    path = tmp_path / "same.tsv"
    path.write_bytes(gzip.compress(text, mtime=0) if packed else text)
    counts = join(connection, config(same_as=[path], rewrite=["Gene::=NCBIGene:"]), say=lambda _: None)
    assert [label for label, *_ in nodes(connection)] == ["HGNC:1", "NCBIGene:2", "D:1"]
    assert [edge[2] for edge in edges(connection)] == ["HGNC:1", "HGNC:1", "NCBIGene:2"]
    assert (counts["equivalences"], counts["labels_replaced"], counts["conflicts"], counts["cycles"]) == (
        3,
        2,
        0,
        0,
    )


@pytest.mark.parametrize(
    ("pairs", "expected", "conflicts", "cycles"),
    [
        ([("a", "b"), ("b", "c")], {"a": "c", "b": "c", "c": "c"}, 0, 0),
        ([("a", "c"), ("a", "b")], {"a": "c", "b": "c", "c": "c"}, 1, 0),
        ([("a", "b"), ("b", "a")], {"a": "b", "b": "b"}, 0, 1),
        ([("a", "a")], {"a": "a"}, 0, 0),
        ([("b", "b"), ("a", "b"), ("x", "y")], {"a": "b", "b": "b", "x": "y", "y": "y"}, 0, 0),
    ],
)
def test_the_label_to_use_is_the_one_that_is_never_replaced(pairs, expected, conflicts, cycles):
    """Of several, or of a cycle, the one that a second column names first."""
    assert canonical_labels(pairs) == (expected, conflicts, cycles)


@settings(max_examples=200)
@given(st.lists(st.tuples(*[st.sampled_from("abcdefgh")] * 2), max_size=12))
def test_equivalent_labels_get_one_label_of_their_group(pairs):
    """Groups are those of a plain flood fill; the label used is in the group and maps to itself."""
    chosen, _, _ = canonical_labels(pairs)
    for start in chosen:
        group, todo = set(), [start]
        while todo:
            label = todo.pop()
            group.add(label)
            todo += [b for a, b in [*pairs, *((b, a) for a, b in pairs)] if a == label and b not in group]
        assert {label for label in chosen if chosen[label] == chosen[start]} == group
        assert chosen[chosen[start]] == chosen[start]


@pytest.mark.parametrize("line", ["one label", "a\tb\tc", "\tb", "a\t ", "\t"])
def test_a_wrong_equivalence_is_named(connection, tmp_path, line):
    path = tmp_path / "same.tsv"
    path.write_text(f"a\tb\n\n{line}\n")
    with pytest.raises(
        InputError, match=r"same\.tsv:3: expected a label, a TAB and the label to use instead"
    ):
        join(connection, config(same_as=[path]), say=lambda _: None)


def test_given_ids_follow_their_labels(connection):
    """An id moves with its label, and two ids for one label are refused."""
    connection.execute("INSERT INTO entity_ids VALUES ('Gene::2', 7), ('D:1', 3)")
    join(connection, config(rewrite=["Gene::=NCBIGene:"]), say=lambda _: None)
    assert connection.execute("FROM entity_ids ORDER BY id").fetchall() == [("D:1", 3), ("NCBIGene:2", 7)]
    connection.execute("INSERT INTO entity_ids VALUES ('X:3', 9)")
    with pytest.raises(InputError, match=r"joining gives 'X:3' two of the given ids, 3 and 9"):
        join(connection, config(rewrite={"D:1": "X:3"}), say=lambda _: None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rewrite": ["Gene"]}, "'Gene': expected OLD=NEW"),
        ({"rewrite": ["=x"]}, "'=x': expected OLD=NEW"),
        ({"rewrite": ["a=b", "a=c"]}, "the prefix 'a' has two replacements"),
        ({"same": []}, "option 'same' is not known. Did you mean 'same_as'"),
    ],
)
def test_a_wrong_rule_is_explained(values, message):
    with pytest.raises(ConfigError, match=message):
        JoinConfig.build(values)


def test_a_label_is_never_rewritten_to_nothing(connection):
    with pytest.raises(InputError, match=r"turns the label 'D:1' into nothing"):
        join(connection, config(rewrite=["D:1="]), say=lambda _: None)


def test_nothing_to_join_changes_nothing(connection):
    before = nodes(connection), edges(connection)
    assert join(connection, config(), say=lambda _: None) == {}
    assert (nodes(connection), edges(connection)) == before


_edge = st.tuples(
    st.sampled_from(["train", "test"]), *[st.sampled_from("ab")] * 3, st.sampled_from(["", "x", "y|x", "z"])
)


@settings(max_examples=30, deadline=None)
@given(st.lists(_edge, max_size=14))
def test_merging_edges_equals_a_dictionary(rows):
    """The first of equal edges stays, with the sources of all, sorted."""
    expected: dict[tuple, tuple[int, set]] = {}
    for i, (*key, source) in enumerate(rows):
        place, sources = expected.setdefault(tuple(key), (i, set()))
        sources |= {part for part in source.split("|") if part}
    with duckdb.connect() as connection:
        connection.execute(TABLES)
        for i, row in enumerate(rows):
            connection.execute("INSERT INTO edges VALUES (?, ?, ?, ?, ?, ?)", [i, *row])
        merged = merge_duplicate_edges(connection)
        found = edges(connection)
    alone = {tuple(key) for *key, _ in rows if sum(key == other[:-1] for other in map(list, rows)) == 1}
    for place, *key, source in found:
        assert expected[tuple(key)][0] == place
        if tuple(key) not in alone:  # an edge that has no twin keeps its source as it was written
            assert source == "|".join(sorted(expected[tuple(key)][1]))
    assert [tuple(row[1:5]) for row in found] == list(expected)
    assert merged == len(rows) - len(expected)


def test_merging_nodes_reports_how_many(connection):
    connection.execute("INSERT INTO nodes VALUES ('D:1', '', '', ['Disease']), ('D:1', 'other', 'X', NULL)")
    assert merge_duplicate_nodes(connection) == 2
    assert nodes(connection)[-1] == ("D:1", "disease", "Disease", ["Disease"])


DATA = os.environ.get("COROLLARY_DATA")


@pytest.mark.skipif(
    DATA is None, reason="COROLLARY_DATA does not name a folder with Hetionet and the HPO files"
)
def test_hetionet_joins_the_human_phenotype_ontology(tmp_path):
    """5,069 genes are in both, which leaves 78,815 nodes."""
    folder = Path(DATA or "") / "biomed"
    hpo, hetionet = folder / "kgx-hpo-2025-01-16_nodes.tsv.gz", folder / "hetionet-v1.0-nodes.tsv.gz"
    if not (hpo.exists() and hetionet.exists()):
        pytest.skip("COROLLARY_DATA holds no biomed/kgx-hpo-2025-01-16 and biomed/hetionet-v1.0 files")
    with Staging(tmp_path, 128 << 20) as staging:
        stage_kgx(staging.connection, [hpo], [], say=lambda _: None)
        staging.connection.execute(
            "INSERT INTO nodes SELECT id, name, kind, [kind] FROM read_csv(?, delim = '\t', all_varchar = true)",
            [str(hetionet)],
        )
        counts = join(staging.connection, config(rewrite=["Gene::=NCBIGene:"]), say=lambda _: None)
        assert (counts["labels_rewritten"], counts["labels_matched"], counts["nodes_merged"]) == (
            20_945,
            5_069,
            5_069,
        )
        assert len(staging.connection.execute("FROM nodes").fetchall()) == 78_815
