"""The files of the lists: strict JSON, and a column of its own for whatever a graph calls its types and relations."""

import json
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pandas
import pytest

from corollary.graph.folder import Graph, write_graph
from corollary.repurpose.config import PairsConfig
from corollary.repurpose.evidence import Nearest, PairEvidence
from corollary.repurpose.listing import FILES, Answer, ListColumns, read_lists, write_lists
from corollary.repurpose.pairs import Pairs, read_pairs
from corollary.repurpose.stages import pairs_of
from tests.repurpose.small import drug_graph

NEAREST = Nearest(
    row="Disease 1", column="Drug 2", row_label="n1", column_label="n2", by="resembles", likeness=0.5
)


def _answer(row: int, rank: int, nearest: Nearest | None, **marks: bool) -> Answer:
    evidence = PairEvidence(paths=(), total_paths=0, longest=3, similar_column=nearest, similar_row=None)
    return Answer(row, rank, rank, 0.5 / rank, 0.1, 0.9, rank, rank, False, marks, evidence)


def _written(folder: Path, pairs: Pairs, **marks: bool) -> list[Answer]:
    """Two answers for each of two rows; the first row has no known answer that is like them."""
    found = [
        _answer(row, rank, NEAREST if row else None, **marks) for row in range(2) for rank in range(1, 3)
    ]
    write_lists(folder, pairs, iter(found))
    return found


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> Graph:
    return drug_graph(tmp_path_factory.mktemp("listing") / "graph")


@pytest.fixture(scope="module")
def awkward(tmp_path_factory) -> Graph:
    """Types Known and Rank, and relations known and Paths beside the one that is asked for."""
    triples = [(known, 0, 3 + rank) for known in range(3) for rank in range(2)]
    triples += [(0, 1, 3), (1, 2, 4)]
    return write_graph(
        tmp_path_factory.mktemp("awkward") / "graph", name="awkward", labels=list("abcde"),
        relations=["has", "known", "Paths"], triples={"train": np.array(triples)},
        types=["Known"] * 3 + ["Rank"] * 2,
    )  # fmt: skip


def test_nothing_is_null_and_no_number_is_missing_otherwise(graph, tmp_path):
    """A row without a known answer has no nearest one: null, which every reader of JSON understands."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    _written(tmp_path, read_pairs(graph, "treats"))
    text = (tmp_path / "predictions.json").read_text(encoding="utf-8")
    first, second = json.loads(text, parse_constant=refuse)
    assert [answer["nearest_known_drug"] for answer in first["answers"]] == [None, None]
    assert [answer["nearest_known_drug"] for answer in second["answers"]] == ["Drug 2", "Drug 2"]
    assert list(read_lists(tmp_path)) == [first, second]


def test_a_number_that_is_none_stops_the_run(graph, tmp_path):
    broken = replace(_answer(0, 1, None), probability=float("nan"))
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_lists(tmp_path, read_pairs(graph, "treats"), [broken])


def test_no_list_is_an_empty_array(graph, tmp_path):
    write_lists(tmp_path, read_pairs(graph, "treats"), [])
    assert json.loads((tmp_path / "predictions.json").read_text()) == []
    assert all((tmp_path / name).stat().st_size for name in FILES)


def test_types_and_marks_named_like_columns_stand_beside_these(awkward, tmp_path):
    """Types get `_node` and marks `_mark`; capitals make no difference, since they make none in SQL."""
    pairs = read_pairs(awkward, "has", marks=["known", "Paths"])
    names = ListColumns.of(pairs)
    assert (names.row, names.column) == ("rank_node", "known_node")
    assert names.marks == {"known": "known_mark", "Paths": "Paths_mark"}
    _written(tmp_path, pairs, known=True, Paths=False)
    with duckdb.connect() as database:
        parquet = database.from_parquet(str(tmp_path / "predictions.parquet")).df()
    text = pandas.read_csv(tmp_path / "predictions.csv")
    assert list(parquet.columns) == list(text.columns) == list(names.types)
    for table in (parquet, text):
        assert table["rank"].tolist() == [1, 2, 1, 2]
        assert table["rank_node"].tolist() == ["d", "d", "e", "e"]
        assert not table["known"].any()
        assert table["known_mark"].all()
        assert not table["Paths_mark"].any()
    first = json.loads((tmp_path / "predictions.json").read_text())[0]
    assert first["rank_node"] == "d"
    assert (first["answers"][0]["known"], first["answers"][0]["known_mark"]) == (False, True)


def test_a_name_is_taken_with_what_is_made_of_it(graph):
    """`drug_name` is the name of a drug, so a type Drug name is called otherwise; two types of one name too."""
    pairs = read_pairs(graph, "treats")
    for kind, called in (("Drug name", "drug_name_node"), ("drug", "drug_node")):
        names = ListColumns.of(replace(pairs, rows=replace(pairs.rows, type=kind)))
        assert (names.row, names.column) == (called, "drug")


def test_files_do_not_replace_the_marks_of_relations(awkward, tmp_path):
    """A file's mark gets `_file` where its name is a relation's already, and the refuted pairs where a file's is."""
    (tmp_path / "marked.tsv").write_text("a\td\n")
    (tmp_path / "refuted.tsv").write_text("c\te\n")
    config = PairsConfig(
        marks=("known",),
        mark_files={"known": tmp_path / "marked.tsv", "refuted": tmp_path / "marked.tsv"},
        negatives_file=tmp_path / "refuted.tsv",
    )
    found = pairs_of(awkward, "has", config)
    assert {name: places.tolist() for name, places in found.marks.items()} == {
        "known": [[0, 0]], "known_file": [[0, 0]], "refuted": [[0, 0]], "refuted_file": [[1, 2]],
    }  # fmt: skip
