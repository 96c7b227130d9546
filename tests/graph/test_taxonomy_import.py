"""Taxonomy files into a graph folder: what is checked before anything is written, and what is cut."""

import numpy as np
import pytest

from corollary.errors import ConfigError, InputError, StorageError, UnknownName
from corollary.graph.closure import write_closure
from corollary.graph.folder import Graph
from corollary.graph.taxonomy import Taxonomy
from corollary.graph.taxonomy_import import TaxonomyImportConfig, import_taxonomy
from tests.reference import taxonomy as reference

ANIMALS = """child\tparent\trank\tname
1\t\tno rank\troot
2\t1\tphylum\tChordata
3\t2\tclass\tMammalia
4\t3\tclade\tTheria
5\t4\tspecies\tMus musculus
6\t4\tspecies\tMus sp. 7
7\t1\tphylum\tunclassified Metazoa
8\t7\tspecies\tthing
9\t3\tspecies\tHomo sapiens
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "animals.tsv"
    path.write_text(ANIMALS)
    return path


def links(graph: Graph) -> set[tuple[str, str]]:
    label = graph.entities.label
    return {(label(int(child)), label(int(parent))) for child, _, parent in graph.triples("train")}


def imported(tmp_path, table, **options):
    said = []
    graph = import_taxonomy(
        tmp_path / "graph", TaxonomyImportConfig.build({"files": table, **options}), say=said.append
    )
    return graph, "\n".join(said)


def test_a_graph_folder_with_ranks_and_names(tmp_path, table):
    """Links child, is a, parent; rank as type; what was read and how large it is, is said and noted."""
    graph, said = imported(tmp_path, table)
    assert links(graph) == {
        ("2", "1"),
        ("3", "2"),
        ("4", "3"),
        ("5", "4"),
        ("6", "4"),
        ("7", "1"),
        ("8", "7"),
        ("9", "3"),
    }
    assert list(graph.relations.labels) == ["is a"]
    mouse = graph.entities.find("Mus musculus", where="")
    assert graph.entities.label(mouse) == "5"
    assert graph.info.node_types[graph.types[mouse]] == "species"
    assert graph.info.notes["taxonomy"] == {"nodes": 9, "pairs": 20, "roots": 1, "levels": 5}
    assert "animals.tsv: taxonomy table with child, parent, rank, name, 8 links" in said
    assert "9 nodes, 20 ancestor pairs, 4 levels below 1 root (root)" in said
    assert graph.info.sources[0]["name"] == "animals.tsv"


def test_a_part_below_a_root(tmp_path, table):
    """By id or by name; an unknown one suggests the nearest, a name of two nodes names both."""
    graph, said = imported(tmp_path, table, root="Mammalia")
    assert links(graph) == {("4", "3"), ("5", "4"), ("6", "4"), ("9", "3")}
    assert "kept 5 nodes at and below Mammalia" in said
    with pytest.raises(UnknownName, match="'Mamalia'.*Did you mean 'Mammalia'"):
        import_taxonomy(tmp_path / "other", TaxonomyImportConfig.build({"files": table, "root": "Mamalia"}))
    (tmp_path / "twice.tsv").write_text(ANIMALS.replace("Homo sapiens", "Mus musculus"))
    with pytest.raises(InputError, match="'Mus musculus' names 2 nodes: 5, 9. Give the id of one"):
        import_taxonomy(
            tmp_path / "other",
            TaxonomyImportConfig.build({"files": tmp_path / "twice.tsv", "root": "Mus musculus"}),
        )
    assert not (tmp_path / "other").exists()


def test_some_ranks_alone(tmp_path, table):
    """Nodes between them are left out, and their children go to the next that is kept."""
    graph, said = imported(tmp_path, table, ranks=["phylum", "species"])
    assert links(graph) == {("2", "1"), ("5", "2"), ("6", "2"), ("9", "2"), ("7", "1"), ("8", "7")}
    assert "of phylum, species and the roots" in said
    with pytest.raises(UnknownName, match="'filum'"):
        import_taxonomy(tmp_path / "other", TaxonomyImportConfig.build({"files": table, "ranks": ["filum"]}))


def test_unclassified_nodes_go_with_all_below_them(tmp_path, table):
    """By their names."""
    graph, said = imported(tmp_path, table, drop_unclassified=True)
    assert links(graph) == {("2", "1"), ("3", "2"), ("4", "3"), ("5", "4"), ("9", "3")}
    assert "left out 2 unclassified nodes and 1 below them" in said


def test_missing_ancestors_are_named_and_can_be_added(tmp_path, table):
    """A cut that is not closed upward trains on orphans: refused, unless a taxonomy that has them is named."""
    rows = ANIMALS.splitlines()
    cut = tmp_path / "cut.tsv"
    cut.write_text("\n".join([rows[0], rows[1], rows[5], rows[9]]) + "\n")
    with pytest.raises(
        InputError, match=r"cut\.tsv: 2 parents without a row of their own: 3, 4\. .* --complete FILE"
    ):
        imported(tmp_path, cut)
    assert not (tmp_path / "graph").exists()
    graph, said = imported(tmp_path, cut, complete=table)
    assert links(graph) == {("5", "4"), ("9", "3"), ("4", "3"), ("3", "2"), ("2", "1")}
    assert "completed upward from animals.tsv: 3 links added" in said
    assert graph.entities.name(graph.entities.find("4", where="")) == "Theria"


def test_nodes_that_no_pair_would_train_are_left_out_and_named(tmp_path):
    """A root without children."""
    (tmp_path / "t.tsv").write_text("child\tparent\n1\t\n2\t1\n9\t\n")
    graph, said = imported(tmp_path, tmp_path / "t.tsv")
    assert graph.num_entities == 2
    assert "left out 1 node that no link holds, which no pair would ever train: 9" in said


def test_several_roots_are_said(tmp_path):
    """Two trees in one file."""
    (tmp_path / "t.txt").write_text("b a\ny x\n")
    assert "2 roots (a, x)" in imported(tmp_path, tmp_path / "t.txt")[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b\nb c\nc a\n", "a node is its own ancestor: a > b > c > a"),
        ("a b\nx x\nb c\nc b\n", "a node is its own ancestor: b > c > b"),
        ("b a\nc b\nc c\n", r"t\.txt:3: 'c' is its own parent and has another one too"),
        ("child\tparent\nA\t\nB\tA\nB\tB\n", r"t\.txt:4: 'B' is its own parent and has another one too"),
        ("1 1\n", "no link from a child to a parent is left"),
    ],
)
def test_what_is_no_taxonomy_leaves_nothing_behind(tmp_path, text, message):
    """A cycle is printed; a node that is its own parent and no root is named with its line."""
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        imported(tmp_path, tmp_path / "t.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.txt"]


def test_files_that_disagree(tmp_path, table):
    """An id that stands for two nodes in two files."""
    (tmp_path / "more.tsv").write_text("child\tparent\tname\n5\t4\tRattus\n")
    config = TaxonomyImportConfig(files=(table, tmp_path / "more.tsv"))
    with pytest.raises(InputError, match="'5' is 'Rattus' here and 'Mus musculus' in another file"):
        import_taxonomy(tmp_path / "graph", config)


def test_merged_ids_lead_to_those_that_replaced_them(tmp_path):
    """In OBO files and NCBI's dump."""
    (tmp_path / "t.obo").write_text("[Term]\nid: A\nalt_id: Z\n\n[Term]\nid: B\nis_a: Z\n")
    graph, said = imported(tmp_path, tmp_path / "t.obo")
    assert links(graph) == {("B", "A")}
    assert "1 merged id replaced" in said


def test_a_root_may_be_named_by_an_id_that_was_merged(tmp_path):
    """As elsewhere, the old one leads to the one that took its place."""
    (tmp_path / "t.obo").write_text("[Term]\nid: A\nalt_id: Z\n\n[Term]\nid: B\nis_a: A\n\n[Term]\nid: C\n")
    assert links(imported(tmp_path, tmp_path / "t.obo", root="Z")[0]) == {("B", "A")}


def test_a_loop_may_stand_in_another_file(tmp_path, table):
    """What one file calls a root and another one a child."""
    (tmp_path / "more.tsv").write_text("child\tparent\n5\t5\n")
    with pytest.raises(InputError, match=r"more\.tsv:2: '5' is its own parent and has another one too"):
        import_taxonomy(tmp_path / "graph", TaxonomyImportConfig(files=(table, tmp_path / "more.tsv")))


def test_other_mistakes(tmp_path, table):
    """No file, a folder, an output that is there."""
    for name, message in (("none.tsv", "does not exist"), (".", "is a folder without nodes.dmp")):
        with pytest.raises(InputError, match=message):
            imported(tmp_path, tmp_path / name)
    with pytest.raises(ConfigError, match="no taxonomy to import: give a file"):
        TaxonomyImportConfig.build({})
    imported(tmp_path, table)
    with pytest.raises(StorageError, match="exists"):
        imported(tmp_path, table)


@pytest.mark.parametrize("suffix", [".tsv", ".npy"])
def test_the_closure_can_be_written_and_read(tmp_path, table, suffix):
    """Every pair once; imported again it is the same taxonomy, and a tree needs no list again."""
    graph, _ = imported(tmp_path, table)
    path = tmp_path / f"pairs{suffix}"
    assert write_closure(graph, path) == 20
    expected = {
        (child, ancestor)
        for child, above in reference.ancestors(sorted(links(graph))).items()
        for ancestor in above
    }
    if suffix == ".npy":
        label = graph.entities.label
        pairs = np.load(path, mmap_mode="r")
        assert {(label(int(a)), label(int(b))) for a, b in pairs} == expected
        return
    assert {tuple(line.split("\t")) for line in path.read_text().splitlines()[1:]} == expected
    again = import_taxonomy(tmp_path / "again", TaxonomyImportConfig.build({"files": path}))
    assert Taxonomy.of(again).is_tree
    assert Taxonomy.of(again).num_pairs == 20
    with pytest.raises(ConfigError, match=r"the suffix says the format: \.tsv or \.npy"):
        write_closure(graph, tmp_path / "pairs.txt")
