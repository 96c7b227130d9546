"""Corollary: learn from a knowledge graph, predict what is missing, and say why, inside a memory limit.

    import corollary

    graph = corollary.import_graph("graph", corollary.ImportConfig(train=("train.tsv",), test=("test.tsv",)))
    run = corollary.train_conve(graph, "run")
    corollary.evaluate(run).to_pandas()
    corollary.predict(run, [corollary.Question("France", "borders", None)]).to_pandas()

Every command is one of these functions. Names are imported when they are first used, so that `import corollary`
is quick and does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corollary.errors import CorollaryError as CorollaryError
    from corollary.evaluation.metrics import Evaluation as Evaluation
    from corollary.graph.datasets.importing import import_dataset as import_dataset
    from corollary.graph.datasets.locating import list_datasets as list_datasets
    from corollary.graph.filters import FilterConfig as FilterConfig
    from corollary.graph.folder import Graph as Graph
    from corollary.graph.importing import ImportConfig as ImportConfig
    from corollary.graph.importing import import_graph as import_graph
    from corollary.graph.info import graph_info as graph_info
    from corollary.graph.splits import SplitConfig as SplitConfig
    from corollary.graph.splits import split_graph as split_graph
    from corollary.graph.subset import subset_graph as subset_graph
    from corollary.learners.conve_config import ConvEConfig as ConvEConfig
    from corollary.reports.html import write_report as write_report
    from corollary.runs.config import RunConfig as RunConfig
    from corollary.runs.conve import train_conve as train_conve
    from corollary.runs.evaluating import evaluate as evaluate
    from corollary.runs.exporting import export as export
    from corollary.runs.importing import ImportRunConfig as ImportRunConfig
    from corollary.runs.importing import import_run as import_run
    from corollary.runs.predicting import Question as Question
    from corollary.runs.predicting import predict as predict
    from corollary.runs.quickstart import quickstart as quickstart
    from corollary.runs.run import Run as Run
    from corollary.runs.tracing import TracInConfig as TracInConfig
    from corollary.runs.tracing import asked_triples as asked_triples
    from corollary.runs.tracing import suspects as suspects
    from corollary.runs.tracing import tracin as tracin
    from corollary.runs.training import resume as resume
    from corollary.training.loop import TrainingConfig as TrainingConfig

_PLACES = {
    "import_dataset": "graph.datasets.importing",
    "ConvEConfig": "learners.conve_config",
    "CorollaryError": "errors",
    "Evaluation": "evaluation.metrics",
    "FilterConfig": "graph.filters",
    "Graph": "graph.folder",
    "ImportConfig": "graph.importing",
    "ImportRunConfig": "runs.importing",
    "Question": "runs.predicting",
    "Run": "runs.run",
    "RunConfig": "runs.config",
    "SplitConfig": "graph.splits",
    "TracInConfig": "runs.tracing",
    "TrainingConfig": "training.loop",
    "asked_triples": "runs.tracing",
    "evaluate": "runs.evaluating",
    "export": "runs.exporting",
    "graph_info": "graph.info",
    "import_graph": "graph.importing",
    "import_run": "runs.importing",
    "list_datasets": "graph.datasets.locating",
    "predict": "runs.predicting",
    "quickstart": "runs.quickstart",
    "resume": "runs.training",
    "split_graph": "graph.splits",
    "subset_graph": "graph.subset",
    "suspects": "runs.tracing",
    "tracin": "runs.tracing",
    "train_conve": "runs.conve",
    "write_report": "reports.html",
}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module 'corollary' has no attribute {name!r}")
    value = getattr(import_module(f"corollary.{_PLACES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
