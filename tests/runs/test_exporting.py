"""Exported embeddings are those of the model, row by row, in each format; labels that a format cannot hold are said."""

import csv
import re
import shutil
import tracemalloc
from collections.abc import Sequence

import duckdb
import numpy as np
import pytest
import torch

import corollary
from corollary.errors import ConfigError, InputError, RunError, StorageError
from corollary.graph.folder import write_graph
from corollary.messages import silent
from corollary.runs.exporting import INVERSE, _Rows, _write, _write_npy, export


@pytest.fixture
def run(trained):
    return corollary.Run.open(trained / "run")


def rows(run):
    """The entity table and the relations as NumPy arrays."""
    model = run.model
    table = model.entities.block(slice(0, run.graph.num_entities))[0]
    return table.detach().numpy(), model.relations.detach().numpy()


def test_numpy_files_hold_every_row_with_its_label(run, tmp_path):
    """`entities.npy` and a table of id, label, name, type; relations in both directions."""
    written = export(run, tmp_path / "out", what="all")
    entities, relations = rows(run)
    assert written.rows == {"entities": len(entities), "relations": len(relations)}
    assert written.dim == 32
    assert np.array_equal(np.load(tmp_path / "out/entities.npy"), entities)
    assert np.array_equal(np.load(tmp_path / "out/relations.npy"), relations)
    with (tmp_path / "out/entities.tsv").open(encoding="utf-8", newline="") as file:
        table = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    graph = run.graph
    assert table[0] == ["id", "label", "name", "type"]
    expected = [
        [str(i), graph.entities.label(i), graph.entities.names[i], graph.info.node_types[graph.types[i]]]
        for i in range(graph.num_entities)
    ]
    assert table[1:] == expected
    labels = [line.split("\t")[1] for line in (tmp_path / "out/relations.tsv").read_text().splitlines()[1:]]
    plain = list(graph.relations.labels)
    assert labels == plain + [INVERSE + label for label in plain]


def test_parquet_holds_arrays_of_fixed_length(run, tmp_path):
    """One file for one table, a folder for both; rows in the order of ids."""
    export(run, tmp_path / "e.parquet", format="parquet")
    found = duckdb.read_parquet(str(tmp_path / "e.parquet"))
    assert found.columns == ["label", "name", "type", "embedding"]
    table = found.df()
    entities, relations = rows(run)
    assert table["label"].tolist() == list(run.graph.entities.labels)
    assert np.array_equal(np.stack(table["embedding"]), entities)
    export(run, tmp_path / "both", format="parquet", what="all")
    table = duckdb.read_parquet(str(tmp_path / "both/relations.parquet")).df()
    assert np.array_equal(np.stack(table["embedding"]), relations)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both", "e.parquet"]


def read_word2vec(path):
    """As gensim does: a header, then lines cut at single spaces."""
    lines = path.read_text(encoding="utf-8").split("\n")
    count, dim = map(int, lines[0].split())
    fields = [line.split(" ") for line in lines[1:-1]]
    assert len(fields) == count
    assert all(len(parts) == dim + 1 for parts in fields)
    return [parts[0] for parts in fields], np.array([parts[1:] for parts in fields], dtype=np.float32)


def test_word2vec_text_gives_the_same_float32_back(run, tmp_path):
    """White space in labels becomes "_", and that is said."""
    said: list[str] = []
    export(run, tmp_path / "all", format="word2vec", what="all", say=said.append)
    for kind, expected in zip(("entities", "relations"), rows(run), strict=True):
        words, values = read_word2vec(tmp_path / "all" / f"{kind}.txt")
        assert np.array_equal(values, expected)
        if kind == "entities":
            assert words == [re.sub(r"\s", "_", label) for label in run.graph.entities.labels]
    spaced = sum(" " in label for label in run.graph.entities.labels)
    assert f"{spaced} labels of entities hold white space, which word2vec text cannot: written as '_'" in said


def test_labels_that_would_be_written_alike_are_refused(tmp_path):
    """Two spaced labels, or a spaced one and one with "_"; the other formats hold both."""
    for labels in (["a b", "a\tb", "c"], ["a_b", "c", "a b"]):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        triples = {"train": np.array([[0, 0, 1], [1, 0, 2], [2, 0, 0]])}
        graph = write_graph(folder / "graph", name="g", labels=labels, relations=["r"], triples=triples)
        config = {"model": {"embedding_dim": 16, "channels": 2, "batch_size": 2}, "training": {"epochs": 1}}
        run = corollary.train_conve(graph, folder / "run", corollary.RunConfig.build(config))
        with pytest.raises(InputError) as caught:
            export(run, folder / "out.txt", format="word2vec")
        pair = {label for label in labels if re.sub(r"\s", "_", label) == "a_b"}
        assert all(repr(label) in str(caught.value) for label in pair)
        assert str(caught.value).endswith("would both be 'a_b': use --format npy or --format parquet")
        assert sorted(path.name for path in folder.iterdir()) == ["graph", "run"]
        export(run, folder / "out.parquet", format="parquet")
        assert duckdb.read_parquet(str(folder / "out.parquet")).df()["label"].tolist() == labels
        export(run, folder / "out")
        assert len((folder / "out/entities.tsv").read_text().splitlines()) == 4


def test_a_checkpoint_on_the_way_is_exported(trained, tmp_path):
    """Other weights than the best ones; a name that is not there is named."""
    for name in ("epoch-0001", "best"):
        export(corollary.Run.open(trained / "run", checkpoint=name), tmp_path / name)
    early, best = (np.load(tmp_path / name / "entities.npy") for name in ("epoch-0001", "best"))
    assert not np.array_equal(early, best)
    with pytest.raises(RunError, match="has no checkpoint 'epoch-0009'"):
        export(corollary.Run.open(trained / "run", checkpoint="epoch-0009"), tmp_path / "none")


def test_tails_alone_have_one_direction(trained, tmp_path):
    """A model without inverse relations has as many rows as the graph has relations."""
    shutil.copytree(trained / "graph", tmp_path / "graph")
    config = {
        "model": {"embedding_dim": 16, "channels": 2, "batch_size": 512, "sides": "tail"},
        "training": {"epochs": 1},
    }
    run = corollary.train_conve(tmp_path / "graph", tmp_path / "run", corollary.RunConfig.build(config))
    written = export(run, tmp_path / "r.parquet", format="parquet", what="relations")
    assert written.rows == {"relations": run.graph.num_relations}


def test_wrong_places_and_names_are_refused(run, tmp_path):
    """Nothing is overwritten, nothing half-written stays."""
    (tmp_path / "there").mkdir()
    with pytest.raises(StorageError, match="exists already"):
        export(run, tmp_path / "there")
    with pytest.raises(StorageError, match="there is a folder of that name"):
        export(run, tmp_path / "there", format="parquet")
    with pytest.raises(ConfigError, match=r"format 'csv' is not known\. Known: npy, parquet, word2vec\."):
        export(run, tmp_path / "x", format="csv")
    with pytest.raises(ConfigError, match="what 'entity' is not known. Did you mean 'entities'?"):
        export(run, tmp_path / "x", what="entity")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_no_list_of_all_rows_is_made(run, tmp_path):
    """What Python holds at most is a block of rows: a list of all numbers would take 32 bytes each."""
    export(run, tmp_path / "first.parquet", format="parquet")  # imports and caches
    count, dim, step = 10_000, 16, 256
    labels = _Numbered(count)
    cuts = [slice(start, min(start + step, count)) for start in range(0, count, step)]
    table = _Rows(
        "entities", dim, lambda rows: torch.ones(rows.stop - rows.start, dim), cuts, labels, labels, labels
    )
    (tmp_path / "npy").mkdir()
    tracemalloc.start()
    _write_npy(table, tmp_path / "npy")
    _write(table, tmp_path / "parquet", "parquet", silent)
    _write(table, tmp_path / "word2vec", "word2vec", silent)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < count * dim * 32 / 4
    assert read_word2vec(tmp_path / "word2vec")[0] == list(labels)
    assert duckdb.read_parquet(str(tmp_path / "parquet")).df()["label"].tolist() == list(labels)
    assert np.load(tmp_path / "npy/entities.npy").shape == (count, dim)


class _Numbered(Sequence[str]):
    """Labels made when they are asked for."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows):
        if isinstance(rows, int):
            return f"label{rows}"
        return [f"label{i}" for i in range(rows.start, rows.stop)]

    def __iter__(self):
        return (f"label{i}" for i in range(self.count))
