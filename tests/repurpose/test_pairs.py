"""What a matrix of pairs holds, and what is said where a relation makes none."""

import numpy as np
import pytest

from corollary.errors import ConfigError, InputError, UnknownName
from corollary.graph.folder import write_graph
from corollary.repurpose.cutting import cut_pairs, cut_rows, everything
from corollary.repurpose.pair_files import read_places
from corollary.repurpose.pairs import read_pairs
from tests.repurpose.small import drug_graph


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return drug_graph(tmp_path_factory.mktemp("pairs") / "graph")


def test_rows_are_what_a_list_is_wanted_for(graph):
    """Diseases for `treats` with heads listed, drugs with tails listed; the same pairs, turned."""
    heads, tails = read_pairs(graph, "treats"), read_pairs(graph, "treats", side="tail")
    assert (heads.rows.type, heads.columns.type, heads.shape) == ("Disease", "Drug", (24, 30))
    assert (tails.rows.type, tails.columns.type) == ("Drug", "Disease")
    assert {tuple(pair) for pair in heads.known.tolist()} == {(c, r) for r, c in tails.known.tolist()}
    assert heads.prevalence == pytest.approx(72 / 720)
    assert heads.rows.names[0] == "Disease 30"


def test_all_splits_are_known(countries):
    """Folds hold out their own: what the graph itself holds out is pooled."""
    pairs = read_pairs(countries, "spoken_language", side="tail")
    assert len(pairs.known) == 664
    assert [countries.relations.label(one) for one in pairs.parallel] == [
        "official_language",
        "regional_language",
    ]


def test_other_relations_speak_of_pairs(graph):
    """Negatives are kept apart and shown; a pair that is known to be linked is none."""
    pairs = read_pairs(graph, "treats", negatives=["contraindicated"])
    assert len(pairs.negatives) == 48
    assert pairs.mask(pairs.marks["contraindicated"], np.arange(24)).sum() == 48


@pytest.mark.parametrize(
    ("relation", "options", "error", "said"),
    [
        ("treatz", {}, UnknownName, "Did you mean 'treats'"),
        ("resembles", {}, ConfigError, "links Disease to Disease"),
        ("treats", {"head_type": "Drugs"}, ConfigError, "Did you mean 'Drug'"),
        ("treats", {"negatives": ["binds"]}, ConfigError, "'binds' links no Drug to a Disease"),
    ],
)
def test_a_relation_that_makes_no_pairs_is_named(graph, relation, options, error, said):
    with pytest.raises(error, match=said):
        read_pairs(graph, relation, **options)


def test_several_types_at_an_end_have_to_be_chosen(tmp_path):
    """Or one of them is named."""
    triples = np.array([(0, 0, 2), (1, 0, 2)])
    graph = write_graph(
        tmp_path / "g", name="g", labels=["a", "b", "c"], relations=["r"], triples={"train": triples},
        types=["X", "Y", "Z"],
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"heads of several types \(X 1, Y 1\): name one with --head-type"):
        read_pairs(graph, "r")
    assert read_pairs(graph, "r", head_type="Y").shape == (1, 1)


def test_a_graph_without_types_has_no_pairs(tiny):
    with pytest.raises(ConfigError, match="has no node types"):
        read_pairs(tiny, "treats")


def test_files_of_pairs_are_read_by_label_or_name(graph, tmp_path):
    """Lines of other nodes are counted; a file without a pair, and a line too long, are named."""
    pairs, path = read_pairs(graph, "treats"), tmp_path / "pairs.tsv"
    path.write_text("subject\tobject\nn0\tn30\nDrug 1\tDisease 31\nn0\tn60\nnobody\tn30\n")
    places, missed = read_places(path, pairs, graph)
    assert places.tolist() == [[0, 0], [1, 1]]
    assert missed == 2
    path.write_text("n30\tn0\n")
    with pytest.raises(InputError, match="has no pair of a Drug and a Disease"):
        read_places(path, pairs, graph)
    path.write_text("n0\tn30\tx\ty\n")
    with pytest.raises(InputError, match="pairs.tsv:1: 4 fields"):
        read_places(path, pairs, graph)


def test_every_row_is_hidden_once_and_nothing_comes_back(graph):
    """Inner folds hide what the outer one hides, ask no row of it, and cover the rest once."""
    pairs = read_pairs(graph, "treats", negatives=["contraindicated"])
    outer = cut_rows(pairs, everything(pairs), 4, seed=3)
    assert sorted(np.concatenate([fold.asked for fold in outer])) == list(range(24))
    inner = cut_rows(pairs, outer[0], 3, seed=3)
    assert sorted(np.concatenate([fold.asked for fold in inner])) == sorted(outer[0].learned_rows(pairs))
    for fold in inner:
        assert (fold.hidden >= outer[0].hidden).all()
        assert not np.isin(fold.asked, outer[0].asked).any()
        assert not np.isin(fold.visible(pairs)[:, 0], fold.asked).any()
        assert not np.isin(fold.visible_negatives(pairs)[:, 0], fold.asked).any()


def test_every_pair_is_hidden_once(graph):
    """Parts of pairs are disjoint, and rows that keep no answer are not asked."""
    pairs = read_pairs(graph, "treats")
    folds = cut_pairs(pairs, everything(pairs), 3, seed=0)
    assert (np.sum([fold.hidden for fold in folds], axis=0) == 1).all()
    for fold in folds:
        assert np.isin(fold.asked, fold.visible(pairs)[:, 0]).all()
        assert np.isin(fold.positives[:, 0], fold.asked).all()
