"""Filters: what each keeps, in which order, and what is said when one keeps nothing."""

import random
from collections import defaultdict

import duckdb
import pytest

from corollary.errors import ConfigError, InputError, UnknownName
from corollary.graph.filters import FilterConfig, apply_filters
from corollary.graph.reading.staging import TABLES

NODES = [
    ("c", "compound", "SmallMolecule", ["SmallMolecule", "ChemicalEntity"]),
    ("d", "disease", "Disease", ["Disease"]),
    ("g", "gene", "Gene", ["Gene"]),
    ("h", "gene", "Gene", ["Gene"]),
    ("alone", "", "Gene", []),
]
EDGES = [
    ("train", "c", "biolink:treats", "d", "curated"),
    ("train", "c", "biolink:affects[object_aspect_qualifier=activity]", "g", "mined"),
    ("train", "g", "biolink:affects", "h", "curated|mined"),
    ("valid", "h", "causes", "d", "mined|other"),
    ("train", "u", "causes", "d", ""),
]


def staged(connection, nodes, edges):
    connection.execute(TABLES)
    for node in nodes:
        connection.execute("INSERT INTO nodes VALUES (?, ?, ?, ?)", list(node))
    for i, edge in enumerate(edges):
        connection.execute("INSERT INTO edges VALUES (?, ?, ?, ?, ?, ?)", [i, *edge])
    return connection


@pytest.fixture
def connection():
    with duckdb.connect() as connection:
        yield staged(connection, NODES, EDGES)


def cut(connection, **values):
    """The ordinals and the labels that are left, and the counts."""
    counts = apply_filters(connection, FilterConfig.build(values), say=lambda _: None)
    left = [row for (row,) in connection.execute("SELECT ordinal FROM edges ORDER BY ordinal").fetchall()]
    return left, {label for (label,) in connection.execute("SELECT label FROM nodes").fetchall()}, counts


@pytest.mark.parametrize(
    ("values", "left", "nodes"),
    [
        ({"keep_predicates": ["biolink:treats"]}, [0], "cd"),
        ({"keep_predicates": ["treats"]}, [0], "cd"),
        ({"keep_predicates": ["biolink:causes", "treats"]}, [0, 3, 4], "cdh"),
        ({"keep_predicates": ["affects"]}, [1, 2], "cgh"),
        ({"keep_predicates": ["biolink:affects[object_aspect_qualifier=activity]"]}, [1], "cg"),
        ({"drop_predicates": ["affects"]}, [0, 3, 4], "cdh"),
        ({"keep_categories": ["biolink:ChemicalEntity", "Disease"]}, [0], "cd"),
        ({"drop_categories": ["Gene"]}, [0, 4], "cd"),
        ({"keep_sources": ["curated"]}, [0, 2], "cdgh"),
        ({"drop_sources": ["mined"]}, [0, 2, 3, 4], "cdgh"),
        ({"drop_sources": ["mined", "other"]}, [0, 2, 4], "cdgh"),
        ({"around": ["g"]}, [1, 2], "cgh"),
        ({"around": ["disease"], "hops": 1}, [0, 3, 4], "cdh"),
        ({"around": ["c", "u"], "hops": 0, "keep_isolated": True, "drop_predicates": ["x"]}, None, ""),
        ({"around": ["u"], "hops": 2}, [0, 3, 4], "cdh"),
        ({"around": ["u"], "hops": 9}, [0, 1, 2, 3, 4], "cdgh"),
        ({"k_core": 2}, [0, 1, 2, 3], "cdgh"),
        ({"k_core": 1, "keep_isolated": True}, [0, 1, 2, 3, 4], "cdgh"),
        ({"keep_predicates": ["treats"], "keep_isolated": True}, [0], ["c", "d", "g", "h", "alone"]),
        ({"drop_sources": ["other", "mined"], "keep_categories": ["Gene"]}, [2], "gh"),
    ],
)
def test_what_each_filter_keeps(connection, values, left, nodes):
    """Edges by place, nodes by label; names work with and without `biolink:`."""
    if left is None:
        with pytest.raises(UnknownName):
            cut(connection, **values)
        return
    found, labels, counts = cut(connection, **values)
    assert found == left
    assert labels == set(nodes)
    assert (counts["edges_before"], counts["edges_left"], counts["nodes_left"]) == (5, len(left), len(labels))


def test_each_filter_counts_what_it_removed(connection):
    """In the order in which they run, whatever the order they were written in."""
    said: list[str] = []
    counts = apply_filters(
        connection,
        FilterConfig(k_core=1, drop_sources=("mined",), keep_predicates=("affects", "causes")),
        say=said.append,
    )
    assert counts == {
        "edges_before": 5,
        "nodes_before": 5,
        "removed_by_sources": 1,
        "removed_by_predicates": 1,
        "removed_by_k_core": 0,
        "k_core_rounds": 0,
        "edges_left": 3,
        "nodes_left": 3,
    }
    assert said == ["sources: 5 edges, 4 left", "predicates: 4 edges, 3 left", "k-core: 3 edges, 3 left"]


def test_no_filter_changes_nothing(connection):
    """Nodes without edges stay too."""
    left, labels, counts = cut(connection)
    assert (left, len(labels), counts) == ([0, 1, 2, 3, 4], 5, {})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"keep_predicates": ["biolink:treat"]},
            "predicate 'biolink:treat' is not known. Did you mean 'biolink:treats'",
        ),
        ({"drop_predicates": ["cause"]}, "Did you mean 'causes'"),
        ({"keep_categories": ["Genes"]}, "category 'Genes' is not known. Did you mean 'Gene'"),
        ({"drop_sources": ["minet"]}, "source 'minet' is not known. Did you mean 'mined'"),
        ({"around": ["compund"]}, "around: node 'compund' is not known. Did you mean 'compound'"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(connection, values, message):
    with pytest.raises(UnknownName, match=message):
        cut(connection, **values)


def test_a_name_that_two_nodes_bear_is_refused(connection):
    with pytest.raises(InputError, match=r"around: 'gene' names 2 nodes: g, h. Give the label of one"):
        cut(connection, around=["gene"])


def test_start_nodes_may_stand_in_a_file(connection, tmp_path):
    """One a line, further columns ignored; a wrong one is named by its line."""
    path = tmp_path / "seeds.tsv"
    path.write_text("c\tcompound\n\ng\n")
    assert cut(connection, around_file=path, hops=0)[0] == [1]
    path.write_text("c\n\nzzz\n")
    with pytest.raises(UnknownName, match=r"seeds\.tsv:3: node 'zzz' is not known"):
        cut(connection, around_file=path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"k_core": 3}, r"the filter k-core \(k_core = 3\) leaves no edge of the 5 edges"),
        ({"around": ["alone"]}, r"the filter hops \(hops = 1; around = alone\) leaves no edge"),
        (
            {"keep_categories": ["Disease"]},
            r"the filter categories \(keep_categories = Disease\) leaves no edge",
        ),
        (
            {"keep_sources": ["other"]},
            r"the filter sources \(keep_sources = other\) leaves no edge of the split 'train'",
        ),
        (
            {"keep_predicates": ["treats"], "keep_categories": ["Gene"]},
            r"the filter categories \(keep_categories = Gene\) leaves no edge of the 1 edges that came to it: loosen it",
        ),
    ],
)
def test_the_filter_that_leaves_nothing_is_named(connection, values, message):
    with pytest.raises(InputError, match=message):
        cut(connection, **values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"keep_sources": ["a"], "drop_sources": ["a"]}, "'a' is in keep_sources and in drop_sources"),
        ({"keep_categories": ["biolink:A"], "drop_categories": ["A"]}, "'A' is in keep_categories and"),
        ({"hops": 2}, "hops = 2 needs nodes to start from"),
        ({"k_core": 0}, "k_core = 0: Input should be greater than 0"),
        ({"kcore": 2}, "option 'kcore' is not known. Did you mean 'k_core'"),
    ],
)
def test_a_wrong_configuration_is_explained(values, message):
    with pytest.raises(ConfigError, match=message):
        FilterConfig.build(values)


def neighbours(edges):
    found = defaultdict(set)
    for _, head, _, tail, _ in edges:
        if head != tail:
            found[head].add(tail)
            found[tail].add(head)
    return found


def random_edges(seed, count=70, size=25):
    rng = random.Random(seed)
    names = [f"n{i}" for i in range(size)]
    return [("train", rng.choice(names), rng.choice("pq"), rng.choice(names), "") for _ in range(count)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 2, 3])
def test_k_core_equals_peeling_one_node_at_a_time(seed, k):
    """Parallel edges and loops give no neighbour."""
    edges = random_edges(seed)
    near = neighbours(edges)
    while low := [node for node, others in near.items() if len(others) < k]:
        for other in near.pop(low[0]):
            near[other].discard(low[0])
    expected = [i for i, (_, head, _, tail, _) in enumerate(edges) if head in near and tail in near]
    with duckdb.connect() as connection:
        left, _, _ = cut(staged(connection, [], edges), k_core=k)
    assert left == expected


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("hops", [1, 2])
def test_hops_equal_a_plain_walk(seed, hops):
    """All edges among the nodes within reach."""
    edges = random_edges(seed, count=30)
    near, seen = neighbours(edges), {edges[0][1], edges[1][1]}
    start = sorted(seen)
    for _ in range(hops):
        seen |= {other for node in seen for other in near[node]}
    expected = [i for i, (_, head, _, tail, _) in enumerate(edges) if head in seen and tail in seen]
    with duckdb.connect() as connection:
        left, _, _ = cut(staged(connection, [], edges), around=start, hops=hops)
    assert left == expected


def test_the_tables_of_the_filters_do_not_stay(connection):
    cut(connection, around=["g"], k_core=1, keep_categories=["Gene", "ChemicalEntity"])
    tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    assert tables == {"nodes", "edges", "entity_ids", "relation_ids"}
