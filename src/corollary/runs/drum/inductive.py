"""DRUM on an inductive folder: trained on one graph, ranked on another with the same relations and other entities.

OUTPUT/graph         the graph that is trained on
OUTPUT/test-graph    the one that is asked; evaluation.json and rules_evaluation.json hold the ranks of its test triples
"""

from collections.abc import Mapping
from pathlib import Path

from corollary.errors import RunError
from corollary.evaluation.metrics import Evaluation
from corollary.messages import Say, silent
from corollary.runs.drum.elsewhere import TEST_GRAPH, evaluate_elsewhere, inductive_graphs
from corollary.runs.drum.kind import train_drum
from corollary.runs.drum.options import DrumOptions
from corollary.runs.run import Run
from corollary.storage import remove_new
from corollary.training.loop import Observer


def train_inductive(
    folder: str | Path,
    output: str | Path,
    config: DrumOptions | None = None,
    *,
    observer: Observer | None = None,
    say: Say = silent,
) -> Run:
    """Train DRUM on the first graph of an inductive folder (see `inductive_graphs`), rank the test triples of the second,
    write a run folder with both graphs in it.

    Where the run is refused before its first step, nothing stays behind. Raises as `inductive_graphs` and `train_drum` do.
    """
    output = Path(output)
    if (output / "config.json").exists():
        raise RunError(f"{output} holds a run already: choose another folder")
    there = set(output.iterdir()) if output.is_dir() else None
    try:
        first, _ = inductive_graphs(Path(folder), output, say=say)
        run = train_drum(first, output, config, observer=observer, say=say)
    finally:
        if not (output / "config.json").exists() and output.is_dir():
            remove_new(output, there)
    found = rank_test_graph(run)
    say(", ".join(f"test mrr of {name} on {TEST_GRAPH} {result.mrr:.4f}" for name, result in found.items()))
    return run


def rank_test_graph(run: Run, split: str = "test") -> Mapping[str, Evaluation]:
    """Ranks of the triples of a run's second graph, of the model and of its counted rules; those of `test` become the
    figures of the run, in its folder and its report."""
    found = evaluate_elsewhere(run, run.path / TEST_GRAPH, split)
    if split == "test":
        from corollary.reports.html import write_report  # matplotlib is 30 MiB that training does without

        for name, file in (("model", "evaluation.json"), ("counted rules", "rules_evaluation.json")):
            run.folder.write_json(file, found[name].model_dump(mode="json"))
        write_report(run.folder)
    return found
