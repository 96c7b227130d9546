"""`corollary train`: conve, and `--resume`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from corollary.cli.output import TrainingDisplay, print_json, print_table, say
from corollary.cli.train_drum import drum, show_drum
from corollary.cli.train_hgt import hgt, show_hgt
from corollary.cli.train_poincare import poincare
from corollary.errors import ConfigError

app = typer.Typer(
    help="Train a learner, or go on with a training that was stopped (--resume).", invoke_without_command=True
)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Memory = Annotated[str | None, typer.Option(help="Most resident memory, such as 4GiB.")]


@app.callback()
def train(
    context: typer.Context,
    resume: Annotated[Path | None, typer.Option(help="A run folder whose training was stopped.")] = None,
    graph: Annotated[
        Path | None, typer.Option(help="With --resume: the graph folder, where it has been moved.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a learner, or go on with a training that was stopped (--resume)."""
    if context.invoked_subcommand is not None:
        if resume is not None or graph is not None or as_json:
            raise ConfigError(
                f"options of 'corollary train' do not reach '{context.invoked_subcommand}': write either "
                f"corollary train --resume RUN or corollary train {context.invoked_subcommand} GRAPH with its options"
            )
        return
    if resume is None:
        raise ConfigError("nothing to do: give a learner (corollary train conve GRAPH) or --resume RUN")
    from corollary.runs.training import resume as resume_run

    with_display(lambda display: resume_run(resume, graph=graph, observer=display, say=say), as_json)


@app.command("conve")
def conve(
    graph: Annotated[Path | None, typer.Argument(help="A graph folder.")] = None,
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", "--output", "-o", help="The run folder to make.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file, or the config.json of a run.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, such as training.clip_norm=1.")
    ] = None,
    train: Annotated[
        list[Path] | None, typer.Option(help="Loose training triples, in place of GRAPH.")
    ] = None,
    valid: Annotated[list[Path] | None, typer.Option(help="Loose validation triples.")] = None,
    test: Annotated[list[Path] | None, typer.Option(help="Loose test triples.")] = None,
    entity_to_id: Annotated[
        Path | None, typer.Option(help="Labels and ids of entities, kept as given.")
    ] = None,
    relation_to_id: Annotated[Path | None, typer.Option(help="Labels and ids of relations.")] = None,
    num_epochs: Annotated[int | None, typer.Option(help="Passes over the training queries.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Queries per optimiser step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="First learning rate.")] = None,
    embedding_dim: Annotated[int | None, typer.Option(help="Length of an embedding.")] = None,
    output_channels: Annotated[int | None, typer.Option(help="Feature maps of the convolution.")] = None,
    label_smoothing: Annotated[float | None, typer.Option(help="Amount of label smoothing.")] = None,
    num_workers: Annotated[int | None, typer.Option(help="Threads that make batches ahead.")] = None,
    checkpoint_frequency: Annotated[
        int | None, typer.Option(help="Keep the checkpoint of every Nth epoch for good.")
    ] = None,
    use_mixed_precision: Annotated[
        bool,
        typer.Option(
            "--use-mixed-precision", help="Matrix products in the 16-bit type right for the device."
        ),
    ] = False,
    use_gradient_checkpointing: Annotated[
        bool, typer.Option("--use-gradient-checkpointing", help="Make feature maps again in backward.")
    ] = False,
    disable_memory_cleanup: Annotated[
        bool,
        typer.Option("--disable-memory-cleanup", help="Keep training's buffers while validation ranks."),
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and dropout.")] = None,
    tensorboard: Annotated[
        bool | None, typer.Option("--tensorboard", help="Write events for TensorBoard into the run folder.")
    ] = None,
    mlflow: Annotated[
        str | None, typer.Option(help="Tracking URI of MLflow, such as sqlite:///mlflow.db.")
    ] = None,
    device: Device = None,
    memory_limit: Memory = None,
    as_json: Json = False,
) -> None:
    """Train ConvE on a graph folder or on loose files; the run folder holds weights, figures and a report."""
    from corollary.graph.importing import ImportConfig
    from corollary.runs.conve import train_conve

    if output_dir is None:
        raise ConfigError("--output-dir is missing: name the run folder to make")
    flags: dict[str, Any] = {
        "training.epochs": num_epochs,
        "model.batch_size": batch_size,
        "training.lr": learning_rate,
        "model.embedding_dim": embedding_dim,
        "model.channels": output_channels,
        "model.label_smoothing": label_smoothing,
        "training.num_workers": num_workers,
        "training.checkpoint_frequency": checkpoint_frequency,
        "optimizations.use_mixed_precision": use_mixed_precision or None,
        "optimizations.use_gradient_checkpointing": use_gradient_checkpointing or None,
        "optimizations.enable_memory_cleanup": False if disable_memory_cleanup else None,
        "tracking.tensorboard": tensorboard or None,
        "tracking.mlflow": mlflow,
        "seed": seed,
        "device": device,
        "memory_limit": memory_limit,
    }
    options = conve_options(config, flags, settings)
    files: dict[str, Any] = {
        "train": train, "valid": valid, "test": test, "entity_to_id": entity_to_id, "relation_to_id": relation_to_id,
    }  # fmt: skip
    loose = {name: value for name, value in files.items() if value}
    if (graph is None) == (not train) or (graph is not None and loose):
        raise ConfigError(
            "give either a graph folder or loose triples with --train, not both and not neither"
        )
    source = graph or ImportConfig.build(loose, where="train conve")
    with_display(lambda display: train_conve(source, output_dir, options, observer=display, say=say), as_json)


def conve_options(config: Path | None, flags: dict[str, Any], settings: list[str] | None) -> Any:
    """The whole configuration: a file's, then the flags that were given, then --set."""
    from corollary.config import read_table, with_overrides
    from corollary.runs.config import RunConfig, from_record

    given = {key: json.dumps(value) for key, value in flags.items() if value is not None}
    overrides = [f"{key}={value}" for key, value in given.items()] + list(settings or [])
    table = from_record(read_table(config)) if config is not None else {}
    return RunConfig.build(with_overrides(table, overrides), where=str(config or "options"))


def with_display(work: Any, as_json: bool) -> None:
    """Run a training under the display and print what came of it."""
    display = TrainingDisplay()
    try:
        run = work(display)
    finally:
        display.close()
    show_run(run, as_json)


def show_run(run: Any, as_json: bool) -> None:
    """Headline figures and where everything is; beside what a learner has to be compared with, where it says so."""
    if show := _BESIDE.get(run.kind.name):
        show(run, as_json)
        return
    result = run.evaluation
    if as_json:
        print_json(
            {
                "run": str(run.path),
                "evaluation": result.model_dump(mode="json") if result is not None else None,
            }
        )
        return
    if result is not None:
        figures = result.metrics.values()
        print_table(["figure", "test"], [[name, value] for name, value in figures.items()])
    say(f"run folder: {run.path}    report: {run.path / 'report.html'}")
    say(f"next: corollary predict {run.path} --head NAME --relation NAME")


_BESIDE = {"drum": show_drum, "hgt": show_hgt}

app.command("drum")(drum)
app.command("hgt")(hgt)
app.command("poincare")(poincare)
