"""Splits keep their promises: nothing isolated, no twin across, shares kept, the same for the same seed."""

import gzip
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corollary.errors import ConfigError, InputError, UnknownName
from corollary.graph.folder import Graph
from corollary.graph.info import graph_info
from corollary.graph.splits import SplitConfig, split_graph
from tests.reference.graphs import numbered_graph, triples_of, unflushed

TRIPLES = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 2), st.integers(0, 7)), min_size=25, max_size=60
)


@pytest.fixture(autouse=True, scope="module")
def quick_writes():
    with unflushed():
        yield


def silent(line):
    """Takes what a command would print."""


def split(graph, name="split", say=silent, **options) -> Graph:
    return split_graph(graph, graph.path.parent / name, SplitConfig.build(options), say=say)


def pair(triple):
    return frozenset((triple[0], triple[2]))


def everything(graph):
    return [triple for name in graph.splits for triple in triples_of(graph, name)]


def dense(path, entities=60, relations=4, count=1500, seed=0):
    """A random graph with loops, duplicates and parallel relations, relation r about twice as frequent as r + 1."""
    rng = np.random.default_rng(seed)
    ends = rng.integers(entities, size=(count, 2))
    relation = np.minimum(rng.geometric(0.5, count) - 1, relations - 1)
    rows = [tuple(row) for row in np.stack([ends[:, 0], relation, ends[:, 1]], axis=1).tolist()]
    return numbered_graph(path, {"train": rows}, entities=entities, relations=relations)


@settings(max_examples=25, deadline=None)
@given(triples=TRIPLES, seed=st.integers(0, 99), valid=st.sampled_from([0, 2, 0.1]))
def test_promises_hold_for_any_graph(triples, seed, valid):
    """Every triple is somewhere once, twins stay together, no entity and no relation leaves train."""
    with tempfile.TemporaryDirectory() as folder:
        graph = numbered_graph(Path(folder) / "g", {"train": triples}, entities=8, relations=3)
        refusal = ""
        try:
            result = split(graph, valid=valid, test=0.15, seed=seed)
        except InputError as error:
            refusal = str(error)
        if refusal:
            assert "could be drawn without leaving an entity" in refusal
            return
        assert Counter(everything(result)) == Counter(triples)
        assert result.splits == (("train", "valid", "test") if valid else ("train", "test"))
        place = {}
        for name in result.splits:
            for triple in triples_of(result, name):
                assert place.setdefault(pair(triple), name) == name
        train = triples_of(result, "train")
        assert {end for h, _, t in train for end in (h, t)} == {end for h, _, t in triples for end in (h, t)}
        assert {r for _, r, _ in train} == {r for _, r, _ in triples}
        wanted = result.info.notes["split"]["drawn"]["wanted"]
        assert all(0 < result.info.num_triples[name] <= count for name, count in wanted.items())


def test_each_relation_gives_its_share(tmp_path):
    """Within three triples of its share, as parallel relations move together; the totals are exact."""
    graph = dense(tmp_path / "g")
    result = split(graph, valid=0.1, test=150)
    assert result.info.num_triples == {"train": 1200, "valid": 150, "test": 150}
    of_relation = Counter(relation for _, relation, _ in everything(graph))
    for name in ("valid", "test"):
        drawn = Counter(relation for _, relation, _ in triples_of(result, name))
        assert all(abs(drawn[r] - 0.1 * of_relation[r]) <= 3 for r in of_relation)


def test_no_test_triple_has_a_twin_in_train(tmp_path):
    """The leakage check of the result finds nothing, not even a link."""
    leaks = graph_info(split(dense(tmp_path / "g"))).leakage
    assert [(leak.any, leak.linked) for leak in leaks.values()] == [(0, 0), (0, 0)]


def test_the_vocabulary_is_shared_and_the_parent_named(tmp_path):
    """So runs on both can be compared id by id."""
    graph = dense(tmp_path / "g")
    result = split(graph, seed=3)
    assert result.info.vocabulary_fingerprint == graph.info.vocabulary_fingerprint
    assert result.info.notes["derived from"]["fingerprint"] == graph.fingerprint
    assert result.info.notes["split"]["options"]["seed"] == 3
    result.verify()


def test_the_same_seed_gives_the_same_split_whatever_the_order(tmp_path):
    """The order of the triples in the source does not matter; another seed gives another split."""
    graph = dense(tmp_path / "g")
    shuffled = everything(graph)
    np.random.default_rng(1).shuffle(shuffled)
    other = numbered_graph(tmp_path / "other", {"train": shuffled}, entities=60, relations=4)
    first, again = split(graph, seed=5), split(graph, "again", seed=5)
    assert first.fingerprint == again.fingerprint
    for name in first.splits:
        assert Counter(triples_of(first, name)) == Counter(
            triples_of(split(other, f"o-{name}", seed=5), name)
        )
    assert split(graph, "six", seed=6).fingerprint != first.fingerprint


def test_given_splits_are_pooled_and_sources_travel(tmp_path):
    """Each edge keeps its source; what is done with old splits is said."""
    rows = everything(dense(tmp_path / "g", count=400))
    parts = {"train": rows[:300], "test": rows[300:]}
    sources = {name: [f"source {head % 3}" for head, _, _ in some] for name, some in parts.items()}
    graph = numbered_graph(tmp_path / "s", parts, entities=60, relations=4, edge_sources=sources)
    said = []
    result = split(graph, say=said.append)
    assert said[0] == "train, test of small are pooled: 400 triples"
    for name in result.splits:
        codes = result.edge_sources(name).tolist()
        assert [result.info.edge_sources[c] for c in codes] == [
            f"source {head % 3}" for head, _, _ in triples_of(result, name)
        ]


def test_only_chosen_relations_are_drawn(tmp_path):
    """The rest stays in train, and with it what shares a pair with it: the count of those is noted."""
    graph = dense(tmp_path / "g")
    result = split(graph, relations=["r1"], valid=0, test=0.1)
    drawn = triples_of(result, "test")
    assert {relation for _, relation, _ in drawn} == {1}
    chosen = [triple for triple in everything(graph) if triple[1] == 1]
    assert len(drawn) == round(0.1 * len(chosen))
    others = {pair(triple) for triple in everything(graph) if triple[1] != 1}
    bound = sum(pair(triple) in others for triple in chosen)
    assert result.info.notes["split"]["drawn"]["kept for other relations of the pair"] == bound > 0


def held_out_graph(path):
    """(0, r0, 1) with an inverse, a parallel and a repeated triple; 5 hangs on a held-out triple alone."""
    special = [(0, 0, 1), (1, 1, 0), (0, 2, 1), (0, 0, 1), (4, 0, 5)]
    return numbered_graph(path, {"train": [*special, (0, 0, 2), (1, 1, 3), (2, 2, 4), (3, 0, 4)]})


@pytest.mark.parametrize("form", ["file", "gzip", "list"])
def test_held_out_edges_take_their_twins_out_of_train(tmp_path, form):
    """Inverse and parallel triples leave the graph; all is counted, said and noted."""
    edges, said = [("e0", "r0", "e1"), ("e4", "r0", "e5")], []
    text = "".join("\t".join(edge) + "\n" for edge in edges).encode()
    (tmp_path / "held.tsv").write_bytes(text)
    (tmp_path / "held.tsv.gz").write_bytes(gzip.compress(text, mtime=0))
    options = {"file": tmp_path / "held.tsv", "gzip": tmp_path / "held.tsv.gz", "list": edges}
    result = split(held_out_graph(tmp_path / "g"), held_out=options[form], valid=0, say=said.append)
    assert triples_of(result, "test") == [(0, 0, 1), (0, 0, 1), (4, 0, 5)]
    assert triples_of(result, "train") == [(0, 0, 2), (1, 1, 3), (2, 2, 4), (3, 0, 4)]
    assert result.info.notes["split"]["held out"] == {
        "test triples": 3,
        "parallel triples removed": 1,
        "inverse triples removed": 1,
        "entities left without a triple in train": 1,
    }
    assert said[0].startswith(
        "held out: test triples 3, parallel triples removed 1, inverse triples removed 1"
    )
    assert [source["name"] for source in result.info.sources] == (
        [] if form == "list" else [options[form].name]
    )


def test_valid_is_drawn_from_what_hold_out_leaves(tmp_path):
    """A held-out list and a drawn valid split in one call."""
    graph = dense(tmp_path / "g")
    head, relation, tail = everything(graph)[0]
    result = split(graph, held_out=[(f"e{head}", f"r{relation}", f"e{tail}")], valid=20)
    assert result.info.num_triples["valid"] == 20
    assert {pair(t) for t in triples_of(result, "test")} == {frozenset((head, tail))}
    assert frozenset((head, tail)) not in {pair(t) for n in ("train", "valid") for t in triples_of(result, n)}


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("e0\tr0\te1\ne0\tr9\te1\n", UnknownName, "{path}:2: relation 'r9' is not known. Did you mean 'r"),
        ("e0\tr0\n", InputError, "{path}:1: 'e0\\tr0': expected head, relation, tail with tabs between"),
        ("e0\tr0\t\n", InputError, "{path}:1: 'e0\\tr0\\t': expected head, relation, tail"),
        (
            "e0\tr0\te1\n\ne0\tr0\te5\n",
            InputError,
            "{path}:3: (e0, r0, e5) is not a triple of small; 1 of 2 are not.",
        ),
        ("", InputError, "{path} is empty: expected the triples to hold out"),
    ],
)
def test_a_wrong_held_out_file_names_its_line(tmp_path, text, kind, message):
    """File, line, value, what was expected."""
    path = tmp_path / "held.tsv"
    path.write_text(text)
    with pytest.raises(kind) as caught:
        split(held_out_graph(tmp_path / "g"), held_out=path, valid=0)
    assert str(caught.value).startswith(message.format(path=path))
    assert not (tmp_path / "split").exists()


def test_a_missing_held_out_file_is_named(tmp_path):
    """A folder in its place, too."""
    graph = held_out_graph(tmp_path / "g")
    for path, what in ((tmp_path / "no.tsv", "does not exist"), (tmp_path, "is a folder")):
        with pytest.raises(InputError) as caught:
            split(graph, held_out=path)
        assert str(caught.value) == f"{path} {what}: expected a file of triples"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"valid": 0.5, "test": 0.5}, "valid + test = 1 of the triples: nothing is left for train"),
        ({"test": 2.5}, "test = 2.5: write a share below 1 or a whole number of triples"),
        ({"test": 0.1, "held_out": "x.tsv"}, "held_out names the test triples: leave out test"),
        ({"tset": 0.1}, "option 'tset' is not known. Did you mean 'test'?"),
        ({"held_out": 3}, "held_out: 3: expected a file, or triples of three labels each"),
        ({"held_out": [("a", "r")]}, "held_out: [('a', 'r')]: expected a file, or triples of three labels"),
        ({"valid": -1}, "greater than or equal to 0"),
    ],
)
def test_wrong_options_are_refused(options, message):
    """Before anything is read."""
    with pytest.raises(ConfigError) as caught:
        SplitConfig.build(options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"relations": ["r7"]}, "relation 'r7' is not known."),
        ({"test": 5000}, "5,075 triples to draw of 1,500: nothing would be left in train"),
        ({"test": 0.0001}, "test = 0.0001 of 1,500 triples is less than one: give a larger share or a count"),
    ],
)
def test_what_the_graph_cannot_give_is_refused(tmp_path, options, message):
    """With the figures."""
    with pytest.raises(InputError) as caught:
        split(dense(tmp_path / "g"), **options)
    assert message in str(caught.value)
    assert not (tmp_path / "split").exists()


def test_a_star_cannot_be_split(tmp_path):
    """Every triple holds its leaf in train; where other relations of the pair hold it, that is said."""
    star = [(0, 0, i) for i in range(1, 50)]
    with pytest.raises(InputError) as caught:
        split(numbered_graph(tmp_path / "star", {"train": star}))
    assert str(caught.value) == (
        "test: none of 2 triples could be drawn without leaving an entity or a relation without a triple in train."
    )
    doubled = [(i, r, (i + d) % 50) for i in range(50) for r in range(2) for d in (1, 2)]
    with pytest.raises(InputError, match="other relations link the same two: choose those as well"):
        split(numbered_graph(tmp_path / "both", {"train": doubled}), relations=["r0"])
