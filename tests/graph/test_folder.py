"""The graph folder: what is written is read back, what is damaged is named."""

import json
import os
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corollary.errors import GraphDamaged, GraphError, StorageError
from corollary.graph import arrays
from corollary.graph.folder import Graph, GraphInfo, derive_graph, write_graph
from corollary.storage import sha256
from tests.reference.graphs import numbered_graph, triples_of, unflushed

SPLITS = {"train": [(0, 0, 1), (1, 1, 2), (2, 0, 0)], "valid": [(0, 1, 2)], "test": [(2, 0, 1)]}


@pytest.fixture(autouse=True, scope="module")
def quick_writes():
    with unflushed():
        yield


def typed_graph(path):
    return numbered_graph(
        path,
        SPLITS,
        names=["zero", "", "two"],
        types=["drug", "", "disease"],
        categories=[["drug", "thing"], [], ["disease"]],
        edge_sources={"train": ["a", "", "b"], "valid": ["b"], "test": ["a"]},
        sources=[{"name": "x.tsv", "sha256": "0"}],
        notes={"skipped": 3},
    )


def test_everything_written_is_read_back(tmp_path):
    """Triples, names, types, categories, sources and notes, from a folder whose name has a quote in it."""
    graph = Graph.open(typed_graph(tmp_path / "o'brien" / "graph").path)
    assert {split: triples_of(graph, split) for split in graph.splits} == SPLITS
    assert [graph.entities.name(i) for i in range(3)] == ["zero", "e1", "two"]
    assert [graph.info.node_types[code] if code >= 0 else "" for code in graph.types] == [
        "drug",
        "",
        "disease",
    ]
    assert [graph.info.edge_sources[code] for code in graph.edge_sources("train")] == ["a", "", "b"]
    assert graph.info.sources == [{"name": "x.tsv", "sha256": "0"}]
    assert graph.info.notes == {"skipped": 3}
    assert graph.triples("train").dtype == np.int32
    rows = duckdb.sql(
        "SELECT * FROM read_parquet($path) ORDER BY id", params={"path": str(graph.path / "nodes.parquet")}
    )
    assert rows.fetchall()[0] == (0, "e0", "zero", "drug", '["drug", "thing"]')
    graph.verify()


def test_an_untyped_graph_has_no_types_and_no_sources(tmp_path):
    """None says that none were given; the size counts queries of both sides."""
    graph = numbered_graph(tmp_path / "g", {"train": [(0, 0, 1), (0, 0, 2)]}, entities=5)
    assert graph.types is None
    assert graph.edge_sources("train") is None
    assert (graph.num_entities, graph.num_relations, graph.name) == (5, 1, "small")
    assert graph.size.model_dump() == {
        "num_entities": 5, "num_relations": 1, "num_train": 2, "num_queries": 3, "max_answers": 2
    }  # fmt: skip


TRIPLES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1), st.integers(0, 4)), max_size=10)


@settings(max_examples=15, deadline=None)
@given(train=TRIPLES, valid=TRIPLES, test=TRIPLES)
def test_indexes_of_splits_and_unions_hold_their_triples(train, valid, test):
    """`train+valid` and `known` are unions; an empty split has an empty index."""
    with tempfile.TemporaryDirectory() as folder:
        graph = numbered_graph(
            Path(folder) / "g", {"train": train, "valid": valid, "test": test}, entities=5, relations=2
        )
        unions = {
            "train": train,
            "valid": valid,
            "test": test,
            "train+valid": train + valid,
            "known": train + valid + test,
        }
        for name, triples in unions.items():
            index = graph.answers(name)
            entity, relation = index.queries(slice(None))
            offsets, answers = index.gather(np.arange(index.num_queries))
            pairs = zip(
                np.repeat(entity, np.diff(offsets)),
                np.repeat(relation, np.diff(offsets)),
                answers,
                strict=True,
            )
            assert {tuple(map(int, row)) for row in pairs} == {
                query for h, r, t in triples for query in ((h, r, t), (t, r + 2, h))
            }


@pytest.mark.parametrize("links", [True, False])
def test_equal_indexes_are_written_once(tmp_path, monkeypatch, links):
    """Without valid and test, `known` and `train+valid` are other names of `train`; copies where there are no links."""
    if not links:
        monkeypatch.setattr(
            os, "link", lambda source, target: (_ for _ in ()).throw(OSError("no links here"))
        )
    graph = numbered_graph(tmp_path / "g", {"train": SPLITS["train"]})
    folders = [graph.path / "index" / f"answers-{name}" for name in ("train", "train+valid", "known")]
    for file in folders[0].iterdir():
        entries = [(folder / file.name).stat().st_ino for folder in folders]
        assert len(set(entries)) == (1 if links else 3)
        assert {(folder / file.name).read_bytes() for folder in folders} == {file.read_bytes()}
        sums = {graph.info.files[f"index/{folder.name}/{file.name}"] for folder in folders}
        assert sums == {sha256(file)}
    graph.verify()


@settings(max_examples=15, deadline=None)
@given(train=TRIPLES, test=TRIPLES)
def test_the_size_is_counted_some_queries_at_a_time(train, test):
    """The most answers of a query, wherever the pieces are cut."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "PIECE", 3)
        graph = numbered_graph(Path(folder) / "g", {"train": train, "test": test}, entities=5, relations=2)
        offsets = graph.answers("known").offsets
        assert graph.size.max_answers == np.diff(offsets).max(initial=0)


def test_fingerprints_tell_content_and_vocabulary_apart(tmp_path):
    """Another order of triples is another content; the vocabulary is the same until a label changes."""
    first = numbered_graph(tmp_path / "a", SPLITS)
    same = numbered_graph(tmp_path / "b", SPLITS)
    other = numbered_graph(tmp_path / "c", {**SPLITS, "train": SPLITS["train"][::-1]})
    longer = numbered_graph(tmp_path / "d", SPLITS, entities=4)
    assert first.fingerprint == same.fingerprint != other.fingerprint
    assert (
        first.info.vocabulary_fingerprint
        == other.info.vocabulary_fingerprint
        != longer.info.vocabulary_fingerprint
    )


def every_file(path):
    return sorted(
        str(file.relative_to(path))
        for file in path.rglob("*")
        if file.is_file() and file.name != "graph.json"
    )


def test_every_missing_or_shortened_file_is_named_when_opening(tmp_path):
    """Before any work starts, with what to do next."""
    path = typed_graph(tmp_path / "g").path
    for name in every_file(path):
        whole = (path / name).read_bytes()
        (path / name).unlink()
        with pytest.raises(GraphDamaged, match="is missing: import the graph again") as caught:
            Graph.open(path)
        assert str(path / name) in str(caught.value)
        (path / name).write_bytes(whole[:-1])
        with pytest.raises(GraphDamaged) as caught:
            Graph.open(path)
        assert str(caught.value) == (
            f"{path / name} has {len(whole) - 1} bytes in place of {len(whole)}: import the graph again"
        )
        (path / name).write_bytes(whole)
    Graph.open(path).verify()


def test_every_flipped_byte_is_found_by_verify(tmp_path):
    """The first byte, one in the middle and the last of every file; the message names the file."""
    path = typed_graph(tmp_path / "g").path
    graph = Graph.open(path)
    for name in every_file(path):
        whole = (path / name).read_bytes()
        for place in {0, len(whole) // 2, len(whole) - 1} if whole else ():
            (path / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(GraphDamaged) as caught:
                graph.verify()
            assert (
                str(caught.value) == f"{path / name} has changed since it was written: import the graph again"
            )
        (path / name).write_bytes(whole)


def test_a_header_that_numpy_cannot_read_is_named(tmp_path):
    """Without `verify`, a flipped header still ends in our message and not in numpy's."""
    graph = typed_graph(tmp_path / "g")
    for name, use in (
        ("edges/train.npy", lambda: graph.triples("train")),
        ("index/answers-known/keys.npy", lambda: graph.answers("known")),
        ("index/entities.offsets.npy", lambda: graph.entities),
        ("index/types.npy", lambda: graph.types),
    ):
        whole = (graph.path / name).read_bytes()
        (graph.path / name).write_bytes(b"\0" * len(whole))
        with pytest.raises(GraphDamaged, match="cannot be read: import the graph again"):
            use()


def test_a_changed_graph_json_is_refused(tmp_path):
    """Cut short, not JSON, or with one count changed."""
    file = typed_graph(tmp_path / "g").path / "graph.json"
    text = file.read_text()
    for damaged, words in (
        (text[: len(text) // 2], "is damaged: import the graph again"),
        ("\xff", "is damaged: import the graph again"),
        (text.replace('"train": 3', '"train": 2'), "has changed since it was written"),
        (text.replace('"skipped": 3', '"skipped": 4'), "has changed since it was written"),
    ):
        assert damaged != text
        file.write_bytes(damaged.encode("latin-1"))
        with pytest.raises(GraphDamaged, match=words):
            Graph.open(file.parent)


def test_another_format_is_refused(tmp_path):
    """A newer folder says which format this version reads."""
    file = typed_graph(tmp_path / "g").path / "graph.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 99}))
    with pytest.raises(GraphError, match="has format 99; this version reads 1"):
        Graph.open(file.parent)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_text("x"), "is a file"),
        (lambda path: path.mkdir(), "has no graph.json"),
    ],
)
def test_what_is_no_graph_folder_says_why(tmp_path, make, what):
    """And how to make one."""
    make(tmp_path / "g")
    with pytest.raises(GraphError) as caught:
        Graph.open(tmp_path / "g")
    assert str(caught.value) == (
        f"{tmp_path / 'g'} is not a graph folder: it {what}. Make one with 'corollary graph import'."
    )


def test_unknown_splits_and_indexes_suggest_the_nearest(tmp_path):
    """`tests` is met with `test`."""
    graph = typed_graph(tmp_path / "g")
    with pytest.raises(GraphError, match=r"split 'tests' is not known\. Did you mean 'test'"):
        graph.triples("tests")
    with pytest.raises(GraphError, match=r"answer index 'knwon' is not known\. Did you mean 'known'"):
        graph.answers("knwon")


def test_a_failed_write_leaves_nothing(tmp_path):
    """A code that no source has stops the write half-way; the place stays free, and so does what is there already."""
    with pytest.raises(KeyError):
        numbered_graph(tmp_path / "g", SPLITS, edge_sources={"train": ["a", "b", "c"]})
    assert list(tmp_path.iterdir()) == []
    graph = typed_graph(tmp_path / "g")
    with pytest.raises(StorageError, match="exists already: choose another place or remove it first"):
        typed_graph(tmp_path / "g")
    graph.verify()
    assert [child.name for child in tmp_path.iterdir()] == ["g"]


def test_a_derived_graph_shares_the_vocabulary(tmp_path):
    """Same ids, names and types; its own triples; the parent and its notes are remembered."""
    graph = typed_graph(tmp_path / "g")
    derived = derive_graph(
        graph,
        tmp_path / "d",
        triples={"train": graph.triples("train")[:2]},
        edge_sources={"train": graph.edge_sources("train")[:2]},
        sources=[{"name": "held.tsv"}],
        notes={"cut": 1},
    )
    derived.verify()
    assert derived.info.vocabulary_fingerprint == graph.info.vocabulary_fingerprint
    assert derived.fingerprint != graph.fingerprint
    assert triples_of(derived, "train") == SPLITS["train"][:2]
    assert derived.edge_sources("train").tolist() == graph.edge_sources("train")[:2].tolist()
    assert [derived.entities.name(i) for i in range(3)] == ["zero", "e1", "two"]
    assert derived.types.tolist() == graph.types.tolist()
    assert [source["name"] for source in derived.info.sources] == ["x.tsv", "held.tsv"]
    assert derived.info.notes == {
        "skipped": 3, "cut": 1, "derived from": {"name": "small", "fingerprint": graph.fingerprint}
    }  # fmt: skip


def test_a_derived_graph_equals_one_written_afresh(tmp_path):
    """Byte for byte, but for notes: deriving is a shortcut, not another format."""
    graph = numbered_graph(tmp_path / "g", SPLITS)
    train = graph.triples("train")[:1]
    derived = derive_graph(graph, tmp_path / "d", triples={"train": train})
    afresh = numbered_graph(tmp_path / "f", {"train": train.tolist()}, entities=3, relations=2)
    assert derived.fingerprint == afresh.fingerprint
    assert derived.info.files == afresh.info.files


def test_a_damaged_vocabulary_is_not_passed_on(tmp_path):
    """Deriving checks what it copies, so damage does not get a fresh checksum."""
    graph = typed_graph(tmp_path / "g")
    file = graph.path / "index" / "entities.text"
    file.write_bytes(b"E" + file.read_bytes()[1:])
    with pytest.raises(GraphDamaged, match=r"index/entities\.text has changed since it was written"):
        derive_graph(graph, tmp_path / "d", triples={"train": graph.triples("train")})
    assert not (tmp_path / "d").exists()


def test_a_graph_without_triples_opens(tmp_path):
    """No train triple at all still makes a folder that opens."""
    graph = write_graph(
        tmp_path / "g",
        name="empty",
        labels=["a"],
        relations=[],
        triples={"train": np.zeros((0, 3), np.int64)},
    )
    assert graph.size.num_queries == 0
    assert GraphInfo.model_validate_json((graph.path / "graph.json").read_text()) == graph.info
