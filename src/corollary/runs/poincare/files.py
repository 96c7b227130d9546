"""Training on taxonomy files: they become the graph folder of the run."""

from pathlib import Path

from corollary.budget import Budget
from corollary.errors import RunError
from corollary.graph.taxonomy_import import TaxonomyImportConfig as TaxonomyImportConfig
from corollary.graph.taxonomy_import import import_taxonomy
from corollary.messages import Say, silent
from corollary.runs.poincare.kind import PoincareRunConfig, train_poincare
from corollary.runs.run import Run
from corollary.storage import remove_folder
from corollary.training.loop import Observer


def train_on_files(
    files: TaxonomyImportConfig,
    output: str | Path,
    config: PoincareRunConfig,
    *,
    observer: Observer | None = None,
    say: Say = silent,
) -> Run:
    """Import into `output/graph`, then `train_poincare`. Where no run could be started the graph goes again."""
    output = Path(output)
    if (output / "config.json").exists():
        raise RunError(
            f"{output} holds a run already: go on with --resume {output}, or choose another folder"
        )
    there = output.exists()
    named = files.model_copy(update={"name": files.name or output.resolve().name})
    graph = import_taxonomy(output / "graph", named, budget=Budget.parse(config.memory_limit), say=say)
    try:
        return train_poincare(graph, output, config, observer=observer, say=say)
    finally:
        if not (output / "config.json").exists():
            remove_folder(graph.path)
            if not there and not any(output.iterdir()):
                output.rmdir()
