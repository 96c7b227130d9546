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
    from corollary.graph.taxonomy_import import TaxonomyImportConfig as TaxonomyImportConfig
    from corollary.graph.taxonomy_import import import_taxonomy as import_taxonomy
    from corollary.learners.conve_config import ConvEConfig as ConvEConfig
    from corollary.reports.html import write_report as write_report
    from corollary.repurpose.config import RepurposeConfig as RepurposeConfig
    from corollary.repurpose.pipeline import repurpose_graph as repurpose_graph
    from corollary.runs.config import RunConfig as RunConfig
    from corollary.runs.conve import train_conve as train_conve
    from corollary.runs.drum.elsewhere import evaluate_elsewhere as evaluate_elsewhere
    from corollary.runs.drum.ensemble import combine_drum as combine_drum
    from corollary.runs.drum.independent import train_independent as train_independent
    from corollary.runs.drum.inductive import train_inductive as train_inductive
    from corollary.runs.drum.kind import train_drum as train_drum
    from corollary.runs.drum.options import DrumOptions as DrumOptions
    from corollary.runs.drum.unseen import predict_unseen as predict_unseen
    from corollary.runs.ensembling import fit_ensemble as fit_ensemble
    from corollary.runs.evaluating import evaluate as evaluate
    from corollary.runs.explaining.explain import ExplainConfig as ExplainConfig
    from corollary.runs.explaining.explain import Explainer as Explainer
    from corollary.runs.explaining.explain import explain_prediction as explain_prediction
    from corollary.runs.exporting import export as export
    from corollary.runs.hgt.embedding import embed as embed
    from corollary.runs.hgt.kind import train_hgt as train_hgt
    from corollary.runs.hgt.loading import typed_batches as typed_batches
    from corollary.runs.hgt.options import HgtOptions as HgtOptions
    from corollary.runs.importing import ImportRunConfig as ImportRunConfig
    from corollary.runs.importing import import_run as import_run
    from corollary.runs.poincare.analysis import analyze_taxonomy as analyze_taxonomy
    from corollary.runs.poincare.kind import PoincareRunConfig as PoincareRunConfig
    from corollary.runs.poincare.kind import train_poincare as train_poincare
    from corollary.runs.predicting import Question as Question
    from corollary.runs.predicting import predict as predict
    from corollary.runs.quickstart import quickstart as quickstart
    from corollary.runs.rules.kind import import_rules as import_rules
    from corollary.runs.rules.kind import mine_rules as mine_rules
    from corollary.runs.rules.options import RulesOptions as RulesOptions
    from corollary.runs.rules.showing import apply_rules as apply_rules
    from corollary.runs.rules.showing import show_rules as show_rules
    from corollary.runs.run import Run as Run
    from corollary.runs.tracing.config import TracInConfig as TracInConfig
    from corollary.runs.tracing.index import IndexConfig as IndexConfig
    from corollary.runs.tracing.index import build_index as build_index
    from corollary.runs.tracing.indexed import tracin_by_index as tracin_by_index
    from corollary.runs.tracing.tracin import asked_triples as asked_triples
    from corollary.runs.tracing.tracin import suspects as suspects
    from corollary.runs.tracing.tracin import tracin as tracin
    from corollary.runs.training import resume as resume
    from corollary.runs.validating import validate_embeddings as validate_embeddings
    from corollary.runs.verifying.verify import VerifyConfig as VerifyConfig
    from corollary.runs.verifying.verify import verify as verify
    from corollary.training.loop import TrainingConfig as TrainingConfig

_PLACES = {
    "train_drum": "runs.drum.kind",
    "train_independent": "runs.drum.independent",
    "train_inductive": "runs.drum.inductive",
    "combine_drum": "runs.drum.ensemble",
    "evaluate_elsewhere": "runs.drum.elsewhere",
    "DrumOptions": "runs.drum.options",
    "predict_unseen": "runs.drum.unseen",
    "RulesOptions": "runs.rules.options",
    "mine_rules": "runs.rules.kind",
    "import_rules": "runs.rules.kind",
    "show_rules": "runs.rules.showing",
    "apply_rules": "runs.rules.showing",
    "import_dataset": "graph.datasets.importing",
    "ConvEConfig": "learners.conve_config",
    "CorollaryError": "errors",
    "Evaluation": "evaluation.metrics",
    "ExplainConfig": "runs.explaining.explain",
    "Explainer": "runs.explaining.explain",
    "FilterConfig": "graph.filters",
    "Graph": "graph.folder",
    "HgtOptions": "runs.hgt.options",
    "ImportConfig": "graph.importing",
    "ImportRunConfig": "runs.importing",
    "IndexConfig": "runs.tracing.index",
    "PoincareRunConfig": "runs.poincare.kind",
    "Question": "runs.predicting",
    "Run": "runs.run",
    "RepurposeConfig": "repurpose.config",
    "RunConfig": "runs.config",
    "SplitConfig": "graph.splits",
    "TaxonomyImportConfig": "graph.taxonomy_import",
    "TracInConfig": "runs.tracing.config",
    "TrainingConfig": "training.loop",
    "VerifyConfig": "runs.verifying.verify",
    "analyze_taxonomy": "runs.poincare.analysis",
    "asked_triples": "runs.tracing.tracin",
    "build_index": "runs.tracing.index",
    "embed": "runs.hgt.embedding",
    "evaluate": "runs.evaluating",
    "explain_prediction": "runs.explaining.explain",
    "export": "runs.exporting",
    "fit_ensemble": "runs.ensembling",
    "graph_info": "graph.info",
    "import_graph": "graph.importing",
    "import_run": "runs.importing",
    "import_taxonomy": "graph.taxonomy_import",
    "list_datasets": "graph.datasets.locating",
    "predict": "runs.predicting",
    "quickstart": "runs.quickstart",
    "repurpose_graph": "repurpose.pipeline",
    "resume": "runs.training",
    "split_graph": "graph.splits",
    "subset_graph": "graph.subset",
    "suspects": "runs.tracing.tracin",
    "tracin": "runs.tracing.tracin",
    "tracin_by_index": "runs.tracing.indexed",
    "train_conve": "runs.conve",
    "train_hgt": "runs.hgt.kind",
    "typed_batches": "runs.hgt.loading",
    "validate_embeddings": "runs.validating",
    "train_poincare": "runs.poincare.kind",
    "verify": "runs.verifying.verify",
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
