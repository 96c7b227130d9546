"""The Python API has the shape of the commands: each is a documented function with a named result."""

import inspect

import pandas as pd
import pytest

import corollary
from corollary.graph.folder import Graph
from corollary.runs.run import Run

OF_COMMANDS = {
    "graph import": ["import_graph", "import_dataset"],
    "graph info": ["graph_info"],
    "graph split": ["split_graph"],
    "graph subset": ["subset_graph"],
    "graph datasets": ["list_datasets"],
    "train conve": ["train_conve"],
    "train --resume": ["resume"],
    "evaluate": ["evaluate"],
    "predict": ["predict"],
    "report": ["write_report"],
    "runs import": ["import_run"],
    "export": ["export"],
    "quickstart": ["quickstart"],
}


@pytest.mark.parametrize("command", OF_COMMANDS)
def test_every_command_has_a_documented_function(command):
    """Public, with a docstring and a declared result."""
    for name in OF_COMMANDS[command]:
        function = getattr(corollary, name)
        assert name in corollary.__all__
        assert inspect.getdoc(function)
        assert inspect.signature(function).return_annotation is not inspect.Signature.empty


def test_results_become_tables(trained):
    """Figures by side and by relation, answers, datasets, the report on a graph."""
    run = corollary.Run.open(trained / "run")
    found = corollary.evaluate(run, "valid")
    sides = found.to_pandas()
    row = sides.query("side == 'both' and mean_over == 'rankings' and ties == 'realistic'")
    assert row["mrr"].item() == found.mrr
    assert set(found.to_pandas("relation")["side"]) == {"both", "head", "tail"}
    answers = corollary.predict(run, [corollary.Question("France", "borders", None)], k=3).to_pandas()
    assert answers["place"].tolist() == [1, 2, 3]
    assert (answers["head"] == "France").all()
    for result in (corollary.list_datasets(), corollary.graph_info(Graph.open(trained / "graph"))):
        assert isinstance(result.to_pandas(), pd.DataFrame)


def test_loose_files_are_trained_on_in_one_call(tmp_path):
    """As `train conve --train ... --entity-to-id ...`; places as text, too."""
    (tmp_path / "a.tsv").write_text("a\tr\tb\nb\tr\tc\nc\tr\ta\n")
    (tmp_path / "ids.tsv").write_text("c\t0\na\t1\nb\t2\n")
    files = corollary.ImportConfig(train=(str(tmp_path / "a.tsv"),), entity_to_id=str(tmp_path / "ids.tsv"))
    config = corollary.RunConfig.build(
        {"model": {"embedding_dim": 16, "channels": 2, "batch_size": 2}, "training": {"epochs": 1}}
    )
    run = corollary.train_conve(files, str(tmp_path / "run"), config)
    assert isinstance(run, Run)
    assert list(run.graph.entities.labels) == ["c", "a", "b"]
    assert run.evaluation is None
    assert run.graph.name == "run"


def test_a_run_folder_given_as_text_is_opened(trained):
    """In quotes as in the tutorial."""
    assert corollary.Run.open(str(trained / "run")).graph.name == "countries"
