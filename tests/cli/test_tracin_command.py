"""`corollary tracin run`: what it asks about, what it writes, what it refuses."""

import json

import duckdb
import pandas as pd
import pytest

from corollary.graph.folder import Graph
from corollary.runs.tracing.results import CSV_COLUMNS


@pytest.fixture(scope="module")
def run(trained):
    """The shared trained run, to look at."""
    return trained / "run"


@pytest.fixture(scope="module")
def graph(trained):
    """Its graph."""
    return Graph.open(trained / "graph")


def label(graph, triple):
    """Labels of a triple."""
    return (
        graph.entities.label(int(triple[0])),
        graph.relations.label(int(triple[1])),
        graph.entities.label(int(triple[2])),
    )


def test_the_first_test_triples(ok, run, graph):
    """Proponents first, then opponents; how it was computed on standard error."""
    said = ok("tracin", "run", run, "--max-test-triples", 2, "--top-k", 3)
    assert ", ".join(label(graph, graph.triples("test")[0])) in said.out
    assert "influence" in said.out
    assert "tracin of loss, label deletion, over best (learning rate 0.01)" in said.err
    found = ok("tracin", "run", run, "--max-test-triples", 2, "--top_k", 3, "--json").json()
    assert len(found["triples"]) == 2
    scores = [one["influence"] for one in found["triples"][0]["influences"]]
    assert len(scores) == 6
    assert scores == sorted(scores, reverse=True)


def test_files_of_a_run(ok, run, tmp_path):
    """JSON, CSV with the columns of the older scripts, Parquet with the same rows."""
    words = ("tracin", "run", run, "--test-indices", "0,4-5", "--top-k", 2)
    ok(*words, "--output", tmp_path / "tracin_results.json", "--csv-output", tmp_path / "found.csv")
    ok(*words, "--csv-output", tmp_path / "found.parquet")
    found = json.loads((tmp_path / "tracin_results.json").read_text())
    table = pd.read_csv(tmp_path / "found.csv")
    assert tuple(table.columns) == CSV_COLUMNS
    assert len(table) == 3 * 4
    first = found["triples"][0]
    assert table["TracInScore"][0] == pytest.approx(first["influences"][0]["influence"])
    assert table["SelfInfluence"][0] == pytest.approx(first["self_influence"])
    with duckdb.connect() as connection:
        assert len(connection.read_parquet(str(tmp_path / "found.parquet"))) == len(table)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "found.csv", "found.parquet", "tracin_results.json",
    ]  # fmt: skip


def test_a_file_a_triple_and_those_that_are_there(ok, run, tmp_path):
    """--skip-existing leaves out what is done; --start-index what comes before."""
    folder = tmp_path / "each"
    words = ("tracin", "run", run, "--output-per-triple", folder, "--top-k", 1)
    ok(*words, "--test-indices", "1-2")
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(before) == 2
    said = ok(*words, "--start-index", 1, "--max-test-triples", 3, "--skip-existing")
    assert "2 of 3 triples have their file already" in said.err
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(after) == 3
    assert before.items() <= after.items()
    assert "3 of 3" in ok(*words, "--test-indices", "1-3", "--skip-existing").err


def test_one_triple_and_why_not_another(ok, run):
    """Any triple, known or not."""
    words = ("tracin", "run", run, "--mode", "single", "--head", "France", "--relation", "borders")
    found = ok(*words, "--tail", "Spain", "--instead-of", "Japan", "--json").json()
    assert found["target"] == "contrast"
    assert found["triples"][0]["instead_of"] == "Japan" or found["triples"][0]["instead_of"]
    assert "rather than" in ok(*words, "--tail", "Spain", "--instead-of", "Japan").out


def test_triples_of_a_file_with_an_unknown_name(ok, run, tmp_path):
    """It is named, and the others still run."""
    (tmp_path / "ask.tsv").write_text("France\tborders\tSpain\nFrence\tborders\tSpain\n")
    said = ok("tracin", "run", run, "--triples", tmp_path / "ask.tsv", "--json")
    assert len(said.json()["triples"]) == 1
    assert "ask.tsv:2: entity 'Frence' is not known" in said.err


def test_names_for_people(ok, run, graph, tmp_path):
    """Entities from a dictionary, relations from an edge map of either direction."""
    head, relation, _ = label(graph, graph.triples("test")[0])
    (tmp_path / "nodes.json").write_text(json.dumps({head: "HERE"}))
    (tmp_path / "edges.json").write_text(json.dumps({"THUS": relation}))
    words = ("tracin", "run", run, "--test-indices", 0, "--json", "--node-name-dict", tmp_path / "nodes.json")
    found = ok(*words, "--edge-map", tmp_path / "edges.json").json()["triples"][0]
    assert (found["test_head_label"], found["test_relation_label"]) == ("HERE", "THUS")
    assert (found["test_head"], found["test_relation"]) == (head, relation)


def test_suspicious_training_triples(ok, run, tmp_path):
    """By loss or self-influence; as a table, JSON, CSV."""
    words = ("tracin", "run", run, "--mode", "self", "--top-k", 5, "--relations", "borders")
    assert "self-influence" in ok(*words).out
    found = ok(*words, "--suspicious-by", "self_influence", "--json").json()["triples"]
    assert [one["self_influence"] for one in found] == sorted(
        (o["self_influence"] for o in found), reverse=True
    )
    ok(*words, "--csv-output", tmp_path / "s.csv")
    assert len(pd.read_csv(tmp_path / "s.csv")) == 5


def test_last_layers_are_said_not_to_be_tracin(ok, run):
    """The output layer's score, under its own name."""
    said = ok("tracin", "run", run, "--test-indices", 0, "--use-last-layers-only", "--json")
    assert said.json()["measure"] == "output"
    assert "this is not TracIn" in said.err


WRONG = {
    ("--test-indices", "1;2"): "expected numbers and ranges",
    ("--test-indices", "300"): "there is no triple 300; they are 0 to 299",
    ("--start-index", "300"): "no triple is left to ask about of 300",
    ("--top-k", "0"): "expected a number from 1 on, or 'all'",
    ("--mode", "single", "--head", "France"): "give --head, --relation and --tail",
    ("--head", "France"): "go with --mode single",
    ("--csv-output", "found.txt"): "should end in .csv or .parquet",
    ("--skip-existing",): "--skip-existing goes with --output-per-triple",
    ("--instead-of", "Japn"): "entity 'Japn' is not known. Did you mean 'Japan'?",
    ("--plot", "found.png"): "--plot found.png: the name should end in .svg",
    ("--mode", "self", "--by-path", "--plot", "a.svg"): "--by-path, --plot has no meaning with --mode self",
    ("--mode", "single", "--split", "valid"): "--split has no meaning with --mode single",
    ("--index", "there", "--measure", "cosine"): "--measure has no meaning with --index",
    ("--index", "there"): "there is not an index: make one with 'corollary tracin index",
    ("--use-last-layers-only", "--measure", "cosine"): "either --use-last-layers-only or --measure",
    ("--checkpoint", "epoch-0099"): "has no checkpoint 'epoch-0099'",
    ("--relations", "bordrs"): "relation 'bordrs' is not known. Did you mean 'borders'?",
    ("--memory-limit", "50MiB"): "needs at least",
    ("--split", "tset"): "split 'tset' is not known",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_what_is_wrong_is_said(command, run, words):
    """One message that names the option and what to do."""
    assert WRONG[words] in command("tracin", "run", run, *words).message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("France\tborders\n", "ask.tsv:1: expected head, relation, tail between tabs, found 2 fields"),
        ("", "holds no triples"),
    ],
)
def test_a_wrong_file_is_named_by_line(command, run, tmp_path, text, message):
    """Of the triples that are asked about."""
    (tmp_path / "ask.tsv").write_text(text)
    assert message in command("tracin", "run", run, "--triples", tmp_path / "ask.tsv").message


def test_a_wrong_name_file_is_named(command, run, tmp_path):
    """JSON of another shape, and a map of other relations."""
    words = ("tracin", "run", run, "--test-indices", 0)
    (tmp_path / "bad.json").write_text("[1]")
    assert "expected an object of labels" in command(*words, "--node-name-dict", tmp_path / "bad.json").err
    (tmp_path / "edges.tsv").write_text("predicate:0\tthus\n")
    assert "none of its labels is a relation" in command(*words, "--edge-map", tmp_path / "edges.tsv").err
