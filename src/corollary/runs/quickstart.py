"""The whole program on the world's countries: import, split, train, rank, predict, report."""

from dataclasses import dataclass
from pathlib import Path

from corollary.graph.datasets.importing import import_dataset
from corollary.graph.splits import SplitConfig, split_graph
from corollary.learners.conve_config import ConvEConfig
from corollary.messages import Say, silent
from corollary.reports.html import write_report
from corollary.runs.config import EvaluationConfig, RunConfig
from corollary.runs.conve import train_conve
from corollary.runs.predicting import Predictions, Question, predict
from corollary.runs.run import Run
from corollary.storage import readable_errors
from corollary.training.loop import Observer, TrainingConfig
from corollary.training.optimizers import OptimizerConfig
from corollary.training.schedules import ScheduleConfig

QUESTIONS = (
    Question("France", "borders", None),
    Question("Peru", "official_language", None),
    Question("Kazakhstan", "spoken_language", None),
    Question(None, "uses_currency", "Euro"),
    Question("Mongolia", "located_in_region", None),
)


def _free(output: Path) -> Path:
    """`output`, or the first of `output-2`, `output-3` and so on that is not there yet or empty."""
    taken = [output]
    while taken[-1].exists() and (not taken[-1].is_dir() or any(taken[-1].iterdir())):
        taken.append(output.with_name(f"{output.name}-{len(taken) + 1}"))
    return taken[-1]


@dataclass(frozen=True)
class Quickstart:
    """What the quickstart made."""

    graph: Path
    run: Run
    predictions: Predictions


def quickstart_config(*, epochs: int | None, seed: int, device: str) -> RunConfig:
    """The UMLS recipe, shorter: a small dense graph too."""
    plain = RunConfig(
        seed=seed,
        device=device,
        model=ConvEConfig(batch_size=64, label_smoothing=0.1),
        training=TrainingConfig(
            epochs=60,
            lr=3e-3,
            average_decay=0.99,
            validate_every=10,
            optimizer=OptimizerConfig(name="adamw", weight_decay=0.05),
            schedule=ScheduleConfig(name="cosine", warmup=0.02),
        ),
        evaluation=EvaluationConfig(checkpoint="final"),
    )
    return plain if epochs is None else plain.changed(training=plain.training.changed(epochs=epochs))


def quickstart(
    output: str | Path,
    *,
    epochs: int | None = None,
    seed: int = 0,
    device: str = "auto",
    observer: Observer | None = None,
    say: Say = silent,
) -> Quickstart:
    """Make `graph`, `split` and `run` from the embedded graph in `output`; beside it, as `output-2`, if that is taken."""
    config = quickstart_config(epochs=epochs, seed=seed, device=device)
    output = _free(Path(output))
    with readable_errors(output):
        output.mkdir(parents=True, exist_ok=True)
    graph = import_dataset("countries", output / "graph", say=say)
    split = split_graph(graph, output / "split", SplitConfig(valid=0.1, test=0.1, seed=seed), say=say)
    run = train_conve(split, output / "run", config, observer=observer, say=say)
    predictions = predict(run, QUESTIONS, k=8)
    run.folder.write_json("predictions.json", predictions.as_list())
    write_report(run.folder)
    return Quickstart(split.path, run, predictions)
