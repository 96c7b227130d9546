"""Whole imports: every layout that people bring, what is noted, what is refused, and that nothing is left behind."""

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from corollary.budget import MIB, Budget, resident_bytes
from corollary.errors import ConfigError, CorollaryError, InputError, PlanDoesNotFit, StorageError
from corollary.graph import arrays, folder, indexing, tables
from corollary.graph.folder import Graph, write_graph
from corollary.graph.importing import ImportConfig, import_graph
from tests.graph.reading.test_archives import tar, zipped
from tests.reference import reading as reference

TRAIN = "aspirin\ttreats\tfever\nfever\tsign of\tcold\nparacetamol\ttreats\tfever\n"
VALID, TEST = "aspirin\ttreats\tcold\n", "cold\tsign of\tfever\n"


def write(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def labelled(graph: Graph, split: str) -> list[tuple[str, str, str]]:
    entities, relations = graph.entities.labels, graph.relations.labels
    return [(entities[h], relations[r], entities[t]) for h, r, t in graph.triples(split).tolist()]


def left_over(folder: Path) -> set[str]:
    """Names in a folder besides input files."""
    return {path.name for path in folder.iterdir() if path.name != "in"}


def lines(text: str) -> list[tuple[str, ...]]:
    return [tuple(line.split("\t")) for line in text.splitlines()]


IDS = "0\taspirin\n1\tcold\n2\tfever\n3\tparacetamol\n"
RELATION_IDS = "0\tsign of\n1\ttreats\n"
NUMBERS = {"train": "0\t1\t2\n2\t0\t1\n3\t1\t2\n", "valid": "0\t1\t1\n", "test": "1\t0\t2\n"}
FOLDERS = {
    "plain": {"train.txt": TRAIN, "valid.txt": VALID, "test.txt": TEST},
    "gzip and other names": {
        "train.tsv.gz": gzip.compress(TRAIN.encode(), mtime=0),
        "dev.tsv": VALID,
        "test.tsv.zst": zstandard.compress(TEST.encode()),
    },
    "robokop": {
        "train.txt": TRAIN,
        "valid.txt": VALID,
        "test.txt": TEST,
        "node_dict.txt": "aspirin\t0\ncold\t1\nfever\t2\nparacetamol\t3\n",
        "rel_dict.txt": "sign of\t0\ntreats\t1\n",
    },
    "LibKGE": {
        **{f"{split}.del": text for split, text in NUMBERS.items()},
        "train.txt": "not\tread\there\n",
        "entity_ids.del": IDS,
        "relation_ids.del": RELATION_IDS,
    },
    "OpenKE": {
        "train2id.txt": "3\n0 2 1\n2 1 0\n3 2 1\n",
        "valid2id.txt": "1\n0 1 1\n",
        "test2id.txt": "1\n1 2 0\n",
        "entity2id.txt": "4\naspirin\t0\ncold\t1\nfever\t2\nparacetamol\t3\n",
        "relation2id.txt": "2\nsign of\t0\ntreats\t1\n",
    },
    "DGL-KE": {
        "train.txt": TRAIN,
        "valid.txt": VALID,
        "test.txt": TEST,
        "entities.dict": IDS,
        "relations.dict": RELATION_IDS,
    },
    "DGL-KE with ids": {
        **{f"{split}.tsv": text for split, text in NUMBERS.items()},
        "entities.tsv": IDS,
        "relations.tsv": RELATION_IDS,
    },
    "DRUM": {"facts.txt": TRAIN[:21], "train.txt": TRAIN[21:], "valid.txt": VALID, "test.txt": TEST},
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_dataset_folder_is_understood_as_a_whole(tmp_path: Path, name):
    """The same triples from each layout, and given ids exactly as given."""
    folder = tmp_path / "in" / "data"
    for file, data in FOLDERS[name].items():
        write(folder / file, data)

    graph = import_graph(tmp_path / "graph", ImportConfig(files=(folder,)))

    assert labelled(graph, "train") == lines(TRAIN)
    assert (labelled(graph, "valid"), labelled(graph, "test")) == (lines(VALID), lines(TEST))
    given = any(file.startswith(("ent", "node")) for file in FOLDERS[name])
    order = (
        ["aspirin", "cold", "fever", "paracetamol"] if given else ["aspirin", "fever", "cold", "paracetamol"]
    )
    assert list(graph.entities.labels) == order
    assert list(graph.relations.labels) == (["sign of", "treats"] if given else ["treats", "sign of"])
    assert left_over(tmp_path) == {"graph"}


@pytest.mark.parametrize(
    "pack",
    [
        zipped,
        tar,
        lambda members: gzip.compress(tar(members), mtime=0),
        lambda members: zstandard.compress(tar(members)),
    ],
)
def test_an_archive_of_a_dataset_is_understood_as_a_whole(tmp_path: Path, pack):
    """Its splits do not run into each other, and every file is recorded with the archive's checksum."""
    members = {f"data/{name}": text.encode() for name, text in FOLDERS["plain"].items()} | {
        "data/README.md": b"read me"
    }
    path = write(tmp_path / "in" / "data.pack", pack(members))

    graph = import_graph(tmp_path / "graph", ImportConfig(files=(path,)))

    assert graph.info.num_triples == {"train": 3, "valid": 1, "test": 1}
    assert [source["name"] for source in graph.info.sources] == [
        f"data.pack/data/{split}.txt" for split in ("train", "valid", "test")
    ]
    with pytest.raises(
        InputError, match=r"data.pack holds a whole dataset \(.*data/test.txt\): give it as the only input"
    ):
        import_graph(tmp_path / "other", ImportConfig(train=(path,)))


def test_an_archive_of_parts_is_one_graph(tmp_path: Path):
    """Members whose names say nothing are read one after another, packed ones too."""
    members = {"a.tsv": b"a\tr\tb\n", "b.tsv.gz": gzip.compress(b"b\tr\tc\n", mtime=0), "c.csv": b"c,r,d\n"}
    path = write(tmp_path / "in" / "parts.zip", zipped(members))
    said: list[str] = []
    graph = import_graph(tmp_path / "graph", ImportConfig(files=(path,)), say=said.append)
    assert labelled(graph, "train") == [("a", "r", "b"), ("b", "r", "c"), ("c", "r", "d")]
    assert "parts.zip/b.tsv.gz: tab-separated, no header, columns head relation tail" in said


def test_a_bad_line_in_an_archive_is_named_as_the_user_knows_it(tmp_path: Path):
    """Archive, member, line."""
    path = write(tmp_path / "in" / "parts.zip", zipped({"x/a.tsv": b"a\tr\tb\nb\tr\n"}))
    with pytest.raises(InputError) as error:
        import_graph(tmp_path / "graph", ImportConfig(files=(path,)))
    assert str(error.value).startswith(f"{path}/x/a.tsv:2: expected 3 columns")
    assert left_over(tmp_path) == set()


def test_how_each_file_was_read_is_said_and_recorded(tmp_path: Path):
    """In graph.json with checksum and number of rows."""
    path = write(tmp_path / "in" / "t.csv", "drug,effect,disease\na,treats,b\n")
    said: list[str] = []
    graph = import_graph(
        tmp_path / "graph", ImportConfig(files=(path,), columns="drug,effect,disease"), say=said.append
    )
    read_as = "comma-separated, a header, columns head relation tail"
    assert said == [f"t.csv: {read_as}"]
    (source,) = graph.info.sources
    assert source == {
        "name": "t.csv",
        "sha256": source["sha256"],
        "part": "train",
        "read_as": read_as,
        "rows": 1,
    }
    assert len(source["sha256"]) == 64


def test_duplicates_are_merged_and_leaks_kept(tmp_path: Path):
    """Both are counted and said; a leak is the benchmark's own and stays where it is."""
    train = write(tmp_path / "in" / "train.txt", TRAIN + TRAIN)
    test = write(tmp_path / "in" / "test.txt", TEST + TRAIN)
    said: list[str] = []
    graph = import_graph(tmp_path / "graph", ImportConfig(train=(train,), test=(test,)), say=said.append)
    assert labelled(graph, "train") == lines(TRAIN)
    assert labelled(graph, "test") == lines(TEST + TRAIN)
    assert graph.info.notes["duplicate_triples"] == 3
    assert graph.info.notes["test_triples_in_train"] == 3
    assert said[-2:] == [
        "left out 3 triples that a split had already",
        "test has 3 triples of train: kept, though scores look better for it",
    ]


TRIPLES = st.lists(st.tuples(*[st.sampled_from("abcdef")] * 3), min_size=1, max_size=12)


@given(train=TRIPLES, test=TRIPLES)
@settings(max_examples=8, deadline=None)
def test_numbers_are_those_of_the_reference(tmp_path_factory, train, test):
    """Ids by first appearance, head before tail; triples in their order, each once a split."""
    folder = tmp_path_factory.mktemp("reference")
    files = {
        split: write(folder / "in" / f"{split}.txt", "".join("\t".join(triple) + "\n" for triple in triples))
        for split, triples in (("train", train), ("test", test))
    }

    graph = import_graph(folder / "graph", ImportConfig(train=(files["train"],), test=(files["test"],)))

    entities, relations, triples = reference.encoded({"train": train, "test": test})
    assert (list(graph.entities.labels), list(graph.relations.labels)) == (entities, relations)
    for split in ("train", "test"):
        assert np.array_equal(graph.triples(split), triples[split])


@given(
    train=st.binary(max_size=40) | st.text('ab\t\n ,"01', max_size=40).map(str.encode),
    ids=st.none() | st.text("ab\t\n01", max_size=20).map(str.encode),
    skip=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_any_bytes_give_a_graph_or_a_clear_error(tmp_path_factory, train, ids, skip):
    """Never another exception, and never anything half-written."""
    folder = tmp_path_factory.mktemp("bytes")
    values = {"train": (write(folder / "in" / "train.txt", train),), "on_error": "skip" if skip else "stop"}
    if ids is not None:
        values["entity_to_id"] = write(folder / "in" / "ids.txt", ids)
    try:
        graph = import_graph(folder / "graph", ImportConfig(**values))
    except CorollaryError:
        assert left_over(folder) == set()
    else:
        graph.verify()
        assert graph.info.num_triples["train"] > 0
        assert left_over(folder) <= {"graph", "graph.rejects.tsv"}


def test_rejects_go_beside_the_output(tmp_path: Path):
    """With file, line, reason and text; the rest is imported."""
    bad = b"a\tr\tb\nragged\tline\nb\t\tc\ncaf\xe9\tr\tb\nb\tr\tzz\nb\tr\ta\n"
    path = write(tmp_path / "in" / "t.txt.gz", gzip.compress(bad, mtime=0))
    ids = write(tmp_path / "in" / "ids.txt", "a\t0\nb\t1\n")
    said: list[str] = []
    graph = import_graph(
        tmp_path / "graph", ImportConfig(files=(path,), entity_to_id=ids, on_error="skip"), say=said.append
    )
    assert labelled(graph, "train") == [("a", "r", "b"), ("b", "r", "a")]
    header, *rows = [line.split("\t") for line in (tmp_path / "graph.rejects.tsv").read_text().splitlines()]
    assert header == ["file", "line", "problem", "text"]
    assert sorted((int(line), text) for _, line, _, text in rows) == [
        (2, "ragged\\tline"),
        (3, "b\\t\\tc"),
        (4, "caf\ufffd\\tr\\tb"),
        (5, "b\\tr\\tzz"),
    ]
    assert {name for name, *_ in rows} == {str(path)}
    assert f"left out 4 lines: see {tmp_path / 'graph.rejects.tsv'}" in said
    assert graph.info.notes["rejected_lines"] == 4
    assert left_over(tmp_path) == {"graph", "graph.rejects.tsv"}


def test_names_nodes_and_sources_come_along(tmp_path: Path):
    """Names from a file of their own, types from a node table, the source of each edge from a column."""
    edges = write(tmp_path / "in" / "e.tsv", "C:1\ttreats\tD:2\tctd\nC:1\ttreats\tD:3\tdrugbank\n")
    nodes = write(
        tmp_path / "in" / "n.tsv", "id\tname\tkind\nC:1\tAspirin\tDrug\nD:2\t\tDisease\nX:9\tAlone\tDisease\n"
    )
    names = write(tmp_path / "in" / "names.txt", "D:2\tFever\nD:3\tCold\nnobody\tNobody\n")
    said: list[str] = []
    config = ImportConfig(files=(edges,), columns="head,relation,tail,source", nodes=(nodes,), names=(names,))
    graph = import_graph(tmp_path / "graph", config, say=said.append)
    assert list(graph.entities.labels) == ["C:1", "D:2", "D:3", "X:9"]
    assert [graph.entities.name(row) for row in range(4)] == ["Aspirin", "Fever", "Cold", "Alone"]
    assert graph.info.node_types == ["Disease", "Drug"]
    assert graph.types is not None
    assert graph.types.tolist() == [1, 0, -1, 0]
    codes = graph.edge_sources("train")
    assert codes is not None
    assert [graph.info.edge_sources[code] for code in codes] == ["ctd", "drugbank"]
    assert any(
        "names.txt: left out 1 of 3 labels, which the graph does not have" in message for message in said
    )


def test_kgx_joins_and_filters_work_during_the_import(tmp_path: Path):
    """KGX is recognised by its columns; labels are joined first, then the graph is cut."""
    edges = write(
        tmp_path / "in" / "x_edges.tsv",
        "subject\tpredicate\tobject\tknowledge_level\nC:1\tbiolink:treats\tD:1\tk\nC:1\tbiolink:affects\tG:1\tk\n",
    )
    nodes = write(
        tmp_path / "in" / "x_nodes.tsv",
        "id\tname\tcategory\nC:1\tAspirin\tbiolink:Drug\nD:1\tFever\tbiolink:Disease\nG:1\tCOX\tbiolink:Gene\n",
    )
    more = write(tmp_path / "in" / "more.txt", "Gene::1\tassociated\tD:1\n")
    config = ImportConfig.build(
        {
            "files": [edges, more],
            "nodes": nodes,
            "join": {"rewrite": ["Gene::=G:"]},
            "filters": {"drop_predicates": ["biolink:affects"]},
        }
    )
    graph = import_graph(tmp_path / "graph", config)
    assert sorted(labelled(graph, "train")) == [
        ("C:1", "biolink:treats", "D:1"),
        ("G:1", "associated", "D:1"),
    ]
    assert graph.entities.name(graph.entities.find("G:1")) == "COX"
    assert {"join", "filters", "kgx"} <= set(graph.info.notes)


def test_a_kgx_edge_without_an_id_is_named(tmp_path: Path):
    """Its line is not known here, so the edge itself is shown."""
    edges = write(
        tmp_path / "in" / "e.tsv", "subject\tpredicate\tobject\nC:1\ttreats\tD:1\nC:1\ttreats\tD:2\n"
    )
    ids = write(tmp_path / "in" / "ids.txt", "C:1\t0\nD:1\t1\n")
    with pytest.raises(
        InputError, match=r"ids.txt does not fit the edge 'C:1\\ttreats\\tD:2': the tail 'D:2' is not among"
    ):
        import_graph(tmp_path / "graph", ImportConfig(files=(edges,), entity_to_id=ids))
    graph = import_graph(tmp_path / "graph", ImportConfig(files=(edges,), entity_to_id=ids, on_error="skip"))
    assert graph.info.num_triples == {"train": 1}


def test_given_ids_stay_though_the_graph_is_cut(tmp_path: Path):
    """Indices are compared across programs: they are the vocabulary, whatever the filters leave."""
    triples = write(tmp_path / "in" / "t.txt", TRAIN)
    ids = write(tmp_path / "in" / "ids.txt", "fever\t0\ncold\t1\nunused\t2\nparacetamol\t3\naspirin\t4\n")
    config = ImportConfig.build(
        {"files": triples, "entity_to_id": ids, "filters": {"keep_predicates": ["treats"]}}
    )
    graph = import_graph(tmp_path / "graph", config)
    assert list(graph.entities.labels) == ["fever", "cold", "unused", "paracetamol", "aspirin"]
    assert graph.triples("train").tolist() == [[4, 0, 0], [3, 0, 0]]


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({}, ConfigError, "no triples to import: give files, a dataset folder, or train"),
        ({"fils": "in/t.txt"}, ConfigError, r"option 'fils' is not known. Did you mean 'files'\?"),
        ({"files": "in/tt.txt"}, InputError, r"in/tt.txt does not exist. Did you mean .*in/t.txt\?"),
        ({"files": "elsewhere/x"}, InputError, r"elsewhere/x does not exist. Check the name and the folder"),
        ({"train": "in"}, InputError, r"in is a folder: name a file in it, or give the folder alone"),
        (
            {"files": "in/other"},
            InputError,
            r"in/other is a folder with notes.md: expected train.txt .* name its files",
        ),
        (
            {"files": "in/double"},
            InputError,
            r"in/double holds train.tsv and train.txt, which play the same part: name",
        ),
        (
            {"files": "in/t.txt", "entity_to_id": "in/two.zip"},
            InputError,
            r"two.zip holds 2 files .*: expected one; unpack it",
        ),
        ({"files": "in/empty.txt"}, InputError, r"in/empty.txt is empty: expected at least one line"),
        ({"files": "in/empty.zip"}, InputError, r"in/empty.zip is an archive without files"),
        ({"files": "in/t.txt", "id_columns": "id,label"}, ConfigError, "id_columns needs an id file"),
        (
            {"files": "in/t.txt", "qualifiers": ["x"]},
            ConfigError,
            "qualifiers is for KGX files, and none of the files is one",
        ),
        ({"files": "in/short.gz"}, InputError, r"in/short.gz is damaged or ends too early"),
        (
            {"files": "in/header.txt"},
            InputError,
            r"header.txt has no line of head relation tail: expected at least one",
        ),
    ],
)
def test_what_cannot_be_imported_is_said_and_nothing_is_left(tmp_path: Path, values, error, message):
    """One clear message with what was found and the remedy."""
    write(tmp_path / "in" / "t.txt", TRAIN)
    write(tmp_path / "in" / "empty.txt", "")
    write(tmp_path / "in" / "header.txt", "head\trelation\ttail\n")
    write(tmp_path / "in" / "empty.zip", zipped({".hidden": b""}))
    write(tmp_path / "in" / "two.zip", zipped({"a.txt": b"a\t0\n", "b.txt": b"a\t0\n"}))
    write(tmp_path / "in" / "short.gz", gzip.compress(TRAIN.encode(), mtime=0)[:-5])
    write(tmp_path / "in" / "other" / "notes.md", "notes")
    write(tmp_path / "in" / "double" / "train.txt", TRAIN)
    write(tmp_path / "in" / "double" / "train.tsv", TRAIN)
    paths = {"files", "train", "entity_to_id"} & set(values)
    values = {**values, **{key: tmp_path / values[key] for key in paths}}
    with pytest.raises(error, match=message):
        import_graph(tmp_path / "graph", ImportConfig.build(values))
    assert left_over(tmp_path) == set()


def test_an_output_that_exists_is_never_touched(tmp_path: Path):
    """Before anything is read."""
    write(tmp_path / "graph" / "mine.txt", "mine")
    with pytest.raises(StorageError, match="graph exists already: choose another place or remove it first"):
        import_graph(tmp_path / "graph", ImportConfig(files=(write(tmp_path / "in" / "t.txt", TRAIN),)))
    assert left_over(tmp_path / "graph") == {"mine.txt"}


def test_a_memory_limit_that_is_too_small_says_so(tmp_path: Path):
    """Before anything is read, itemised."""
    path = write(tmp_path / "in" / "t.txt", TRAIN)
    with pytest.raises(PlanDoesNotFit) as caught:
        import_graph(tmp_path / "graph", ImportConfig(files=(path,)), budget=Budget(limit=50 * MIB))
    assert re.fullmatch(
        rf"importing {tmp_path}/graph needs at least [0-9.]+ MiB and the budget is 50.0 MiB: this process [0-9.]+, "
        r"reading lines 128.0, the database 128.0 \(MiB\). Raise --memory-limit.",
        str(caught.value),
    )
    assert left_over(tmp_path) == set()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["tsv", "kgx", "nt"])
def test_the_whole_process_stays_under_the_limit(tmp_path: Path, form):
    """300,000 edges with 20 MiB more than the least that is accepted; the kernel's own high-water mark."""
    rng = np.random.default_rng(0)
    rows = (rng.random((300_000, 3)) ** 2 * (60_000, 20, 60_000)).astype(int).tolist()
    write_line = {
        "tsv": lambda h, r, t: f"N:{h}\tr{r}\tN:{t}\n",
        "kgx": lambda h, r, t: f'{{"subject": "N:{h}", "predicate": "r{r}", "object": "N:{t}"}}\n',
        "nt": lambda h, r, t: f"<N:{h}> <r:{r}> <N:{t}> .\n",
    }[form]
    path = write(tmp_path / "in" / "edges", "".join(write_line(*row) for row in rows))
    script = f"""if True:
        import os, sys
        from pathlib import Path
        from corollary.budget import MIB, Budget, peak_bytes, resident_bytes
        from corollary.graph.importing import ImportConfig, import_graph
        assert not {{"torch", "pandas", "matplotlib", "numba"}} & set(sys.modules)
        limit = resident_bytes() + 276 * MIB
        graph = import_graph({str(tmp_path / "graph")!r}, ImportConfig(files=(Path({str(path)!r}),)), budget=Budget(limit=limit))
        print(graph.info.num_triples["train"], peak_bytes() / limit, flush=True)
        os._exit(0)  # duckdb 2.0 may talk of leaks at the end of a process"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    triples, share = done.stdout.split()
    assert int(triples) == len({tuple(row) for row in rows})
    assert float(share) <= 1


def every_byte(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def large_files(place: Path) -> ImportConfig:
    """Thirty thousand triples in two splits, KGX and a plain table, with duplicates, sources, names and types."""
    rng = np.random.default_rng(0)
    rows = [tuple(row) for row in (rng.random((30_000, 3)) ** 2 * (4000, 7, 4000)).astype(int).tolist()]
    nodes = (
        json.dumps({"id": f"N:{i}", "name": f"née {i}", "category": [f"biolink:C{i % 5}", "biolink:Entity"]})
        for i in range(5000)
    )
    edges = (
        json.dumps(
            {"subject": f"N:{h}", "predicate": f"r{r}", "object": f"N:{t}", "knowledge_source": f"s{t % 3}"}
        )
        for h, r, t in rows
    )
    table = "".join(f"N:{t}\tr{r}\tN:{h}\n" for h, r, t in rows[:9000])
    return ImportConfig(
        train=(write(place / "edges.jsonl", "\n".join(edges)),),
        test=(write(place / "test.tsv", table),),
        nodes=(write(place / "nodes.jsonl", "\n".join(nodes)),),
        name="large",
    )


def test_neither_memory_nor_threads_change_a_byte_of_the_folder(tmp_path: Path, monkeypatch):
    """With all memory and threads, and with what is just enough: one thread, answers sorted in many buckets."""
    config = large_files(tmp_path / "in")
    whole = import_graph(tmp_path / "whole", config)
    assert whole.info.notes["duplicate_triples"] > 0
    least = resident_bytes() + 300 * MIB
    monkeypatch.setattr(indexing, "SMALLEST", 2 << 10)
    monkeypatch.setattr(indexing, "LARGEST", 64 << 10)
    for module in (arrays, folder, tables):
        monkeypatch.setattr(module, "PIECE", 1000)
    monkeypatch.setattr(tables, "_ROWS", 1000)
    said: list[str] = []
    small = import_graph(tmp_path / "small", config, budget=Budget(limit=least), say=said.append)
    assert every_byte(small.path) == every_byte(whole.path)
    assert re.fullmatch(r"most resident memory so far [0-9.]+ [MG]iB, the limit [0-9.]+ [MG]iB", said[-1])


def test_what_is_imported_equals_what_is_written_from_lists(tmp_path: Path):
    """The database is a shortcut for sequences, not another format."""
    imported = import_graph(tmp_path / "imported", large_files(tmp_path / "in"))
    rows = duckdb.sql(f"FROM '{imported.path}/nodes.parquet' ORDER BY id").fetchall()
    written = write_graph(
        tmp_path / "written",
        name="large",
        labels=list(imported.entities.labels),
        relations=list(imported.relations.labels),
        triples={split: imported.triples(split) for split in imported.splits},
        names=[name for _, _, name, _, _ in rows],
        types=[kind for _, _, _, kind, _ in rows],
        categories=[json.loads(categories) for *_, categories in rows],
        edge_sources={
            split: [imported.info.edge_sources[code] for code in imported.edge_sources(split)]
            for split in imported.splits
        },
    )
    assert written.fingerprint == imported.fingerprint
    assert written.info.files == imported.info.files


def test_n_triples_are_found_by_name_and_by_content(tmp_path: Path):
    """Splits by the usual names; names from rdfs:label; what was left out is in the notes."""
    label = "<http://www.w3.org/2000/01/rdf-schema#label>"
    write(tmp_path / "in" / "train.nt", f'<e:a> <e:p> <e:b> .\n<e:a> {label} "Anna"@en .\n')
    write(tmp_path / "in" / "test.nt.gz", gzip.compress(b"<e:b> <e:p> <e:a> .\n", mtime=0))
    graph = import_graph(tmp_path / "graph", ImportConfig(files=(tmp_path / "in",)))
    assert labelled(graph, "train") == [("e:a", "e:p", "e:b")]
    assert labelled(graph, "test") == [("e:b", "e:p", "e:a")]
    assert graph.entities.name(0) == "Anna"
    assert graph.info.notes["literal_objects_left_out"] == 1
    assert [source["read_as"] for source in graph.info.sources] == ["N-Triples"] * 2
    unnamed = write(tmp_path / "facts", "# by a machine\n<e:a> <e:p> _:b .\n")
    graph = import_graph(tmp_path / "other", ImportConfig(files=(unnamed,)))
    assert labelled(graph, "train") == [("e:a", "e:p", "_:b")]
    told = import_graph(
        tmp_path / "told", ImportConfig(files=(unnamed,), delimiter="space", columns="head,relation,tail,-")
    )
    assert labelled(told, "train")[-1] == ("<e:a>", "<e:p>", "_:b")


DATA = os.environ.get("COROLLARY_DATA")
COUNTS = {
    "umls": (135, 46, {"train": 5216, "valid": 652, "test": 661}),
    "family": (3007, 12, {"train": 23483, "valid": 2038, "test": 2835}),
    "wn18rr": (40943, 11, {"train": 86835, "valid": 3034, "test": 3134}),
    "fb15k-237": (14541, 237, {"train": 272115, "valid": 17535, "test": 20466}),
}


@pytest.mark.skipif(not DATA, reason="COROLLARY_DATA names no folder with the benchmark graphs")
@pytest.mark.parametrize("name", COUNTS)
def test_published_graphs_have_their_published_counts(tmp_path: Path, name):
    """Entities, relations, triples, and not one of them twice."""
    graph = import_graph(tmp_path / "graph", ImportConfig(files=(Path(DATA or "") / "kge" / name,)))
    assert (graph.num_entities, graph.num_relations, graph.info.num_triples) == COUNTS[name]
    assert graph.info.notes["duplicate_triples"] == 0
