"""`corollary evaluate`, `predict`, `report` and `quickstart` on a trained run."""

import json
import shutil

import duckdb
import pandas as pd
import pytest

from corollary.graph.folder import Graph
from corollary.runs.run import Run


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the trained run, with its graph beside it."""
    shutil.copytree(trained, tmp_path / "mine")
    return tmp_path / "mine" / "run"


def test_evaluate_prints_what_training_found(ok, run):
    """The same figures as a table and as JSON, with their conditions."""
    recorded = Run.open(run).evaluation
    table = ok("evaluate", run)
    assert f"{recorded.mrr:.4f}" in table.out
    assert "300 triples, filter known, ties realistic" in table.err
    found = ok("evaluate", run, "--json").json()
    assert found["figures"] == json.loads(recorded.figures.model_dump_json())
    assert (found["split"], found["filter"], found["candidates"]) == ("test", "known", "all")


def test_another_split_or_filter_does_not_replace_the_figures_of_the_run(ok, run):
    """evaluation.json keeps test figures under the run's own conditions."""
    before = (run / "evaluation.json").read_bytes()
    valid = ok("evaluate", run, "--split", "valid", "--filter", "train", "--json").json()
    assert (valid["split"], valid["filter"]) == ("valid", "train")
    train = ok("evaluate", run, "--filter", "train", "--json").json()
    early = ok("evaluate", run, "--checkpoint", "epoch-0001", "--json").json()
    assert (run / "evaluation.json").read_bytes() == before
    mrr = json.loads(before)["figures"]["sides"]["both"]["realistic"]["mrr"]
    assert train["figures"]["sides"]["both"]["realistic"]["mrr"] < mrr
    assert early["figures"]["sides"]["both"]["realistic"]["mrr"] != mrr


def test_the_last_epoch_is_final(ok, run):
    """Two names of the same weights, where none are averaged."""
    figures = [
        ok("evaluate", run, "--checkpoint", name, "--json").json()["figures"] for name in ("final", "epoch-0003")
    ]  # fmt: skip
    assert figures[0] == figures[1]


def test_range_types_per_relation_and_ranks_as_parquet(ok, run, tmp_path):
    """One row a triple and side, from which the figures follow; each relation in the table."""
    ranks = tmp_path / "ranks.parquet"
    words = ("--candidates", "types", "--ranks", ranks)
    found = ok("evaluate", run, *words, "--json").json()
    assert (
        found["in_range"]["figures"]["sides"]["both"]["realistic"]["mrr"]
        > (found["figures"]["sides"]["both"]["realistic"]["mrr"])
    )
    rows = duckdb.read_parquet(str(ranks)).df()
    assert len(rows) == 600
    assert (1 / rows["realistic_rank"]).mean() == pytest.approx(
        found["figures"]["sides"]["both"]["realistic"]["mrr"], rel=1e-12
    )
    shown = ok("evaluate", run, "--candidates", "types", "--per-relation").out
    assert "among the answer's types" in shown.splitlines()[0]
    for figures in (found["figures"], found["in_range"]["figures"]):
        assert f"{figures['sides']['both']['realistic']['mrr']:.4f}" in shown.splitlines()[1]
    table = ok("evaluate", run, "--per-relation").out
    assert len(shown.splitlines()) > 1.5 * len(table.splitlines())
    assert "types" not in table
    labels = {row["relation"] for row in found["figures"]["relations"]}
    assert all(label in table for label in labels)


@pytest.mark.parametrize(("given", "side"), [("--head", "tail"), ("--tail", "head")])
def test_one_question_is_answered_on_either_side(ok, run, given, side):
    """Places count from one, scores fall, what the graph holds is marked."""
    graph = Run.open(run).graph
    found = ok("predict", run, given, "France", "--relation", "borders", "-k", 7, "--json").json()[0]
    assert (found["side"], found["relation"], found[given[2:]]) == (side, "borders", "France")
    answers = found["answers"]
    assert [answer["rank"] for answer in answers] == list(range(1, 8))
    scores = [answer["score"] for answer in answers]
    assert scores == sorted(scores, reverse=True)
    france = graph.entities.find("France")
    borders = graph.relations.find("borders")
    facts = {tuple(map(int, row)) for split in graph.splits for row in graph.triples(split)}
    for answer in answers:
        other = graph.entities.find(answer["label"])
        triple = (france, borders, other) if side == "tail" else (other, borders, france)
        assert answer["known"] == (triple in facts)


def test_the_table_of_answers_names_the_question(ok, run):
    """And every answer in it."""
    shown = ok("predict", run, "--head", "France", "--relation", "borders", "--top_k", 3).out
    asked = ok("predict", run, "--head", "France", "--relation", "borders", "--top-k", 3, "--json").json()[0]
    assert "(France, borders, ?)" in shown
    assert all(answer["label"] in shown for answer in asked["answers"])


def test_new_only_leaves_out_what_the_graph_holds(ok, run):
    """The rest keeps its order."""
    words = ("predict", run, "--head", "France", "--relation", "written_in", "-k", 2000, "--json")
    everything, new = (ok(*words, *more).json()[0]["answers"] for more in ((), ("--new-only",)))
    assert len(everything) == Run.open(run).graph.num_entities
    expected = [answer["label"] for answer in everything if not answer["known"]]
    assert [answer["label"] for answer in new] == expected


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json"])
def test_a_file_of_questions_is_answered_into_a_file(ok, run, tmp_path, suffix):
    """Blank lines are passed over; a missing side is empty or '?'; the three formats hold the same answers."""
    queries, output = tmp_path / "queries.tsv", tmp_path / "new" / f"answers{suffix}"
    queries.write_text("France\tborders\t?\n\n\tuses_currency\tEuro\n")
    made = ok("predict", run, "--queries", queries, "-k", 4, "--output", output)
    assert made.out == ""
    assert f"2 questions answered in {output}" in made.err
    expected = ok("predict", run, "--queries", queries, "-k", 4, "--json").json()
    if suffix == ".json":
        assert json.loads(output.read_text()) == expected
        return
    rows = pd.read_csv(output) if suffix == ".csv" else duckdb.read_parquet(str(output)).df()
    assert list(rows.columns) == ["head", "relation", "tail", "side", "place", "name", "score", "known"]
    assert rows["tail"].tolist()[:4] == [answer["label"] for answer in expected[0]["answers"]]
    assert rows["head"].tolist()[4:] == [answer["label"] for answer in expected[1]["answers"]]
    assert rows["score"].tolist() == pytest.approx([a["score"] for item in expected for a in item["answers"]])


def test_another_checkpoint_predicts_differently(ok, run):
    """`--checkpoint epoch-0001` is used, not only accepted."""
    words = ("predict", run, "--head", "France", "--relation", "borders", "--json")
    assert ok(*words).json() != ok(*words, "--checkpoint", "epoch-0001").json()


def test_the_report_is_written_again(ok, run):
    """Where it stood, as text and as JSON."""
    (run / "report.html").unlink()
    assert ok("report", run).out == f"report: {run / 'report.html'}\n"
    assert ok("report", run, "--json").json() == {"report": str(run / "report.html")}
    assert "countries" in (run / "report.html").read_text(encoding="utf-8")


def test_run_and_graph_are_moved_together(ok, run, tmp_path):
    """No place of this machine stands in the configuration."""
    assert str(run.parents[1]) not in (run / "config.json").read_text()
    assert json.loads((run / "config.json").read_text())["graph"]["path"] == "../graph"
    run.parent.rename(tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere" / "run"
    ok("predict", moved, "--head", "France", "--relation", "borders")
    ok("evaluate", moved)


def test_a_graph_that_was_moved_is_named(ok, command, run, tmp_path):
    """The message says with which option; with it everything works."""
    place = run.parent / "graph"
    place.rename(tmp_path / "there")
    message = command("evaluate", run).message
    assert message == (
        f"{place} is not a graph folder: it does not exist. Make one with 'corollary graph import'. "
        f"{run} was trained on it; name its place with --graph."
    )
    ok("evaluate", run, "--graph", tmp_path / "there")


def test_quickstart_makes_everything_and_says_what_to_try(ok, tmp_path):
    """Graph, split, run, report, answers; a second one in the same place goes beside it."""
    shown = ok("quickstart", "-o", tmp_path / "q", "--num_epochs", 1, "--json").json()
    run = Run.open(tmp_path / "q" / "run")
    assert shown["run"] == str(run.path)
    assert shown["evaluation"]["figures"] == json.loads(run.evaluation.figures.model_dump_json())
    assert shown["predictions"] == json.loads((run.path / "predictions.json").read_text())
    assert shown["predictions"][0]["query"] == "(France, borders, ?)"
    assert "(France, borders, ?)" in (run.path / "report.html").read_text(encoding="utf-8")
    assert Graph.open(tmp_path / "q" / "graph").name == "countries"
    again = ok("quickstart", "-o", tmp_path / "q", "--num_epochs", 1, "--json").json()
    assert again["run"] == str(tmp_path / "q-2" / "run")


def test_quickstart_refuses_no_epochs_before_it_starts(command, tmp_path):
    """Zero is not taken for 'not given'."""
    message = command("quickstart", "-o", tmp_path / "q", "--num-epochs", 0).message
    assert message == "configuration: epochs = 0: Input should be greater than 0"
    assert not (tmp_path / "q").exists()
